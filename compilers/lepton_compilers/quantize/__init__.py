"""A float network becomes an int8 one, spelled in Relax as quantize and dequantize.

config.py      what is asked, typed
calibrate.py   the network run on samples with every intermediate exposed
observers.py   what ranges become scale and zero point
quantise.py    the pass: weights per channel, activations per tensor, moves share their input's numbers
"""
