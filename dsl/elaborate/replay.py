"""Statements that were elaborated before: where neither their text nor what they read has changed, what they came to
holds again.

A language server elaborates a long network after every letter that is typed. A `Past` keeps what each statement of a
network's body did to the network (layers, relations, names), and what it read for that. In the next text a statement
of the same characters that reads the same values does the same; only its spans move. So that the rest of a network
need not change with one of its layers, tensors that are alike are one object from text to text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from trtn.dsl.builder import Builder, PendingGuard
from trtn.dsl.diagnostics import Span
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import DType
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.modules import Unit
from trtn.dsl.elaborate.statements import run_statement
from trtn.dsl.elaborate.values import Bound, Poison
from trtn.dsl.network import Layer, Origin, Shape, Tensor
from trtn.dsl.ops.memo import InferenceMemo
from trtn.dsl.records import record
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.edits import Change, begin

__all__ = ["Past", "Replay"]

_MISSING: Final = object()
_TENSORS_KEPT = 200_000
"""More are forgotten: a name that somebody types leaves one behind for each letter."""


@record(eq=False)
class _Effect:
    """What a statement of a network's body read and did."""

    length: int
    reads: dict[str, object]
    """The values that names of the network had, `_MISSING` where they had none."""
    expanded: int
    layers: tuple[Layer, ...]
    names: frozenset[str]
    """Of the layers and their results."""
    avoided: tuple[str, ...]
    """Names that these would have had if they had been free."""
    requirements: tuple[PendingGuard, ...]
    binds: dict[str, Bound]


@dataclass(slots=True, eq=False)
class Past:
    """A network's last elaboration: of which file, and by where the statements began what they did."""

    unit: Unit
    effects: dict[int, _Effect] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """By name: those of this elaboration, and of earlier ones what it has not, for it may come back."""
    weights: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    memo: InferenceMemo = field(default_factory=InferenceMemo)


class Replay:
    """An elaboration of a network that makes use of the one before. `now` is what the next one can make use of."""

    def __init__(self, unit: Unit, name: str, doc: str, past: Past | None) -> None:
        change = Change.between(past.unit.source, unit.source) if past is not None else None
        if past is None or change is None or not _same_around(past.unit, unit, change):
            past = Past(unit)
            change = Change.between(unit.source, unit.source)
        tensors = past.tensors if len(past.tensors) < _TENSORS_KEPT else {}
        self.now = Past(unit, tensors=dict(tensors), weights=past.weights, memo=past.memo)
        self.names = _Names()
        self.builder = _Builder(name, doc, past, self.now)
        self._past = past
        self._change = change

    def run(self, ctx: Context, statement: ast.Statement) -> None:
        """As `run_statement`, for a statement of the network's body."""
        earlier = self._find(statement)
        if earlier is not None and self._holds(earlier, ctx):
            self.builder.take(earlier)
            self.names.update(earlier.binds)
            ctx.shared.expanded += earlier.expanded
            effect: _Effect | None = earlier
        else:
            effect = self._watch(ctx, statement) or earlier  # what it fails for now may be mended again
        if effect is not None:
            self.now.effects[begin(statement)] = effect

    def _find(self, statement: ast.Statement) -> _Effect | None:
        """What a statement of the same text did before, with its spans where they are now."""
        start = begin(statement)
        was = self._change.was(start, statement.end)
        effect = self._past.effects.get(was) if was is not None else None
        return _moved(effect, self._change) if effect is not None and effect.length == statement.end - start else None

    def _holds(self, effect: _Effect, ctx: Context) -> bool:
        """Whether a statement does the same again."""
        for name, value in effect.reads.items():
            bound = self.names.peek(name)
            if not _same(value, _MISSING if bound is None else bound.value):
                return False
        return ctx.shared.expanded + effect.expanded <= ctx.shared.limit and self.builder.can_take(effect)

    def _watch(self, ctx: Context, statement: ast.Statement) -> _Effect | None:
        """Run a statement; gives what it did, if that is all that there is to it."""
        builder, names, shared = self.builder, self.names, ctx.shared
        names.reads, names.binds = {}, {}
        builder.avoided = []
        layers, requirements, sizes = len(builder.layers), len(builder.requirements), len(builder.data_dims)
        expanded, failures, findings = shared.expanded, shared.failures, len(shared.sink.diagnostics)
        run_statement(ctx, statement)
        made = tuple(builder.layers[layers:])
        if (
            shared.failures > failures
            or len(shared.sink.diagnostics) > findings
            or len(builder.data_dims) > sizes
            or any(layer.regions for layer in made)
            or any(isinstance(bound.value, Poison) for bound in names.binds.values())
        ):
            return None
        return _Effect(
            statement.end - begin(statement),
            names.reads,
            shared.expanded - expanded,
            made,
            frozenset(n for layer in made for n in (layer.name, *(t.name for t in layer.outputs))),
            tuple(builder.avoided),
            tuple(builder.requirements[requirements:]),
            names.binds,
        )


class _Names(dict[str, Bound]):
    """The names of a network's body, watched: which are read before they are bound, and which are bound."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: dict[str, object] = {}
        self.binds: dict[str, Bound] = {}
        self.peek = super().get

    def get(self, name: str, default: Any = None) -> Any:
        bound = self.peek(name)
        if name not in self.reads and name not in self.binds:
            self.reads[name] = _MISSING if bound is None else bound.value
        return default if bound is None else bound

    def __setitem__(self, name: str, bound: Bound) -> None:
        self.binds[name] = bound
        super().__setitem__(name, bound)


class _Builder(Builder):
    """Gives a tensor that is as it was in the last elaboration again, and takes layers from there."""

    def __init__(self, name: str, doc: str, past: Past, now: Past) -> None:
        super().__init__(name, doc=doc)
        self._memo = now.memo
        self._earlier = past.tensors
        self._tensors = now.tensors
        self.avoided: list[str] = []

    @property
    def layers(self) -> list[Layer]:
        """Those of the network itself."""
        return self._scopes[0]

    def unique(self, name: str) -> str:
        made = super().unique(name)
        if made != name:
            self.avoided += [name, *(f"{name}_{n}" for n in range(2, int(made.rpartition("_")[2])))]
        return made

    def _tensor(self, name: str, dtype: DType, shape: Shape, value: tuple[Dim, ...] | None = None) -> Tensor:
        tensor = self._earlier.get(name)
        if tensor is None or tensor.dtype is not dtype or tensor.shape != shape or not _same(tensor.value, value):
            tensor = super()._tensor(name, dtype, shape, value)
        self._tensors[name] = tensor
        return tensor

    def can_take(self, effect: _Effect) -> bool:
        """Whether what a statement made would have the same names here."""
        free = self._names.isdisjoint(effect.names)
        return free and all(name in self._names or name in effect.names for name in effect.avoided)

    def take(self, effect: _Effect) -> None:
        self._names |= effect.names
        self.layers.extend(effect.layers)
        self.requirements.extend(effect.requirements)
        for layer in effect.layers:
            for tensor in layer.outputs:
                self._tensors[tensor.name] = tensor


# --- what is the same ----------------------------------------------------------------------------------------------


def _same(old: object, new: object) -> bool:
    """Whether no statement can tell two values apart. Tensors are known by identity."""
    if old is new:
        return True
    if type(old) is not type(new) or isinstance(old, Tensor):
        return False
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return repr(old) == repr(new) if isinstance(old, float) else old == new


def _same_around(old: Unit, new: Unit, change: Change) -> bool:
    """Whether statements of two texts see the same blocks, imports and manifests."""
    before, after = list(_shared_items(old)), list(_shared_items(new))
    same = len(before) == len(after) and all(
        type(a) is type(b) and a.end - a.start == b.end - b.start and change.was(b.start, b.end) == a.start
        for a, b in zip(before, after, strict=True)
    )
    return same and old.source.path == new.source.path and _same_names(old, new)


def _shared_items(unit: Unit) -> Iterator[ast.Node]:
    return (i for i in unit.module.items if isinstance(i, ast.Import | ast.WeightsDecl | ast.Block | ast.Plugin))


def _same_names(old: Unit, new: Unit) -> bool:
    """Whether imports and manifests are what they were: their trees and tables are only made anew from new texts."""
    return (
        old.weights.keys() == new.weights.keys()
        and all(table is new.weights[name] for name, table in old.weights.items())
        and old.imports.keys() == new.imports.keys()
        and all(_same_import(unit, new.imports[name]) for name, unit in old.imports.items())
    )


def _same_import(old: Unit | None, new: Unit | None) -> bool:
    if old is None or new is None:
        return old is new
    return old.module is new.module and _same_names(old, new)


# --- spans that moved ----------------------------------------------------------------------------------------------


_Move = Callable[[Span | None], Span | None]


class _Lost(Exception):
    """A span's text is not there any more."""


def _moved(effect: _Effect, change: Change) -> _Effect | None:
    """The same in the new text; None where a span has no place there."""
    if change.old is change.new:
        return effect

    def move(span: Span | None) -> Span | None:
        found = change.span(span) if span is not None else None
        if found is None and span is not None:
            raise _Lost
        return found

    try:
        return replace(
            effect,
            layers=tuple([_moved_layer(layer, move) for layer in effect.layers]),
            requirements=tuple([_moved_requirement(pending, move) for pending in effect.requirements]),
            binds={name: Bound(bound.value, move(bound.span)) for name, bound in effect.binds.items()},
        )
    except _Lost:
        return None


def _moved_layer(layer: Layer, move: _Move) -> Layer:
    origin = Origin(move(layer.origin.span), layer.origin.source, layer.origin.precision)
    return Layer(layer.name, layer.op, layer.inputs, layer.outputs, layer.attrs, (), origin)


def _moved_requirement(pending: PendingGuard, move: _Move) -> PendingGuard:
    assertion = pending.assertion
    return replace(
        pending,
        span=move(pending.span),
        input_spans=tuple(map(move, pending.input_spans)),
        assertion=replace(assertion, span=move(assertion.span)) if assertion is not None else None,
    )
