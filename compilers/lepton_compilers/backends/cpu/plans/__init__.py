"""What will run, as data that can be printed: kernel calls, their operands' places and their tiles.

plan.py         calls on named buffers
layout.py       how tensors lie in memory
signatures.py   kernels' parameters by name, read from the headers
tile_choice.py  which of a kernel's tiles a layer gets
"""
