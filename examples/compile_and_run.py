"""Compile a TFLite model for this machine and run it: `python examples/compile_and_run.py MODEL.tflite`."""

import sys

import numpy as np

from lepton_compilers import compile
from lepton_sdk import Session

bundle = compile(sys.argv[1], target="host", output="model.lep")
session = Session("model.lep")
session.self_test()  # golden vectors, byte for byte

model_input = session.inputs[0]
x = np.zeros(model_input.shape, model_input.dtype)
for name, y in session.run(x).items():
    print(f"{name}: {y.dtype} {y.shape}, largest at {int(y.argmax())}")
print(f"{session.benchmark(seconds=0.2).median:.1f} µs an inference on {session.target}")
