"""Statements from layers: what is read once, right behind it, is written inside of what reads it.

The order of the layers stays that in which the text makes them. Whether a layer is inside of another depends on the
two and what is inside of them already, never on what is far away: a new layer changes the lines around it only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.printer.operands import Operand, arguments, infix
from trtn.dsl.structure.tokens import is_line
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH

__all__ = ["Expression", "Packer", "Voice"]

_ATOM, _POWER, _SIGN, _PRODUCT, _SUM, _COMPARISON = 5, 4, 3, 2, 1, 0
_STRENGTHS = {
    "add": _SUM, "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT, "floor_div": _PRODUCT, "mod": _PRODUCT,
    "matmul": _PRODUCT, "pow": _POWER, "neg": _SIGN,
}  # fmt: skip
_MOVES = frozenset({"concat", "gather", "pad", "resize", "slice", "split"})
"""Ops that have a line of their own, but make nothing new: what is made of their results is called after what they read."""
_MOST_OPS = 5
"""Layers in one statement."""
_MOST_OPS_INSIDE = 2
"""Layers of an operand of one that has a line of its own."""


@dataclass(frozen=True, slots=True)
class Expression:
    """The text of a layer with what is inside of it.

    ops: how many layers; label: what its result could be called; stem: what other results are called after it;
    has_line: whether a layer with a line of its own is in it; inside: the layers that are directly inside.
    """

    text: str
    strength: int
    ops: int
    label: str
    stem: str
    has_line: bool
    inside: tuple[tuple[Layer, Expression], ...] = ()


class Voice(Protocol):
    """Who writes: how the parts of a statement are called in the place where it stands."""

    depth: int

    def operands(self, layer: Layer) -> list[Operand]:
        """A layer's inputs; one that is inside of the statement may be called anything."""

    def attributes(self, layer: Layer) -> list[str]:
        """The keyword arguments of a call."""

    def label(self, layer: Layer) -> str:
        """What a layer is called by its weights; "" for one without."""

    def stem(self, tensor: Tensor) -> str:
        """What the result of an earlier statement is called after; "" for what comes from outside."""

    def may_be_inside(self, layer: Layer) -> bool:
        """Whether a layer's result is read once, by a layer of the same body, and nothing needs its name."""

    def fits(self, layer: Layer, expression: Expression) -> bool:
        """Whether a statement would fit into a line."""

    def bind(self, layer: Layer, expression: Expression) -> None:
        """Write a statement."""


class Packer:
    """Takes the layers of a body in order and packs them into statements."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._waiting: list[tuple[Layer, Expression]] = []

    def add(self, layer: Layer) -> None:
        """The next layer."""
        read = {id(t) for t in layer.inputs if t is not None}
        inside = [entry for entry in self._waiting if id(entry[0].output) in read]
        if not inside:
            self._put(layer, self._expression(layer, []))
            return
        found = self._joined(layer, inside) if self._are_last(layer, inside) else None
        if found is None and not is_line(layer) and len(inside) == 1 and inside[0] is self._waiting[-1]:
            inside = [self._unpacked()]
            found = self._joined(layer, inside)
        if found is None:
            self.flush()
            found = self._expression(layer, [])
        else:
            del self._waiting[-len(inside) :]
        self._put(layer, found)

    def _unpacked(self) -> tuple[Layer, Expression]:
        """The last layer that waits, with what is inside of it in statements of its own: `q = linear(..)` and
        `transpose(reshape(q))` read better than `q = reshape(linear(..))` and `transpose(q)`.
        """
        layer, expression = self._waiting[-1]
        if is_line(layer) or not expression.inside:
            return layer, expression
        del self._waiting[-1]
        self.flush()
        for inner, part in expression.inside:
            self._bind(inner, part)
        self._waiting.append((layer, self._expression(layer, [])))
        return self._waiting[-1]

    def flush(self) -> None:
        """Write what waits for a reader."""
        waiting, self._waiting = self._waiting, []
        for layer, expression in waiting:
            self._bind(layer, expression)

    def _bind(self, layer: Layer, expression: Expression) -> None:
        """Write a statement; one that is too long without what is inside of it, which gets statements of its own."""
        if expression.inside and not self._voice.fits(layer, expression):
            for inner, part in expression.inside:
                self._bind(inner, part)
            expression = self._expression(layer, [])
        if expression.strength != _ATOM and not self._voice.fits(layer, expression):
            expression = self._expression(layer, [], is_call=True)  # a call is better broken over several lines
        self._voice.bind(layer, expression)

    def _put(self, layer: Layer, expression: Expression) -> None:
        if self._voice.may_be_inside(layer):
            self._waiting.append((layer, expression))
            return
        self.flush()
        self._bind(layer, expression)

    def _are_last(self, layer: Layer, inside: Sequence[tuple[Layer, Expression]]) -> bool:
        """Whether what a layer reads was made last and in the order of its operands."""
        makers = {id(x.output): x for x, _ in inside}
        order = [makers[id(t)] for t in layer.inputs if id(t) in makers]
        last = [x for x, _ in self._waiting[-len(inside) :]]
        return len(order) == len(last) and all(a is b for a, b in zip(order, last, strict=True))

    def _joined(self, layer: Layer, inside: Sequence[tuple[Layer, Expression]]) -> Expression | None:
        """The layer with its operands inside; None where that would be too much for one line."""
        limit = _MOST_OPS_INSIDE if is_line(layer) else _MOST_OPS
        if any(e.ops > limit or (is_line(layer) and e.has_line) for _, e in inside):
            return None
        found = self._expression(layer, inside)
        room = LINE_LENGTH - len(INDENT) * self._voice.depth - len(f"{found.label} = ")
        return found if found.ops <= _MOST_OPS and len(found.text) <= room else None

    def _expression(
        self, layer: Layer, inside: Sequence[tuple[Layer, Expression]], *, is_call: bool = False
    ) -> Expression:
        parts = {id(x.output): e for x, e in inside}
        operands = self._voice.operands(layer)
        attributes = self._voice.attributes(layer)
        text, strength = None, _ATOM
        if not attributes and not is_call:
            strength = _STRENGTHS.get(layer.op.name, _COMPARISON)
            text = infix(layer, [self._wrapped(o, n, parts, strength) for n, o in enumerate(operands)])
        if text is None:
            strength = _ATOM
            plain = [Operand(o.tensor, parts[id(o.tensor)].text) if id(o.tensor) in parts else o for o in operands]
            text = f"{layer.op.name}({', '.join([*arguments(layer, plain), *attributes])})"
        return Expression(
            text,
            strength,
            1 + sum(e.ops for e in parts.values()),
            *self._label(layer, [e for _, e in inside]),
            is_line(layer) or any(e.has_line for e in parts.values()),
            tuple(inside),
        )

    def _wrapped(self, operand: Operand, number: int, parts: dict[int, Expression], strength: int) -> Operand:
        """An operand of an operator, in brackets where it binds less tightly."""
        inner = parts.get(id(operand.tensor))
        if inner is None:
            return operand
        # Chains lean to the left; powers to the right, and comparisons don't make chains.
        leans = number == 0 and strength in (_SUM, _PRODUCT)
        binds = inner.strength > strength or (inner.strength == strength and leans)
        return Operand(operand.tensor, inner.text if binds else f"({inner.text})")

    def _label(self, layer: Layer, inside: Sequence[Expression]) -> tuple[str, str]:
        """Label and stem: after the weights that a layer or what it works on has; else the op's name."""
        own = self._voice.label(layer)
        if own or (is_line(layer) and layer.op.name not in _MOVES):
            return (own or layer.op.name,) * 2
        if len(inside) == 1 and sum(t is not None and t.weight is None for t in layer.inputs) == 1:
            inner = inside[0]
            return inner.label if inner.has_line else f"{inner.stem}_{layer.op.name}", inner.stem
        stems = [e.stem for e in inside if e.has_line]
        stems += [s for t in layer.inputs if t is not None and (s := self._voice.stem(t))]
        stem = stems[0] if stems else layer.op.name
        return (layer.op.name if is_line(layer) or not stems else f"{stem}_{layer.op.name}"), stem
