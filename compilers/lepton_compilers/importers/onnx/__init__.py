"""ONNX networks, float or in integers, into Relax.

importer.py   a file checked, its operators, inputs and parameters; then walk.py, a node at a time
fold.py       what constants decide; control.py: loops and branches laid out
values.py     what a name stands for; scope.py: what stays outside, and why
rules/        one rule an operator, by theme; recurrent.py: LSTM, GRU, RNN as whole sequences
"""
