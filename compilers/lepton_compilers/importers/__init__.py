"""From a model file to a Relax module.

source.py     which format the bytes are, by their content; the one entry, `import_model`
tflite/       TFLite: float, int8, int16x8, dynamic range
onnx/         ONNX: float, QDQ, QOperator
torch/        PyTorch's exported programs: float, PT2E
limits.py     what a listed operator asks of its layer
naming.py     the layer's name for the results that are left unnamed
replaced.py   checks of trained weights that replace a model's own

Float parameters become inputs of the function where they are to be trained.

A module's `main` carries the attributes `num_input`, `output_names` and, for trainable parameters, `params`.
"""
