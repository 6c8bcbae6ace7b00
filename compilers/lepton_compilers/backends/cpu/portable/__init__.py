"""Rows that every CPU has, on dense tensors.

layers.py        convolutions, pools and what stands between them; movement.py: bytes moved
elementwise.py   two operands, stretched
int16.py         int16 forms; uint8.py: bytes at a model's ends; state.py: what lives between calls
vision.py        what vision heads add; detection.py: what ends a detector
sequence.py      products of tensors, normalisation, slices
recurrent.py     whole recurrent layers; recurrent_f32.py: in float32; recurrent_rows.py: one way or both
float_kernel.py  operators without a typed form, as loops of TVM; own_kernels.py: where it has none
training.py      gradients, the loss, the update; training_few_channels.py: of a first layer's weights;
                 training_updates.py: gradients that are spent where they arise
"""
