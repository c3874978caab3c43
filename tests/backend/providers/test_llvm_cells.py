"""Recurrent layers of f32 that LLVM compiles, against the ops' own evaluation.

Tolerance: sums of up to 400 products in another order, carried over a few steps by functions whose slopes are at most 1:
1e-5 absolute on states below 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError, reference_provider
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

CELLS = Tactic("cells", numerics="reassociated")
TWO_SIDES = {"direction": "bidirectional"}


def recurrent(
    op: str, steps: int = 5, batch: int = 2, features: int = 7, hidden: int = 20, *, start: bool = True, bias: bool = True,
    **attrs: Any,
) -> Group:  # fmt: skip
    sides, gates, first = len(attrs.get("direction", "")) // 13 + 1, 4 if op == "lstm" else 3, attrs.get("batch_first")
    state = (batch, sides, hidden) if first else (sides, batch, hidden)

    def make(n: Net) -> list[Tensor]:
        starts = [n.x("f32", *state, name=f"s{k}") for k in range(2 if op == "lstm" else 1)] if start else []
        return list(
            n.op(
                op,
                n.x("f32", *((batch, steps) if first else (steps, batch)), features),
                n.random("f32", sides, gates * hidden, features, scale=0.3),
                n.random("f32", sides, gates * hidden, hidden, scale=0.3, seed=1),
                n.random("f32", sides, 2 * gates * hidden, seed=2) if bias else None,
                None,
                *starts,
                hidden=hidden,
                **attrs,
                **({"linear_before_reset": True} if op == "gru" and "linear_before_reset" not in attrs else {}),
            )
        )

    return group_of(make)


def check(group: Group, threads: int = 2, out: Sequence[int] | None = None) -> None:
    rng = np.random.default_rng(0)
    shapes = {id(t): [evaluate(d, {}) for d in t.shape] for t in (*group.inputs, *group.outputs)}
    inputs = [
        t.weight.load() if t.weight is not None else rng.standard_normal(shapes[id(t)]).astype(np.float32)
        for t in group.inputs
    ]
    results = [arrange(np.zeros(shapes[id(t)], np.float32), out if len(t.shape) == 4 else None) for t in group.outputs]
    expected = [np.zeros_like(r) for r in results]
    problem = problem_for(group, inputs, results, {})
    reference = reference_provider()
    reference.prepare(problem, reference.tactics(problem, CPU())[0], CPU()).bind(inputs, expected, None)()
    assert PROVIDER.tactics(problem, CPU()) == [CELLS]
    with CPU(threads).running(compiled=True, arrays=False):
        run(PROVIDER, CELLS, problem, inputs, results)
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose(got, wanted, 0, 1e-5)


@pytest.mark.parametrize("op", ["gru", "lstm"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_directions_and_orders(op: str, direction: str, batch_first: bool) -> None:
    check(recurrent(op, direction=direction, batch_first=batch_first))


@pytest.mark.parametrize("op", ["gru", "lstm"])
@pytest.mark.parametrize("sizes", [(1, 1, 3, 5), (9, 3, 5, 33)], ids=str)
def test_sizes(op: str, sizes: tuple[int, ...]) -> None:
    check(recurrent(op, *sizes, start=False, **TWO_SIDES))


@pytest.mark.parametrize("op", ["gru", "lstm"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_that_share_the_units(op: str, threads: int) -> None:
    check(recurrent(op, steps=9, batch=1, features=65, hidden=200), threads)


@pytest.mark.parametrize("op", ["gru", "lstm"])
def test_without_a_bias_and_into_another_order(op: str) -> None:
    check(recurrent(op, bias=False, start=False), out=(1, 0, 2, 3))


@pytest.mark.parametrize(
    "group",
    [
        recurrent("gru", linear_before_reset=False),
        recurrent("gru", batch=9),
        recurrent("lstm", clip=1.0),
        recurrent("lstm", activations=["tanh", "tanh", "tanh"]),
    ],
    ids=["reset first", "many sequences", "clip", "activations"],
)
def test_what_is_left_to_others(group: Group) -> None:
    inputs = [np.zeros([evaluate(d, {}) for d in t.shape], np.float32) for t in group.inputs]
    results = [np.zeros([evaluate(d, {}) for d in t.shape], np.float32) for t in group.outputs]
    problem = problem_for(group, inputs, results, {})
    assert not PROVIDER.tactics(problem, CPU())
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem, CELLS, CPU())
