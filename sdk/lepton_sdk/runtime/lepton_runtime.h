/* Running a compiled model from C, as the Python session does: names, weights, variables, runs, self-test.
 *
 * C99. Needs memcpy, memset, memcmp and strcmp; malloc only where the caller lends no memory. A model is a table of
 * constants: `lepton compile … --emit c-project` writes one to link statically (NAME.h declares it), and lepton_bundle.h
 * makes one of a bundle's file.
 *
 *   lepton_session session;
 *   if (lepton_open(&session, &kws, NULL) != LEPTON_OK) …
 *   lepton_bind_input(&session, "infer", "audio", x, sizeof x);
 *   lepton_bind_output(&session, "infer", "scores", y, sizeof y);
 *   status = lepton_run(&session, "infer");              as often as wanted
 *   lepton_close(&session);
 *
 * A session is for one thread at a time: it owns one arena. Any number of sessions may share one model.
 */
#ifndef LEPTON_RUNTIME_H
#define LEPTON_RUNTIME_H
#include <stddef.h>
#include <stdint.h>

#include "lepton_parallel.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LEPTON_ABI = 1, LEPTON_ALIGNMENT = 64 };

typedef enum lepton_status {
  LEPTON_OK = 0,
  LEPTON_NO_MEMORY,      /* malloc failed, or the memory that was lent is too small or not aligned */
  LEPTON_UNKNOWN_NAME,   /* no function, tensor or variable of that name */
  LEPTON_WRONG_SIZE,     /* an array of another number of bytes */
  LEPTON_UNBOUND,        /* an input or output that no array was bound to */
  LEPTON_WRONG_MODEL,    /* made for another version of this interface, or without its weights */
  LEPTON_FAILED,         /* generated code reported a failure */
  LEPTON_SELF_TEST,      /* a golden vector came out otherwise: do not trust this model on this machine */
  LEPTON_CANNOT_READ,    /* a file that is missing, cut short or not what it should be */
  LEPTON_ALTERED,        /* bytes whose SHA-256 is not the one promised */
  LEPTON_NOT_HERE        /* nothing for this CPU or system */
} lepton_status;

/* What a status says, in English. */
const char *lepton_message(lepton_status status);

typedef enum lepton_type {
  LEPTON_BOOL,
  LEPTON_INT8,
  LEPTON_UINT8,
  LEPTON_INT16,
  LEPTON_INT32,
  LEPTON_FLOAT32,
  LEPTON_INT64
} lepton_type;

/* ---- a model ---- */

/* A dense array in C order. real = scale[i] * (integer - zero_point), i along `axis`; n_scales is 0 for real numbers,
 * 1 for a tensor of one scale. tolerance: largest difference allowed in a self-test; negative: bytes must be equal. */
typedef struct lepton_tensor {
  const char *name;
  lepton_type type;
  int rank;
  const int32_t *shape;
  size_t bytes;
  int n_scales;
  const float *scale;
  int32_t zero_point;
  int axis;
  float tolerance;
} lepton_tensor;

/* The C interface of generated code. arena: arena_bytes of working memory, 64-byte aligned, contents of no matter.
 * weights: 64-byte aligned, never written. variables: what lives between calls. inputs, outputs: an address a tensor,
 * in order; arrays may have any alignment that their type has, and outputs lie apart from everything else.
 * parallel: null, or who shares the work. Returns 0. No allocation, no globals, no libc. */
typedef int (*lepton_code)(void *arena, const void *weights, void *variables, const void *const *inputs,
                           void *const *outputs, const lepton_parallel *parallel);

typedef struct lepton_function {
  const char *name;
  lepton_code code;
  size_t arena_bytes;
  int n_inputs;
  const lepton_tensor *input;
  int n_outputs;
  const lepton_tensor *output;
} lepton_function;

/* One call of model->function[function], and what must come of it. */
typedef struct lepton_golden {
  int function;
  const void *const *inputs;
  const void *const *outputs;
} lepton_golden;

typedef struct lepton_model {
  int abi; /* LEPTON_ABI */
  const char *name;
  const char *target;
  int n_functions;
  const lepton_function *function;
  const void *weights; /* null where they come from a file: lepton_options.weights */
  size_t weights_bytes;
  const void *variables; /* first values of the block */
  size_t variables_bytes;
  int n_variables;
  const lepton_tensor *variable;
  const size_t *variable_offset;
  int n_labels;
  const char *const *label;
  int n_goldens;
  const lepton_golden *golden;
} lepton_model;

/* The function of that name, or null. */
const lepton_function *lepton_find(const lepton_model *model, const char *function);

/* ---- a session ---- */

/* What a session may be given; a null pointer for all of it means: malloc, the model's own weights, one thread.
 * memory: lepton_memory_bytes(model) of it, 64-byte aligned, for the session's life. */
typedef struct lepton_options {
  void *memory;
  size_t memory_bytes;
  const void *weights;
  const lepton_parallel *parallel;
} lepton_options;

typedef struct lepton_session {
  const lepton_model *model;
  const void *weights;
  const lepton_parallel *parallel;
  uint8_t *arena;
  uint8_t *variables;
  const void **inputs; /* of all functions in order */
  void **outputs;
  void *owned;
} lepton_session;

/* Bytes of memory that a session of the model wants: the largest arena, variables, addresses. */
size_t lepton_memory_bytes(const lepton_model *model);

/* Open a session; its variables hold their first values. */
lepton_status lepton_open(lepton_session *session, const lepton_model *model, const lepton_options *options);

/* Give up what lepton_open allocated. */
void lepton_close(lepton_session *session);

/* Let runs of `function` read this array, or fill that one; both stay the caller's. bytes: the size, checked. */
lepton_status lepton_bind_input(lepton_session *session, const char *function, const char *name, const void *array,
                                size_t bytes);
lepton_status lepton_bind_output(lepton_session *session, const char *function, const char *name, void *array,
                                 size_t bytes);

/* Run a function on the arrays bound to it. */
lepton_status lepton_run(lepton_session *session, const char *function);

/* The same without names: for loops that look a function up once. */
lepton_status lepton_call(lepton_session *session, const lepton_function *function, const void *const *inputs,
                          void *const *outputs);

/* Address of a variable's present value, or null. */
void *lepton_variable(lepton_session *session, const char *name);

/* Give every variable its first value again. */
void lepton_reset(lepton_session *session);

/* What a self-test saw; the fields after `failed` tell where the first difference stands. */
typedef struct lepton_report {
  int vectors;
  size_t values;
  float largest_difference;
  int failed;
  const char *function;
  const char *output;
  size_t index;
} lepton_report;

/* Run every golden vector from the variables' first values, which stay as they were. report may be null.
 * Needs room for the largest output set: malloc, or LEPTON_NO_MEMORY on systems without it. */
lepton_status lepton_self_test(lepton_session *session, lepton_report *report);

#ifdef __cplusplus
}
#endif
#endif
