"""Einstein sums of two tensors as batched matrix products over the tensors as they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.providers.onednn.enums import Arg
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Program, Unfit, Value
from trtn.dsl.ops.einsum import axes_of

__all__ = ["plan_einsum"]


def plan_einsum(program: Program) -> None:
    """Axes that both tensors and the result have are the batch; of the others, those that are rows, columns or summed
    have to be one axis each to whoever walks the memory."""
    layer = program.problem.group.layers[0]
    if len(layer.inputs) != 2:
        raise Unfit("not two tensors")
    x, y = (t for t in layer.inputs if t is not None)
    (a, b), c = axes_of(layer.attrs["equation"], (x.rank, y.rank))
    left, right, target = (_Walk(program.value(t), n) for t, n in ((x, a), (y, b), (layer.output, c)))
    if any(walk.sizes[n] != target.sizes.get(n, walk.sizes[n]) for walk in (left, right) for n in walk.sizes):
        raise Unfit("an axis that broadcasts")
    batch = [n for n in c if n in a and n in b]
    rows, columns = ([n for n in c if n in own and n not in other] for own, other in ((a, b), (b, a)))
    inner = [n for n in a if n in b and n not in c]
    if not inner or {*batch, *rows, *inner} != set(a) or {*batch, *columns, *inner} != set(b):
        raise Unfit("a sum over an axis of one tensor, or no sum of products")
    source, matrix, result = (
        left.seen(batch, rows, inner),
        right.seen(batch, inner, columns),
        target.seen(batch, rows, columns),
    )
    primitive = Primitive("matmul", source.desc, matrix.desc, None, result.desc)
    program.step(primitive, {Arg.SRC: source, Arg.WEIGHTS: matrix, Arg.DST: result})


class _Walk:
    """A tensor whose axes have names."""

    def __init__(self, value: Value, names: Sequence[str]) -> None:
        assert value.desc.strides is not None
        if len(set(names)) != len(names):
            raise Unfit("a diagonal")
        self._value = value
        self.sizes: Mapping[str, int] = dict(zip(names, value.desc.shape, strict=False))
        self._strides: Mapping[str, int] = dict(zip(names, value.desc.strides, strict=False))

    def seen(self, batch: Sequence[str], rows: Sequence[str], columns: Sequence[str]) -> Value:
        """As matrices. Raises Unfit."""
        sides = [self._joined(rows), self._joined(columns)]
        shape = [*(self.sizes[n] for n in batch), *(size for size, _ in sides)]
        strides = [*(self._strides[n] for n in batch), *(stride for _, stride in sides)]
        return self._value.seen_as(MemoryDesc.matrices(shape, self._value.desc.dtype, strides))

    def _joined(self, names: Sequence[str]) -> tuple[int, int]:
        """Several axes as one: its size and stride."""
        size, step = 1, 1
        for name in reversed(names):
            if self.sizes[name] == 1:
                continue
            if size == 1:
                step = self._strides[name]
            elif self._strides[name] != size * step:
                raise Unfit("axes that are not one in memory")
            size *= self.sizes[name]
        return size, step
