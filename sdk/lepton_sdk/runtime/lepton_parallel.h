/* How generated code hands out work. The caller of a generated function may pass one of these, or a null pointer:
 * then everything runs on the calling thread, in order. The results are the same bytes either way, for the parts of
 * a piece of work are fixed when a network is compiled, write apart from each other, and never depend on who runs them.
 */
#ifndef LEPTON_PARALLEL_H
#define LEPTON_PARALLEL_H
#ifdef __cplusplus
extern "C" {
#endif

/* for_ calls body(arguments, index) once for every index from 0 to count - 1, on any threads in any order, and returns
 * when all calls have returned and what they wrote is visible to the caller. body calls nothing and never blocks.
 * context: whatever for_ needs; generated code passes it on unseen. */
typedef struct lepton_parallel {
  void (*for_)(void *context, void (*body)(void *arguments, int index), void *arguments, int count);
  void *context;
} lepton_parallel;

#ifdef __cplusplus
}
#endif
#endif
