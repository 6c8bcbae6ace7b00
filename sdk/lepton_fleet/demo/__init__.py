"""`lepton demo`: the main job on real data, every part a process of its own, as in the field.

digits.py    scikit-learn's handwritten digits, cut into first training, devices' local data, and test
network.py   a small CNN as an ONNX file with fresh weights
story.py     what happens, step by step; processes.py starts, watches and stops the processes
cli.py       the command, its table and its JSON
"""
