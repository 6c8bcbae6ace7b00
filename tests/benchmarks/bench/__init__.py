"""`make bench`: every timing of docs/BENCHMARKS.md, in one run.

What is measured:
contests.py      networks at a precision, with each rival's file; trained_networks.py: networks for training
build.py         compiles one: sizes, seconds, the work of each layer
limits.py        what this machine multiplies and reads, and what a call costs
inference.py     one network beside its rivals, all in turns; training.py: a step beside PyTorch's
device.py        the `lepton` command as a user calls it: plain x86-64, the first inference of a fresh process

How:
__main__.py      the whole run, a line of progress for each measurement
child.py         each measurement in a fresh process that is bound to as many cores as it has threads
machine.py       this machine's name, cores and load, and what others did meanwhile

What is said:
roofline.py      the least time a network can take here, and which limit makes it so
layer_work.py    what the layers of a plan do, for the roofline
tables.py        rows as Markdown; plot.py: ratios as SVG
page.py          docs/BENCHMARKS.md; readme.py: the figures between README.md's markers
"""
