"""From a function to a plan: the first row that accepts an operation writes its calls to a draft.

rows.py      the form of rows, and how one is chosen
draft.py     the plan while it is made
assembly.py  from the draft to the plan: parts, lifetimes, the arena
uses.py      who reads a tensor last
joined.py    parts that lie in their concatenation from the start
"""
