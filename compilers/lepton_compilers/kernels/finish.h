/* Where the sums of an int8 product start and what becomes of them, for kernels on maps in blocks of 16 channels.
 *
 * A sum is scaled, rounded, moved by zy and held between lo and hi, all as the map counts; wide != 0: what is scaled may
 * leave int32. Where it `adds`, that is one operand of an addition, whose other one, the residual, lies as y does.
 */
#ifndef LEPTON_FINISH_H
#define LEPTON_FINISH_H

/* Biases of one pixel of a 3 x 3 tile, as blocked.h puts them. */
LEPTON_KERNEL const int32_t *bias_of(const int32_t *bias, const int bias_step, const int column, const int first,
                                     const int valid) {
  return bias + ((column < first) + 2 * (column + 3 > valid)) * bias_step;
}

/* apart: bytes from y to the residual. The addition is (q * by_sum + residual * by_residual + base) >> shift, then
 * sum_zy, sum_lo and sum_hi. */
typedef struct {
  int zy, lo, hi, wide;
  int adds;
  intptr_t apart;
  int base, by_sum, by_residual, shift, sum_zy, sum_lo, sum_hi;
} lepton_finish;

LEPTON_KERNEL lepton_finish plain_finish(const int zy, const int lo, const int hi, const int wide) {
  const lepton_finish finish = {.zy = zy, .lo = lo, .hi = hi, .wide = wide};
  return finish;
}

#define ADDITION_PARAMETERS \
  const int base, const int by_sum, const int by_residual, const int shift, const int sum_zy, const int sum_lo, const int sum_hi
#define ADDITION_ARGUMENTS base, by_sum, by_residual, shift, sum_zy, sum_lo, sum_hi

LEPTON_KERNEL lepton_finish adding_finish(const uint8_t *y, const uint8_t *residual, const int zy, const int lo,
                                          const int hi, const int wide, ADDITION_PARAMETERS) {
  const lepton_finish finish = {zy, lo, hi, wide, 1, (intptr_t)residual - (intptr_t)y, ADDITION_ARGUMENTS};
  return finish;
}
/* Where the residual of what is stored at y lies. */
LEPTON_KERNEL const void *residual_of(const void *y, const lepton_finish f) {
  return (const void *)((intptr_t)y + f.apart);
}
#endif
