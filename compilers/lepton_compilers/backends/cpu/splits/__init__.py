"""How calls of kernels fall into parts that run at the same time: a rule for every kernel that can.

parts.py      a call in parts, and which calls run side by side
cuts.py       ways to cut, which the rules are made of
dense.py      rules of portable.h
avx512.py     of avx512vnni.h and blocked_f32.h
blocked.py    of blocked.h
winograd.py   of Winograd's kernels
bfloat16.py   of avx512bf16.h
sequences.py  of sequence.h, elementwise.h and vision.h
training.py   of training_portable.h; training_winograd.py: of training_winograd.h
"""
