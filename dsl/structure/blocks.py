"""A block: what its occurrences have in common as its body, what tells them apart as its parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.dsl.dims import Expr
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.signature import Attr
from trtn.dsl.printer.attributes import written_attributes
from trtn.dsl.printer.literals import DimWriter, constant_text, name_text, value_text
from trtn.dsl.printer.operands import Operand
from trtn.dsl.structure.expressions import Expression, Packer
from trtn.dsl.structure.find import Occurrence, is_weight
from trtn.dsl.structure.labels import module_labels
from trtn.dsl.structure.paths import Family
from trtn.dsl.structure.roles import attended, role_of
from trtn.dsl.structure.sizes import SizeBook, Vector
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH
from trtn.dsl.syntax.names import RESERVED, is_plain_name, quote_name

__all__ = ["Block", "Unwritable", "make_block"]

_SHORT = {"strides": "stride", "pads": "pad", "dilations": "dilation"}
_PARTS = {"q": "query", "k": "key", "v": "value"}
"""What the parts of a tensor are called that attention's operands are made of."""
_KINDS = {"int": "int", "dim": "int", "float": "float", "str": "str", "bool": "bool"}
_LIST_KINDS = {"ints": "ints", "dims": "ints", "floats": "floats"}


class Unwritable(Exception):
    """The occurrences differ in something that no parameter can stand for."""


@dataclass(slots=True)
class Block:
    """lines: the block's text. prefixes: the place of each occurrence's weights; None for a block without.
    params: each further keyword parameter with its value in every occurrence. shared: weights that all calls are given.
    """

    name: str
    lines: list[tuple[int, str]]
    occurrences: list[Occurrence]
    prefixes: tuple[str, ...] | None
    params: dict[str, tuple[str, ...]]
    shared: tuple[Tensor, ...]


def make_block(name: str, occurrences: list[Occurrence], members: Family, dims: DimWriter) -> Block:
    """The block of occurrences whose weights' paths fit together. Raises Unwritable."""
    writer = _BlockWriter(name, occurrences, members, dims)
    return writer.block()


@dataclass(slots=True)
class _BlockWriter:
    """Writes the first occurrence, with what varies in the others under the name of a parameter."""

    name: str
    occurrences: list[Occurrence]
    members: Family
    dims: DimWriter
    depth: int = 1
    lines: list[tuple[int, str]] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)
    _texts: dict[int, str] = field(default_factory=dict)
    _params: dict[str, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    _vectors: dict[int, tuple[Layer, ...]] = field(default_factory=dict)
    _reads: dict[int, int] = field(default_factory=dict)
    _labels: dict[str, str] = field(default_factory=dict)
    _suffixes: dict[int, str] = field(default_factory=dict)
    _attended: dict[int, str] = field(default_factory=dict)
    """What attention takes the results of layers without weights for, and what those are made of: `q`, `k` or `v`."""
    _stems: dict[int, str] = field(default_factory=dict)
    """What the results of statements are called after, for those that work on them."""
    _sizes: SizeBook = field(init=False)

    def __post_init__(self) -> None:
        self._sizes = SizeBook(self.dims, self._free)

    def block(self) -> Block:
        first = self.occurrences[0]
        self._taken |= {"p", "none"}
        shared = [t for n, t in enumerate(first.weights) if n in self.members.shared]
        self._enter_weights(first)
        self._attended = attended(first.layers)
        for layer, *others in zip(*(o.layers for o in self.occurrences), strict=True):
            self._vectors[id(layer)] = (layer, *others)
            for t in layer.inputs:
                self._reads[id(t)] = self._reads.get(id(t), 0) + 1
        for t in first.outputs:
            self._reads[id(t)] = self._reads.get(id(t), 0) + 2  # it needs a name, or is returned
        tensors = [self._tensor_param(n, t) for n, t in enumerate(first.inputs)]
        tensors += [self._weight_param(t) for t in shared]
        packer = Packer(self)
        for layer in first.layers:
            packer.add(layer)
        packer.flush()
        self._return(first)
        results = [self._type([o.outputs[n] for o in self.occurrences], result=True) for n in range(len(first.outputs))]
        has_weights = bool(self._suffixes)
        attrs = ["p: weights"] if has_weights else []
        attrs += [f"{name_text(param)}: {kind}" for param, (kind, _) in self._params.items()]
        signature = ", ".join([*tensors, *(["*", *attrs] if attrs else [])])
        promised = results[0] if len(results) == 1 else f"({', '.join(f'y{n}: {r}' for n, r in enumerate(results))})"
        lines = [(0, f"block {self.name}({signature}) -> {promised} {{"), *self.lines, (0, "}")]
        texts = {param: tuple(value_text(v, self.dims) for v in values) for param, (_, values) in self._params.items()}
        prefixes = self.members.prefixes if has_weights else None
        return Block(self.name, lines, self.occurrences, prefixes, texts, tuple(shared))

    # --- the signature ---

    def _enter_weights(self, first: Occurrence) -> None:
        for role, t in enumerate(first.weights):
            suffix = self.members.suffixes[role]
            if role in self.members.shared:
                continue
            if suffix is None:
                raise Unwritable
            self._suffixes[id(t.weight)] = suffix
        self._labels = module_labels(self._suffixes.values())

    def _tensor_param(self, number: int, tensor: Tensor) -> str:
        name = self._free("x" if not number else self.occurrences[0].input_names[number])
        self._texts[id(tensor)] = name
        return f"{name}: {self._type([o.inputs[number] for o in self.occurrences])}"

    def _weight_param(self, tensor: Tensor) -> str:
        name = self._free(role_of(self.occurrences[0].layers, tensor))
        self._texts[id(tensor.weight)] = name
        return f"{name}: {self._type([tensor] * len(self.occurrences))}"

    def _type(self, tensors: Sequence[Tensor], *, result: bool = False) -> str:
        vectors: list[Vector] = list(zip(*(t.shape for t in tensors), strict=True))
        return f"{tensors[0].dtype}[{self._sizes.type_text(vectors, result=result)}]"

    def _free(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._taken or name in BY_NAME or name in RESERVED:
            name, number = f"{wanted}_{number}", number + 1
        self._taken.add(name)
        return name

    def _return(self, first: Occurrence) -> None:
        """The results; a single one that the last statement makes is returned by it."""
        names = [self._texts[id(t)] for t in first.outputs]
        depth, last = self.lines[-1]
        if len(names) == 1 and last.startswith(f"{names[0]} = "):
            self.lines[-1] = (depth, f"return {last.removeprefix(f'{names[0]} = ')}")
        else:
            self.lines.append((1, f"return {', '.join(names)}"))

    # --- the body, as a packer asks for it ---

    def operands(self, layer: Layer) -> list[Operand]:
        layers = self._vectors[id(layer)]
        return [self._operand(layer, [x.inputs[n] for x in layers]) for n in range(len(layer.inputs))]

    def attributes(self, layer: Layer) -> list[str]:
        layers = self._vectors[id(layer)]
        written = [written_attributes(x) for x in layers]
        names = [s for s in layer.op.spec.attrs if any(s.name in w for w in written)]
        return [f"{s.name}={self._attribute(s, layers, written)}" for s in names]

    def label(self, layer: Layer) -> str:
        for t in layer.inputs:
            suffix = self._suffixes.get(id(t.weight)) if t is not None and t.weight is not None else None
            if suffix is not None:
                return self._labels[suffix]
        return self._attended.get(id(layer.output), "") if len(layer.outputs) == 1 else ""

    def stem(self, tensor: Tensor) -> str:
        return self._stems.get(id(tensor), "")

    def may_be_inside(self, layer: Layer) -> bool:
        return len(layer.outputs) == 1 and self._reads.get(id(layer.output)) == 1

    def fits(self, layer: Layer, expression: Expression) -> bool:
        target = len(f"{_identifier(expression.label)} = ")
        return len(layer.outputs) > 1 or len(INDENT) + target + len(expression.text) <= LINE_LENGTH

    def bind(self, layer: Layer, expression: Expression) -> None:
        names = []
        for number, t in enumerate(layer.outputs, 1):
            self._stems[id(t)] = expression.stem
            label = expression.label
            if len(layer.outputs) > 1:
                label = _PARTS.get(self._attended.get(id(t), "")) or f"{expression.stem}_{number}"
            names.append(self._free(_identifier(label)) if id(t) in self._reads else "_")
            self._texts[id(t)] = names[-1]
        self.lines.append((1, f"{', '.join(names)} = {expression.text}"))

    def _operand(self, layer: Layer, tensors: Sequence[Tensor | None]) -> Operand:
        """An input, from what it is in each occurrence."""
        tensor = tensors[0]
        if tensor is None:
            return Operand(None)
        if tensor.weight is None:
            return Operand(tensor, self._texts.get(id(tensor), "?"))
        if is_weight(tensor):
            suffix = self._suffixes.get(id(tensor.weight))
            return Operand(tensor, self._texts[id(tensor.weight)] if suffix is None else f"p.{quote_name(suffix)}")
        texts = [constant_text(t.weight.load(), t.dtype) for t in tensors if t is not None and t.weight is not None]
        if any(text is None for text in texts):
            raise Unwritable
        if len(set(texts)) == 1:
            return Operand(tensor, literal=texts[0] or "")
        if tensor.shape or not tensor.dtype.is_float or not all(math.isfinite(float(text or "nan")) for text in texts):
            raise Unwritable
        role = {"add": "offset", "sub": "offset", "mul": "factor", "div": "divisor"}.get(layer.op.name, "value")
        return Operand(tensor, literal=self._param(role, "float", [float(text or 0) for text in texts]))

    def _attribute(self, spec: Attr, layers: Sequence[Layer], written: Sequence[dict[str, Any]]) -> str:
        """An attribute's value: what is written for all, or parameters for what varies."""
        short = [w.get(spec.name) for w in written]
        same = spec.name in written[0] and all(repr(v) == repr(short[0]) for v in short)
        if same and not _mentions_dims(short[0]):
            return value_text(short[0], self.dims)
        values = [x.attrs[spec.name] for x in layers]
        if isinstance(short[0], tuple) and all(isinstance(v, tuple) and len(v) == len(short[0]) for v in short):
            values = short  # lists that are written shorter than they are
        if spec.kind in _KINDS:
            return self._number(spec, values)
        if spec.kind not in _LIST_KINDS or any(not isinstance(v, tuple) for v in values):
            raise Unwritable
        columns = list(zip(*values, strict=True))
        if spec.kind == "ints" and isinstance(spec.default, int) and all(len(set(v)) == 1 for v in values):
            return self._number(spec, [v[0] for v in values])
        return f"[{', '.join(self._number(spec, column) for column in columns)}]"

    def _number(self, spec: Attr, values: Sequence[Any]) -> str:
        kind = "float" if spec.kind in ("float", "floats") else _KINDS.get(spec.kind, "int")
        if any(v is None for v in values):
            raise Unwritable
        if kind == "int":
            text = self._sizes.text(tuple(values))
            if text is not None and (spec.kind in ("dim", "dims") or spec.name == "groups" or text.isdigit()):
                return text
        if all(repr(v) == repr(values[0]) for v in values) and not _mentions_dims(values[0]):
            return value_text(values[0], self.dims)
        return self._param(_SHORT.get(spec.name, spec.name), kind, values)

    def _param(self, wanted: str, kind: str, values: Sequence[Any]) -> str:
        """The parameter that has these values in the calls."""
        for name, (known, others) in self._params.items():
            if known == kind and repr(others) == repr(tuple(values)):
                return name_text(name)
        name = self._free(wanted)
        self._params[name] = (kind, tuple(values))
        return name_text(name)


def _mentions_dims(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_mentions_dims(v) for v in value)
    return isinstance(value, Expr)


def _identifier(label: str) -> str:
    return label if is_plain_name(label) else f"t_{label}"
