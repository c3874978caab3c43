"""Attention as two products with a softmax between them, for the dtypes that no fused attention takes.

    scores  = q @ k^T * scale                    a product
    scores  = max(scores + mask, lowest)         generated code, in place; where there is a mask
    weights = softmax(scores)                    generated code
    weights = 0 where scores = lowest            the same; where a query may look at no key
    y       = weights @ v                        a product

The scores are kept in memory, twice: this is not for long sequences, but it is exact, needs no look at the data, and can
be recorded into a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from math import prod, sqrt
from typing import Any

import numpy as np

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.group import Group, make_group
from trtn.backend.problem import ArrayLayout, Problem, dense_strides, make_problem
from trtn.backend.providers.base import Launch, Prepared, Provider, Tactic, TacticError, binaries_of
from trtn.dsl.builder import Builder
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Layer, Tensor

__all__ = ["AttentionKernel", "Step", "attention_refusal", "attention_tactics", "prepare_attention", "steps_of"]

DTYPES = ("f32", "f64")
"""16-bit scores would lose what a fused attention keeps."""
GRAIN = 256
"""Bytes that slots of the workspace start at multiples of."""


@dataclass(frozen=True, slots=True)
class Step:
    """A problem of its own. Arrays are named: `q`, `k`, `v`, `mask` and `y` are the attention's, `causal` is a constant
    mask, `scores` and `weights` lie in the workspace. What it `reads` follows the group's inputs, "" for constants."""

    name: str
    problem: Problem
    reads: tuple[str, ...]
    writes: str


def attention_refusal(group: Group) -> str:
    """Why a group is no attention that is run in steps; "" where it is."""
    layer = group.layers[0]
    if len(group.layers) > 1:
        return "more than attention in the group"
    dtype = layer.output.dtype.name
    return "" if dtype in DTYPES else f"the scores of attention are not kept in {dtype}"


def steps_of(problem: Problem) -> list[Step]:
    """The steps of an attention at its sizes, in order."""
    (layer,) = problem.group.layers
    q, k, v, mask = (None if t is None else problem.layout(t) for t in (*layer.inputs, None)[:4])
    assert q is not None and k is not None and v is not None
    y = problem.outputs[0]
    *lead, heads, queries, width = q.shape
    groups, keys = k.shape[-3], k.shape[-2]
    scale = 1 / sqrt(width) if layer.attrs["scale"] is None else layer.attrs["scale"]
    scores = _dense((*lead, heads, queries, keys), q)
    causal = ArrayLayout((queries, keys), (keys, 1), BOOL) if layer.attrs["causal"] else None
    grouped = partial(_grouped, groups=groups)
    steps = [_step("scores", {"q": grouped(q), "k": _turned(grouped(k))}, "scores", grouped(scores), _product(scale))]
    masks = {n: m for n, m in (("mask", mask), ("causal", causal)) if m is not None}
    if masks:
        steps.append(_step("mask", {"scores": scores, **masks}, "scores", scores, _masked))
    steps.append(_step("softmax", {"scores": scores}, "weights", scores, _softmax))
    if mask is not None or (causal is not None and keys < queries):
        steps.append(_step("keep", {"scores": scores, "weights": scores}, "weights", scores, _kept))
    steps.append(_step("values", {"weights": grouped(scores), "v": grouped(v)}, "y", grouped(y), _product(1.0)))
    return steps


Make = Callable[[Builder, dict[str, Tensor]], Tensor]
"""Adds a step's layers to a network with its inputs."""


def _step(name: str, inputs: dict[str, ArrayLayout], writes: str, result: ArrayLayout, make: Make) -> Step:
    builder = Builder(name)
    given = {n: builder.input(n, layout.dtype, layout.shape) for n, layout in inputs.items()}
    network = builder.finish([("result", make(builder, given))])
    layers: tuple[Layer, ...] = network.graph.layers
    kind = {"matmul": "gemm", "softmax": "softmax"}.get(layers[0].op.name, "pointwise")
    group = make_group(kind, layers, {id(network.outputs[0])})
    layouts = [
        replace(inputs[t.name], constant=False) if t.weight is None else _dense(t.weight.shape, result)
        for t in group.inputs
    ]
    reads = tuple(t.name if t.weight is None else "" for t in group.inputs)
    return Step(name, make_problem(group, {}, layouts, [result]), reads, writes)


def _product(scale: float) -> Make:
    def make(b: Builder, given: dict[str, Tensor]) -> Tensor:
        (y,) = b.layer("matmul", *given.values(), name="product")
        return y if scale == 1 else b.layer("mul", y, _number(b, scale, y), name="scaled")[0]

    return make


def _masked(b: Builder, given: dict[str, Tensor]) -> Tensor:
    y = given["scores"]
    lowest = _number(b, float(np.finfo(y.dtype.numpy).min), y)
    for name, mask in given.items():
        if name == "scores":
            continue
        if mask.dtype is BOOL:
            (y,) = b.layer("where", mask, y, lowest, name=f"{name}.applied")
        else:
            (y,) = b.layer("add", y, mask, name=f"{name}.applied")
            (y,) = b.layer("max", y, lowest, name=f"{name}.bound")
    return y


def _softmax(b: Builder, given: dict[str, Tensor]) -> Tensor:
    return b.layer("softmax", given["scores"], name="softmax", axis=-1)[0]


def _kept(b: Builder, given: dict[str, Tensor]) -> Tensor:
    scores, weights = given["scores"], given["weights"]
    lowest = _number(b, float(np.finfo(scores.dtype.numpy).min), scores)
    (out,) = b.layer("equal", scores, lowest, name="out")
    return b.layer("where", out, _number(b, 0.0, weights), weights, name="kept")[0]


def _number(b: Builder, value: float, like: Tensor) -> Tensor:
    return b.constant(np.array(value, like.dtype.numpy))


def _dense(shape: Sequence[int], like: ArrayLayout) -> ArrayLayout:
    return ArrayLayout(tuple(shape), dense_strides(shape), like.dtype)


def _grouped(layout: ArrayLayout, groups: int) -> ArrayLayout:
    """[.., H, S, D] as [.., G, H / G, S, D]: the heads that share one of k and v side by side."""
    *lead, heads, length, width = layout.shape
    *steps, step, along, across = layout.strides
    each = heads // groups
    shape, strides = (*lead, groups, each, length, width), (*steps, each * step, step, along, across)
    return replace(layout, shape=shape, strides=strides)


def _turned(layout: ArrayLayout) -> ArrayLayout:
    """With the last two axes exchanged."""
    shape, strides = layout.shape, layout.strides
    return replace(layout, shape=(*shape[:-2], shape[-1], shape[-2]), strides=(*strides[:-2], strides[-1], strides[-2]))


def attention_tactics(
    problem: Problem, device: Device, effort: int, products: Provider, generated: Provider
) -> list[Tactic]:
    """Tactics named `attention.` and those of the two products, joined by `/`; generated code is run by its first."""
    steps = steps_of(problem)
    offered = [_runner(s, products, generated).tactics(s.problem, device, effort) for s in steps]
    if not all(offered):
        return []
    first, last = offered[0], offered[-1]
    slots = 2 * _slot(steps) + max(t[0].workspace for t in offered[1:-1])
    pairs = [
        _paired([t for t in first if t.numerics == numerics], [t for t in last if t.numerics == numerics])
        for numerics in dict.fromkeys(t.numerics for t in first)
    ]
    return [
        Tactic(f"attention.{a.name}/{b.name}", slots + max(a.workspace, b.workspace), a.numerics)
        for a, b in (pair for turn in zip_longest(*pairs) for pair in turn if pair is not None)
    ]


def _paired(some: Sequence[Tactic], others: Sequence[Tactic]) -> list[tuple[Tactic, Tactic]]:
    """Those of equal rank; the last of the shorter list with the rest of the longer one."""
    count = max(len(some), len(others)) if some and others else 0
    return [(some[min(n, len(some) - 1)], others[min(n, len(others) - 1)]) for n in range(count)]


def prepare_attention(
    problem: Problem, tactic: Tactic, device: Device, products: Provider, generated: Provider
) -> AttentionKernel:
    """Raises TacticError."""
    steps = steps_of(problem)
    first, slash, last = tactic.name.removeprefix("attention.").partition("/")
    if not slash:
        raise TacticError(f"`{tactic.name}` does not name two products")
    kernels = []
    for step in steps:
        runner = _runner(step, products, generated)
        named = {"scores": Tactic(first), "values": Tactic(last)}.get(step.name)
        known = [named] if named is not None else runner.tactics(step.problem, device, 0)
        if not known:
            raise TacticError(f"generated code has nothing for `{step.name}`")
        kernels.append(runner.prepare(step.problem, known[0], device))
    return AttentionKernel(problem, steps, kernels, device)


def _runner(step: Step, products: Provider, generated: Provider) -> Provider:
    return products if step.problem.group.kind == "gemm" else generated


def _slot(steps: Sequence[Step]) -> int:
    """Bytes from one slot of the workspace, which holds the scores or the weights, to the next."""
    return -(-steps[0].problem.outputs[0].nbytes // GRAIN) * GRAIN


class AttentionKernel:
    """The steps' kernels, one after another over a shared workspace."""

    def __init__(self, problem: Problem, steps: Sequence[Step], kernels: Sequence[Prepared], device: Device) -> None:
        self._steps = steps
        self._kernels = kernels
        self._number = [problem.group.inputs.index(t) for t in problem.group.layers[0].inputs if t is not None]
        scores = next(s.problem.outputs[0] for s in steps if s.name == "softmax")
        self._scores = scores
        self._slot = _slot(steps)
        self.workspace = 2 * self._slot + max(k.workspace for k in kernels)
        causal = problem.group.layers[0].attrs["causal"]
        queries, keys = scores.shape[-2:]
        self._causal = device.upload(np.tri(queries, keys, keys - queries, dtype=bool)) if causal else None
        self._constants = [
            {n: device.upload(t.weight.load()) for n, t in enumerate(s.problem.group.inputs) if t.weight is not None}
            for s in steps
        ]

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        return binaries_of(self._kernels)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        named = dict(zip(("q", "k", "v", "mask"), (inputs[n] for n in self._number), strict=False))
        named |= {"y": outputs[0], "causal": self._causal}
        named["scores"], named["weights"] = (self._view(workspace, n * self._slot) for n in range(2))
        rest = workspace[2 * self._slot :]
        launches = [
            kernel.bind(
                [own[n] if n in own else named[name] for n, name in enumerate(step.reads)], [named[step.writes]], rest
            )
            for step, kernel, own in zip(self._steps, self._kernels, self._constants, strict=True)
        ]

        def launch() -> None:
            for run in launches:
                run()

        launch.held = named  # type: ignore[attr-defined]  # the launches have addresses only
        return launch

    def _view(self, workspace: Any, start: int) -> Any:
        shape = self._scores.shape
        flat = workspace[start : start + prod(shape) * self._scores.dtype.itemsize]
        return flat.view(self._scores.dtype.numpy).reshape(shape)
