"""How recurrent layers are spread over a GPU, and which are left to others; that their kernels are right, the cases of
test_codegen show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_harness import Case
from tests.backend.providers.codegen_net import Net, case
from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.family import Plan
from trtn.backend.providers.codegen.recurrent import FAMILY
from trtn.backend.providers.codegen.recurrent_shape import SEQUENCES, Shape, shapes
from trtn.backend.providers.codegen.recurrent_step import GATES, STATES, RecurrenceSpec
from trtn.dsl.network import Tensor


def layer(hidden: int, batch: int, op: str = "gru", sides: int = 1, **attrs: Any) -> Case:
    def make(n: Net) -> list[Tensor]:
        columns = (4 if "lstm" in op else GATES[op]) * hidden
        x = n.x("f32", "S", "B", 8)
        if op == "dynamic_quantize_lstm":
            w, r = (n.w(np.zeros((sides, k, columns)), "i8") for k in (8, hidden))
            weights = [w, r, *[n.w(np.ones(sides)), n.w(np.zeros(sides), "i8")] * 2]
        else:
            weights = [n.w(np.zeros((sides, columns, k))) for k in (8, hidden)]
        return list(n.op(op, x, *weights, name="y", hidden=hidden, **attrs))

    return case(f"{op}_{hidden}", make, sizes={"S": 3, "B": batch})


def plan_of(found: Case, tactic: str = "") -> Plan:
    return found.plan("recurrent", tactic or found.tactics[0][1], [*found.inputs, *found.outputs()])


@pytest.mark.parametrize("states", STATES.values())
@pytest.mark.parametrize("gates", GATES.values())
def test_every_block_has_units_and_room(gates: int, states: int) -> None:
    for hidden in (1, 3, 16, 17, 31, 64, 100, 129, 256, 300, 511):
        found = shapes(hidden, gates, states)
        assert found and len({s.blocks for s in found}) == len(found)
        assert [s.cycles for s in found] == sorted(s.cycles for s in found)
        for s in found:
            assert (s.blocks - 1) * s.units < hidden <= s.blocks * s.units
            assert s.units * s.lanes <= s.threads <= 512 and s.threads % 32 == 0 and s.width >= hidden
            assert s.shared_weights + 4 * states * s.width <= cluster.SHARED


def test_small_layers_stay_in_a_block() -> None:
    """Where all that there is has room in the registers of one, nothing is sent."""
    assert shapes(32, 3, 2)[0].blocks == 1
    assert shapes(256, 3, 2)[0].blocks > 1


def test_clusters_take_more_sequences_where_there_are_many() -> None:
    taken = []
    for batch in (1, 8, 64):
        last = plan_of(layer(256, batch, linear_before_reset=True), "c8").calls[-1]
        assert isinstance(last.spec, RecurrenceSpec)
        taken.append(last.spec.shape.sequences)
        assert last.grid == (-(-batch // taken[-1]), 1, 8)
    assert taken[0] == 1 < taken[-1] and taken == sorted(taken) and set(taken) <= set(SEQUENCES)


def test_any_number_of_steps_takes_the_same_kernels() -> None:
    few = layer(40, 2)
    calls = [plan_of(few).calls, plan_of(Case(few.name, few.make, sizes={"S": 100, "B": 2})).calls]
    assert [c.spec for c in calls[0]] == [c.spec for c in calls[1]]


def test_levels_take_all_sequences_at_a_time() -> None:
    """The state's range is that of all of them."""
    for batch in (1, 5, 8):
        last = plan_of(layer(16, batch, "dynamic_quantize_lstm")).calls[-1]
        assert isinstance(last.spec, RecurrenceSpec) and last.spec.shape.sequences >= batch and last.grid[0] == 1
    with pytest.raises(TacticError, match="too many"):
        plan_of(layer(16, 9, "dynamic_quantize_lstm"))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (layer(1500, 1, "lstm"), "1500 units are more than a cluster has room for"),
        (
            layer(8, 1, sides=2, direction="bidirectional", activations=["sigmoid", "tanh", "sigmoid", "relu"]),
            "activations of their own",
        ),
    ],
)
def test_what_is_left_to_others(found: Case, reason: str) -> None:
    assert reason in FAMILY.refusal(found.group)


def test_nothing_to_do_is_left_to_others() -> None:
    with pytest.raises(TacticError, match="no steps"):
        plan_of(layer(8, 0))


def test_a_shape_has_names_for_all_it_is_told() -> None:
    shape = Shape(hidden=100, gates=4, blocks=8, lanes=4, sequences=2)
    assert (shape.units, shape.threads, shape.chunks, shape.width) == (13, 64, 7, 112)
