"""Micro-kernels: always-inline C functions with literal integer arguments, one header an instruction set.

portable.h            every operation of inference, any C11 compiler with GNU vector types
elementwise.h         operations of two operands, one stretched over the other
int16.h               operations of int16 activations with int8 weights
training_portable.h   gradients, the loss, the update
avx512vnni.h          int8 operations by vpdpbusd; VBMI where the compiler may use it, no bf16
avx512f.h             float32 operations in blocks of 16 channels
avx512f_winograd.h    3 × 3 float32 convolutions with fewer products
peak.h                loops of nothing but products, for `lepton bench`

Pointers are uint8_t * whatever they point to, because TVM declares them so; floats that are literals arrive
as the integer of their bits.
"""
