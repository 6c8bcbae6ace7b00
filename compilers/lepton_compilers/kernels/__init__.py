"""Micro-kernels: always-inline C functions with literal integer arguments.

For every CPU:
portable.h            dense operations of inference, any C11 compiler with GNU vector types
mathematics.h         exp, tanh, erf, roots …: the same bits everywhere, no libm
elementwise.h         two operands, one stretched over the other
vision.h              transposed convolution, resizing, reductions; detection.h: boxes, the best of a row
sequence.h            products of two tensors, normalisation, slices
recurrent.h           whole recurrent layers in int8, on products of int8_fours.h; recurrent_f32.h: in float32
int16.h               int16 activations with int8 weights; halves.h: the bytes of float16 and bfloat16
ordering.h            sorting, running sums; suppression.h: non-maximum suppression as ONNX has it
sampling.h            maps sampled between their places; determinants
training_portable.h   gradients, the loss, the update; training_few_channels.h: of a first layer's weights;
                      training_updates.h: gradients that are spent where they arise

By instruction set:
finish.h              where int8 sums start and what becomes of them: bounds, residuals
avx512vnni.h          int8 operations by vpdpbusd; VBMI where the compiler may use it, no bf16;
                      avx512vnni_matmul.h: products of two dense tensors; avx512vnni_softmax.h
blocked_f32.h         float32 in blocks of 16 channels, on lanes and products that one of these headers gives;
                      winograd_f32.h: 3 × 3 with fewer products
avx512f.h, avx2_fma.h x86-64 with AVX-512, with AVX2 and FMA; neon_f32.h: 64-bit Arm
training_winograd.h   a training step's convolutions, both directions, channels last, AVX-512
avx512bf16.h          float32 multiplied as bfloat16, where allowed; avx512bf16_winograd.h: on its maps
blocked.h             int8 operations in blocks of 16 channels, on the tiles that one of these headers gives:
sse2.h                any x86-64; avx2.h, avxvnni.h: with vectors of 256 bits; avx2_lanes.h: what those share
broadcast_tiles.h     the convolutions' loops of all three; pairs.h: what products of two at a time share
rvv.h                 RISC-V with vectors
neon.h                any Arm CPU; neon_dotprod.h, neon_dotprod_depthwise.h, neon_i8mm.h: by extension;
                      neon_lanes.h: what they share; tap_tiles.h: loops of the last two and of rvv.h
peak.h                loops of nothing but products, for `lepton bench`

Pointers are uint8_t * whatever they point to, because TVM declares them so; floats that are literals arrive
as the integer of their bits.
"""
