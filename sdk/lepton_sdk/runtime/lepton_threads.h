/* POSIX threads behind a lepton_parallel: lepton_pool.h with workers of its own. Linux; link with -pthread.
 *
 *   lepton_threads *threads = lepton_threads_open(4);
 *   lepton_options options = {0};
 *   options.parallel = lepton_threads_parallel(threads);
 */
#ifndef LEPTON_THREADS_H
#define LEPTON_THREADS_H
#include "lepton_parallel.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lepton_threads lepton_threads;

/* n threads, the caller's included, 1 to 16; null where the system gives none. They sleep between runs. */
lepton_threads *lepton_threads_open(int n);

/* What a session is given; one session at a time may run with it. */
const lepton_parallel *lepton_threads_parallel(const lepton_threads *threads);

/* End the threads. No session may run with them then. */
void lepton_threads_close(lepton_threads *threads);

#ifdef __cplusplus
}
#endif
#endif
