"""From a plan to a shared object.

tir.py          plan → PrimFunc → C
regions.py      forks around parts
specialised.py  one C function for all equal layers
toolchain.py    C → shared object
"""
