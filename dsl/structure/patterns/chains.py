"""Transposes that cancel, reshapes in a row, and those that can go through a linear layer to meet others."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.dims import symbols
from trtn.dsl.network import Layer, Origin, Tensor
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter
from trtn.dsl.structure.views import VIEWS, Step, shortest, steps_of

__all__ = ["PATTERNS", "ChainPattern", "LiftPattern", "SinkPattern"]


class ChainPattern:
    """A chain of views in as few layers as do the same."""

    name = "views"
    ops = VIEWS
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        chain = _chain_up_to(rewriter, layer)
        source = chain[0].inputs[0]
        if source is None or not rewriter.untouched(*chain) or not _has_known_dims(rewriter, chain):
            return None
        steps = shortest(source.shape, steps_of(chain))
        if steps is None or len(steps) >= len(chain):
            return None
        if not steps:
            return source
        return _layers(rewriter, source, steps, layer)


class LiftPattern:
    """A view of a linear layer's result that leaves the channels alone is one of what the layer reads.

    It is moved there where it merges with the views before the layer: so do the transposes around the layers of
    attention, and the reshapes around those that an exporter writes for rows only.
    """

    name = "views before a linear layer"
    ops = frozenset({"flatten", "reshape", "transpose"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        linear = rewriter.maker(layer.inputs[0], "linear")
        if linear is None or rewriter.sole_reader(linear.output) is not layer or not rewriter.untouched(linear):
            return None
        step = _without_channels(linear, steps_of([layer])[0])
        last = rewriter.maker(linear.inputs[0], *VIEWS)
        if step is None or last is None or rewriter.sole_reader(last.output) is not linear:
            return None
        chain = _chain_up_to(rewriter, last)
        source = chain[0].inputs[0]
        if source is None or not rewriter.untouched(*chain) or not _has_known_dims(rewriter, [*chain, layer]):
            return None
        steps = shortest(source.shape, [*steps_of(chain), step])
        if steps is None or len(steps) > len(chain):
            return None
        before = _layers(rewriter, source, steps, None, name=last.name)
        x = before[-1].output if before else source
        return (*before, rewriter.layer("linear", x, *linear.inputs[1:], outputs=layer.outputs, origin=linear.origin))


class SinkPattern:
    """A transpose that a linear layer reads is one of its result, where it merges with the views behind the layer."""

    name = "views behind a linear layer"
    ops = VIEWS
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        chain = _chain_up_to(rewriter, layer)
        linear = rewriter.maker(chain[0].inputs[0], "linear")
        if linear is None or rewriter.sole_reader(linear.output) is not chain[0]:
            return None
        transpose = rewriter.maker(linear.inputs[0], "transpose")
        if transpose is None or rewriter.sole_reader(transpose.output) is not linear:
            return None
        source = transpose.inputs[0]
        perm = transpose.attrs["perm"]
        if source is None or perm[-1] != len(perm) - 1 or not rewriter.untouched(transpose, linear, *chain):
            return None
        if _goes_on(rewriter, layer) or not _has_known_dims(rewriter, chain):
            return None
        shape = (*source.shape[:-1], linear.output.shape[-1])
        steps = shortest(shape, [("transpose", perm), *steps_of(chain)])
        if steps is None or len(steps) > len(chain):
            return None
        product = rewriter.layer("linear", source, *linear.inputs[1:], name=linear.name, origin=linear.origin)
        if not steps:
            return [rewriter.layer("linear", source, *linear.inputs[1:], outputs=layer.outputs, origin=linear.origin)]
        return (product, *_layers(rewriter, product.output, steps, layer))


PATTERNS = (ChainPattern(), LiftPattern(), SinkPattern())


def _chain_up_to(rewriter: Rewriter, layer: Layer) -> list[Layer]:
    """The views that a layer ends: each but the last is read by the next one only."""
    chain = [layer]
    while (before := rewriter.maker(chain[0].inputs[0], *VIEWS)) is not None:
        if rewriter.sole_reader(before.output) is not chain[0]:
            break
        chain.insert(0, before)
    return chain


def _goes_on(rewriter: Rewriter, layer: Layer) -> bool:
    """Whether another view reads the result alone: then that one is the end of the chain."""
    reader = rewriter.sole_reader(layer.output)
    return reader is not None and reader.op.name in VIEWS and reader.inputs[0] is layer.output


def _has_known_dims(rewriter: Rewriter, layers: Sequence[Layer]) -> bool:
    known = rewriter.network.dims.keys()
    return all(symbols(d) <= known for layer in layers for d in layer.output.shape)


def _without_channels(linear: Layer, step: Step) -> Step | None:
    """What a view of a linear layer's result is on its input; None where it touches the channels."""
    x, y = linear.inputs[0], linear.output
    assert x is not None
    kind, argument = step
    if kind == "transpose":
        return step if argument[-1] == y.rank - 1 else None
    return (kind, (*argument[:-1], x.shape[-1])) if argument and argument[-1] == y.shape[-1] else None


def _layers(
    rewriter: Rewriter, source: Tensor, steps: Sequence[Step], end: Layer | None, *, name: str = ""
) -> list[Layer]:
    """Layers for the steps. The last one makes the results of `end`, where it is given."""
    made: list[Layer] = []
    tensor = source
    for number, (kind, argument) in enumerate(steps):
        is_last = end is not None and number == len(steps) - 1
        made.append(
            rewriter.layer(
                kind,
                tensor,
                outputs=end.outputs if is_last and end is not None else (),
                name=f"{end.name if end is not None else name}.{kind}",
                origin=end.origin if end is not None else Origin(),
                **{"perm" if kind == "transpose" else "shape": argument},
            )
        )
        tensor = made[-1].output
    return made
