"""From a model file to a Relax module.

source.py     which format the bytes are, by their content; the one entry, `import_model`
tflite.py     TFLite (int8, float, dynamic range), with cures for three faults of TVM's importer
onnx.py       ONNX networks, float or in integers
  onnx_walk.py    a node at a time         onnx_fold.py    what constants decide
  onnx_control.py loops laid out           onnx_values.py  what a name stands for
  onnx_ops/       rules by theme           onnx_scope.py   what stays outside
torch.py      PyTorch's exported programs; pt2_archive.py: their files, read without running anything in them
  exported_shapes.py   open extents fixed        torch_operators.py   which operators are taken
  torch_layers.py      their conversion          torch_{windows,quantized,recurrent}.py   parts of it
naming.py     the layer's name for the results that TVM leaves unnamed
replaced.py   checks of trained weights that replace a model's own

Float parameters become inputs of the function where they are to be trained.

A module's `main` carries the attributes `num_input`, `output_names` and, for trainable parameters, `params`.
"""
