"""`lepton report`: what a bundle is, what it costs, and where its accuracy went.

structure.py   layers, sizes a target, what stays float and why, from the bundle alone
fidelity.py    every int8 or int16 layer against the float source: SQNR, ranges, histograms
timing.py      what each layer takes on this machine
judgement.py   labelled examples: accuracy, confusion matrix, ROC
remedies.py    what to do about it, in words
report.py      all of it as one value, which is also the JSON
cli.py         the command
page.py        that value as HTML; sensitivity.py its part on the search for int16 and float layers,
               tables.py its tables, charts.py its pictures, style.py its colours, text.py its numbers
"""
