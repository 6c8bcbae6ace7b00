"""What will run, as data that can be printed: kernel calls, their operands' places and their tiles.

plan.py         calls on named buffers
layout.py       how tensors lie in memory
headers.py      the kernels' headers and their order; signatures.py: kernels' parameters by name, read there
tile_choice.py  which of a kernel's tiles a layer gets
"""
