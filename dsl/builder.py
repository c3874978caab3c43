"""Makes networks layer by layer: types are inferred as each is added, names are made unique, relations are kept for
the checker.

The elaborator and the importers build through this; so can a program:

    b = Builder("mlp", dims={"B": Range(1, 64)})
    x = b.input("x", F32, (symbol("B"), 784))
    y = b.layer("relu", b.layer("linear", x, b.constant(w), name="fc1")[0], name="y")[0]
    network = b.finish([("y", y)])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trtn.dsl.dims import Dim, Domain, Expr, Range, bounds, symbol
from trtn.dsl.dtypes import DType, from_numpy
from trtn.dsl.network import (
    Assertion,
    DataDim,
    Graph,
    Guard,
    Layer,
    Network,
    Origin,
    Shape,
    Tensor,
    TensorType,
    Weight,
    bodies,
    make_domain,
)
from trtn.dsl.ops.base import Op, find_op
from trtn.dsl.ops.infer import VALUE_LIMIT, InferFailure, Inferred, Requirement
from trtn.dsl.ops.memo import InferenceMemo
from trtn.dsl.records import record

if TYPE_CHECKING:
    import numpy as np

    from trtn.dsl.diagnostics import Span

__all__ = ["ArraySource", "Builder", "PendingGuard", "make_weight"]


@record(eq=False)
class ArraySource:
    """A weight whose bytes are in memory."""

    array: np.ndarray[Any, Any]

    def load(self) -> np.ndarray[Any, Any]:
        return self.array


def make_weight(array: np.ndarray[Any, Any], name: str = "") -> Weight:
    """A weight over an array in memory."""
    import numpy as np

    dtype = from_numpy(array.dtype)
    if dtype is None:
        raise InferFailure("E0301", f"no dtype for NumPy's {array.dtype}")
    return Weight(
        name,
        dtype,
        tuple(map(int, array.shape)),
        ArraySource(np.ascontiguousarray(array).reshape(array.shape)),
    )


@record()
class PendingGuard:
    """A relation that a layer needs, and where, before the checker has looked at it."""

    requirement: Requirement
    layer: str
    span: Span | None
    input_spans: tuple[Span | None, ...] = ()
    block: str = ""
    """The path of the block's expansion that counts on it: where it fails, its layers have nothing to say."""

    assertion: Assertion | None = None
    """The assert that it comes from, which no layer needs."""

    promised: bool = False
    """Whether the text says so of what only the data decides: everything is proven from it, and a run must check it."""

    @property
    def guard(self) -> Guard:
        if self.assertion is not None:
            return Guard(self.assertion.relation, self.assertion.message, "", self.span)
        return Guard(self.requirement.relation, self.requirement.message, self.layer, self.span)


class Builder:
    """A network under construction. Failures of a layer's types raise InferFailure and leave the network as it was."""

    def __init__(self, name: str, *, dims: Mapping[str, Range] | None = None, doc: str = "") -> None:
        self.name = name
        self.doc = doc
        self.dims: dict[str, Range] = dict(dims or {})
        self.data_dims: dict[str, DataDim] = {}
        self.asserts: list[Assertion] = []
        self.inputs: list[Tensor] = []
        self.requirements: list[PendingGuard] = []
        self._names: set[str] = set()
        self._memo = InferenceMemo()
        self._scopes: list[list[Layer]] = [[]]

    # --- names ---

    def unique(self, name: str) -> str:
        """`name`, or with a suffix where it is taken. The name is reserved."""
        candidate, number = name, 2
        while candidate in self._names:
            candidate = f"{name}_{number}"
            number += 1
        self._names.add(candidate)
        return candidate

    def is_free(self, name: str) -> bool:
        return name not in self._names

    @property
    def in_region(self) -> bool:
        """Whether the next layer goes to a body of control flow."""
        return len(self._scopes) > 1

    # --- tensors ---

    def input(self, name: str, dtype: DType, shape: Shape) -> Tensor:
        """A network input; its name is kept as it is."""
        self._names.add(name)
        tensor = self._tensor(name, dtype, shape)
        self.inputs.append(tensor)
        return tensor

    def _tensor(self, name: str, dtype: DType, shape: Shape, value: tuple[Dim, ...] | None = None) -> Tensor:
        """What an input or a layer's result is."""
        return Tensor(name, dtype, shape, None, value)

    def weight(self, weight: Weight) -> Tensor:
        """A constant tensor; small integer ones that are in memory are followed by value."""
        value = None
        if (
            len(weight.shape) <= 1
            and weight.dtype.kind in "iub"
            and isinstance(weight.source, ArraySource)
            and weight.nbytes <= 8 * VALUE_LIMIT
        ):
            value = tuple(int(v) for v in weight.load().reshape(-1))
        return Tensor(weight.name, weight.dtype, weight.shape, weight=weight, value=value)

    def constant(self, array: np.ndarray[Any, Any], name: str = "") -> Tensor:
        return self.weight(make_weight(array, name))

    def data_dim(self, name: str, low: Dim, high: Dim) -> Expr:
        """A dim whose size only the data decides."""
        self.data_dims[name] = DataDim(low, high)
        return symbol(name)

    # --- layers ---

    def layer(
        self,
        op: str | Op,
        *inputs: Tensor | None,
        name: str,
        results: Sequence[str] = (),
        data_dims: Sequence[str] = (),
        regions: Sequence[Graph] = (),
        origin: Origin | None = None,
        input_spans: Sequence[Span | None] = (),
        wanted: int | None = None,
        **attrs: Any,
    ) -> tuple[Tensor, ...]:
        """Add a layer; gives its result tensors.

        `name` is the path of the first result, `results` those of all (by default `name`, `name.h`, .. by the
        signature's result
        names). `data_dims` names the data-dependent sizes of the results in the order in which the op asks for them;
        where it is
        too short, names are made from the layer's. Raises InferFailure.
        """
        found = op if isinstance(op, Op) else find_op(op)
        if found is None:
            raise InferFailure("E0203", f"no op is called `{op}`")
        return self.add(
            found,
            inputs,
            attrs,
            name=name,
            results=results,
            data_dims=data_dims,
            regions=regions,
            origin=origin or Origin(),
            input_spans=input_spans,
            wanted=wanted,
        )

    def add(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Any],
        *,
        name: str,
        origin: Origin,
        results: Sequence[str] = (),
        data_dims: Sequence[str] = (),
        regions: Sequence[Graph] = (),
        input_spans: Sequence[Span | None] = (),
        wanted: int | None = None,
    ) -> tuple[Tensor, ...]:
        """As `layer`, with attributes of any name."""
        inferred = self._memo.find(op, inputs, attrs, wanted) if not regions else None
        if inferred is None:
            inferred = self._infer(op, inputs, attrs, name, data_dims, regions, wanted)
        types, value = inferred.types, inferred.value
        labels = results if len(results) == len(types) else self._result_names(op, name, results, len(types))
        outputs = []
        for label, type_ in zip(labels, types, strict=True):
            outputs.append(self._tensor(self.unique(label), type_.dtype, type_.shape, value))
            value = None  # only the first result's is followed
        name = outputs[0].name if outputs else self.unique(name)
        layer = Layer(name, op, _trim(inputs), tuple(outputs), inferred.attrs, tuple(regions), origin)
        self._scopes[-1].append(layer)
        for requirement in inferred.requirements:
            self.requirements.append(PendingGuard(requirement, name, origin.span, tuple(input_spans)))
        return layer.outputs

    def _infer(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: Mapping[str, Any],
        name: str,
        data_dims: Sequence[str],
        regions: Sequence[Graph],
        wanted: int | None,
    ) -> Inferred:
        """What a layer comes to; sizes that only the data decides get their names here."""
        fresh: dict[str, DataDim] = {}

        def fresh_dim(low: Dim, high: Dim) -> Dim:
            number = len(fresh)
            label = data_dims[number] if number < len(data_dims) else self._fresh_name(name, number)
            fresh[label] = DataDim(low, high)
            return symbol(label)

        region_types = [[t.type for t in g.outputs] for g in regions]
        inferred = self._memo.infer(op, inputs, attrs, fresh=fresh_dim, region_types=region_types, wanted=wanted)
        self.data_dims |= fresh
        return inferred

    def _fresh_name(self, name: str, number: int) -> str:
        stem = "".join(c if c.isalnum() else "_" for c in name).strip("_") or "n"
        return self.unique(f"{stem}_size{number or ''}" if not stem[0].isdigit() else f"n{stem}_size{number or ''}")

    def _result_names(self, op: Op, name: str, results: Sequence[str], count: int) -> list[str]:
        if count == 1:
            return [results[0] if results else name]
        declared = op.spec.results
        labels = list(results[:count])
        for n in range(len(labels), count):
            suffix = declared[n].name if n < len(declared) and not declared[n].variadic else str(n)
            labels.append(name if n == 0 else f"{name}.{suffix}")
        return labels

    @contextmanager
    def region(self, inputs: Sequence[tuple[str, TensorType]]) -> Iterator[Region]:
        """A body of control flow: layers added inside go to it. `with b.region([..]) as r: ..; r.finish(outputs)`."""
        region = Region(tuple(Tensor(self.unique(n), t.dtype, t.shape) for n, t in inputs), self.requirements)
        self._scopes.append(region.layers)
        try:
            yield region
        finally:
            self._scopes.pop()

    def domain(self) -> Domain:
        return make_domain(self.dims, self.data_dims, [a.relation for a in self.asserts])

    def bounds(self, dim: Dim) -> tuple[int, int]:
        """The least and greatest value of a dim over the declared ranges."""
        return (dim, dim) if isinstance(dim, int) else bounds(dim, self.domain())

    def finish(self, outputs: Sequence[tuple[str, Tensor]]) -> Network:
        """The network with the named outputs. An output's tensor takes the output's name; where it can't (an input,
        a weight, a tensor
        that is an output twice), an identity layer is added. Nothing is proven yet: see `check.check_network`."""
        renamed: dict[int, Tensor] = {}
        taken: set[int] = {id(t) for t in self.inputs}
        finals: list[Tensor] = []
        for name, tensor in outputs:
            if id(tensor) in taken and tensor.name == name and id(tensor) not in renamed:
                finals.append(tensor)
                continue
            if tensor.weight is not None or id(tensor) in taken:
                label = name if name not in self._names else self.unique(f"{name}.out")
                (tensor,) = self.layer("identity", tensor, name=label)
            if tensor.name != name:
                renamed[id(tensor)] = replace(tensor, name=name)
            taken.add(id(tensor))
            finals.append(renamed.get(id(tensor), tensor))
        layers = self._scopes[0]
        if renamed:
            layers = [_substitute(layer, renamed) for layer in layers]
            names = {old.name: new.name for old, new in zip(self._scopes[0], layers, strict=True)}
            self.requirements = [replace(p, layer=names.get(p.layer, p.layer)) for p in self.requirements]
        return Network(
            name=self.name,
            graph=Graph(tuple(self.inputs), tuple(finals), tuple(layers)),
            dims=dict(self.dims),
            data_dims=dict(self.data_dims),
            asserts=tuple(self.asserts),
            doc=self.doc,
        )


class Region:
    """The layers of a body under construction."""

    def __init__(self, inputs: tuple[Tensor, ...], requirements: list[PendingGuard]) -> None:
        self.inputs = inputs
        self.layers: list[Layer] = []
        self._requirements = requirements
        self._before = len(requirements)

    def finish(self, outputs: Sequence[Tensor]) -> Graph:
        """The body. What its layers need is its guards, until the checker has shown it."""
        inner = {g for graph in bodies(self.layers) for g in graph.guards}
        own = dict.fromkeys(p.guard for p in self._requirements[self._before :])
        return Graph(self.inputs, tuple(outputs), tuple(self.layers), tuple(g for g in own if g not in inner))


def _trim(inputs: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Absent inputs at the end say nothing."""
    if None not in inputs:
        return tuple(inputs)
    count = len(inputs)
    while count and inputs[count - 1] is None:
        count -= 1
    return tuple(inputs[:count])


def _substitute(layer: Layer, mapping: Mapping[int, Tensor]) -> Layer:
    """A layer with tensors exchanged, in its regions too."""
    inputs = tuple(mapping.get(id(t), t) if t is not None else None for t in layer.inputs)
    outputs = tuple(mapping.get(id(t), t) for t in layer.outputs)
    regions = tuple(
        replace(
            g,
            outputs=tuple(mapping.get(id(t), t) for t in g.outputs),
            layers=tuple(_substitute(inner, mapping) for inner in g.layers),
        )
        for g in layer.regions
    )
    return replace(
        layer,
        inputs=inputs,
        outputs=outputs,
        regions=regions,
        name=outputs[0].name if outputs else layer.name,
    )
