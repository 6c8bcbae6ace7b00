"""Indices counted from the end read the elements that they name, not what lies before the tensor."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from lepton_compilers.front import program_from
from lepton_compilers.importers.source import import_model
from lepton_compilers.passes.graph import bindings, operator, value
from lepton_compilers.passes.normalise_negative_indices import normalise_negative_indices
from support.torch_networks import Function, difference, eager, exported, normal, run


@pytest.mark.parametrize(("axis", "index"), [(1, -1), (2, -3), (-1, -2), (0, -2)])
def test_an_element_from_the_end(axis: int, index: int) -> None:
    network = Function(lambda self, x: x.select(axis, index) * 2)
    content = exported(network, (2, 4, 5))
    module = normalise_negative_indices(import_model(content))
    (taken,) = [b.value for b in bindings(module["main"]) if operator(b.value) == "relax.take"]
    assert int(value(taken.args[1])) == (2, 4, 5)[axis] + index
    x = normal(2, 4, 5)
    np.testing.assert_array_equal(run(program_from(content), x)[0], eager(network, x)[0])


def test_the_last_state_of_a_recurrent_layer() -> None:
    network = Function(
        lambda self, x: self.head(self.rnn(x)[0][:, -1]), rnn=nn.GRU(6, 5), head=nn.Linear(5, 2)
    )
    assert difference(network, (4, 3, 6)) <= 1e-5
