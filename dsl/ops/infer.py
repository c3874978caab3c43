"""Types and shapes of one layer: dtype variables are unified, the op's rule is asked, what must hold is written down.

Relations between dims that are plainly true or false are settled here; the others are handed back for the checker to
prove.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from trtn.dsl.dims import Dim, DimError, Expr, Relation
from trtn.dsl.dtypes import ALL, BOOL, BY_NAME, DType
from trtn.dsl.network import Shape, Tensor, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.signature import Attr, Input, show
from trtn.dsl.records import record

__all__ = ["MAX_RANK", "Infer", "InferFailure", "Inferred", "Requirement", "infer_layer"]

MAX_RANK = 32
"""The greatest rank of a result: what every array library takes."""

VALUE_LIMIT = 64
"""The longest integer tensor whose elements are followed through the network as dim expressions."""


@record()
class Requirement:
    """A relation over dims that the layer needs, the words for when it fails, and the inputs that it is about."""

    relation: Relation
    message: str
    code: str = "E0312"
    inputs: tuple[int, ...] = ()


@record()
class Inferred:
    types: tuple[TensorType, ...]
    attrs: Mapping[str, Any]
    value: tuple[Dim, ...] | None
    requirements: tuple[Requirement, ...]


class InferFailure(Exception):
    """A layer that can't be right whatever the dims are. `inputs` and `attr` say which parts of the call to point
    at."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        inputs: Sequence[int] = (),
        attr: str | None = None,
        notes: Sequence[str] = (),
        cure: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.inputs = tuple(inputs)
        self.attr = attr
        self.notes = tuple(notes)
        self.cure = cure


class Infer:
    """What an op's rule sees of its layer: the inputs' types, the attributes, and the means to demand or refuse
    something.

    `inputs` follow the call; `fresh(low, high)` names a size that only the data decides; region results are in
    `region_types`.
    """

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Any],
        fresh: Callable[[Dim, Dim], Dim],
        region_types: Sequence[Sequence[TensorType]] = (),
        wanted: int | None = None,
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.attrs: dict[str, Any] = dict(attrs)
        self.fresh = fresh
        self.region_types = region_types
        self.wanted = wanted
        """How many results the caller takes, where known: decides for ops with a list of results."""
        self.requirements: list[Requirement] = []

    def __getitem__(self, attr: str) -> Any:
        return self.attrs[attr]

    def __len__(self) -> int:
        return len(self.inputs)

    # --- inputs ---

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        tensor = self.inputs[index]
        assert tensor is not None, f"{self.op.name} reads absent input {index}"
        return tensor

    def shape(self, index: int) -> Shape:
        return self.tensor(index).shape

    def dtype(self, index: int) -> DType:
        return self.tensor(index).dtype

    def value(self, index: int) -> tuple[Dim, ...] | None:
        """The elements of an integer input, where the dims alone decide them."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        return tensor.value if tensor is not None else None

    def input_name(self, index: int) -> str:
        declared = self.op.spec.inputs
        return declared[min(index, len(declared) - 1)].name if declared else f"input {index}"

    # --- demands ---

    def fail(
        self,
        code: str,
        message: str,
        *,
        inputs: Sequence[int] = (),
        attr: str | None = None,
        notes: Sequence[str] = (),
        cure: str = "",
    ) -> NoReturn:
        raise InferFailure(code, message, inputs=inputs, attr=attr, notes=notes, cure=cure)

    def rank(self, index: int, *ranks: int, at_least: int = 0) -> int:
        """The rank of an input, which must be one of `ranks` (where any are given) and at least `at_least`."""
        rank = len(self.shape(index))
        if (ranks and rank not in ranks) or rank < at_least:
            wanted = " or ".join(map(str, ranks)) if ranks else f"at least {at_least}"
            self.fail(
                "E0303",
                f"`{self.input_name(index)}` of `{self.op.name}` must have rank {wanted}, not {rank} ({self.tensor(index).type})",
                inputs=[index],
            )
        return rank

    def require(
        self, op: str, left: Dim, right: Dim, message: str, *, code: str = "E0313", inputs: Sequence[int] = ()
    ) -> None:
        """Demand `left op right`. `message` names what differs; the values are added to it."""
        relation = Relation(op, left, right)
        if isinstance(left, int) and isinstance(right, int):
            if not relation.holds({}):
                self.fail(code, f"{message}: {_versus(relation)}", inputs=inputs)
            return
        if op == "==" and left == right:
            return
        self.requirements.append(Requirement(relation, f"{message}: {_versus(relation)}", code, tuple(inputs)))

    def equal(self, left: Dim, right: Dim, message: str, *, code: str = "E0312", inputs: Sequence[int] = ()) -> Dim:
        """Demand that two dims are the same; gives the simpler of them."""
        if left == right:
            return left
        self.require("==", left, right, message, code=code, inputs=inputs)
        return (
            left if isinstance(left, int) or (isinstance(right, Expr) and len(str(left)) <= len(str(right))) else right
        )

    def same_shape(self, left: int, right: int) -> Shape:
        """Demand that two inputs have one shape."""
        a, b = self.shape(left), self.shape(right)
        if a == b:
            return a
        names = f"`{self.input_name(left)}` and `{self.input_name(right)}` of `{self.op.name}`"
        if len(a) != len(b):
            self.fail("E0303", f"{names} differ in rank: {len(a)} and {len(b)}", inputs=[left, right])
        return tuple(
            self.equal(x, y, f"shapes of {names} differ in dim {n}", inputs=[left, right])
            for n, (x, y) in enumerate(zip(a, b, strict=True))
        )

    def broadcast(self, *indexes: int) -> Shape:
        """The shape that inputs have together by NumPy's rule. A symbolic dim is taken to be 1 only where its text
        says 1."""
        result: Shape = ()
        for index in indexes:
            result = self.broadcast_shapes(result, self.shape(index), inputs=indexes)
        return result

    def broadcast_shapes(self, a: Shape, b: Shape, *, inputs: Sequence[int] = ()) -> Shape:
        if a == b:
            return a
        rank = max(len(a), len(b))
        out: list[Dim] = []
        for n, (x, y) in enumerate(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)):
            if x == y or y == 1:
                out.append(x)
            elif x == 1:
                out.append(y)
            else:
                shown = f"shapes [{', '.join(map(str, a))}] and [{', '.join(map(str, b))}] do not broadcast"
                out.append(self.equal(x, y, f"{shown} in dim {n}", code="E0311", inputs=inputs))
        return tuple(out)

    # --- attributes ---

    def axis(self, rank: int, name: str = "axis", *, value: int | None = None) -> int:
        """An axis attribute, counted from the front; the canonical value is kept."""
        given = self.attrs[name] if value is None else value
        if not -rank <= given < rank:
            self.fail("E0304", f"`{name}` of `{self.op.name}` is {given}, but the rank is {rank}", attr=name)
        axis = int(given % rank) if rank else 0
        if value is None:
            self.attrs[name] = axis
        return axis

    def axes(self, rank: int, name: str = "axes") -> tuple[int, ...]:
        """A list of axes, counted from the front, sorted, each once. None means all."""
        given = self.attrs[name]
        axes = tuple(range(rank)) if given is None else tuple(self.axis(rank, name, value=a) for a in given)
        if len(set(axes)) != len(axes):
            self.fail("E0304", f"`{name}` of `{self.op.name}` names an axis twice: {show(given)}", attr=name)
        self.attrs[name] = tuple(sorted(axes))
        return tuple(sorted(axes))

    def ints(self, name: str, count: int) -> tuple[int, ...]:
        """A list attribute of `count` entries; one entry stands for all. The canonical list is kept."""
        given = self.attrs[name]
        if len(given) == 1:
            given = given * count
        if len(given) != count:
            self.fail(
                "E0304",
                f"`{name}` of `{self.op.name}` takes 1 or {count} entries, not {len(given)}: {show(given)}",
                attr=name,
            )
        self.attrs[name] = tuple(given)
        return tuple(given)


def _versus(relation: Relation) -> str:
    if relation.op == "==":
        return f"{relation.left} and {relation.right}"
    return f"`{relation}` does not hold"


def infer_layer(
    op: Op,
    inputs: Sequence[Tensor | None],
    attrs: Mapping[str, Any],
    *,
    fresh: Callable[[Dim, Dim], Dim] | None = None,
    region_types: Sequence[Sequence[TensorType]] = (),
    wanted: int | None = None,
) -> Inferred:
    """Types of a layer's results, its canonical attributes, the first result's known value, what must hold.

    Raises InferFailure. `fresh(low, high)` makes a dim for a size that only the data decides; without it such ops fail.
    """
    _check_attr_names(op, attrs)  # a name that the op has not says more than its inputs do
    checked = _check_inputs(op, inputs)
    filled = {spec.name: _attr_value(op, spec, attrs) for spec in op.spec.attrs}
    i = Infer(op, checked, filled, fresh or _no_fresh, region_types, wanted)
    variables = _unify(i)
    try:
        return _infer(op, i, variables)
    except DimError as e:
        raise InferFailure("E0418", f"sizes of `{op.name}` can't be worked with: {e}") from None


def _infer(op: Op, i: Infer, variables: Mapping[str, DType]) -> Inferred:
    shapes = op.infer(i)
    listed = shapes if isinstance(shapes, list) else [shapes]
    types = tuple(
        s if isinstance(s, TensorType) else TensorType(_result_dtype(op, n, i, variables), tuple(s))
        for n, s in enumerate(listed)
    )
    rank = max((len(t.shape) for t in types), default=0)
    if rank > MAX_RANK:
        raise InferFailure("E0303", f"the result of `{op.name}` has rank {rank}; ranks go up to {MAX_RANK}")
    value = None
    first = types[0] if types else None
    if first and len(first.shape) <= 1 and (first.dtype.is_integer or first.dtype is BOOL):
        count = first.shape[0] if first.shape else 1
        if isinstance(count, int) and count <= VALUE_LIMIT:
            value = op.value(i)
            assert value is None or len(value) == count, op
    return Inferred(types, i.attrs, value, tuple(i.requirements))


def _no_fresh(low: Dim, high: Dim) -> Dim:
    raise InferFailure("E0314", "the size of this result depends on the data and has no name here")


def _check_inputs(op: Op, inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    declared = op.spec.inputs
    if len(inputs) == len(declared) and None not in inputs:
        return list(inputs)
    minimum = sum(1 for d in declared if not d.optional)
    maximum = None if declared and declared[-1].variadic else len(declared)
    given = list(inputs)
    if len(given) < minimum or (maximum is not None and len(given) > maximum):
        takes = (
            str(minimum)
            if minimum == maximum
            else f"{minimum} to {maximum}"
            if maximum is not None
            else f"{minimum} or more"
        )
        names = ", ".join(f"{d.name}{'?' if d.optional else '...' if d.variadic else ''}" for d in declared)
        noun = "tensor" if takes == "1" else "tensors"
        raise InferFailure("E0207", f"`{op.name}` takes {takes} {noun} ({names}), not {len(given)}")
    for index, tensor in enumerate(given):
        spec = _input_spec(declared, index)
        if tensor is None and not spec.optional:
            raise InferFailure("E0207", f"`{spec.name}` of `{op.name}` can't be absent", inputs=[index])
    if not (declared and declared[-1].variadic):
        given += [None] * (len(declared) - len(given))
    return given


def _input_spec(declared: Sequence[Input], index: int) -> Input:
    return declared[min(index, len(declared) - 1)]


def _check_attr_names(op: Op, attrs: Mapping[str, Any]) -> None:
    """Refuse attributes that the op has not (E0204)."""
    for name in attrs:
        if op.spec.attr(name) is None:
            from trtn.dsl.diagnostics.suggest import did_you_mean

            known = [a.name for a in op.spec.attrs]
            cure = did_you_mean(name, known) or (
                f"it has {', '.join(f'`{k}`' for k in known)}" if known else "it has none"
            )
            raise InferFailure("E0204", f"`{op.name}` has no attribute `{name}`", attr=name, cure=cure)


def _attr_value(op: Op, spec: Attr, attrs: Mapping[str, Any]) -> Any:
    if spec.name not in attrs:
        if spec.required:
            raise InferFailure("E0212", f"`{op.name}` needs the attribute `{spec.name}` ({spec.text})")
        default = spec.default
        return (
            (default,)
            if spec.kind in ("ints", "floats") and default is not None and not isinstance(default, tuple)
            else default
        )
    try:
        return spec.coerce(attrs[spec.name])
    except ValueError as e:
        raise InferFailure("E0304", f"{e} (`{op.name}`)", attr=spec.name) from None


def _unify(i: Infer) -> dict[str, DType]:
    """Bind the signature's dtype variables to the inputs' dtypes."""
    variables: dict[str, DType] = {}
    first: dict[str, int] = {}
    for index, tensor in enumerate(i.inputs):
        if tensor is None:
            continue
        spec = _input_spec(i.op.spec.inputs, index)
        name = spec.type
        if name == "any":
            continue
        if "|" in name or name in BY_NAME:
            allowed: tuple[DType, ...] = tuple(BY_NAME[n.strip()] for n in name.split("|"))
        else:
            allowed = i.op.dtypes(name)
            bound = variables.setdefault(name, tensor.dtype)
            first.setdefault(name, index)
            if bound is not tensor.dtype:
                a, b = i.input_name(first[name]), spec.name
                i.fail(
                    "E0302",
                    f"dtypes of `{a}` and `{b}` of `{i.op.name}` differ: {bound} and {tensor.dtype}",
                    inputs=[first[name], index],
                    cure=f"convert one: `cast(.., to={bound})`" if bound is not BOOL else "",
                )
        if allowed is not ALL and tensor.dtype not in allowed:
            words = ", ".join(str(d) for d in allowed)
            i.fail(
                "E0302",
                f"`{spec.name}` of `{i.op.name}` can't be {tensor.dtype}; it takes {words}",
                inputs=[index],
            )
    return variables


def _result_dtype(op: Op, number: int, i: Infer, variables: Mapping[str, DType]) -> DType:
    results = op.spec.results
    name = results[min(number, len(results) - 1)].type
    if name in BY_NAME:
        return BY_NAME[name]
    if name in variables:
        return variables[name]
    value = i.attrs.get(name)
    assert isinstance(value, DType), f"{op.name}: the dtype of result {number} is not decided by its signature"
    return value
