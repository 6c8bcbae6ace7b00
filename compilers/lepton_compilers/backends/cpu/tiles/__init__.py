"""Legal tile shapes of kernels that have them, the table's first.

avx512.py   for 32 registers of 512 bits, int8 and float32
float32.py  of the float32 kernels by instruction set
bfloat16.py of products of bfloat16
"""
