"""TFLite networks (float, int8, int16x8, dynamic range) into Relax.

importer.py   a file checked, every layer converted under its tensor's name
layer.py      what a converter asks of one layer
elementwise.py, moves.py, vision.py, recurrent.py   converters by theme
tables.py     LiteRT's int8 functions, 256 values each
constants.py  weights in all their types; buffers.py: those outside of the flatbuffer
int16.py      layers with int16 activations; states.py: variables that live between calls
stated.py     the file's own word on shapes and zero points, held against what is computed
refused.py    what stays outside, and why; flexbuffer.py: the options of custom operators
"""
