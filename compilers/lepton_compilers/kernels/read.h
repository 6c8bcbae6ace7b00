/* A loop that reads memory and does nothing else: how many bytes a second a core gets from each of its levels. */
#ifndef LEPTON_READ_H
#define LEPTON_READ_H

/* Without it compilers that prefer vectors of 32 bytes for an instruction set's CPUs halve those of 64. */
#if defined(__AVX512F__) && defined(__clang__)
#define LEPTON_WIDE __attribute__((__min_vector_width__(512)))
#else
#define LEPTON_WIDE
#endif

typedef uint32_t lepton_words __attribute__((vector_size(64)));

/* nbytes: a multiple of 512. Eight sums, so that no read waits for another. */
LEPTON_WIDE LEPTON_KERNEL void read_memory(const uint8_t *x, uint8_t *y, const ptrdiff_t nbytes, const int rounds) {
  lepton_words sum[8] = {{0}};
  LEPTON_LOOP for (int r = 0; r < rounds; r++) {
    /* The compiler must not know that the bytes are the same in every round. */
    __asm__ volatile("" : "+r"(x) : : "memory");
    LEPTON_LOOP for (ptrdiff_t i = 0; i < nbytes; i += 512) {
      LEPTON_UNROLL for (int k = 0; k < 8; k++) sum[k] ^= *(const lepton_words *)(x + i + 64 * k);
    }
  }
  lepton_words all = {0};
  LEPTON_UNROLL for (int k = 0; k < 8; k++) all ^= sum[k];
  __builtin_memcpy(y, &all, 64);
}
#endif
