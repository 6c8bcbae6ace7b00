/* Calls a model of one input and one output by LiteRT's C library, to count its instructions on other CPUs.
 *
 * litert_calls MODEL CALLS INPUT OUTPUT: INPUT's bytes are the input, OUTPUT takes the last call's. Declares what it
 * needs of the library's interface (LiteRT 2) itself; the library comes from the aarch64 wheel.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPU = 1, HOST_MEMORY = 1, READ = 0, WRITE = 1 };
/* element type, rank and flags, 8 extents, 8 strides: only handed on */
typedef struct {
  int32_t words[18];
} tensor_type;

int LiteRtCreateEnvironment(int, const void *, void **);
int LiteRtCreateModelFromFile(void *, const char *, void **);
int LiteRtCreateOptions(void **);
int LiteRtSetOptionsHardwareAccelerators(void *, int);
int LiteRtCreateCompiledModel(void *, void *, void *, void **);
int LiteRtRunCompiledModel(void *, size_t, size_t, void **, size_t, void **);
int LiteRtGetModelSignature(void *, size_t, void **);
int LiteRtGetSignatureInputTensorByIndex(void *, size_t, void **);
int LiteRtGetSignatureOutputTensorByIndex(void *, size_t, void **);
int LiteRtGetRankedTensorType(void *, tensor_type *);
int LiteRtGetCompiledModelInputBufferRequirements(void *, size_t, size_t, void **);
int LiteRtGetCompiledModelOutputBufferRequirements(void *, size_t, size_t, void **);
int LiteRtGetTensorBufferRequirementsBufferSize(void *, size_t *);
int LiteRtCreateManagedTensorBuffer(void *, int, const tensor_type *, size_t, void **);
int LiteRtGetTensorBufferPackedSize(void *, size_t *);
int LiteRtLockTensorBuffer(void *, void **, int);
int LiteRtUnlockTensorBuffer(void *);

static void must(int status, const char *what) {
  if (!status) return;
  fprintf(stderr, "%s: status %d\n", what, status);
  exit(1);
}
#define MUST(call) must(call, #call)

static void *buffer_of(void *environment, void *tensor, void *requirements) {
  tensor_type type;
  size_t bytes;
  void *buffer;
  MUST(LiteRtGetRankedTensorType(tensor, &type));
  MUST(LiteRtGetTensorBufferRequirementsBufferSize(requirements, &bytes));
  MUST(LiteRtCreateManagedTensorBuffer(environment, HOST_MEMORY, &type, bytes, &buffer));
  return buffer;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  void *environment, *model, *options, *compiled, *signature, *tensor, *needs, *input, *output, *bytes;
  MUST(LiteRtCreateEnvironment(0, NULL, &environment));
  MUST(LiteRtCreateModelFromFile(environment, argv[1], &model));
  MUST(LiteRtCreateOptions(&options));
  MUST(LiteRtSetOptionsHardwareAccelerators(options, CPU));
  MUST(LiteRtCreateCompiledModel(environment, model, options, &compiled));
  MUST(LiteRtGetModelSignature(model, 0, &signature));
  MUST(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor));
  MUST(LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, 0, &needs));
  input = buffer_of(environment, tensor, needs);
  MUST(LiteRtGetSignatureOutputTensorByIndex(signature, 0, &tensor));
  MUST(LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, 0, &needs));
  output = buffer_of(environment, tensor, needs);

  size_t n;
  FILE *file = fopen(argv[3], "rb");
  MUST(file == NULL);
  MUST(LiteRtGetTensorBufferPackedSize(input, &n));
  MUST(LiteRtLockTensorBuffer(input, &bytes, WRITE));
  MUST(fread(bytes, 1, n, file) != n);
  MUST(LiteRtUnlockTensorBuffer(input));
  for (int calls = atoi(argv[2]); calls > 0; calls--) MUST(LiteRtRunCompiledModel(compiled, 0, 1, &input, 1, &output));

  file = fopen(argv[4], "wb");
  MUST(file == NULL);
  MUST(LiteRtGetTensorBufferPackedSize(output, &n));
  MUST(LiteRtLockTensorBuffer(output, &bytes, READ));
  MUST(fwrite(bytes, 1, n, file) != n);
  MUST(LiteRtUnlockTensorBuffer(output));
  fclose(file);
  return 0;
}
