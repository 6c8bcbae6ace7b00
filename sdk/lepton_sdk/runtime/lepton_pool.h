/* A pool of threads behind lepton_parallel: workers spin for some tens of microseconds, then sleep.
 *
 * Freestanding: no C library, no allocation, no thread is made here. Threads are lent: whoever owns the pool starts
 * threads - 1 of them, by whatever means, and each calls lepton_pool_work until the pool is closed. One thread at a
 * time may call a generated function with this pool.
 *
 * A piece of work has at most 16 parts. `ticket` holds its number above a mask of the parts that nobody has taken, so
 * that taking a part is one compare-and-swap that fails if the work has changed meanwhile. A thread looks for parts
 * first where its own share begins: the same thread then reads what it wrote a layer before. Who finds nothing left
 * goes back to waiting; the caller waits only for parts that somebody has taken, so a worker that the system does not
 * run costs nothing.
 */
#ifndef LEPTON_POOL_H
#define LEPTON_POOL_H
#include <stdint.h>

#include "lepton_parallel.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LEPTON_POOL_PARTS = 16, LEPTON_POOL_THREADS = 16, LEPTON_POOL_SPINS = 2000 };

/* Whoever links the pool statically leaves its functions private to one file; generated shared objects export them. */
#ifndef LEPTON_POOL_API
#define LEPTON_POOL_API static inline
#endif

/* 64-byte aligned, all zeros before lepton_pool_open. Groups of fields lie a cache line apart: what the caller writes
 * for the workers, what they write back, what they sleep on. */
typedef struct lepton_pool {
  lepton_parallel parallel; /* first: a pool's address is its lepton_parallel's */
  int32_t threads;
  uint8_t apart0[64 - sizeof(lepton_parallel) - 4];
  uint64_t ticket;
  void (*body)(void *arguments, int index);
  void *arguments;
  int32_t count, parts;
  uint8_t apart1[64 - 16 - 2 * sizeof(void *)];
  uint32_t done, caller_sleeps;
  uint8_t apart2[64 - 8];
  uint32_t wake, worker_sleeps, closed;
  uint8_t apart3[64 - 12];
} lepton_pool;

/* ---- sleeping: a futex, asked for without a C library ---- */

#ifndef LEPTON_POOL_SLEEP
#if defined(__linux__) && defined(__x86_64__)
static inline long lepton_futex(uint32_t *word, long operation, long value) {
  long result;
  register long timeout __asm__("r10") = 0;
  __asm__ volatile("syscall" : "=a"(result) : "a"(202L), "D"(word), "S"(operation), "d"(value), "r"(timeout)
                   : "rcx", "r11", "memory");
  return result;
}
#elif defined(__linux__) && defined(__aarch64__)
static inline long lepton_futex(uint32_t *word, long operation, long value) {
  register long x8 __asm__("x8") = 98, x0 __asm__("x0") = (long)word, x1 __asm__("x1") = operation;
  register long x2 __asm__("x2") = value, x3 __asm__("x3") = 0;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}
#elif defined(__linux__) && defined(__arm__)
static inline long lepton_futex(uint32_t *word, long operation, long value) {
  register long r0 __asm__("r0") = (long)word, r1 __asm__("r1") = operation, r2 __asm__("r2") = value;
  register long r3 __asm__("r3") = 0;
  /* r7 carries the number, and may be the frame pointer. */
  __asm__ volatile("push {r7}\n\tmov r7, #240\n\tsvc 0\n\tpop {r7}" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r3) : "memory");
  return r0;
}
#elif defined(__linux__) && defined(__riscv) && __riscv_xlen == 64
static inline long lepton_futex(uint32_t *word, long operation, long value) {
  register long a7 __asm__("a7") = 98, a0 __asm__("a0") = (long)word, a1 __asm__("a1") = operation;
  register long a2 __asm__("a2") = value, a3 __asm__("a3") = 0;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
  return a0;
}
#else
#error "define LEPTON_POOL_SLEEP(word, value) and LEPTON_POOL_WAKE(word) for this system before including lepton_pool.h"
#endif
/* Sleep unless *word is no longer `value`; wake everybody. Private to the process: 128. */
#define LEPTON_POOL_SLEEP(word, value) lepton_futex(word, 0 + 128, (long)(value))
#define LEPTON_POOL_WAKE(word) lepton_futex(word, 1 + 128, 0x7fffffff)
#endif

static inline void lepton_pause(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause");
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory");
#elif defined(__arm__)
  __asm__ volatile("yield" ::: "memory");
#elif defined(__riscv)
  __asm__ volatile(".word 0x0100000f" ::: "memory");
#endif
}

/* ---- taking parts ---- */

/* Where a thread's share of the parts begins: thread * parts / threads, by reciprocals of 16 bits, exact up to 16 of
 * each; cores without a divider would need a library for it. */
static inline int lepton_pool_share(const int thread, const int threads, const int parts) {
  static const uint32_t reciprocal[LEPTON_POOL_THREADS + 1] = {
      0, 65536, 32768, 21846, 16384, 13108, 10923, 9363, 8192, 7282, 6554, 5958, 5462, 5042, 4682, 4370, 4096};
  return (int)(((uint32_t)(thread * parts) * reciprocal[threads]) >> 16);
}

/* Run parts until none is left, from thread's own share on. Returns whether there was any. */
static inline int lepton_pool_help(lepton_pool *pool, const int thread) {
  int helped = 0;
  for (;;) {
    uint64_t ticket = __atomic_load_n(&pool->ticket, __ATOMIC_ACQUIRE);
    const uint32_t left = (uint32_t)ticket & 0xffffu;
    if (left == 0) return helped;
    void (*body)(void *, int) = __atomic_load_n(&pool->body, __ATOMIC_RELAXED);
    void *arguments = __atomic_load_n(&pool->arguments, __ATOMIC_RELAXED);
    const int count = __atomic_load_n(&pool->count, __ATOMIC_RELAXED);
    const int parts = __atomic_load_n(&pool->parts, __ATOMIC_RELAXED);
    const int start = lepton_pool_share(thread, pool->threads, parts);
    const uint32_t own = left >> start << start;
    const int part = __builtin_ctz(own ? own : left);
    /* Success proves that the four values above belong to this ticket: they change only when no part is left. */
    if (!__atomic_compare_exchange_n(&pool->ticket, &ticket, ticket & ~((uint64_t)1 << part), 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
      continue;
    for (int i = part; i < count; i += parts) body(arguments, i);
    helped = 1;
    if (__atomic_add_fetch(&pool->done, 1, __ATOMIC_SEQ_CST) == (uint32_t)parts &&
        __atomic_load_n(&pool->caller_sleeps, __ATOMIC_SEQ_CST))
      LEPTON_POOL_WAKE(&pool->done);
  }
}

static inline void lepton_pool_for(void *context, void (*body)(void *arguments, int index), void *arguments, int count) {
  lepton_pool *pool = (lepton_pool *)context;
  const int parts = count < LEPTON_POOL_PARTS ? count : LEPTON_POOL_PARTS;
  if (parts < 2) {
    for (int i = 0; i < count; i++) body(arguments, i);
    return;
  }
  __atomic_store_n(&pool->body, body, __ATOMIC_RELAXED);
  __atomic_store_n(&pool->arguments, arguments, __ATOMIC_RELAXED);
  __atomic_store_n(&pool->count, count, __ATOMIC_RELAXED);
  __atomic_store_n(&pool->parts, parts, __ATOMIC_RELAXED);
  __atomic_store_n(&pool->done, 0, __ATOMIC_RELAXED);
  const uint64_t number = (__atomic_load_n(&pool->ticket, __ATOMIC_RELAXED) >> 16) + 1;
  __atomic_store_n(&pool->ticket, number << 16 | ((1u << parts) - 1), __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&pool->worker_sleeps, __ATOMIC_SEQ_CST)) {
    __atomic_store_n(&pool->worker_sleeps, 0, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&pool->wake, 1, __ATOMIC_SEQ_CST);
    LEPTON_POOL_WAKE(&pool->wake);
  }
  lepton_pool_help(pool, 0);
  for (int spin = 0; spin < LEPTON_POOL_SPINS; spin++) {
    if (__atomic_load_n(&pool->done, __ATOMIC_ACQUIRE) == (uint32_t)parts) return;
    lepton_pause();
  }
  __atomic_store_n(&pool->caller_sleeps, 1, __ATOMIC_SEQ_CST);
  for (;;) {
    const uint32_t done = __atomic_load_n(&pool->done, __ATOMIC_SEQ_CST);
    if (done == (uint32_t)parts) break;
    LEPTON_POOL_SLEEP(&pool->done, done);
  }
  __atomic_store_n(&pool->caller_sleeps, 0, __ATOMIC_RELAXED);
}

/* ---- the pool's life ---- */

/* Bytes of a pool. */
LEPTON_POOL_API int lepton_pool_bytes(void) { return (int)sizeof(lepton_pool); }

/* Make a pool of zeroed, 64-byte aligned memory. threads: 1 to LEPTON_POOL_THREADS, the caller's included. */
LEPTON_POOL_API void lepton_pool_open(lepton_pool *pool, int threads) {
  pool->parallel.for_ = lepton_pool_for;
  pool->parallel.context = pool;
  pool->threads = threads;
}

/* What a worker runs; thread: 1 to threads - 1, another for each. Returns 0 when the pool is closed. */
LEPTON_POOL_API int lepton_pool_work(lepton_pool *pool, int thread) {
  int spins = 0;
  while (!__atomic_load_n(&pool->closed, __ATOMIC_ACQUIRE)) {
    if (lepton_pool_help(pool, thread)) {
      spins = 0;
    } else if (spins < LEPTON_POOL_SPINS) {
      spins++;
      lepton_pause();
    } else {
      const uint32_t wake = __atomic_load_n(&pool->wake, __ATOMIC_SEQ_CST);
      __atomic_store_n(&pool->worker_sleeps, 1, __ATOMIC_SEQ_CST);
      /* What was given out before the line above is seen here; what comes after it changes `wake`. */
      if ((__atomic_load_n(&pool->ticket, __ATOMIC_SEQ_CST) & 0xffffu) == 0 &&
          !__atomic_load_n(&pool->closed, __ATOMIC_SEQ_CST))
        LEPTON_POOL_SLEEP(&pool->wake, wake);
      spins = 0;
    }
  }
  return 0;
}

/* Send the workers home; the owner then waits for its threads to end. Not while a generated function runs. */
LEPTON_POOL_API void lepton_pool_close(lepton_pool *pool) {
  __atomic_store_n(&pool->closed, 1, __ATOMIC_SEQ_CST);
  __atomic_add_fetch(&pool->wake, 1, __ATOMIC_SEQ_CST);
  LEPTON_POOL_WAKE(&pool->wake);
}

#ifdef __cplusplus
}
#endif
#endif
