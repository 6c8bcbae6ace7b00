"""Rewrites of the Relax module, a file a pass.

graph.py          reading a module: operators, constants, definitions, uses
rewrite.py        changing one: a walk that asks the pass about every binding
record.py         what a pass is, and the record that it leaves
own_operators.py  calls of operators that Relax does not have
../pipeline.py    the list of passes in their order; each pass says in its docstring why it stands there:
                  normalise_negative_indices.py, fold_constants.py, drop_softmax_guards.py,
                  column_maps.py, one_row_maps.py, fold_batch_norm.py, to_nhwc.py,
                  cut_convolutions.py, fold_layer_norm.py, canonicalise.py (sequence_forms.py),
                  absorb_flatten.py, own_outputs.py
runnable.py       a module in forms that TVM itself compiles, for calibration
"""
