"""What every other part speaks: a network is inputs, layers in order, outputs, over named dims, with weights by
reference.

Tensors and layers are values: a pass makes a new graph and leaves the old one as it was. A tensor is known by
identity, its name
is a path (`layer[3].ffn.h`) that inserting another layer doesn't change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from trtn.dsl.dims import Dim, Domain, Range, Relation, symbols
from trtn.dsl.dtypes import DType
from trtn.dsl.records import record

if TYPE_CHECKING:
    import numpy as np

    from trtn.dsl.dependencies import Dependency
    from trtn.dsl.diagnostics import Span
    from trtn.dsl.ops.base import Op

__all__ = [
    "Assertion", "Attrs", "DataDim", "Graph", "Guard", "Layer", "Network", "Origin", "Precision", "Profile", "ProfileRange", "Shape",
    "Target", "Tensor", "TensorType", "Weight", "WeightSource", "bodies", "captures", "format_type", "least_sizes", "walk",
]  # fmt: skip

Shape = tuple[Dim, ...]
Attrs = Mapping[str, Any]
"""Attribute values: int, float, bool, str, DType, Dim, None, or a tuple of these. Complete (defaults filled in) and
canonical."""


def format_type(dtype: DType, shape: Shape) -> str:
    """`f32[N, 3, 224]`, as the language writes it."""
    return f"{dtype}[{', '.join(map(str, shape))}]"


@record()
class TensorType:
    dtype: DType
    shape: Shape

    def __str__(self) -> str:
        return format_type(self.dtype, self.shape)


class WeightSource(Protocol):
    """Where a weight's bytes are. Loading may map a file; it never returns a writable view of one."""

    def load(self) -> np.ndarray[Any, Any]: ...


@record(eq=False)
class Weight:
    """A constant tensor that is not read until somebody needs its bytes.

    `name` is its path in the manifest; an inline constant of the spec's text has none (""). `digest` is over dtype,
    shape and
    bytes, with the scheme in front.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    source: WeightSource
    digest: str | None = None
    span: Span | None = None

    @property
    def nbytes(self) -> int:
        n = self.dtype.itemsize
        for d in self.shape:
            n *= d
        return n

    def load(self) -> np.ndarray[Any, Any]:
        """The values, in C order, of the declared dtype and shape."""
        return self.source.load()


@record(eq=False)
class Tensor:
    """A value that flows between layers. `value` holds its elements where they are integers known from the dims
    alone."""

    name: str
    dtype: DType
    shape: Shape
    weight: Weight | None = None
    value: tuple[Dim, ...] | None = None

    @property
    def type(self) -> TensorType:
        return TensorType(self.dtype, self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<{self.name}: {format_type(self.dtype, self.shape)}>"


@record()
class Origin:
    """Where a layer comes from: its place in a spec, the foreign node that it was, what its annotations say."""

    span: Span | None = None
    source: str = ""
    precision: DType | None = None


@record(eq=False)
class Layer:
    """One op instance. `name` is the path of its first output. Regions are the bodies of control flow."""

    name: str
    op: Op
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attrs: Attrs
    regions: tuple[Graph, ...] = ()
    origin: Origin = Origin()

    @property
    def output(self) -> Tensor:
        """The only output, or the first."""
        return self.outputs[0]

    def __repr__(self) -> str:
        return f"<{self.name} = {self.op.name}({', '.join(t.name if t else 'none' for t in self.inputs)})>"


@record(eq=False)
class Graph:
    """Layers in an order in which each comes after those that it reads. A region's graph may read tensors of its
    outer graphs."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    guards: tuple[Guard, ...] = ()
    """Of a region: what must hold whenever it runs. What must hold in any case is the network's."""


@record()
class DataDim:
    """A size that only the data decides (`nonzero(x) : i64[2, K in 0..N]`), between two bounds over other dims."""

    low: Dim
    high: Dim


@record()
class Assertion:
    """`assert B * S <= 32768, "token budget"`: holds for every shape that the network is used with."""

    relation: Relation
    message: str = ""
    span: Span | None = None


@record()
class Guard:
    """A relation that a layer needs and the checker could not prove: the runtime checks it for each new shape, or
    each time that the region runs which it belongs to."""

    relation: Relation
    message: str
    layer: str
    """"" for what an assert inside of a block or region says."""
    span: Span | None = None


@record()
class ProfileRange:
    minimum: int
    optimum: int
    maximum: int


@record()
class Profile:
    """The shapes that an engine must serve: min, opt, max for each dim, and for the elements of inputs that are read
    as shapes."""

    name: str
    dims: Mapping[str, ProfileRange]
    values: Mapping[str, tuple[ProfileRange, ...]] = field(default_factory=dict)
    span: Span | None = None

    def corner(self, which: str) -> dict[str, int]:
        """The dims at `minimum`, `optimum` or `maximum`."""
        return {name: getattr(r, which) for name, r in self.dims.items()}


@record()
class Precision:
    """The dtype that float layers compute in, and the ops that keep another one."""

    default: DType | None = None
    keep: Mapping[str, DType] = field(default_factory=dict)


@record()
class Target:
    """What to build: device, precision, profiles, limits, files (as the spec writes them, relative to its folder)."""

    name: str
    device: str | None = None
    precision: Precision = Precision()
    profiles: tuple[str, ...] = ()
    workspace: int | None = None
    lock: str | None = None
    output: str | None = None
    span: Span | None = None


@record(eq=False)
class Network:
    """A checked network."""

    name: str
    graph: Graph
    dims: Mapping[str, Range] = field(default_factory=dict)
    data_dims: Mapping[str, DataDim] = field(default_factory=dict)
    asserts: tuple[Assertion, ...] = ()
    guards: tuple[Guard, ...] = ()
    profiles: tuple[Profile, ...] = ()
    targets: tuple[Target, ...] = ()
    doc: str = ""
    dependencies: tuple[Dependency, ...] | None = None
    """The files that the network's spec names; None where it was not read from a spec."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.graph.outputs

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.graph.layers

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The constant tensors that layers read, each once, in the order of first use, regions included."""
        seen: dict[int, Tensor] = {}
        for layer in walk(self.graph):
            for t in layer.inputs:
                if t is not None and t.weight is not None:
                    seen.setdefault(id(t), t)
        graphs = [self.graph, *(region for layer in walk(self.graph) for region in layer.regions)]
        for graph in graphs:
            for t in graph.outputs:
                if t.weight is not None:
                    seen.setdefault(id(t), t)
        return tuple(seen.values())

    def domain(self) -> Domain:
        """All values of the dims that the network is defined for: ranges, asserts, bounds of data-dependent sizes."""
        return make_domain(self.dims, self.data_dims, (a.relation for a in self.asserts))

    def to_text(self) -> str:
        """The network as a spec, in the canonical format: repeated structure as blocks, weights by paths that they
        index."""
        from trtn.dsl.structure import print_structured

        return print_structured(self)


def make_domain(dims: Mapping[str, Range], data_dims: Mapping[str, DataDim], asserts: Any) -> Domain:
    """A domain over declared and data-dependent dims. Data-dependent bounds over other dims become constraints."""
    from trtn.dsl.dims import DimError, bounds, symbol

    ranges = dict(dims)
    constraints = list(asserts)
    for name, d in data_dims.items():
        declared = Domain(ranges)
        try:
            low, high = bounds(d.low, declared)[0], bounds(d.high, declared)[1]
        except DimError:  # one divides by what may be 0: that is reported, and here everything is left open
            low, high = 0, 2**31 - 1
        ranges[name] = Range(max(0, low), max(0, high))
        constraints += [
            Relation("<=", a, b)
            for a, b in ((d.low, symbol(name)), (symbol(name), d.high))
            if symbols(a) and symbols(b)
        ]
    return Domain(ranges, tuple(constraints))


def least_sizes(dims: Mapping[str, Range], asserts: Iterable[Assertion]) -> dict[str, int]:
    """Low values of the dims that the asserts allow; the lowest where no trying finds any."""
    from trtn.dsl.dims import sample

    relations = tuple(a.relation for a in asserts if a.relation.symbols <= dims.keys())
    return next(sample(Domain(dims, relations)), {name: r.low for name, r in dims.items()})


def walk(graph: Graph) -> Iterator[Layer]:
    """Every layer of a graph, those inside regions after the layer that holds them."""
    for layer in graph.layers:
        yield layer
        for region in layer.regions:
            yield from walk(region)


def bodies(layers: Iterable[Layer]) -> Iterator[Graph]:
    """The regions of layers, each before those inside of it."""
    for layer in layers:
        for region in layer.regions:
            yield region
            yield from bodies(region.layers)


def captures(layer: Layer) -> tuple[Tensor, ...]:
    """The outer tensors that a layer's regions read without naming them as inputs (weights left out), each once."""
    found: dict[int, Tensor] = {}

    def visit(graph: Graph, bound: set[int]) -> None:
        bound = bound | {id(t) for t in graph.inputs}
        for inner in graph.layers:
            for t in inner.inputs:
                if t is not None and t.weight is None and id(t) not in bound:
                    found.setdefault(id(t), t)
            for region in inner.regions:
                visit(region, bound)
            bound |= {id(t) for t in inner.outputs}
        for t in graph.outputs:
            if t.weight is None and id(t) not in bound:
                found.setdefault(id(t), t)

    for region in layer.regions:
        visit(region, set())
    return tuple(found.values())
