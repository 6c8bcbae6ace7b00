"""PyTorch's exported programs into Relax.

archive.py          a `.pt2` file, read without running anything in it
exported_shapes.py  open extents fixed
importer.py         the program traced anew and converted; operators.py: which operators are taken
layers.py           their conversion by TVM's converters, and before those by rules.py: arithmetic.py,
                    windows.py, quantized.py, recurrent.py
"""
