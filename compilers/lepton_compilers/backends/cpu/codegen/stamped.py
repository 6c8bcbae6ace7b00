"""C around a function that reads a clock after each of its steps (runtime/lepton_stamps.h).

It stands beside the ordinary function and calls the same kernels, so that nothing is paid where nobody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

STAMP = "lepton_stamp"
"""C function that takes a reading; a struct of stamps is its argument."""


def timed_source(functions: Iterable[str], header: str) -> str:
    """What takes a reading, and the functions that do, in code that is small.

    header: the text of lepton_stamps.h, or what includes it.
    """
    return f"""{header}
#pragma clang attribute push(__attribute__((cold, minsize)), apply_to = function)
static __attribute__((noinline)) void {STAMP}(uint8_t *stamps) {{
  lepton_stamps *s = (lepton_stamps *)(void *)stamps;
  if (s->next == s->end) return;
  s->clock(s->id, s->next);
  s->next += LEPTON_STAMP_BYTES;
}}
{"".join(functions)}
#pragma clang attribute pop
"""


def timed_entry_source(symbol: str, body: str, pointers: Sequence[str], forked: str | None) -> str:
    """`symbol`_timed: `symbol`'s six arguments and a lepton_stamps by one pointer to them. Returns 0.

    body: the stamped function, which takes `pointers` and, where the function `forked` falls into parts, the
    struct that its parts get.
    """
    values = ", ".join(pointers)
    start, more = "(void)parallel;", ""
    if forked is not None:
        start = f"struct pointers_{forked} pointers = {{{values}, parallel}};"
        more = "(uint8_t *)&pointers, "
    return f"""
__attribute__((visibility("default"))) int {symbol}_timed(void *const *a) {{
  void *arena = a[0], *weights = a[1], *variables = a[2];
  const void *const *inputs = (const void *const *)a[3];
  void *const *outputs = (void *const *)a[4];
  const lepton_parallel *parallel = (const lepton_parallel *)a[5];
  (void)inputs, (void)outputs;
  {start}
  {body}({values}, {more}(uint8_t *)a[6]);
  return 0;
}}
"""
