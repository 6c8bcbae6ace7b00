"""What becomes of a function's operations before they are planned: other operations of equal meaning.

fused.py             two that one kernel does better at once
phases.py            transposed convolutions as convolutions
variable_weights.py  convolutions by variables, with the bounds behind them
origins.py           which of the function's operations each of them carries out
"""
