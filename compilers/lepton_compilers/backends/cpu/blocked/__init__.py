"""Rows by instruction set, on feature maps in blocks of 16 channels.

avx512vnni.py       int8, a worked example; avx512vnni_attention.py: its rows on dense tensors
float32.py          float32 for AVX-512, AVX2 and NEON; float32_forms.py: what its rows ask of an operation
avx512bf16.py       float32 whose products are bfloat16, where the user allows it
int8.py             rows of all that share kernels/blocked.h: sse2.py, avx2.py, avxvnni.py, neon.py, rvv.py
int8_tiles.py       what tells their tiles apart
int8_forms.py       what all int8 rows ask of an operation; forms.py: the shapes, whatever the numbers
winograd_pairs.py   fewer products in exact integers
elementwise.py      float32 functions, products and slices of maps that are in blocks already
joined_maps.py      maps that are joined along channels
training_winograd.py
                    a training step's convolutions, dense, for AVX-512
"""
