"""What is done to each element, as plain data: the layers of a region without names, ready to be written as C++
statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.codegen.expressions import COARSE, EXPRESSIONS, MOVES, Site
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, SUPPORTED
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer, Tensor

__all__ = ["Program", "Step", "cannot_write", "constant_of", "program_of"]

_HALVES = ("f16", "bf16")


@dataclass(frozen=True, slots=True)
class Step:
    """One op. Arguments are numbers of values: the program's inputs first, then the steps' results."""

    op: str
    arguments: tuple[int, ...]
    dtype: str
    attrs: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """Steps over `inputs` (their dtypes). `results` are the numbers of the values that leave."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    results: tuple[int, ...]

    def dtype(self, number: int) -> str:
        return self.inputs[number] if number < len(self.inputs) else self.steps[number - len(self.inputs)].dtype

    @property
    def operands(self) -> tuple[str, ...]:
        """The dtypes of what a kernel for it points to: inputs, then results."""
        return (*self.inputs, *(self.dtype(r) for r in self.results))

    @property
    def names(self) -> list[str]:
        """`x0`, `x1`, .. and `y0`, .. for the operands."""
        return [f"x{n}" for n in range(len(self.inputs))] + [f"y{n}" for n in range(len(self.results))]

    @property
    def pointers(self) -> list[str]:
        """Declarations of the operands as a kernel's parameters."""
        inputs = len(self.inputs)
        return [
            f"{'const ' if n < inputs else ''}{C_TYPES[d]}* __restrict__ {name}"
            for n, (name, d) in enumerate(zip(self.names, self.operands, strict=True))
        ]

    def statements(self, names: Sequence[str], prefix: str = "v") -> tuple[list[str], list[str]]:
        """C++ statements over variables that hold the inputs in compute types, and the names of the results.

        16-bit floats stay f32 between steps, so a result is rounded once, when it is stored; steps that would
        magnify the
        difference (comparisons, roundings) see their arguments rounded.
        """
        known = list(names)
        lines: list[str] = []
        used = {a for step in self.steps for a in step.arguments}
        for n, step in enumerate(self.steps):
            dtypes = tuple(self.dtype(a) for a in step.arguments)
            arguments = tuple(self._argument(a, known[a], step) for a in step.arguments)
            text = EXPRESSIONS[step.op](Site(arguments, dtypes, step.dtype, dict(step.attrs)))
            if step.op == "cast" and step.dtype in _HALVES and len(self.inputs) + n not in used:
                text = f"(float){arguments[0]}"  # it is rounded when it is stored, and only then
            if step.op == "constant":
                known.append(f"({text})" if text.startswith("-") else text)
                continue
            known.append(f"{prefix}{n}")
            lines.append(f"const {COMPUTE_TYPES[step.dtype]} {known[-1]} = {text};")
        return lines, [known[r] for r in self.results]

    def _argument(self, number: int, name: str, step: Step) -> str:
        dtype = self.dtype(number)
        made = number - len(self.inputs)
        if dtype not in _HALVES or made < 0 or self.steps[made].op in MOVES:
            return name
        coarse = step.op in COARSE or (step.op == "cast" and step.dtype not in ("f16", "bf16", "f32", "f64"))
        return f"rounded<{dtype}>({name})" if coarse else name


def cannot_write(layers: Sequence[Layer]) -> str:
    """Why layers can't be written as expressions; "" where they can."""
    for layer in layers:
        if layer.op.name not in EXPRESSIONS:
            return f"no expression is known for `{layer.op.name}`"
        for t in (*layer.inputs, *layer.outputs):
            if t is not None and t.dtype.name not in SUPPORTED:
                return f"generated kernels don't take {t.dtype}"
    return ""


def program_of(layers: Sequence[Layer], inputs: Sequence[Tensor], results: Sequence[Tensor]) -> Program:
    """The program of pointwise layers. Their tensors are `inputs`, constants of one element (which are written into the
    program, so it is made anew when weights change), or made by the layers."""
    numbers = {id(t): n for n, t in enumerate(inputs)}
    steps: list[Step] = []

    def number(tensor: Tensor) -> int:
        if id(tensor) not in numbers:
            value = constant_of(tensor)
            assert value is not None, tensor
            add(tensor, Step("constant", (), tensor.dtype.name, (("value", value),)))
        return numbers[id(tensor)]

    def add(tensor: Tensor, step: Step) -> None:
        numbers[id(tensor)] = len(inputs) + len(steps)
        steps.append(step)

    for layer in layers:
        arguments = tuple(number(t) for t in layer.inputs if t is not None)
        add(layer.output, Step(layer.op.name, arguments, layer.output.dtype.name, _plain(layer.attrs)))
    return Program(tuple(t.dtype.name for t in inputs), tuple(steps), tuple(numbers[id(t)] for t in results))


def constant_of(tensor: Tensor) -> float | int | bool | None:
    """The value of a constant of one element, None for anything else."""
    if tensor.weight is None or tensor.dtype.name not in SUPPORTED or any(d != 1 for d in tensor.weight.shape):
        return None
    value = tensor.weight.load().reshape(())
    if tensor.dtype.is_float:
        return float(value)
    return bool(value) if tensor.dtype.kind == "b" else int(value)


def _plain(attrs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Attributes as values that compare and print the same everywhere."""
    return tuple((k, v.name if isinstance(v, DType) else v) for k, v in sorted(attrs.items()))
