"""matmul_integer: sums of products of 8-bit integers less their zero points, exact in i32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.tile_product import Matrix, tile_product_call
from trtn.backend.providers.codegen.walk import broadcast_strides, join

__all__ = ["FAMILY", "IntegersFamily"]


class IntegersFamily:
    """Rows by one matrix, or a batch of matrices by a batch of matrices."""

    name = "integers"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if layer.op.name != "matmul_integer" or len(group.layers) > 1:
            return "it is not a product of integers"
        a, b = layer.inputs[:2]
        assert a is not None and b is not None
        return "" if min(a.rank, b.rank) > 1 else "a vector"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic("tiles")]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        (y,) = outputs
        if y.size == 0:
            return Plan(())
        number = {id(t): n for n, t in enumerate(group.inputs)}
        layer = group.layers[0]
        at = [None if t is None else number[id(t)] for t in (*layer.inputs, None, None)][:4]
        assert at[0] is not None and at[1] is not None
        a, b = inputs[at[0]], inputs[at[1]]
        if b.shape[-2] == 0 or not y.is_dense:
            raise TacticError("nothing to multiply, or a result that does not lie dense")
        slots = [Slot(n or 0) for n in at]
        a_zero = None if at[2] is None else _by_rows(inputs[at[2]], a)
        b_zero = None if at[3] is None else _by_columns(inputs[at[3]], b)
        one_matrix = all(d == 1 for o in (b, b_zero) if o is not None for d in o.shape[:-2])
        call = (_rows if one_matrix else _batch)(a, b, y, a_zero, b_zero, slots, Slot(len(inputs)))
        return Plan((call,))


def _rows(
    a: Operand,
    b: Operand,
    y: Operand,
    a_zero: Operand | None,
    b_zero: Operand | None,
    slots: Sequence[Slot],
    target: Slot,
) -> Call:
    """All rows by one matrix."""
    lead = y.shape[:-1]
    by_row = [o for o in (y, a, a_zero) if o is not None]
    rows = join(lead, [broadcast_strides(o.shape[:-1], o.strides[:-1], lead) for o in by_row], leader=0)
    if len(rows.sizes) > 2 or (len(rows.sizes) == 2 and a_zero is not None and any(rows.strides[2])):
        raise TacticError("its rows are at more than two distances")
    outer = rows.strides[1][0] if len(rows.sizes) > 1 else 0
    return tile_product_call(
        (a.dtype.name, b.dtype.name),
        (1, rows.count, rows.sizes[-1], b.shape[-2], b.shape[-1]),
        Matrix(slots[0], 0, (outer, rows.strides[1][-1], a.strides[-1])),
        Matrix(slots[1], 0, b.strides[-2:]),
        target,
        None if a_zero is None else Matrix(slots[2], 0, (rows.strides[2][-1],)),
        None if b_zero is None else Matrix(slots[3], 0, b_zero.strides[-1:]),
    )


def _batch(
    a: Operand,
    b: Operand,
    y: Operand,
    a_zero: Operand | None,
    b_zero: Operand | None,
    slots: Sequence[Slot],
    target: Slot,
) -> Call:
    """Matrices by matrices."""
    if a_zero is not None and any(d != 1 for d in a_zero.shape):
        raise TacticError("a batch with zero points of rows")
    lead = y.shape[:-2]
    each = [o for o in (y, a, b, b_zero) if o is not None]
    batch = join(lead, [broadcast_strides(o.shape[:-2], o.strides[:-2], lead) for o in each], leader=0)
    if len(batch.sizes) > 1:
        raise TacticError("its matrices are at more than one distance")
    by = [own[0] for own in batch.strides]
    return tile_product_call(
        (a.dtype.name, b.dtype.name),
        (batch.count, y.shape[-2], y.shape[-2], b.shape[-2], b.shape[-1]),
        Matrix(slots[0], by[1], (0, *a.strides[-2:])),
        Matrix(slots[1], by[2], b.strides[-2:]),
        target,
        None if a_zero is None else Matrix(slots[2], 0, (0,)),
        None if b_zero is None else Matrix(slots[3], by[3], b_zero.strides[-1:]),
    )


def _by_rows(zero: Operand, a: Operand) -> Operand:
    """A zero point of `a` with a's rank: of each row, or one for all."""
    rank = len(a.shape)
    if zero.size == 1:
        return Operand((1,) * rank, (0,) * rank, zero.dtype, zero.align)
    if len(zero.shape) == 1:
        return Operand(
            (*(1,) * (rank - 2), *zero.shape, 1), (*(0,) * (rank - 2), *zero.strides, 0), zero.dtype, zero.align
        )
    return zero


def _by_columns(zero: Operand, b: Operand) -> Operand:
    """A zero point of `b` with b's rank: of each column, or one for all."""
    rank = len(b.shape)
    if zero.size == 1:
        return Operand((1,) * rank, (0,) * rank, zero.dtype, zero.align)
    if len(zero.shape) == 1:
        return Operand((*(1,) * (rank - 1), *zero.shape), (*(0,) * (rank - 1), *zero.strides), zero.dtype, zero.align)
    return zero


FAMILY = IntegersFamily()
