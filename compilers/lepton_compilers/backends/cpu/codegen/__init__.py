"""From a plan to a shared object.

tir.py          plan → PrimFunc → C
regions.py      forks around parts
specialised.py  one C function for all equal layers
steps.py        what runs from one reading of a clock to the next
stamped.py      C that reads it, beside the ordinary function
toolchain.py    C → shared object
"""
