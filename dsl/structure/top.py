"""The statements of a network: its own layers, calls of blocks, and repeats of calls that follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from trtn.dsl.network import Layer, Network, Tensor, captures
from trtn.dsl.printer.attributes import written_attributes
from trtn.dsl.printer.body import MANIFEST, BodyWriter
from trtn.dsl.printer.operands import Operand
from trtn.dsl.structure.blocks import Block, Unwritable
from trtn.dsl.structure.expressions import Expression, Packer
from trtn.dsl.structure.find import Occurrence
from trtn.dsl.structure.labels import last_name
from trtn.dsl.structure.paths import split_index
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH
from trtn.dsl.syntax.names import quote_name

__all__ = ["Call", "write_statements"]


@dataclass(frozen=True, slots=True)
class Call:
    """An occurrence as a call of its block; `number` is its place among the block's occurrences."""

    block: Block
    number: int

    @property
    def occurrence(self) -> Occurrence:
        return self.block.occurrences[self.number]

    @property
    def prefix(self) -> str:
        return self.block.prefixes[self.number] if self.block.prefixes is not None else ""

    @property
    def values(self) -> tuple[str, ...]:
        """What its parameters are."""
        return tuple(values[self.number] for values in self.block.params.values())


def write_statements(body: BodyWriter, blocks: Sequence[Block]) -> None:
    """Write all statements of the network of `body` into it."""
    _Writer(body, blocks).run()


class _Writer:
    def __init__(self, body: BodyWriter, blocks: Sequence[Block]) -> None:
        self.body = body
        self.depth = body.depth
        self._scope = body.names.top
        self._network = body.network
        calls = (Call(block, n) for block in blocks for n in range(len(block.occurrences)))
        self._calls = {call.occurrence.start: call for call in calls}
        self._outputs = {id(t) for t in self._network.outputs}
        self._covered = {id(x) for call in self._calls.values() for x in call.occurrence.layers}
        self._reads = _reads(self._network)
        runs = self._runs()
        self._single = Counter(_stem(run[0]) for run in runs.values() if len(run) == 1)
        self._run_at = runs
        self._carried = self._carried_starts(runs)
        self._shared = self._shared_inputs(blocks)

    def run(self) -> None:
        packer = Packer(self)
        place = 0
        layers = self._network.layers
        while place < len(layers):
            run = self._run_at.get(place)
            layer = layers[place]
            if run is not None:
                packer.flush()
                self._write_run(run)
                place += sum(len(call.occurrence.layers) for call in run)
                continue
            if layer.regions:
                packer.flush()
                self.body.statement(layer, self._scope, {})
            elif layer.outputs:
                packer.add(layer)
            place += 1
        packer.flush()

    # --- runs of calls ---

    def _runs(self) -> dict[int, list[Call]]:
        """Calls by the place where they begin, those that a repeat can make together."""
        runs: dict[int, list[Call]] = {}
        open_run: list[Call] = []
        end = -1
        for start in sorted(self._calls):
            call = self._calls[start]
            if open_run and start == end and self._continues(open_run[-1], call):
                open_run.append(call)
            else:
                open_run = runs[start] = [call]
            end = start + len(call.occurrence.layers)
        return runs

    def _continues(self, before: Call, call: Call) -> bool:
        """Whether a call is the next round of a repeat."""
        if before.block is not call.block or before.values != call.values or len(before.occurrence.outputs) != 1:
            return False
        result = before.occurrence.outputs[0]
        place = _carried_place(before, call)
        if place is None or id(result) in self._outputs:
            return False
        pairs = zip(before.occurrence.inputs, call.occurrence.inputs, strict=True)
        if any(a is not b for n, (a, b) in enumerate(pairs) if n != place):
            return False
        if self._readers_outside(result, call.occurrence):
            return False
        if call.block.prefixes is None:
            return True
        a, b = split_index(before.prefix), split_index(call.prefix)
        return a is not None and b is not None and (a[0], a[1] + 1) == b

    def _readers_outside(self, tensor: Tensor, occurrence: Occurrence) -> bool:
        inside = {id(layer) for layer in occurrence.layers}
        return any(id(layer) not in inside for layer in self._reads.get(id(tensor), []))

    def _carried_starts(self, runs: dict[int, list[Call]]) -> set[int]:
        """The tensors that repeats begin with and nobody else reads: they get the carried name at once."""
        made = {id(t) for layer in self._network.layers for t in layer.outputs}
        found = set()
        for run in runs.values():
            if len(run) < 2:
                continue
            place = _carried_place(run[0], run[1])
            assert place is not None
            start = run[0].occurrence.inputs[place]
            if (
                id(start) in made
                and id(start) not in self._outputs
                and not self._readers_outside(start, run[0].occurrence)
            ):
                found.add(id(start))
        return found

    def _shared_inputs(self, blocks: Sequence[Block]) -> dict[int, str]:
        """What calls of a block that follow each other are given alike, made by layers of the network: it is called as
        in the block."""
        own = {id(t) for x in self._network.layers if id(x) not in self._covered for t in x.outputs}
        found: dict[int, str] = {}
        for block in blocks:
            for before, occurrence in pairwise(block.occurrences):
                for name, a, b in zip(occurrence.input_names, before.inputs, occurrence.inputs, strict=True):
                    if a is b and id(a) in own and id(a) not in self._carried and name not in ("x", "y"):
                        found.setdefault(id(a), name)
        return found

    def _write_run(self, run: list[Call]) -> None:
        if len(run) == 1:
            self._write_call(run[0])
            return
        first, last = run[0], run[-1]
        place = _carried_place(first, run[1])
        assert place is not None
        start = first.occurrence.inputs[place]
        name = self._scope.text(start)
        if id(start) not in self._carried or name is None:
            fresh = self.body.names.fresh(self._scope, "x")
            self.body.line(f"{quote_name(fresh)} = {name}")
            self._scope.taken.add(fresh)  # a second name: the first one stays what the tensor is called
            name = quote_name(fresh)
        variable = next(v for v in ("i", "j", "k", "n", "i_1") if not self._scope.is_taken(v))
        index = split_index(first.prefix) if first.block.prefixes is not None else ("", 0)
        assert index is not None
        stem, low = index
        label = last_name(stem) if stem else first.block.name
        weights = f"{MANIFEST}.{quote_name(stem)}[{variable}]" if stem else None
        self.body.line(f"repeat {variable} in {low}..{low + len(run)} carry {name} as {label} {{")
        self.body.depth += 1
        self.body.line(f"{name} = {self._call_text(first, weights, {place: name})}")
        self.body.depth -= 1
        self.body.line("}")
        for call in run[1:]:
            self._register(call)
        (result,) = last.occurrence.outputs
        plain = name.strip("`")
        if id(result) in self._outputs:
            output = self.body.names.output(self._scope, result)
            self.body.line(f"{quote_name(output)} = {name}")
            self.body.names.enter(self._scope, result, output)
        else:
            self.body.names.enter(self._scope, result, plain)

    def _write_call(self, call: Call) -> None:
        weights = f"{MANIFEST}.{quote_name(call.prefix)}" if call.block.prefixes is not None else None
        text = self._call_text(call, weights)
        names: list[str] = []
        wanted = self._result_name(call)
        for t in call.occurrence.outputs:
            is_output = id(t) in self._outputs
            names.append(
                self.body.names.output(self._scope, t) if is_output else self.body.names.fresh(self._scope, wanted)
            )
        kinds = {tuple(t.type for t in o.outputs) for o in call.block.occurrences}
        types = ", ".join(self.type_text(t) for t in call.occurrence.outputs)
        stated = f" : {types}" if len(kinds) > 1 else ""  # else the block's signature says it
        self.body.line(f"{', '.join(map(quote_name, names))} = {text}{stated}")
        for t, name in zip(call.occurrence.outputs, names, strict=True):
            self.body.names.enter(self._scope, t, name)

    def _result_name(self, call: Call) -> str:
        """What a result is called: after the weights of the call, or its block."""
        if not call.prefix:
            return f"{call.block.name}_{call.number}"
        found = split_index(call.prefix)
        if found is None:
            return last_name(call.prefix)
        stem = last_name(found[0])
        return stem if self._single[_stem(call)] == 1 else f"{stem}_{found[1]}"

    def type_text(self, tensor: Tensor) -> str:
        return f"{tensor.dtype}[{', '.join(map(self.body.names.dims, tensor.shape))}]"

    def _call_text(self, call: Call, weights: str | None, known: Mapping[int, str] | None = None) -> str:
        """known: what inputs are called in a repeat, by their places."""
        known = known or {}
        arguments = [known.get(n) or self._name(t) for n, t in enumerate(call.occurrence.inputs)]
        for t in call.block.shared:
            assert t.weight is not None
            layer, index = _reader_of(call.occurrence, t)
            arguments.append(f"{MANIFEST}.{quote_name(self.body.placement.path(t.weight, layer, index))}")
        self._register(call)
        if weights is not None:
            arguments.append(f"p={weights}")
        arguments += [f"{name}={value}" for name, value in zip(call.block.params, call.values, strict=True)]
        return f"{call.block.name}({', '.join(arguments)})"

    def _name(self, tensor: Tensor) -> str:
        name = self._scope.text(tensor)
        if name is None:
            raise Unwritable
        return name

    def _register(self, call: Call) -> None:
        """Enter the weights of a call in the manifest."""
        for t in call.occurrence.weights:
            assert t.weight is not None
            layer, index = _reader_of(call.occurrence, t)
            path = self.body.placement.path(t.weight, layer, index)
            if path != t.weight.name:
                raise Unwritable

    # --- the network's own layers, as a packer asks for them ---

    def operands(self, layer: Layer) -> list[Operand]:
        return [
            Operand(t, "?")
            if t is not None and t.weight is None and self._scope.text(t) is None
            else self.body.operand(layer, n, t, self._scope)
            for n, t in enumerate(layer.inputs)
        ]

    def attributes(self, layer: Layer) -> list[str]:
        return self.body.attributes(written_attributes(layer), self._scope)

    def label(self, layer: Layer) -> str:
        return layer.op.name  # nobody asks: results are called as they are in the network

    def stem(self, tensor: Tensor) -> str:
        return ""

    def may_be_inside(self, layer: Layer) -> bool:
        if len(layer.outputs) != 1 or layer.origin.precision is not None or self._network.data_dims:
            return False
        readers = self._reads.get(id(layer.output), [])
        if len(readers) != 1 or id(layer.output) in self._outputs or id(layer.output) in self._carried:
            return False
        return readers[0].origin.precision is None and not readers[0].regions and id(readers[0]) not in self._covered

    def fits(self, layer: Layer, expression: Expression) -> bool:
        target = len(f"{quote_name(self._role(layer) or layer.output.name)} = ")
        return len(layer.outputs) > 1 or len(INDENT) * self.depth + target + len(expression.text) <= LINE_LENGTH

    def bind(self, layer: Layer, expression: Expression) -> None:
        role = self._role(layer)
        names: list[str | None] = [self.body.names.fresh(self._scope, role)] if role else []
        if not role:
            names = self.body.targets(layer, self._scope, {})
        self.body.annotate(layer)
        targets = ", ".join("_" if n is None else quote_name(n) for n in names)
        self.body.line(f"{targets} = {expression.text}{self.body.types_text(layer.outputs)}")
        for t, name in zip(layer.outputs, names, strict=True):
            if name is not None:
                self.body.names.enter(self._scope, t, name)

    def _role(self, layer: Layer) -> str:
        """What a result is called after its part in the repeats; "" for one that keeps its name."""
        if len(layer.outputs) != 1 or id(layer.output) in self._outputs:
            return ""
        return "x" if id(layer.output) in self._carried else self._shared.get(id(layer.output), "")


def _carried_place(before: Call, call: Call) -> int | None:
    """Which input of a call is the result of the one before."""
    result = before.occurrence.outputs[0]
    places = [n for n, t in enumerate(call.occurrence.inputs) if t is result]
    return places[0] if len(places) == 1 else None


def _stem(call: Call) -> str:
    found = split_index(call.prefix)
    return found[0] if found is not None else call.prefix


def _reader_of(occurrence: Occurrence, tensor: Tensor) -> tuple[Layer, int]:
    return next(
        (layer, n)
        for layer in occurrence.layers
        for n, t in enumerate(layer.inputs)
        if t is not None and t.weight is tensor.weight
    )


def _reads(network: Network) -> dict[int, list[Layer]]:
    readers: dict[int, list[Layer]] = {}
    for layer in network.layers:
        for t in (*layer.inputs, *captures(layer)):
            if t is not None:
                readers.setdefault(id(t), []).append(layer)
    return readers
