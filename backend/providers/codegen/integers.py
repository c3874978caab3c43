"""matmul_integer: sums of products of 8-bit integers less their zero points, exact in i32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen.family import Operand, Plan, Slot
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
        terms, columns = b.shape[-2:]
        if terms == 0 or not y.is_dense:
            raise TacticError("nothing to multiply, or a result that does not lie dense")
        lead = y.shape[:-2]
        zeros = [None if n is None else inputs[n] for n in at[2:]]
        a_zero = None if zeros[0] is None else _by_rows(zeros[0], a)
        b_zero = None if zeros[1] is None else _by_columns(zeros[1], b)
        if all(d == 1 for d in b.shape[:-2]) and (b_zero is None or all(d == 1 for d in b_zero.shape[:-2])):
            # All rows are of one matrix.
            strides = [broadcast_strides(a.shape[:-1], a.strides[:-1], y.shape[:-1]), y.strides[:-1]]
            if a_zero is not None:
                strides.append(broadcast_strides(a_zero.shape[:-1], a_zero.strides[:-1], y.shape[:-1]))
            rows = join(y.shape[:-1], strides, leader=1)
            if len(rows.sizes) > 2 or (len(rows.sizes) == 2 and a_zero is not None and any(rows.strides[2])):
                raise TacticError("its rows are at more than two distances")
            outer = rows.strides[0][0] if len(rows.sizes) > 1 else 0
            a_matrix = Matrix(Slot(at[0]), 0, (outer, rows.strides[0][-1], a.strides[-1]))
            a_zero_matrix = None if a_zero is None else Matrix(Slot(at[2] or 0), 0, (rows.strides[2][-1],))
            b_matrix = Matrix(Slot(at[1]), 0, b.strides[-2:])
            b_zero_matrix = None if b_zero is None else Matrix(Slot(at[3] or 0), 0, b_zero.strides[-1:])
            shape = (1, rows.count, rows.sizes[-1], terms, columns)
        else:
            operands = [a, b, *(o for o in (b_zero,) if o is not None)]
            if a_zero is not None and any(d != 1 for d in a_zero.shape):
                raise TacticError("a batch with zero points of rows")
            batch = join(lead, [broadcast_strides(o.shape[:-2], o.strides[:-2], lead) for o in operands], leader=0)
            if len(batch.sizes) > 1:
                raise TacticError("its matrices are at more than one distance")
            by = [own[0] for own in batch.strides]
            a_matrix = Matrix(Slot(at[0]), by[0], (0, a.strides[-2], a.strides[-1]))
            a_zero_matrix = None if a_zero is None else Matrix(Slot(at[2] or 0), 0, (0,))
            b_matrix = Matrix(Slot(at[1]), by[1], b.strides[-2:])
            b_zero_matrix = None if b_zero is None else Matrix(Slot(at[3] or 0), by[2], b_zero.strides[-1:])
            shape = (batch.count, y.shape[-2], y.shape[-2], terms, columns)
        dtypes = (a.dtype.name, b.dtype.name)
        return Plan(
            (tile_product_call(dtypes, shape, a_matrix, b_matrix, Slot(len(inputs)), a_zero_matrix, b_zero_matrix),)
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
