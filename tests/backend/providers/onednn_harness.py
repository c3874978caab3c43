"""Groups of a few layers through oneDNN, in chosen memory orders, held against the ops' own evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.backend.providers.codegen_cases import Net
from trtn.backend.devices.cpu import CPU
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.problem import ArrayLayout, Problem, make_problem
from trtn.backend.providers.base import Tactic, TacticError, reference_provider
from trtn.backend.providers.onednn.provider import TACTICS, OneDnnProvider
from trtn.dsl.builder import Builder
from trtn.dsl.network import Tensor

__all__ = ["arrange", "assert_orders", "check", "group_of", "problem_for", "run"]

Order = Sequence[int] | None
PROVIDER = OneDnnProvider()


def group_of(make: Callable[[Net], Tensor | Sequence[Tensor]]) -> Group:
    """The one group, views aside, that the made layers become."""
    builder = Builder("net")
    made = make(Net(builder))
    network = builder.finish([(t.name, t) for t in ((made,) if isinstance(made, Tensor) else made)])
    groups = [g for g in partition(network, device="cpu") if g.kind != "view"]
    assert len(groups) == 1, groups
    return groups[0]


def arrange(array: Any, order: Order) -> Any:
    """The same values, the axes of `order` from the slowest to the fastest in memory."""
    if order is None:
        return np.ascontiguousarray(array)
    back = [list(order).index(a) for a in range(array.ndim)]
    return np.ascontiguousarray(array.transpose(order)).transpose(back)


def problem_for(group: Group, inputs: Sequence[Any], outputs: Sequence[Any], sizes: Mapping[str, int]) -> Problem:
    def layout(tensor: Tensor, array: Any) -> ArrayLayout:
        strides = tuple(s // array.itemsize for s in array.strides)
        return ArrayLayout(array.shape, strides, tensor.dtype, tensor.weight is not None)

    return make_problem(
        group,
        sizes,
        [layout(t, a) for t, a in zip(group.inputs, inputs, strict=True)],
        [layout(t, a) for t, a in zip(group.outputs, outputs, strict=True)],
    )


def run(
    provider: Any,
    tactic: Any,
    problem: Problem,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    threads: int | None = None,
) -> None:
    device = CPU(threads)
    prepared = provider.prepare(problem, tactic, device)
    workspace = device.arena(prepared.workspace) if prepared.workspace else None
    launch = prepared.bind(inputs, outputs, workspace)
    assert_orders(prepared, inputs, device)
    launch()
    kept = [o.copy() for o in outputs]
    for o in outputs:
        o[...] = np.nan if o.dtype.kind != "i" else -1
    launch()  # a second run gives the same
    for first, second in zip(kept, outputs, strict=True):
        np.testing.assert_array_equal(first, second)


def assert_orders(kernel: Any, inputs: Sequence[Any], device: CPU) -> None:
    """What a kernel has packed lies in memory as it says."""

    def refuse(array: Any) -> Any:
        raise AssertionError("it has packed something else")

    for number, blocking in getattr(kernel, "blockings", {}).items():
        array = inputs[number]
        wanted = blocking.pack(np.lib.stride_tricks.as_strided(array, (array.size,), (array.itemsize,)))
        packed = device.packed(inputs[number], str(blocking), refuse)
        assert packed.reshape(-1).view(np.uint8).tobytes() == wanted.tobytes()


def check(
    group: Group,
    sizes: Mapping[str, int] | None = None,
    *,
    orders: Mapping[str, Order] | None = None,
    out: Order = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    seed: int = 0,
    values: Mapping[str, Any] | None = None,
    provider: Any = PROVIDER,
    tactics: Mapping[str, Mapping[str, Any]] = TACTICS,
    threads: int | None = None,
) -> dict[str, TacticError]:
    """Run every tactic of a group on random values. `orders` are those of inputs by name, `out` that of the results.
    `tactics` are the provider's, by kind of group.

    Gives the tactics that could not be prepared, by name.
    """
    rng, sizes = np.random.default_rng(seed), dict(sizes or {})
    inputs = []
    for t in group.inputs:
        if t.weight is not None:
            inputs.append(t.weight.load())
        elif values and t.name in values:
            inputs.append(values[t.name])
        else:
            shape = [d if isinstance(d, int) else sizes[str(d)] for d in t.shape]
            data = rng.standard_normal(shape) if t.dtype.is_float else rng.integers(0, 2, shape)
            inputs.append(arrange(data.astype(t.dtype.numpy), (orders or {}).get(t.name)))
    results = []
    for t in group.outputs:
        shape = [d if isinstance(d, int) else sizes[str(d)] for d in t.shape]
        results.append(arrange(np.empty(shape, t.dtype.numpy), out))
    problem = problem_for(group, inputs, results, sizes)
    expected = [np.empty_like(r) for r in results]
    reference = reference_provider()
    run(reference, reference.tactics(problem, CPU())[0], problem, inputs, expected)
    failed: dict[str, TacticError] = {}
    assert not provider.refusal(group), provider.refusal(group)
    for tactic in map(Tactic, tactics[group.kind]):
        try:
            run(provider, tactic, problem, inputs, results, threads)
        except TacticError as e:
            failed[tactic.name] = e
            continue
        for got, wanted in zip(results, expected, strict=True):
            known = [x if x.dtype.isbuiltin == 1 else x.astype(np.float32) for x in (got, wanted)]
            np.testing.assert_allclose(*known, rtol, atol, err_msg=tactic.name)
    return failed
