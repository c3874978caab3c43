"""Compares a spec with its model layer by layer: where do they depart?

Ours is the reference evaluation, one layer after another as the spec has them: nothing is fused, nothing folded. The
model runs with its inner values as results and without optimisations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtn.cli.compare import Difference, compare, default_tolerance
from trtn.cli.rounding import rounding_floor
from trtn.cli.tables import rows
from trtn.dsl.network import Layer, Network, Tensor

if TYPE_CHECKING:
    import numpy as np

    from trtn.cli.reference import Reference

__all__ = ["LayerDifference", "compare_layers", "first_departure", "layer_table"]

_SLACK = 10
"""How many times an output's tolerance an inner value may be off: what rounding did to it often vanishes further on."""
_SHOWN = 200
"""Rows of the table around the first departure, at most."""


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """A result of a layer, the value of the model that it should be, how far it is from it."""

    layer: Layer
    value: str
    difference: Difference

    @property
    def place(self) -> str:
        """`bert.trtn:41`, or "" where the layer stands in no file."""
        span = self.layer.origin.span
        return f"{span.source.path}:{span.line}" if span is not None else ""

    def json(self) -> dict[str, Any]:
        facts = self.difference.json()
        del facts["output"]
        names = {"layer": self.layer.name, "op": self.layer.op.name, "tensor": self.difference.tensor.name}
        return {**names, "value": self.value, "place": self.place, **facts}


def compare_layers(
    network: Network,
    reference: Reference,
    values: Mapping[int, str],
    feeds: Mapping[str, np.ndarray[Any, Any]],
    sizes: Mapping[str, int],
    rtol: float | None,
) -> list[LayerDifference]:
    """The differences of all tensors that have a counterpart in the model, in the order of the layers.

    values: the model's name by the id of the network's tensor. sizes: the dims' values.
    Raises ImportModelError where ONNX Runtime can't run the model, ShapeError where a layer's data does not fit.
    """
    wanted = [(layer, t) for layer in network.layers for t in layer.outputs if id(t) in values]
    expected = reference.values(network, feeds, list(dict.fromkeys(values[id(t)] for _, t in wanted)))
    actual = _evaluate(network, [t for _, t in wanted], feeds, sizes)
    floor = rounding_floor(network)
    found = []
    for layer, tensor in wanted:
        name = values[id(tensor)]
        if name in expected:
            tolerance = rtol if rtol is not None else _SLACK * default_tolerance(network, tensor)
            difference = compare(tensor, actual[id(tensor)], expected[name], tolerance, floor(tensor))
            found.append(LayerDifference(layer, name, difference))
    return found


def first_departure(differences: Sequence[LayerDifference]) -> LayerDifference | None:
    """The first result above its tolerance: what the layer read was still right, as far as it could be compared."""
    return next((d for d in differences if not d.difference.ok), None)


def layer_table(differences: Sequence[LayerDifference]) -> list[str]:
    """Lines for people: all layers, or those around the first departure where they are many."""
    first = next((n for n, d in enumerate(differences) if not d.difference.ok), 0)
    start = max(0, min(first - _SHOWN // 2, len(differences) - _SHOWN))
    shown = differences[start : start + _SHOWN]
    table = [["layer", "op", "max rel", "tolerance", "", ""]]
    for d in shown:
        relative = d.difference.max_rel
        number = "-" if relative is None else f"{relative:.2e}" if relative else "0"
        verdict = "ok" if d.difference.ok else "DEPARTS"
        table.append(
            [d.difference.tensor.name, d.layer.op.name, number, f"{d.difference.tolerance:.0e}", verdict, d.place]
        )
    lines = rows(table, right=(2, 3))
    left_out = len(differences) - len(shown)
    return [*lines, f"  ({left_out:,} more are not shown)"] if left_out else lines


def _evaluate(
    network: Network, kept: Sequence[Tensor], feeds: Mapping[str, np.ndarray[Any, Any]], sizes: Mapping[str, int]
) -> dict[int, np.ndarray[Any, Any]]:
    """The arrays of the tensors in `kept`, by id."""
    import numpy as np

    from trtn.backend.evaluate import bind_layers

    table: dict[int, Any] = {id(t): t.weight.load() for t in network.weights if t.weight is not None}
    table.update((id(t), feeds[t.name]) for t in network.inputs)
    with np.errstate(all="ignore"):
        bind_layers(network.layers, kept, sizes, np)(table, dict(sizes))
    return {id(t): np.asarray(table[id(t)]) for t in kept}
