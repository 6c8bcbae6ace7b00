/* See lepton_runtime.h. Define LEPTON_NO_MALLOC for systems without a heap: then lepton_open wants lent memory, and
 * lepton_self_test is left out. */
#include "lepton_runtime.h"

#include <string.h>
#ifndef LEPTON_NO_MALLOC
#include <stdlib.h>
#endif

static size_t aligned(size_t bytes) { return (bytes + LEPTON_ALIGNMENT - 1) / LEPTON_ALIGNMENT * LEPTON_ALIGNMENT; }

const char *lepton_message(lepton_status status) {
  switch (status) {
    case LEPTON_OK: return "ok";
    case LEPTON_NO_MEMORY: return "too little memory, or memory that is not aligned to 64 bytes";
    case LEPTON_UNKNOWN_NAME: return "the model has nothing of that name";
    case LEPTON_WRONG_SIZE: return "an array of another size than the model's";
    case LEPTON_UNBOUND: return "an input or output was not bound to an array";
    case LEPTON_WRONG_MODEL: return "the model was made for another version of the runtime, or lacks its weights";
    case LEPTON_FAILED: return "the model's code reported a failure";
    case LEPTON_SELF_TEST: return "a golden vector came out otherwise than promised";
    case LEPTON_CANNOT_READ: return "the file is missing, cut short or not what it should be";
    case LEPTON_ALTERED: return "the file's bytes are not those that were hashed";
    case LEPTON_NOT_HERE: return "the file has nothing that this machine runs";
  }
  return "unknown status";
}

const lepton_function *lepton_find(const lepton_model *model, const char *function) {
  for (int i = 0; i < model->n_functions; i++)
    if (strcmp(model->function[i].name, function) == 0) return &model->function[i];
  return NULL;
}

/* ---- memory: arena, variables, addresses ---- */

static size_t arena_bytes(const lepton_model *model) {
  size_t largest = 0;
  for (int i = 0; i < model->n_functions; i++)
    if (model->function[i].arena_bytes > largest) largest = model->function[i].arena_bytes;
  return aligned(largest);
}

/* How many inputs and outputs stand before a function's; with the end of the functions, how many there are. */
static void count_before(const lepton_model *model, const lepton_function *function, size_t *inputs, size_t *outputs) {
  *inputs = *outputs = 0;
  for (const lepton_function *f = model->function; f < function; f++) {
    *inputs += (size_t)f->n_inputs;
    *outputs += (size_t)f->n_outputs;
  }
}

static size_t address_bytes(const lepton_model *model, size_t *n_inputs) {
  size_t n_outputs;
  count_before(model, model->function + model->n_functions, n_inputs, &n_outputs);
  return aligned((*n_inputs + n_outputs) * sizeof(void *));
}

size_t lepton_memory_bytes(const lepton_model *model) {
  size_t n_inputs;
  return arena_bytes(model) + aligned(model->variables_bytes) + address_bytes(model, &n_inputs);
}

lepton_status lepton_open(lepton_session *session, const lepton_model *model, const lepton_options *options) {
  static const lepton_options defaults = {NULL, 0, NULL, NULL};
  if (options == NULL) options = &defaults;
  memset(session, 0, sizeof *session);
  const void *weights = options->weights ? options->weights : model->weights;
  if (model->abi != LEPTON_ABI || (model->weights_bytes && !weights)) return LEPTON_WRONG_MODEL;
  const size_t bytes = lepton_memory_bytes(model);
  uint8_t *memory = (uint8_t *)options->memory;
  if (memory) {
    if (options->memory_bytes < bytes || (uintptr_t)memory % LEPTON_ALIGNMENT) return LEPTON_NO_MEMORY;
  } else {
#ifdef LEPTON_NO_MALLOC
    return LEPTON_NO_MEMORY;
#else
    session->owned = malloc(bytes + LEPTON_ALIGNMENT);
    if (session->owned == NULL) return LEPTON_NO_MEMORY;
    memory = (uint8_t *)session->owned + (LEPTON_ALIGNMENT - (uintptr_t)session->owned % LEPTON_ALIGNMENT);
#endif
  }
  session->model = model;
  session->weights = weights;
  session->parallel = options->parallel;
  session->arena = memory;
  session->variables = memory + arena_bytes(model);
  uint8_t *addresses = session->variables + aligned(model->variables_bytes);
  size_t n_inputs;
  memset(addresses, 0, address_bytes(model, &n_inputs));
  session->inputs = (const void **)(void *)addresses;
  session->outputs = (void **)(void *)addresses + n_inputs;
  lepton_reset(session);
  return LEPTON_OK;
}

void lepton_close(lepton_session *session) {
#ifndef LEPTON_NO_MALLOC
  free(session->owned);
#endif
  memset(session, 0, sizeof *session);
}

/* ---- runs ---- */

static int index_of(const lepton_tensor *tensors, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (strcmp(tensors[i].name, name) == 0) return i;
  return -1;
}

/* Finds function and tensor; `place` is the tensor's among all functions' of its kind. */
static lepton_status find_tensor(const lepton_session *session, const char *function, const char *name, size_t bytes,
                                 int output, size_t *place) {
  const lepton_function *f = lepton_find(session->model, function);
  if (f == NULL) return LEPTON_UNKNOWN_NAME;
  const lepton_tensor *tensors = output ? f->output : f->input;
  const int i = index_of(tensors, output ? f->n_outputs : f->n_inputs, name);
  if (i < 0) return LEPTON_UNKNOWN_NAME;
  if (tensors[i].bytes != bytes) return LEPTON_WRONG_SIZE;
  size_t inputs, outputs;
  count_before(session->model, f, &inputs, &outputs);
  *place = (output ? outputs : inputs) + (size_t)i;
  return LEPTON_OK;
}

lepton_status lepton_bind_input(lepton_session *session, const char *function, const char *name, const void *array,
                                size_t bytes) {
  size_t place = 0;
  const lepton_status status = find_tensor(session, function, name, bytes, 0, &place);
  if (status == LEPTON_OK) session->inputs[place] = array;
  return status;
}

lepton_status lepton_bind_output(lepton_session *session, const char *function, const char *name, void *array,
                                 size_t bytes) {
  size_t place = 0;
  const lepton_status status = find_tensor(session, function, name, bytes, 1, &place);
  if (status == LEPTON_OK) session->outputs[place] = array;
  return status;
}

lepton_status lepton_call(lepton_session *session, const lepton_function *function, const void *const *inputs,
                          void *const *outputs) {
  return function->code(session->arena, session->weights, session->variables, inputs, outputs, session->parallel)
             ? LEPTON_FAILED
             : LEPTON_OK;
}

lepton_status lepton_run(lepton_session *session, const char *function) {
  const lepton_function *f = lepton_find(session->model, function);
  if (f == NULL) return LEPTON_UNKNOWN_NAME;
  size_t inputs, outputs;
  count_before(session->model, f, &inputs, &outputs);
  for (int i = 0; i < f->n_inputs; i++)
    if (session->inputs[inputs + (size_t)i] == NULL) return LEPTON_UNBOUND;
  for (int i = 0; i < f->n_outputs; i++)
    if (session->outputs[outputs + (size_t)i] == NULL) return LEPTON_UNBOUND;
  return lepton_call(session, f, session->inputs + inputs, session->outputs + outputs);
}

void *lepton_variable(lepton_session *session, const char *name) {
  const int i = index_of(session->model->variable, session->model->n_variables, name);
  return i < 0 ? NULL : session->variables + session->model->variable_offset[i];
}

void lepton_reset(lepton_session *session) {
  if (session->model->variables_bytes)
    memcpy(session->variables, session->model->variables, session->model->variables_bytes);
}

/* ---- self-test ---- */

#ifndef LEPTON_NO_MALLOC
static size_t item_bytes(lepton_type type) {
  switch (type) {
    case LEPTON_INT16: return 2;
    case LEPTON_INT32:
    case LEPTON_FLOAT32: return 4;
    case LEPTON_INT64: return 8;
    default: return 1;
  }
}

static double value_at(const uint8_t *array, lepton_type type, size_t i) {
  array += i * item_bytes(type);
  int8_t i8;
  int16_t i16;
  int32_t i32;
  int64_t i64;
  float f32;
  switch (type) {
    case LEPTON_BOOL:
    case LEPTON_UINT8: return array[0];
    case LEPTON_INT8: return memcpy(&i8, array, 1), i8;
    case LEPTON_INT16: return memcpy(&i16, array, 2), i16;
    case LEPTON_INT32: return memcpy(&i32, array, 4), i32;
    case LEPTON_INT64: return memcpy(&i64, array, 8), (double)i64;
    case LEPTON_FLOAT32: return memcpy(&f32, array, 4), (double)f32;
  }
  return 0;
}

/* Index of the first value that is not as expected, or the number of values. */
static size_t first_difference(const lepton_tensor *tensor, const uint8_t *expected, const uint8_t *found,
                               float *largest) {
  const size_t size = item_bytes(tensor->type), n = tensor->bytes / size;
  for (size_t i = 0; i < n; i++) {
    if (memcmp(expected + i * size, found + i * size, size) == 0) continue;
    if (tensor->tolerance < 0) return i;
    const double a = value_at(expected, tensor->type, i), b = value_at(found, tensor->type, i);
    if (a == b || (a != a && b != b)) continue;
    const double difference = a > b ? a - b : b - a;
    if (!(difference <= (double)tensor->tolerance)) return i;
    if (difference > (double)*largest) *largest = (float)difference;
  }
  return n;
}

static lepton_status run_golden(lepton_session *session, const lepton_golden *golden, void **outputs, uint8_t *memory,
                                lepton_report *report) {
  const lepton_function *f = &session->model->function[golden->function];
  for (int i = 0; i < f->n_outputs; i++) {
    outputs[i] = memory;
    memory += aligned(f->output[i].bytes);
  }
  lepton_reset(session);
  const lepton_status status = lepton_call(session, f, golden->inputs, outputs);
  if (status != LEPTON_OK) return status;
  report->vectors++;
  for (int i = 0; i < f->n_outputs; i++) {
    const lepton_tensor *tensor = &f->output[i];
    const size_t n = tensor->bytes / item_bytes(tensor->type);
    const size_t at = first_difference(tensor, (const uint8_t *)golden->outputs[i], (const uint8_t *)outputs[i],
                                       &report->largest_difference);
    report->values += n;
    if (at < n) {
      report->failed = 1;
      report->function = f->name;
      report->output = tensor->name;
      report->index = at;
      return LEPTON_SELF_TEST;
    }
  }
  return LEPTON_OK;
}

lepton_status lepton_self_test(lepton_session *session, lepton_report *report) {
  lepton_report ignored;
  if (report == NULL) report = &ignored;
  memset(report, 0, sizeof *report);
  const lepton_model *model = session->model;
  size_t largest = 0, most = 0;
  for (int k = 0; k < model->n_functions; k++) {
    size_t bytes = 0;
    for (int i = 0; i < model->function[k].n_outputs; i++) bytes += aligned(model->function[k].output[i].bytes);
    if (bytes > largest) largest = bytes;
    if ((size_t)model->function[k].n_outputs > most) most = (size_t)model->function[k].n_outputs;
  }
  const size_t addresses = aligned(most * sizeof(void *));
  uint8_t *memory = (uint8_t *)malloc(addresses + largest + model->variables_bytes + LEPTON_ALIGNMENT);
  if (memory == NULL) return LEPTON_NO_MEMORY;
  uint8_t *kept = memory + addresses + largest;
  if (model->variables_bytes) memcpy(kept, session->variables, model->variables_bytes);
  lepton_status status = LEPTON_OK;
  for (int g = 0; g < model->n_goldens && status == LEPTON_OK; g++)
    status = run_golden(session, &model->golden[g], (void **)(void *)memory, memory + addresses, report);
  if (model->variables_bytes) memcpy(session->variables, kept, model->variables_bytes);
  free(memory);
  return status;
}
#endif
