"""How near an engine's steps are to what the machine could do: time by kind of group, against a bound of bytes and of
arithmetic.

A group's bound is the longer of reading its inputs and writing its outputs once at the memory's bandwidth, and of its
multiplications at the rate of the tensor cores. The bandwidth is that of the device's memory: a network whose tensors
stay in a cache can beat it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from bench.results import Column, Table

if TYPE_CHECKING:
    from trtn.backend.group import Group
    from trtn.backend.runtime.engine import Engine
    from trtn.dsl.network import Layer, Tensor

__all__ = ["H200", "Machine", "kinds", "table"]

Sizes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured ceilings: bytes a second of a copy (read and written), operations a second of a large f16 product."""

    name: str
    bandwidth: float
    arithmetic: float


H200 = Machine("H200", bandwidth=4.3e12, arithmetic=790e12)


def kinds(engine: Engine, sizes: Sizes, machine: Machine = H200) -> list[dict[str, Any]]:
    """A row for each kind of group: how many, the time that the tuner saw for them, their bound, all in seconds, the
    longest first. Views take no time and are left out; kinds with a group that was not timed have no time."""
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"groups": 0, "time": 0.0, "bound": 0.0})
    for group, choice in zip(engine.groups, engine.choices, strict=True):
        if group.kind == "view":
            continue
        row = rows[group.kind]
        row["groups"] += 1
        row["time"] = None if row["time"] is None or choice.seconds is None else row["time"] + choice.seconds
        row["bound"] += _bound(group, sizes, machine)
    return [
        {"kind": kind, **row, "share": row["bound"] / row["time"] if row["time"] else None}
        for kind, row in sorted(rows.items(), key=lambda item: -(item[1]["time"] or 0.0))
    ]


def table(name: str, rows: list[dict[str, Any]], whole: float) -> Table:
    """The rows of a network whose run takes `whole` seconds."""
    timed = sum(row["time"] or 0.0 for row in rows)
    return Table(
        f"{name}: time by kind of group",
        (
            Column("kind", "kind"),
            Column("groups", "groups", "count"),
            Column("time", "time", "us"),
            Column("bound", "bound", "us"),
            Column("share", "share of the roofline", "ratio"),
        ),
        rows,
        notes=[f"Steps timed alone: {timed * 1e6:.0f} µs; the network: {whole * 1e6:.0f} µs."],
    )


def _bound(group: Group, sizes: Sizes, machine: Machine) -> float:
    written = sum(_bytes(t, sizes) for t in group.outputs)
    read = [_bytes(t, sizes) for t in group.inputs]
    if group.kind == "copy":  # which may take a few rows of a long table
        read = [min(count, written) for count in read]
    moved = written + sum(read)
    return max(moved / machine.bandwidth, sum(_operations(layer, sizes) for layer in group.layers) / machine.arithmetic)


def _operations(layer: Layer, sizes: Sizes) -> int:
    """Multiplications and additions of the layers that have most of them."""
    name, result = layer.op.name, _size(layer.outputs[0], sizes)
    shapes = [None if t is None else _shape(t, sizes) for t in layer.inputs]
    match name, shapes:
        case "conv", [_, [_, *kernel], *_]:
            return 2 * result * prod(kernel)
        case "deconv", [[*x], [_, *kernel], *_]:
            return 2 * prod(x) * prod(kernel)
        case "matmul" | "linear", [[*_, inner], *_]:
            return 2 * result * inner
        case "attention", [[*queries], [*_, keys, _], *_]:
            return 4 * prod(queries) * keys
    return 0


def _shape(tensor: Tensor, sizes: Sizes) -> tuple[int, ...]:
    from trtn.dsl.dims import evaluate

    return tuple(evaluate(d, sizes) for d in tensor.shape)


def _size(tensor: Tensor, sizes: Sizes) -> int:
    return prod(_shape(tensor, sizes))


def _bytes(tensor: Tensor, sizes: Sizes) -> int:
    return _size(tensor, sizes) * tensor.dtype.itemsize
