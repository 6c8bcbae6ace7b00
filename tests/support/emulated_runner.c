/* Runs one function of a lepton artifact without an operating system's libraries, under qemu-user.
 *
 * stdin: 64-bit words: image bytes, entry's offset, arena, weights, variables, inputs, outputs (counts), calls, then the
 * bytes of each input and of each output; then the image, the weights, the variables, the inputs. stdout: the variables, then
 * the outputs. The image is the shared object's memory, position-independent.
 */
#include <stddef.h>
#include <stdint.h>

#if defined(__aarch64__)
enum { READ = 63, WRITE = 64, EXIT = 93, MMAP = 222 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c,
                x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}
#elif defined(__arm__)
enum { READ = 3, WRITE = 4, EXIT = 1, MMAP = 192 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long r7 __asm__("r7") = n, r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c,
                r3 __asm__("r3") = d, r4 __asm__("r4") = e, r5 __asm__("r5") = f;
  __asm__ volatile("svc 0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5) : "memory");
  return r0;
}
#elif defined(__riscv)
enum { READ = 63, WRITE = 64, EXIT = 93, MMAP = 222 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long a7 __asm__("a7") = n, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
  return a0;
}
#elif defined(__x86_64__)
enum { READ = 0, WRITE = 1, EXIT = 60, MMAP = 9 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return n;
}
#endif

typedef int (*entry_point)(void *, const void *, void *, const void *const *, void *const *, const void *);

static void stop(int code) {
  for (;;) system_call(EXIT, code, 0, 0, 0, 0, 0);
}
static void transfer(long direction, uint8_t *bytes, size_t n) {
  while (n) {
    long moved = system_call(direction, direction == READ ? 0 : 1, (long)bytes, (long)n, 0, 0, 0);
    if (moved <= 0) stop(90);
    bytes += moved;
    n -= (size_t)moved;
  }
}
static uint8_t *memory(size_t n, int executable) {
  /* private, anonymous; read, write and perhaps execute */
  long at = system_call(MMAP, 0, (long)(n + 4096), executable ? 7 : 3, 0x22, -1, 0);
  if (at < 0 && at > -4096) stop(91);
  return (uint8_t *)at;
}

#if defined(__x86_64__)
__attribute__((force_align_arg_pointer))
#endif
void _start(void) {
  uint64_t head[8], sizes[64];
  transfer(READ, (uint8_t *)head, sizeof head);
  const size_t n_inputs = head[5], n_outputs = head[6];
  if (n_inputs + n_outputs > 64) stop(92);
  transfer(READ, (uint8_t *)sizes, (n_inputs + n_outputs) * 8);
  uint8_t *image = memory(head[0], 1), *arena = memory(head[2], 0);
  uint8_t *weights = memory(head[3], 0), *variables = memory(head[4], 0);
  void *pointers[64];
  transfer(READ, image, head[0]);
  transfer(READ, weights, head[3]);
  transfer(READ, variables, head[4]);
  for (size_t i = 0; i < n_inputs + n_outputs; i++) {
    pointers[i] = memory(sizes[i], 0);
    if (i < n_inputs) transfer(READ, pointers[i], sizes[i]);
  }
  /* No cache is flushed: qemu has not translated these pages yet. */
  entry_point run = (entry_point)(image + head[1]);
  for (uint64_t call = 0; call < head[7]; call++) {
    int code = run(arena, weights, variables, (const void *const *)pointers, pointers + n_inputs, 0);
    if (code) stop(code);
  }
  transfer(WRITE, variables, head[4]);
  for (size_t i = n_inputs; i < n_inputs + n_outputs; i++) transfer(WRITE, pointers[i], sizes[i]);
  stop(0);
}
