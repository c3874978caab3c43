"""A group's layers after its product, as post-ops of the primitive; those that have none run on the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trtn.backend.evaluate import bind_layers
from trtn.backend.group import Group
from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.eltwise import Eltwise, eltwise
from trtn.backend.providers.onednn.enums import Alg, Arg
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Attributes
from trtn.backend.providers.onednn.program import Lookup, Program, Value
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.records import record

__all__ = [
    "POST_OPS_LIMIT",
    "Binary",
    "Epilogue",
    "Prelu",
    "Step",
    "attributes_of",
    "operand_value",
    "read_epilogue",
    "steps_of",
]

POST_OPS_LIMIT = 31
"""post_ops_t::post_ops_limit is 32."""
_COMMUTES = ("add", "max", "min", "mul")
_BINARY = {
    "add": Alg.BINARY_ADD,
    "div": Alg.BINARY_DIV,
    "max": Alg.BINARY_MAX,
    "min": Alg.BINARY_MIN,
    "mul": Alg.BINARY_MUL,
    "sub": Alg.BINARY_SUB,
}


@record()
class Binary:
    """value op `operand`, which is of the value's shape or broadcasts to it."""

    alg: Alg
    operand: Tensor


@record()
class Prelu:
    """value where it is not negative, value * `slope` elsewhere; the slope is by channel."""

    slope: Tensor


Step = Eltwise | Binary | Prelu
View = Callable[[MemoryDesc], MemoryDesc]


@record()
class Epilogue:
    """`steps` become post-ops; `rest` are the layers after them, which read `last` and what is no result of theirs."""

    steps: tuple[Step, ...]
    rest: tuple[Layer, ...]
    last: Tensor

    def attributes(
        self, program: Program, result: MemoryDesc, view: View = lambda desc: desc
    ) -> tuple[Attributes, dict[int, Value]]:
        """Post-ops for a result that lies as `result`, and their operands' arguments. `view` makes of an operand's
        form, which has the result's rank, what the primitive is to see."""
        return attributes_of(program, self.steps, result, view=view)

    def finish(self, program: Program) -> None:
        """Run the rest over the output's own memory, by the ops' evaluations."""
        if self.rest:
            program.python(_Rest(program, self).bind)


def read_epilogue(group: Group, main: int = 1) -> Epilogue:
    """The layers of a group after its first `main` ones."""
    value = group.layers[main - 1].outputs[0]
    steps: list[Step] = []
    for number, layer in enumerate(group.layers[main:], main):
        own = steps_of(layer, value)
        later = {id(t) for other in group.layers[number + 1 :] for t in other.inputs if t is not None}
        if own is None or id(value) in later or len(steps) + len(own) > POST_OPS_LIMIT:
            return Epilogue(tuple(steps), group.layers[number:], value)
        steps += own
        value = layer.outputs[0]
    return Epilogue(tuple(steps), (), value)


def steps_of(layer: Layer, value: Tensor) -> Sequence[Step] | None:
    """What a layer does to `value`, as post-ops; None where they can't say it."""
    function = eltwise(layer, value)
    if function is not None:
        return (function,)
    if layer.op.name == "prelu" and layer.inputs[0] is value and layer.inputs[1] is not value:
        slope = layer.inputs[1]
        return None if slope is None or sum(d != 1 for d in slope.shape) != 1 else (Prelu(slope),)
    alg = _BINARY.get(layer.op.name)
    if alg is None or len(layer.inputs) < 2 or sum(t is value for t in layer.inputs) != 1:
        return None
    if layer.inputs[0] is not value and layer.op.name not in _COMMUTES:
        return None
    return [Binary(alg, t) for t in layer.inputs if t is not None and t is not value]


def attributes_of(
    program: Program,
    steps: Sequence[Step],
    result: MemoryDesc,
    *,
    view: View = lambda desc: desc,
    values: Mapping[int, Value] | None = None,
) -> tuple[Attributes, dict[int, Value]]:
    """Post-ops and their operands' arguments, as `Epilogue.attributes` says. `values` has those that the program made
    itself, by tensor id."""
    attributes = Attributes()
    operands: dict[int, Value] = {}
    for number, step in enumerate(steps):
        if isinstance(step, Eltwise):
            attributes.eltwise(step.alg, step.alpha, step.beta)
            continue
        tensor = step.slope if isinstance(step, Prelu) else step.operand
        value = operand_value(program, tensor, result, values or {})
        value = value.seen_as(view(value.desc))
        arg = Arg.ATTR_POST_OP * (number + 1)
        if isinstance(step, Prelu):
            axis = next(n for n, d in enumerate(value.desc.shape) if d != 1)
            attributes.prelu(1 << axis)
            slopes = value.seen_as(MemoryDesc.dense((value.desc.shape[axis],), value.desc.dtype))
            operands[arg | Arg.WEIGHTS] = program.arranged(slopes, MemoryDesc.dense(slopes.desc.shape, "f32"))
        else:
            attributes.binary(step.alg, value.desc)
            operands[arg | Arg.SRC_1] = value
    return attributes, operands


def operand_value(program: Program, tensor: Tensor, target: MemoryDesc, values: Mapping[int, Value]) -> Value:
    """An operand with the target's rank; one of the target's size also with the target's strides."""
    value = values.get(id(tensor)) or program.value(tensor)
    shape, strides = value.desc.shape, value.desc.strides
    assert strides is not None and target.strides is not None
    missing = len(target.shape) - len(shape)
    if missing < 0:
        shape, strides, missing = shape[-missing:], strides[-missing:], 0
    value = value.seen_as(MemoryDesc.strided((1,) * missing + shape, value.desc.dtype, (1,) * missing + strides))
    if value.desc.shape != target.shape:
        return value
    return program.arranged(value, MemoryDesc.strided(target.shape, value.desc.dtype, target.strides))


class _Rest:
    """Layers that have no post-op, over the array that holds their input and takes their result."""

    def __init__(self, program: Program, epilogue: Epilogue) -> None:
        import numpy as np

        group, sizes = program.problem.group, program.problem.sizes
        self._inputs = {id(t): program.array(t) for t in group.inputs}
        self._target = program.array(group.outputs[0])
        self._last = id(epilogue.last)
        self._result = id(group.outputs[0])
        self._sizes = dict(sizes)
        self._run = bind_layers(epilogue.rest, group.outputs, sizes, np)

    def bind(self, lookup: Lookup) -> Launch:
        given = {key: lookup(value) for key, value in self._inputs.items()}
        target = given[self._last] = lookup(self._target)

        def launch() -> None:
            table = dict(given)
            self._run(table, dict(self._sizes))
            target[...] = table[self._result]

        return launch
