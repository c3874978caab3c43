"""Structured control flow: `if`, `scan`, `loop`. Bodies are regions of the layer; they may read tensors of the
graphs around them.

To `evaluate` a region is a callable `region(*inputs) -> tuple of arrays` with `region.types`: the (dtype, shape) of
each result for the
sizes of this run, from which the empty result of zero iterations is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL, BY_NAME, DType
from trtn.dsl.network import Shape, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__ = ["RegionCall"]


class RegionCall(Protocol):
    types: Sequence[tuple[DType, tuple[int, ...]]]

    def __call__(self, *inputs: Any) -> tuple[Any, ...]: ...


def _agree(i: Infer, what: str, expected: TensorType, found: TensorType) -> TensorType:
    """Demand that a value keeps its type on two ways through control flow."""
    if expected.dtype is not found.dtype or len(expected.shape) != len(found.shape):
        i.fail("E0315", f"{what} of `{i.op.name}` is {expected} on one way and {found} on the other")
    for n, (a, b) in enumerate(zip(expected.shape, found.shape, strict=True)):
        i.equal(a, b, f"{what} of `{i.op.name}` differs in dim {n}", code="E0315")
    return expected


class If(Op):
    """One of two bodies, chosen by a scalar: `y = if cond { .. yield a } else { .. yield b }`.

    Both bodies yield the same number of values, of the same types. Only the chosen body runs.
    """

    signature = "if(cond: bool) -> any..."
    regions = 2

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        shape = i.shape(0)
        if len(shape) > 1 or (len(shape) == 1 and shape[0] != 1):
            i.fail("E0303", f"the condition of `if` is a scalar, not {i.tensor(0).type}", inputs=[0])
        then, otherwise = i.region_types
        if len(then) != len(otherwise):
            i.fail("E0315", f"the branches of `if` yield {len(then)} and {len(otherwise)} values")
        return [_agree(i, f"value {n}", a, b) for n, (a, b) in enumerate(zip(then, otherwise, strict=True))]

    def evaluate(self, xp: Any, cond: Any, *, regions: Sequence[RegionCall]) -> tuple[Any, ...]:
        return regions[0 if bool(cond.reshape(())) else 1]()


class Scan(Op):
    """A body applied along an axis: `h, ys = scan over x_t = x carry h = h0 { .. yield y }`.

    Inputs: the initial carried values, then the tensors that are cut into slices along `axes`. Body: carried values
    and slices in,
    carried values and yields out. Results: the final carried values, then each yield stacked along its entry of
    `out_axes`.
    """

    signature = (
        "scan(values: any..., *, carried: int = 0, axes: ints = [], reverse: bools = [], out_axes: ints = [], out_reverse: bools = [])"
        " -> any..."
    )
    regions = 1

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        carried = i["carried"]
        scanned = len(i) - carried
        body = i.region_types[0]
        if not 0 <= carried <= len(i) or scanned < 1:
            i.fail(
                "E0304",
                f"`carried` of `scan` is {carried} of {len(i)} inputs; at least one is scanned",
                attr="carried",
            )
        yields = len(body) - carried
        for name, count, default in (
            ("axes", scanned, 0),
            ("reverse", scanned, False),
            ("out_axes", yields, 0),
            ("out_reverse", yields, False),
        ):
            if len(i[name]) == 0:
                i.attrs[name] = (default,) * count
            elif len(i[name]) != count:
                i.fail("E0304", f"`{name}` of `scan` has {len(i[name])} entries, not {count}", attr=name)
        lengths = []
        for n, axis in enumerate(i["axes"]):
            shape = i.shape(carried + n)
            if not shape:
                i.fail("E0303", "`scan` cuts tensors of rank 1 or more", inputs=[carried + n])
            lengths.append(shape[i.axis(len(shape), "axes", value=axis)])
        i.attrs["axes"] = tuple(a % len(i.shape(carried + n)) for n, a in enumerate(i["axes"]))
        length: Dim = lengths[0]
        for other in lengths[1:]:
            i.equal(length, other, "lengths of the scanned tensors of `scan` differ")
        finals = [_agree(i, f"carried value {n}", i.tensor(n).type, body[n]) for n in range(carried)]
        stacked = []
        for n in range(yields):
            inner = body[carried + n]
            axis = i.axis(len(inner.shape) + 1, "out_axes", value=i["out_axes"][n])
            stacked.append(TensorType(inner.dtype, (*inner.shape[:axis], length, *inner.shape[axis:])))
        return [*finals, *stacked]

    def body_inputs(self, inputs: Sequence[TensorType | None], attrs: Mapping[str, Any]) -> tuple[TensorType, ...]:
        types = [t for t in inputs if t is not None]
        carried = attrs["carried"]
        slices = (
            TensorType(t.dtype, t.shape[:axis] + t.shape[axis + 1 :])
            for t, axis in zip(types[carried:], attrs["axes"], strict=True)
        )
        return (*types[:carried], *slices)

    def evaluate(
        self,
        xp: Any,
        *values: Any,
        regions: Sequence[RegionCall],
        carried: int,
        axes: tuple[int, ...],
        reverse: tuple[bool, ...],
        out_axes: tuple[int, ...],
        out_reverse: tuple[bool, ...],
    ) -> tuple[Any, ...]:
        state = values[:carried]
        cut = [
            xp.moveaxis(x, axis, 0)[:: -1 if back else 1]
            for x, axis, back in zip(values[carried:], axes, reverse, strict=True)
        ]
        rows: list[tuple[Any, ...]] = []
        for step in range(cut[0].shape[0]):
            results = regions[0](*state, *(x[step] for x in cut))
            state = results[:carried]
            rows.append(results[carried:])
        stacked = _stack(xp, regions[0], carried, rows)
        return (
            *state,
            *(
                xp.moveaxis(y[:: -1 if back else 1], 0, axis)
                for y, axis, back in zip(stacked, out_axes, out_reverse, strict=True)
            ),
        )


class Loop(Op):
    """A body repeated: `x, ys = loop i in 0..limit max 64 carry x = x0, go = go0 while go { .. yield y }`.

    Inputs: the limit (i64[], may be absent), the first condition (bool[], may be absent), the initial carried
    values. Body: the
    iteration's number (i64[]) and the carried values in; the condition for going on, the carried values and the
    yields out.
    Results: the final carried values, then each yield stacked on axis 0. There are never more iterations than
    `maximum`.
    """

    signature = "loop(limit: i64?, cond: bool?, values: any?..., *, maximum: dim?) -> any..."
    regions = 1

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        carried = max(0, len(i) - 2)
        body = i.region_types[0]
        if len(body) < 1 + carried or body[0].dtype is not BOOL:
            i.fail("E0315", f"the body of `loop` gives a condition and {carried} carried values first")
        limit = i.value(0)
        if i["maximum"] is None:
            if limit is None:
                i.fail("E0212", "`loop` needs `max` where the limit is not known from the dims", attr="maximum")
            i.attrs["maximum"] = limit[0]
        finals = [_agree(i, f"carried value {n}", i.tensor(2 + n).type, body[1 + n]) for n in range(carried)]
        yields = body[1 + carried :]
        if not yields:
            return [*finals]
        counted = limit is not None and not i.has(1)
        length: Dim = limit[0] if counted and limit is not None else i.fresh(0, i["maximum"])
        return [*finals, *(TensorType(t.dtype, (length, *t.shape)) for t in yields)]

    def body_inputs(self, inputs: Sequence[TensorType | None], attrs: Mapping[str, Any]) -> tuple[TensorType, ...]:
        return (TensorType(BY_NAME["i64"], ()), *(t for t in inputs[2:] if t is not None))

    def evaluate(
        self, xp: Any, limit: Any, cond: Any, *values: Any, regions: Sequence[RegionCall], maximum: int
    ) -> tuple[Any, ...]:
        trips = maximum if limit is None else min(maximum, int(limit.reshape(())))
        go = True if cond is None else bool(cond.reshape(()))
        state: tuple[Any, ...] = values
        rows: list[tuple[Any, ...]] = []
        step = 0
        while go and step < trips:
            results = regions[0](xp.asarray(step, dtype=xp.int64), *state)
            go = bool(results[0].reshape(())) or cond is None
            state = results[1 : 1 + len(values)]
            rows.append(results[1 + len(values) :])
            step += 1
        return (*state, *_stack(xp, regions[0], 1 + len(values), rows))


def _stack(xp: Any, region: RegionCall, first: int, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The yields of all iterations, stacked on a new axis 0."""
    if rows:
        return [xp.stack(column) for column in zip(*rows, strict=True)]
    return [xp.empty((0, *shape), dtype.numpy) for dtype, shape in region.types[first:]]
