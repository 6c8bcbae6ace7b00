/* How generated code tells when its steps end: `lepton_<function>_timed` reads the caller's clock three times before
 * the first step and once after each. The first reading waits for memory; from the second to the third passes what
 * one costs.
 */
#ifndef LEPTON_STAMPS_H
#define LEPTON_STAMPS_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* No C library has a larger `struct timespec`. */
enum { LEPTON_STAMP_BYTES = 16, LEPTON_READINGS_BEFORE = 3 };

/* clock, id: clock_gettime and one of its clocks, or whatever else writes at most LEPTON_STAMP_BYTES.
 * next: where the next reading goes; moves on with each, as far as `end`: none is written there or beyond. */
typedef struct lepton_stamps {
  int (*clock)(int id, void *time);
  int id;
  uint8_t *next;
  uint8_t *end;
} lepton_stamps;

#ifdef __cplusplus
}
#endif
#endif
