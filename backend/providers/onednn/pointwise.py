"""Pointwise regions as chains: a binary or eltwise primitive with those layers as post-ops that follow it alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.eltwise import Eltwise
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.epilogue import (
    POST_OPS_LIMIT,
    Binary,
    Prelu,
    Step,
    attributes_of,
    operand_value,
    steps_of,
)
from trtn.backend.providers.onednn.library import OneDnnError
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Layer, Tensor

__all__ = ["plan_pointwise"]

_UFUNCS = {
    Alg.BINARY_ADD: "add",
    Alg.BINARY_DIV: "divide",
    Alg.BINARY_MAX: "maximum",
    Alg.BINARY_MIN: "minimum",
    Alg.BINARY_MUL: "multiply",
    Alg.BINARY_SUB: "subtract",
}
_REVERSED = {
    "sub": (Eltwise(Alg.LINEAR, -1.0), Alg.BINARY_ADD),
    "div": (Eltwise(Alg.POW, 1.0, -1.0), Alg.BINARY_MUL),
}
"""c - x and c / x for a c that broadcasts: a function of x, then c joins by an algorithm that commutes."""


def plan_pointwise(program: Program) -> None:
    """Every result has the form of the region's first one."""
    group = program.problem.group
    shape = program.problem.outputs[0].shape
    if len({t.dtype.name for layer in group.layers for t in (*layer.inputs, *layer.outputs) if t is not None}) > 1:
        raise Unfit("several dtypes inside")
    if not shape or any(o.shape != shape for o in program.problem.outputs):
        raise Unfit("a scalar, or results of several shapes")
    _Region(program).write()


class _Region:
    """Chains over the values of a region; `head` is what the chain in the making reads, `tail` what it gives so far."""

    def __init__(self, program: Program) -> None:
        group = program.problem.group
        self.program = program
        self.form = program.value(group.outputs[0]).desc
        self.values: dict[int, Value] = {id(t): program.value(t) for t in (*group.inputs, *group.outputs)}
        self.uses = Counter(id(t) for layer in group.layers for t in layer.inputs if t is not None)
        self.kept = {id(t) for t in group.outputs}
        self.head: Tensor | None = None
        self.tail: Tensor | None = None
        self.steps: list[Step] = []

    def write(self) -> None:
        for layer in self.program.problem.group.layers:
            if self._continues(layer):
                continue
            self._finish()
            self._start(layer)
        self._finish()

    def _continues(self, layer: Layer) -> bool:
        tail = self.tail
        if tail is None or self.uses[id(tail)] != 1 or id(tail) in self.kept:
            return False
        steps = self._steps(layer, tail)
        if steps is None or len(self.steps) + len(steps) > POST_OPS_LIMIT:
            return False
        self.steps += steps
        self.tail = layer.outputs[0]
        return True

    def _start(self, layer: Layer) -> None:
        wide = [t for t in layer.inputs if t is not None and self._is_whole(t)]
        for tensor in dict.fromkeys(wide):
            steps = self._steps(layer, tensor)
            if steps is not None:
                self.head, self.tail, self.steps = tensor, layer.outputs[0], steps
                return
        raise Unfit(f"no primitive for `{layer.op.name}` of these operands")

    def _is_whole(self, tensor: Tensor) -> bool:
        value = self.values.get(id(tensor))
        return value is None or value.desc.shape == self.form.shape

    def _steps(self, layer: Layer, value: Tensor) -> list[Step] | None:
        steps = steps_of(layer, value)
        if steps is None and layer.op.name in _REVERSED and layer.inputs[1] is value:
            other = layer.inputs[0]
            assert other is not None
            function, alg = _REVERSED[layer.op.name]
            steps = None if other is value else [function, Binary(alg, other)]
        # A slope by channel has no kernel of its own.
        return None if steps is None or any(isinstance(s, Prelu) for s in steps) else list(steps)

    def _finish(self) -> None:
        if self.head is None or self.tail is None:
            return
        program = self.program
        source = program.arranged(self.values[id(self.head)], self.form)
        known = self.values.get(id(self.tail))
        target = program.scratch(self.form) if known is None else known
        into = target.seen_as(self.form) if target.desc == self.form else program.scratch(self.form)
        self._emit(self.steps, source, into)
        if into.array != target.array:
            program.copy(into, target)
        self.values[id(self.tail)] = target
        self.head = self.tail = None

    def _emit(self, steps: Sequence[Step], source: Value, into: Value) -> None:
        """The first step is the primitive, the others are its post-ops; each one a primitive where there is no kernel
        for them together."""
        try:
            self._emit_together(steps, source, into)
        except OneDnnError as e:
            if not e.unimplemented or (len(steps) == 1 and isinstance(steps[0], Eltwise)):
                raise
            if len(steps) == 1:
                self._emit_ufunc(steps[0], source, into)
            else:
                for number, step in enumerate(steps):
                    self._emit([step], into if number else source, into)

    def _emit_ufunc(self, step: Step, source: Value, into: Value) -> None:
        """An operand that broadcasts in a way for which there is no kernel."""
        assert isinstance(step, Binary)
        ufunc = _UFUNCS[step.alg]
        other = self.values[id(step.operand)]

        def make(lookup: Lookup) -> Launch:
            import numpy as np

            return partial(getattr(np, ufunc), lookup(source), lookup(other), out=lookup(into))

        self.program.python(make)

    def _emit_together(self, steps: Sequence[Step], source: Value, into: Value) -> None:
        program, form = self.program, self.form
        first, rest = steps[0], steps[1:]
        attributes, operands = attributes_of(program, rest, form, values=self.values)
        operands |= {Arg.SRC: source, Arg.DST: into}
        if isinstance(first, Eltwise):
            primitive = Primitive(
                "eltwise_forward",
                *(int(Prop.FORWARD_INFERENCE), int(first.alg), form, form, first.alpha, first.beta),
                attributes=attributes,
            )
        else:
            assert isinstance(first, Binary)
            other = operand_value(program, first.operand, form, self.values)
            operands[Arg.SRC_1] = other
            primitive = Primitive("binary", int(first.alg), form, other.desc, form, attributes=attributes)
        program.step(primitive, operands)
