/* Opens bundles by the C runtime. `driver FILE…` prints a status a file; `driver -r FILE INPUT OUTPUT THREADS` runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lepton_bundle.h"
#include "lepton_threads.h"

static int run(const char *path, const char *from, const char *to, int n_threads) {
  lepton_bundle *bundle;
  lepton_status status = lepton_bundle_open(&bundle, path);
  if (status) return printf("%s\n", lepton_message(status)), 1;
  const lepton_model *model = lepton_bundle_model(bundle);
  lepton_threads *threads = lepton_threads_open(n_threads);
  lepton_options options = {0};
  options.parallel = n_threads > 1 ? lepton_threads_parallel(threads) : NULL;
  lepton_session session;
  lepton_report report;
  status = lepton_open(&session, model, &options);
  if (!status) status = lepton_self_test(&session, &report);
  if (status) return printf("%s\n", lepton_message(status)), 1;
  printf("%s|%s|%d|%d|%d|", model->name, model->target, report.vectors, model->n_labels, model->n_variables);
  const lepton_function *f = lepton_find(model, "infer");
  const lepton_tensor *x = &f->input[0], *y = &f->output[0];
  printf("%s|%d|%g|%d\n", x->name, x->rank, x->n_scales ? (double)x->scale[0] : 0.0, (int)x->zero_point);
  uint8_t *input = malloc(x->bytes), *output = malloc(y->bytes);
  FILE *file = fopen(from, "rb");
  if (!file || fread(input, 1, x->bytes, file) != x->bytes) return 2;
  fclose(file);
  if (lepton_run(&session, "infer") != LEPTON_UNBOUND) return 3;
  if (lepton_bind_input(&session, "infer", "nobody", input, x->bytes) != LEPTON_UNKNOWN_NAME) return 4;
  if (lepton_bind_input(&session, "infer", x->name, input, x->bytes + 1) != LEPTON_WRONG_SIZE) return 5;
  status = lepton_bind_input(&session, "infer", x->name, input, x->bytes);
  if (!status) status = lepton_bind_output(&session, "infer", y->name, output, y->bytes);
  if (!status) status = lepton_run(&session, "infer");
  if (status) return printf("%s\n", lepton_message(status)), 1;
  file = fopen(to, "wb");
  if (!file || fwrite(output, 1, y->bytes, file) != y->bytes) return 6;
  fclose(file);
  free(input);
  free(output);
  lepton_close(&session);
  lepton_threads_close(threads);
  lepton_bundle_close(bundle);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "-r") == 0) return run(argv[2], argv[3], argv[4], atoi(argv[5]));
  for (int i = 1; i < argc; i++) {
    lepton_bundle *bundle;
    printf("%d\n", (int)lepton_bundle_open(&bundle, argv[i]));
    lepton_bundle_close(bundle);
  }
  return 0;
}
