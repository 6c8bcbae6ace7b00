"""A float network becomes an int8 or int16 one, spelled in Relax as quantize and dequantize.

config.py           what is asked, typed
check_layers.py     that every layer has an operation, before anything is run
calibrate.py        the network run on samples with every intermediate exposed;
                    own_calls.py: the Program's own operations in it, computed by the reference
observers.py        which range a tensor's integers span; histogram.py counts values for it
equalise.py         channels of neighbouring layers evened out beforehand
quantise.py         the pass: weights per channel, activations per tensor, moves share their input's numbers;
                    walk.py: how it writes each layer; recurrent.py: whole recurrent layers
scales.py           what ranges and weights become: scales and zero points
bias_correction.py  what rounded weights shift on average, for the pass to take out of the biases
sensitivity.py      which layers need int16, or must stay float, for an accuracy asked for;
                    trials.py: many variants over the same examples, what they share computed once
"""
