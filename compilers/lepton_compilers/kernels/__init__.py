"""Micro-kernels: always-inline C functions with literal integer arguments, one header an instruction set.

portable.h      every operation, any C11 compiler with GNU vector types
avx512vnni.h    int8 operations by vpdpbusd

Pointers are uint8_t * whatever they point to, because TVM declares them so; floats that are literals arrive
as the integer of their bits.
"""
