/* Runs every golden vector of a model with each buffer in a place of its own, from which nothing else can be reached.
 *
 * MODE 0: buffers of malloc, for AddressSanitizer to watch. MODE 1 and 2: pages that nobody may touch lie right behind
 * each buffer, or right before it. Prints the number of vectors; ends with 1 at a wrong output, by a signal at a touch.
 * Arguments: mode, threads, repetitions.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include MODEL_HEADER
#include "lepton_threads.h"

static int mode, n_held;
static void *held[1 << 16];

static void *place(const void *content, size_t bytes, size_t alignment) {
  uint8_t *at;
  if (bytes == 0) bytes = 1;
  if (mode == 0) {
    at = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (n_held < (int)(sizeof held / sizeof *held)) held[n_held++] = at;
  } else {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
    uint8_t *whole = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED || mprotect(whole + page, inner, PROT_READ | PROT_WRITE)) exit(90);
    /* An end that is not aligned would leave room behind it; only what must be aligned may have that. */
    at = mode == 2 ? whole + page : whole + page + inner - (bytes + alignment - 1) / alignment * alignment;
  }
  if (at == NULL) exit(91);
  if (content)
    memcpy(at, content, bytes);
  else
    memset(at, 0xa5, bytes);
  return at;
}

static size_t item(const lepton_tensor *tensor) {
  static const size_t bytes[] = {1, 1, 1, 2, 4, 4, 8};
  return bytes[tensor->type];
}

static int near(const lepton_tensor *tensor, const void *a, const void *b) {
  if (memcmp(a, b, tensor->bytes) == 0) return 1;
  if (tensor->tolerance < 0) return 0;
  for (size_t i = 0; i < tensor->bytes / item(tensor); i++) {
    double x, y;
    if (tensor->type == LEPTON_FLOAT32)
      x = ((const float *)a)[i], y = ((const float *)b)[i];
    else if (tensor->type == LEPTON_INT8)
      x = ((const int8_t *)a)[i], y = ((const int8_t *)b)[i];
    else
      return 0;
    if (!(x == y || (x != x && y != y) || (x - y <= tensor->tolerance && y - x <= tensor->tolerance))) return 0;
  }
  return 1;
}

int main(int argc, char **argv) {
  const lepton_model *model = &MODEL;
  if (argc != 4) return 92;
  mode = atoi(argv[1]);
  const int n_threads = atoi(argv[2]), repetitions = atoi(argv[3]);
  lepton_threads *threads = n_threads > 1 ? lepton_threads_open(n_threads) : NULL;
  void *weights = place(model->weights, model->weights_bytes, 64);
  for (int g = 0; g < model->n_goldens; g++) {
    const lepton_golden *golden = &model->golden[g];
    const lepton_function *f = &model->function[golden->function];
    void *inputs[64], *outputs[64];
    for (int i = 0; i < f->n_inputs; i++) inputs[i] = place(golden->inputs[i], f->input[i].bytes, item(&f->input[i]));
    for (int i = 0; i < f->n_outputs; i++) outputs[i] = place(NULL, f->output[i].bytes, item(&f->output[i]));
    void *arena = place(NULL, f->arena_bytes, 64);
    for (int r = 0; r < repetitions; r++) {
      void *variables = place(model->variables, model->variables_bytes, 64);
      if (f->code(arena, weights, variables, (const void *const *)inputs, outputs,
                  threads ? lepton_threads_parallel(threads) : NULL))
        return 93;
      for (int i = 0; i < f->n_outputs; i++)
        if (!near(&f->output[i], golden->outputs[i], outputs[i])) {
          fprintf(stderr, "%s: output '%s' differs\n", f->name, f->output[i].name);
          return 1;
        }
    }
  }
  lepton_threads_close(threads);
  while (n_held) free(held[--n_held]);
  printf("%d\n", model->n_goldens);
  return 0;
}
