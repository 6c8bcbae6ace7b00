"""Constants as kernels read them: arranged and transformed when a model is compiled, in one blob.

packing.py    the blob and its arrangements; pairs.py: depthwise taps by twos
recurrent.py  gates by panels of units
winograd.py   transformed kernels of Winograd's short convolutions
ranges.py     what sums with these weights can reach
"""
