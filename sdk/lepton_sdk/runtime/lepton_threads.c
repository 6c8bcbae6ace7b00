/* See lepton_threads.h. */
#include "lepton_threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lepton_pool.h"

typedef struct worker {
  lepton_pool *pool;
  int number;
  pthread_t thread;
} worker;

struct lepton_threads {
  lepton_pool *pool; /* aligned, inside `memory` */
  int n_workers;
  worker workers[LEPTON_POOL_THREADS - 1];
  unsigned char memory[sizeof(lepton_pool) + 64];
};

static void *work(void *argument) {
  worker *self = (worker *)argument;
  lepton_pool_work(self->pool, self->number);
  return NULL;
}

lepton_threads *lepton_threads_open(int n) {
  if (n < 1 || n > LEPTON_POOL_THREADS) return NULL;
  lepton_threads *threads = (lepton_threads *)calloc(1, sizeof *threads);
  if (threads == NULL) return NULL;
  unsigned char *memory = threads->memory;
  threads->pool = (lepton_pool *)(void *)(memory + (64 - (uintptr_t)memory % 64));
  lepton_pool_open(threads->pool, n);
  while (threads->n_workers < n - 1) {
    worker *next = &threads->workers[threads->n_workers];
    next->pool = threads->pool;
    next->number = threads->n_workers + 1;
    if (pthread_create(&next->thread, NULL, work, next) != 0) {
      lepton_threads_close(threads);
      return NULL;
    }
    threads->n_workers++;
  }
  return threads;
}

const lepton_parallel *lepton_threads_parallel(const lepton_threads *threads) { return &threads->pool->parallel; }

void lepton_threads_close(lepton_threads *threads) {
  if (threads == NULL) return;
  lepton_pool_close(threads->pool);
  for (int i = 0; i < threads->n_workers; i++) pthread_join(threads->workers[i].thread, NULL);
  free(threads);
}
