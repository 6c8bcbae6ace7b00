/* A small program around the model '@NAME@': self-test, then one inference of the first golden input.
 *
 *   @NAME@_example@USAGE@ [-t THREADS] [-i INPUTS.bin] [-o OUTPUTS.bin]
 *
 * -i: the inputs of `@FUNCTION@`, one behind the other, as raw bytes. -o: where its outputs go, likewise.
 */
#ifdef LEPTON_TIMED
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "@NAME@.h"
#ifdef EXAMPLE_THREADS
#include "lepton_threads.h"
#endif

static int fail(const char *what, lepton_status status) {
  fprintf(stderr, "%s: %s\n", what, lepton_message(status));
  return 1;
}

/* A whole file in 64-byte aligned memory that is never given back, or null. */
static void *read_file(const char *path, size_t bytes) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) return NULL;
  unsigned char *memory = (unsigned char *)malloc(bytes + LEPTON_ALIGNMENT + 1);
  if (memory != NULL) {
    memory += LEPTON_ALIGNMENT - (uintptr_t)memory % LEPTON_ALIGNMENT;
    if (fread(memory, 1, bytes + 1, file) != bytes) memory = NULL;
  }
  fclose(file);
  return memory;
}

#ifdef LEPTON_TIMED
static int read_clock(int id, void *time) { return clock_gettime((clockid_t)id, (struct timespec *)time); }

static double nanoseconds(const unsigned char *stamp) {
  struct timespec time;
  memcpy(&time, stamp, sizeof time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The least time of each step over many runs, what a reading takes subtracted. */
static int print_times(const lepton_session *session, const void **inputs, void **outputs) {
  enum { STEPS = @NAME_UPPER@_@FUNCTION_UPPER@_STEPS, READINGS = LEPTON_READINGS_BEFORE + STEPS, RUNS = 200 };
  static double least[STEPS + 1];
  static union {
    double aligned;
    unsigned char bytes[READINGS * LEPTON_STAMP_BYTES];
  } record;
  lepton_stamps stamps = {read_clock, CLOCK_MONOTONIC, record.bytes, record.bytes + sizeof record.bytes};
  void *arguments[] = {session->arena,  (void *)session->weights,  session->variables, (void *)inputs,
                       (void *)outputs, (void *)session->parallel, &stamps};
  for (int run = 0; run < RUNS; run++) {
    stamps.next = record.bytes;
    if (@NAME@_@FUNCTION@_timed(arguments)) return 1;
    for (int i = 0; i <= STEPS; i++) {
      const unsigned char *stamp = record.bytes + (LEPTON_READINGS_BEFORE - 2 + i) * LEPTON_STAMP_BYTES;
      const double taken = nanoseconds(stamp + LEPTON_STAMP_BYTES) - nanoseconds(stamp);
      if (run == 0 || taken < least[i]) least[i] = taken;
    }
  }
  for (int i = 0; i < STEPS; i++) printf("%10.2f us  %s\n", (least[i + 1] - least[0]) / 1e3, @NAME@_@FUNCTION@_steps[i]);
  return 0;
}
#endif

int main(int argc, char **argv) {
  const char *input_path = NULL, *output_path = NULL, *weights_path = NULL;
  int threads = 1;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "-i") == 0 && i + 1 < argc)
      input_path = argv[++i];
    else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
      output_path = argv[++i];
    else if (strcmp(argv[i], "-t") == 0 && i + 1 < argc)
      threads = atoi(argv[++i]);
    else
      weights_path = argv[i];
  }

  const lepton_model *model = &@NAME@;
  lepton_options options = {0};
  if (model->weights == NULL && model->weights_bytes) {
    options.weights = weights_path ? read_file(weights_path, model->weights_bytes) : NULL;
    if (options.weights == NULL) return fail(weights_path ? weights_path : "weights file", LEPTON_CANNOT_READ);
  }
#ifdef EXAMPLE_THREADS
  lepton_threads *pool = lepton_threads_open(threads);
  if (pool == NULL) return fail("threads", LEPTON_NOT_HERE);
  if (threads > 1) options.parallel = lepton_threads_parallel(pool);
#else
  if (threads != 1) return fail("threads", LEPTON_NOT_HERE);
#endif

  lepton_session session;
  lepton_status status = lepton_open(&session, model, &options);
  if (status != LEPTON_OK) return fail(model->name, status);

  lepton_report report;
  status = lepton_self_test(&session, &report);
  if (status != LEPTON_OK) {
    if (report.failed) fprintf(stderr, "output '%s' at %lu: ", report.output, (unsigned long)report.index);
    return fail("self-test", status);
  }
  printf("%s for %s: %d golden vectors, %lu values as promised\n", model->name, model->target, report.vectors,
         (unsigned long)report.values);

  const lepton_function *function = lepton_find(model, "@FUNCTION@");
  size_t bytes = 0;
  for (int i = 0; i < function->n_inputs; i++) bytes += function->input[i].bytes;
  const unsigned char *given = input_path ? (const unsigned char *)read_file(input_path, bytes) : NULL;
  if (input_path && given == NULL) return fail(input_path, LEPTON_CANNOT_READ);
  for (int i = 0; i < function->n_inputs; i++) {
    const lepton_tensor *input = &function->input[i];
    const void *array = given ? given : model->golden[0].inputs[i];
    status = lepton_bind_input(&session, function->name, input->name, array, input->bytes);
    if (status != LEPTON_OK) return fail(input->name, status);
    if (given) given += input->bytes;
  }
  void **outputs = (void **)calloc((size_t)function->n_outputs, sizeof(void *));
  if (outputs == NULL) return fail(function->name, LEPTON_NO_MEMORY);
  for (int i = 0; i < function->n_outputs; i++) {
    const lepton_tensor *output = &function->output[i];
    outputs[i] = malloc(output->bytes);
    if (outputs[i] == NULL) return fail(output->name, LEPTON_NO_MEMORY);
    status = lepton_bind_output(&session, function->name, output->name, outputs[i], output->bytes);
    if (status != LEPTON_OK) return fail(output->name, status);
  }
  status = lepton_run(&session, function->name);
  if (status != LEPTON_OK) return fail(function->name, status);

  FILE *file = output_path ? fopen(output_path, "wb") : NULL;
  if (output_path && file == NULL) return fail(output_path, LEPTON_CANNOT_READ);
  for (int i = 0; i < function->n_outputs; i++) {
    printf("%s: %lu bytes\n", function->output[i].name, (unsigned long)function->output[i].bytes);
    if (file) fwrite(outputs[i], 1, function->output[i].bytes, file);
  }
  if (file) fclose(file);
#ifdef LEPTON_TIMED
  const void **inputs = session.inputs;
  for (const lepton_function *before = model->function; before != function; before++) inputs += before->n_inputs;
  if (print_times(&session, inputs, outputs)) return fail(function->name, LEPTON_FAILED);
#endif
  for (int i = 0; i < function->n_outputs; i++) free(outputs[i]);
  free(outputs);
  lepton_close(&session);
#ifdef EXAMPLE_THREADS
  lepton_threads_close(pool);
#endif
  return 0;
}
