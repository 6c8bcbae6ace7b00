/* See lepton_bundle.h. */
#define _GNU_SOURCE
#include "lepton_bundle.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lepton_json.h"
#include "lepton_sha256.h"
#include "lepton_targets.h"

enum { HEADER_BYTES = 24, FOOTER_BYTES = 16, MAJOR = 1, ARITHMETIC = 1, MANIFEST_LIMIT = 16 << 20 };

typedef struct kept {
  struct kept *next;
} kept;

typedef struct segment {
  const lepton_json *entry;
  const uint8_t *content; /* null where the file lacks it */
  size_t bytes;
} segment;

struct lepton_bundle {
  lepton_model model;
  uint8_t *file;
  size_t file_bytes;
  int code_file;
  void *library;
  kept *memory;
  int n_segments;
  segment *segments;
};

/* Zeroed memory for as long as the bundle is open, or null. */
static void *keep(lepton_bundle *b, size_t bytes) {
  const size_t head = 16;
  kept *block = (kept *)calloc(1, head + (bytes ? bytes : 1));
  if (block == NULL) return NULL;
  block->next = b->memory;
  b->memory = block;
  return (uint8_t *)block + head;
}

static const char *keep_text(lepton_bundle *b, const char *text, size_t bytes) {
  char *copy = (char *)keep(b, bytes + 1);
  if (copy) lepton_json_unescaped(text, bytes, copy);
  return copy;
}

/* ---- the file ---- */

static lepton_json *read_json(lepton_bundle *b, const uint8_t *text, size_t bytes) {
  lepton_json *values = (lepton_json *)keep(b, sizeof(lepton_json) * (bytes / 2 + 1));
  return values ? lepton_json_read((const char *)text, bytes, values) : NULL;
}

static int hashed_as(const uint8_t *content, size_t bytes, const lepton_json *expected) {
  char digits[65];
  lepton_sha256(content, bytes, digits);
  return lepton_json_is(expected, digits);
}

static uint64_t little_endian(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  while (bytes--) value = value << 8 | at[bytes];
  return value;
}

static lepton_status map_file(lepton_bundle *b, const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (file < 0) return LEPTON_CANNOT_READ;
  void *mapped = MAP_FAILED;
  if (fstat(file, &status) == 0 && status.st_size >= HEADER_BYTES + FOOTER_BYTES)
    mapped = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return LEPTON_CANNOT_READ;
  b->file = (uint8_t *)mapped;
  b->file_bytes = (size_t)status.st_size;
  return LEPTON_OK;
}

/* Every segment's place, as the Python reader finds it, and its hash. */
static lepton_status place_segments(lepton_bundle *b, const lepton_json *manifest, const lepton_json *present,
                                    size_t end, size_t limit) {
  const lepton_json *list = lepton_json_member(manifest, "segments");
  b->n_segments = lepton_json_count(list);
  b->segments = (segment *)keep(b, sizeof(segment) * (size_t)b->n_segments);
  if (b->segments == NULL) return LEPTON_NO_MEMORY;
  const int full = lepton_json_count(present) == b->n_segments;
  const lepton_json *next = present ? present->first : NULL;
  segment *s = b->segments;
  for (const lepton_json *entry = list ? list->first : NULL; entry; entry = entry->next, s++) {
    const lepton_json *name = lepton_json_member(entry, "name");
    s->entry = entry;
    if (next == NULL || name == NULL || next->text_bytes != name->text_bytes ||
        memcmp(next->text, name->text, name->text_bytes) != 0)
      continue;
    next = next->next;
    const int64_t bytes = lepton_json_size(lepton_json_member(entry, "bytes"));
    const int64_t offset = full ? lepton_json_size(lepton_json_member(entry, "offset")) : (int64_t)((end + 63) / 64 * 64);
    if (bytes < 0 || offset < (int64_t)end || (uint64_t)offset > limit || (uint64_t)bytes > limit - (uint64_t)offset)
      return LEPTON_CANNOT_READ;
    s->content = b->file + offset;
    s->bytes = (size_t)bytes;
    end = (size_t)(offset + bytes);
    if (!hashed_as(s->content, s->bytes, lepton_json_member(entry, "sha256"))) return LEPTON_ALTERED;
  }
  return next ? LEPTON_CANNOT_READ : LEPTON_OK;
}

/* The segment that a value names, if the file has it. */
static const segment *segment_of(const lepton_bundle *b, const lepton_json *name) {
  for (int i = 0; name && i < b->n_segments; i++) {
    const lepton_json *found = lepton_json_member(b->segments[i].entry, "name");
    if (b->segments[i].content && found && found->text_bytes == name->text_bytes &&
        memcmp(found->text, name->text, name->text_bytes) == 0)
      return &b->segments[i];
  }
  return NULL;
}

/* ---- which code ---- */

/* Letters and names of `rv64imafdcv_zba_zbb`, given from the letters on, each between spaces. */
static void riscv_features(const char *isa, char *features, int bytes) {
  int n = 0, letters = 1;
  features[n++] = ' ';
  for (; *isa && *isa != '\n' && n + 3 < bytes; isa++) {
    if (*isa == '_') {
      if (!letters) features[n++] = ' ';
      letters = 0;
    } else {
      features[n++] = *isa;
      if (letters) features[n++] = ' ';
    }
  }
  features[n++] = ' ';
  features[n] = 0;
}

/* The list of features that Linux prints, with a space at both ends; empty where there is none. */
static void cpu_features(char *features, int bytes) {
  FILE *file = fopen("/proc/cpuinfo", "r");
  char line[8192];
  features[0] = 0;
  while (file && features[0] == 0 && fgets(line, sizeof line, file)) {
    char *value = strchr(line, ':');
    if (value && (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0)) {
      value[strcspn(value, "\n")] = 0;
      snprintf(features, (size_t)bytes, " %s ", value + 1);
    } else if (value && strncmp(line, "isa", 3) == 0 && strstr(value, "rv64")) {
      riscv_features(strstr(value, "rv64") + 4, features, bytes);
    }
  }
  if (file) fclose(file);
}

static int runs_here(const lepton_target *target, const char *machine, const char *features) {
  char word[40] = " ";
  if (strcmp(target->machine, machine) != 0) return 0;
  for (const char *at = target->features; *at; at += at[strcspn(at, " ")] ? strcspn(at, " ") + 1 : strcspn(at, " ")) {
    const size_t n = strcspn(at, " ");
    if (n + 3 > sizeof word) return 0;
    memcpy(word + 1, at, n);
    memcpy(word + 1 + n, " ", 2);
    if (strstr(features, word) == NULL) return 0;
  }
  return 1;
}

static const lepton_json *best_artifact(const lepton_bundle *b, const lepton_json *manifest) {
  struct utsname here;
  char features[8192];
  if (uname(&here) != 0) return NULL;
  const char *machine = strcmp(here.machine, "armv8l") == 0 ? "armv7l" : here.machine;
  cpu_features(features, sizeof features);
  const lepton_json *list = lepton_json_member(manifest, "artifacts");
  for (int t = (int)(sizeof lepton_targets / sizeof *lepton_targets); t-- > 0;) {
    if (!runs_here(&lepton_targets[t], machine, features)) continue;
    for (const lepton_json *a = list ? list->first : NULL; a; a = a->next)
      if (lepton_json_is(lepton_json_member(a, "target"), lepton_targets[t].name) &&
          segment_of(b, lepton_json_member(a, "code")))
        return a;
  }
  return NULL;
}

/* ---- what the manifest says, as a model ---- */

static int type_of(const lepton_json *dtype, lepton_type *type, size_t *bytes) {
  static const struct {
    const char *name;
    lepton_type type;
    size_t bytes;
  } types[] = {{"bool", LEPTON_BOOL, 1},   {"int8", LEPTON_INT8, 1},       {"uint8", LEPTON_UINT8, 1},
               {"int16", LEPTON_INT16, 2}, {"int32", LEPTON_INT32, 4},     {"float32", LEPTON_FLOAT32, 4},
               {"int64", LEPTON_INT64, 8}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (lepton_json_is(dtype, types[i].name)) {
      *type = types[i].type;
      *bytes = types[i].bytes;
      return 1;
    }
  return 0;
}

static int read_tensor(lepton_bundle *b, const lepton_json *entry, lepton_tensor *tensor) {
  const lepton_json *name = lepton_json_member(entry, "name"), *shape = lepton_json_member(entry, "shape");
  const lepton_json *q = lepton_json_member(entry, "quantization"), *limit = lepton_json_member(entry, "tolerance");
  if (!name || !type_of(lepton_json_member(entry, "dtype"), &tensor->type, &tensor->bytes)) return 0;
  tensor->name = keep_text(b, name->text, name->text_bytes);
  tensor->rank = lepton_json_count(shape);
  int32_t *extents = (int32_t *)keep(b, sizeof(int32_t) * (size_t)tensor->rank);
  tensor->axis = -1;
  tensor->tolerance = limit && limit->kind == '0' ? (float)lepton_json_number(limit) : -1.0f;
  if (tensor->name == NULL || extents == NULL) return 0;
  tensor->shape = extents;
  for (const lepton_json *e = shape ? shape->first : NULL; e; e = e->next) {
    const int64_t extent = lepton_json_size(e);
    if (extent < 1 || extent > INT32_MAX || tensor->bytes > (size_t)INT64_MAX / 16 / (size_t)extent) return 0;
    *extents++ = (int32_t)extent;
    tensor->bytes *= (size_t)extent;
  }
  if (q == NULL || q->kind != '{') return 1;
  const lepton_json *scales = lepton_json_member(q, "scales"), *axis = lepton_json_member(q, "axis");
  float *values = (float *)keep(b, sizeof(float) * (size_t)lepton_json_count(scales));
  if (values == NULL) return 0;
  tensor->scale = values;
  tensor->n_scales = lepton_json_count(scales);
  for (const lepton_json *e = scales ? scales->first : NULL; e; e = e->next) *values++ = (float)lepton_json_number(e);
  tensor->zero_point = (int32_t)lepton_json_number(lepton_json_member(q, "zero_point"));
  if (axis && axis->kind == '0') tensor->axis = (int)lepton_json_number(axis);
  return 1;
}

static lepton_tensor *read_tensors(lepton_bundle *b, const lepton_json *list, int *n) {
  *n = lepton_json_count(list);
  lepton_tensor *tensors = (lepton_tensor *)keep(b, sizeof(lepton_tensor) * (size_t)*n), *next = tensors;
  for (const lepton_json *e = list ? list->first : NULL; tensors && e; e = e->next)
    if (!read_tensor(b, e, next++)) return NULL;
  return tensors;
}

static lepton_status load_code(lepton_bundle *b, const segment *code) {
  uint8_t *copy = (uint8_t *)malloc(code->bytes ? code->bytes : 1);
  if (copy == NULL) return LEPTON_NO_MEMORY;
  /* A private copy, hashed again: what runs is what was checked. */
  memcpy(copy, code->content, code->bytes);
  lepton_status status = LEPTON_ALTERED;
  if (hashed_as(copy, code->bytes, lepton_json_member(code->entry, "sha256"))) {
    char path[40];
    b->code_file = memfd_create("lepton", MFD_CLOEXEC);
    size_t done = 0;
    while (b->code_file >= 0 && done < code->bytes) {
      const ssize_t n = write(b->code_file, copy + done, code->bytes - done);
      if (n <= 0) break;
      done += (size_t)n;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", b->code_file);
    if (b->code_file >= 0 && done == code->bytes) b->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    status = b->library ? LEPTON_OK : LEPTON_NOT_HERE;
  }
  free(copy);
  return status;
}

static lepton_status read_functions(lepton_bundle *b, const lepton_json *manifest, const lepton_json *artifact) {
  const lepton_json *entries = lepton_json_member(artifact, "functions");
  const int n = lepton_json_count(entries);
  lepton_function *functions = (lepton_function *)keep(b, sizeof(lepton_function) * (size_t)n);
  if (functions == NULL) return LEPTON_NO_MEMORY;
  b->model.function = functions;
  b->model.n_functions = n;
  for (const lepton_json *e = entries ? entries->first : NULL; e; e = e->next, functions++) {
    const lepton_json *symbol = lepton_json_member(e, "symbol");
    const int64_t arena = lepton_json_size(lepton_json_member(e, "arena_bytes"));
    functions->name = keep_text(b, e->name, e->name_bytes);
    const char *exported = symbol ? keep_text(b, symbol->text, symbol->text_bytes) : NULL;
    if (functions->name == NULL || exported == NULL || arena < 0) return LEPTON_CANNOT_READ;
    const lepton_json *interface = lepton_json_member(lepton_json_member(manifest, "functions"), functions->name);
    functions->arena_bytes = (size_t)arena;
    functions->input = read_tensors(b, lepton_json_member(interface, "inputs"), &functions->n_inputs);
    functions->output = read_tensors(b, lepton_json_member(interface, "outputs"), &functions->n_outputs);
    /* C has no conversion from an object's address to a function's; dlsym's contract is that bytes do. */
    void *address = dlsym(b->library, exported);
    memcpy(&functions->code, &address, sizeof address);
    if (!functions->input || !functions->output || !address) return LEPTON_CANNOT_READ;
  }
  return LEPTON_OK;
}

static lepton_status read_variables(lepton_bundle *b, const lepton_json *manifest, const lepton_json *artifact) {
  const lepton_json *block = lepton_json_member(artifact, "variables");
  if (block == NULL || block->kind != '{') return LEPTON_OK;
  const segment *first = segment_of(b, lepton_json_member(block, "segment"));
  const lepton_json *offsets = lepton_json_member(block, "offsets");
  b->model.variable = read_tensors(b, lepton_json_member(manifest, "variables"), &b->model.n_variables);
  size_t *places = (size_t *)keep(b, sizeof(size_t) * (size_t)b->model.n_variables);
  if (first == NULL || places == NULL || b->model.variable == NULL) return LEPTON_CANNOT_READ;
  b->model.variables = first->content;
  b->model.variables_bytes = first->bytes;
  b->model.variable_offset = places;
  for (int i = 0; i < b->model.n_variables; i++) {
    const int64_t offset = lepton_json_size(lepton_json_member(offsets, b->model.variable[i].name));
    if (offset < 0 || (uint64_t)offset + b->model.variable[i].bytes > first->bytes) return LEPTON_CANNOT_READ;
    places[i] = (size_t)offset;
  }
  return LEPTON_OK;
}

static const void **read_ranges(lepton_bundle *b, const segment *s, const lepton_json *ranges,
                                const lepton_tensor *tensors, int n) {
  const void **arrays = (const void **)keep(b, sizeof(void *) * (size_t)n);
  for (int i = 0; arrays && i < n; i++) {
    const lepton_json *range = lepton_json_member(ranges, tensors[i].name);
    if (lepton_json_count(range) != 2) return NULL;
    const int64_t offset = lepton_json_size(range->first), bytes = lepton_json_size(range->first->next);
    if (offset < 0 || bytes != (int64_t)tensors[i].bytes || (uint64_t)offset > s->bytes ||
        (uint64_t)bytes > s->bytes - (uint64_t)offset)
      return NULL;
    arrays[i] = s->content + offset;
  }
  return arrays;
}

static lepton_status read_goldens(lepton_bundle *b, const lepton_json *manifest) {
  const lepton_json *list = lepton_json_member(manifest, "golden");
  lepton_golden *goldens = (lepton_golden *)keep(b, sizeof(lepton_golden) * (size_t)lepton_json_count(list));
  if (goldens == NULL) return LEPTON_NO_MEMORY;
  b->model.golden = goldens;
  for (const lepton_json *e = list ? list->first : NULL; e; e = e->next) {
    const segment *s = segment_of(b, lepton_json_member(e, "segment"));
    const lepton_json *name = lepton_json_member(e, "function");
    int k = 0;
    while (k < b->model.n_functions && !lepton_json_is(name, b->model.function[k].name)) k++;
    if (s == NULL || k == b->model.n_functions) continue;
    const lepton_function *f = &b->model.function[k];
    goldens->function = k;
    goldens->inputs = read_ranges(b, s, lepton_json_member(e, "inputs"), f->input, f->n_inputs);
    goldens->outputs = read_ranges(b, s, lepton_json_member(e, "outputs"), f->output, f->n_outputs);
    if (!goldens->inputs || !goldens->outputs) return LEPTON_CANNOT_READ;
    goldens++;
    b->model.n_goldens++;
  }
  return LEPTON_OK;
}

static lepton_status read_model(lepton_bundle *b, const lepton_json *manifest) {
  const lepton_json *artifact = best_artifact(b, manifest);
  if (artifact == NULL) return LEPTON_NOT_HERE;
  const lepton_json *name = lepton_json_member(manifest, "name"), *target = lepton_json_member(artifact, "target");
  const lepton_json *labels = lepton_json_member(manifest, "labels"), *weights = lepton_json_member(artifact, "weights");
  const segment *held = segment_of(b, weights);
  if (name == NULL || (held == NULL && weights && weights->kind == '"')) return LEPTON_CANNOT_READ;
  b->model.abi = LEPTON_ABI;
  b->model.name = keep_text(b, name->text, name->text_bytes);
  b->model.target = keep_text(b, target->text, target->text_bytes);
  b->model.weights = held ? held->content : NULL;
  b->model.weights_bytes = held ? held->bytes : 0;
  const char **texts = (const char **)keep(b, sizeof(char *) * (size_t)lepton_json_count(labels));
  if (texts == NULL || !b->model.name || !b->model.target) return LEPTON_NO_MEMORY;
  b->model.label = texts;
  for (const lepton_json *e = labels && labels->kind == '[' ? labels->first : NULL; e; e = e->next)
    texts[b->model.n_labels++] = keep_text(b, e->text, e->text_bytes);
  lepton_status status = load_code(b, segment_of(b, lepton_json_member(artifact, "code")));
  if (status == LEPTON_OK) status = read_functions(b, manifest, artifact);
  if (status == LEPTON_OK) status = read_variables(b, manifest, artifact);
  return status == LEPTON_OK ? read_goldens(b, manifest) : status;
}

static lepton_status read_bundle(lepton_bundle *b, const char *path) {
  lepton_status status = map_file(b, path);
  if (status != LEPTON_OK) return status;
  const uint8_t *foot = b->file + b->file_bytes - FOOTER_BYTES;
  if (memcmp(b->file, "LEPTON\0\0", 8) != 0 || memcmp(foot + 8, "LEPTAIL\0", 8) != 0) return LEPTON_CANNOT_READ;
  if (little_endian(b->file + 8, 2) != MAJOR) return LEPTON_WRONG_MODEL;
  const uint64_t manifest_bytes = little_endian(b->file + 16, 8), trailer_bytes = little_endian(foot, 8);
  const uint64_t inner = b->file_bytes - HEADER_BYTES - FOOTER_BYTES;
  if (manifest_bytes > inner || manifest_bytes > MANIFEST_LIMIT || trailer_bytes > inner - manifest_bytes ||
      trailer_bytes > MANIFEST_LIMIT)
    return LEPTON_CANNOT_READ;
  const lepton_json *trailer = read_json(b, foot - trailer_bytes, (size_t)trailer_bytes);
  const uint8_t *text = b->file + HEADER_BYTES;
  if (trailer == NULL) return LEPTON_CANNOT_READ;
  if (!hashed_as(text, (size_t)manifest_bytes, lepton_json_member(trailer, "manifest_sha256"))) return LEPTON_ALTERED;
  const lepton_json *manifest = read_json(b, text, (size_t)manifest_bytes);
  if (manifest == NULL) return LEPTON_CANNOT_READ;
  const int64_t arithmetic = lepton_json_size(lepton_json_member(manifest, "arithmetic"));
  if (arithmetic < 1 || arithmetic > ARITHMETIC) return LEPTON_WRONG_MODEL;
  status = place_segments(b, manifest, lepton_json_member(trailer, "segments"), HEADER_BYTES + (size_t)manifest_bytes,
                          b->file_bytes - FOOTER_BYTES - (size_t)trailer_bytes);
  return status == LEPTON_OK ? read_model(b, manifest) : status;
}

lepton_status lepton_bundle_open(lepton_bundle **bundle, const char *path) {
  lepton_bundle *b = (lepton_bundle *)calloc(1, sizeof *b);
  *bundle = NULL;
  if (b == NULL) return LEPTON_NO_MEMORY;
  b->code_file = -1;
  const lepton_status status = read_bundle(b, path);
  if (status == LEPTON_OK)
    *bundle = b;
  else
    lepton_bundle_close(b);
  return status;
}

const lepton_model *lepton_bundle_model(const lepton_bundle *bundle) { return &bundle->model; }

void lepton_bundle_close(lepton_bundle *b) {
  if (b == NULL) return;
  if (b->library) dlclose(b->library);
  if (b->code_file >= 0) close(b->code_file);
  if (b->file) munmap(b->file, b->file_bytes);
  while (b->memory) {
    kept *next = b->memory->next;
    free(b->memory);
    b->memory = next;
  }
  free(b);
}
