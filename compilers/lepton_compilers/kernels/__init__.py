"""Micro-kernels: always-inline C functions with literal integer arguments, one header an instruction set.

portable.h            every operation of inference, any C11 compiler with GNU vector types
elementwise.h         operations of two operands, one stretched over the other
int16.h               operations of int16 activations with int8 weights
training_portable.h   gradients, the loss, the update
avx512vnni.h          int8 operations by vpdpbusd; no VBMI, no bf16

Pointers are uint8_t * whatever they point to, because TVM declares them so; floats that are literals arrive
as the integer of their bits.
"""
