"""What becomes of a function's operations before they are planned: other operations of equal meaning.

fused.py             two that one kernel does better at once
phases.py            transposed convolutions as convolutions
variable_weights.py  convolutions by variables, with the bounds behind them
directions.py        both directions of a recurrent layer
origins.py           which of the function's operations each of them carries out
spent_gradients.py   gradients that are spent where they arise
"""

from lepton_compilers.backends.cpu.rewrites.directions import BothDirections
from lepton_compilers.backends.cpu.rewrites.fused import ConvAdd
from lepton_compilers.backends.cpu.rewrites.spent_gradients import DenseUpdate
from lepton_compilers.backends.cpu.rewrites.variable_weights import VariableConv2d

PLANNED = frozenset({BothDirections, ConvAdd, VariableConv2d, DenseUpdate})
"""Operations that exist only in a plan."""
