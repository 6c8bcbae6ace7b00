"""Rewrites of the Relax module, a file a pass.

graph.py       reading a module: operators, constants, definitions, uses
rewrite.py     changing one: a walk that asks the pass about every binding
record.py      what a pass is, and the record that it leaves
pipeline.py    the list of passes in their order; each pass says in its docstring why it stands there
"""
