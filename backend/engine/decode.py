"""A network with its groups from JSON. It is checked as if a stranger had written it: every op is looked up
in the catalogue, every attribute fits its kind, every type is inferred anew and must be the one that is
stated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from trtn.backend.engine.claims import Claims
from trtn.backend.engine.fields import (
    DecodeError,
    demand,
    read_attr,
    read_dim,
    read_dtype,
    read_int,
    read_list,
    read_object,
    read_profile_range,
    read_relation,
    read_text,
)
from trtn.backend.group import Group, make_group
from trtn.backend.mentions import sizing
from trtn.backend.tuner.choice import Choice, TunedPoint
from trtn.dsl.dims import Dim, Range, Relation, evaluate, symbol, symbols
from trtn.dsl.dims.solve import solve_dims
from trtn.dsl.dtypes import BOOL, DType
from trtn.dsl.network import (
    Assertion,
    DataDim,
    Graph,
    Guard,
    Layer,
    Network,
    Origin,
    Profile,
    Tensor,
    TensorType,
    Weight,
    WeightSource,
    captures,
    least_sizes,
    make_domain,
)
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import VALUE_LIMIT, InferFailure, Inferred
from trtn.dsl.ops.memo import InferenceMemo
from trtn.dsl.records import record

__all__ = ["Decoded", "Source", "decode_network"]

LAYER_LIMIT = 1_000_000
DEPTH_LIMIT = 64
POINT_LIMIT = 1_000

Source = tuple[DType, tuple[int, ...], WeightSource]
"""A row of the weight table."""


@record()
class Decoded:
    network: Network
    groups: tuple[Group, ...]
    points: tuple[TunedPoint, ...]


def decode_network(row: Any, sources: Sequence[Source]) -> Decoded:
    """The network in groups that `encode_network` wrote. Raises DecodeError."""
    try:
        return _Reader(row, sources).read()
    except DecodeError:
        raise
    except InferFailure as e:
        raise DecodeError(f"a layer is not valid: {e.message}") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, ArithmeticError, AssertionError) as e:
        raise DecodeError(f"the plan is malformed ({type(e).__name__}: {e})") from None


class _Reader:
    """Reads one plan; values are numbered, and known by number until they are bound to a tensor."""

    def __init__(self, row: Any, sources: Sequence[Source]) -> None:
        self.row = read_object(row)
        self.dims = {name: Range(*(read_int(v) for v in r)) for name, r in read_object(row["dims"]).items()}
        for name, r in self.dims.items():
            demand(0 <= r.low <= r.high < 2**31, f"dim {name} has no such range")
        bounds = read_object(row["data_dims"])
        self.data_dims = {name: DataDim(read_dim(low), read_dim(high)) for name, (low, high) in bounds.items()}
        self.asserts = tuple(Assertion(self._relation(r[:3]), read_text(r[3])) for r in row["asserts"])
        stated = map(self._guard, row["guards"])
        self.claims = Claims(make_domain(self.dims, self.data_dims, (a.relation for a in self.asserts)), stated)
        self.values = self._read_values(sources)
        self.bound: set[int] = set()
        self.memo = InferenceMemo()
        self.hidden: set[int] = set()
        """Values of bodies that are closed: neither to be read nor to be made again."""

    def read(self) -> Decoded:
        row = self.row
        inputs = tuple(self._make(n) for n in row["inputs"])
        self._check_inputs(inputs)
        demand(len(row["steps"]) <= LAYER_LIMIT, "too many steps")
        steps = [tuple(self._layer(r, 0) for r in step["layers"]) for step in row["steps"]]
        kinds = [read_text(step["kind"]) for step in row["steps"]]
        for kind, layers in zip(kinds, steps, strict=True):
            demand(bool(layers), "a step without layers")
            demand(kind != "view" or (len(layers) == 1 and bool(layers[0].op.view)), "a step is no view")
        outputs = tuple(self._take(n) for n in row["outputs"])
        demand(len({t.name for t in outputs}) == len(outputs), "two outputs have one name")
        graph = Graph(inputs, outputs, tuple(layer for layers in steps for layer in layers))
        used = _used_outside(steps, graph)
        network = Network(
            name=read_text(row["name"]),
            doc=read_text(row["doc"]),
            graph=graph,
            dims=self.dims,
            data_dims=self.data_dims,
            asserts=self.asserts,
            guards=self.claims.guards,
            profiles=tuple(self._profile(p) for p in row["profiles"]),
        )
        return Decoded(
            network,
            tuple(make_group(kind, layers, reads) for kind, layers, reads in zip(kinds, steps, used, strict=True)),
            self._points(len(steps)),
        )

    # --- dims ---

    def _dim(self, value: Any) -> Dim:
        dim = read_dim(value)
        self._demand_known(symbols(dim))
        return dim

    def _relation(self, row: Any) -> Relation:
        relation = read_relation(row)
        self._demand_known(relation.symbols)
        return relation

    def _guard(self, row: Any) -> Guard:
        return Guard(self._relation(row[:3]), read_text(row[3]), read_text(row[4]))

    def _demand_known(self, names: Iterable[str]) -> None:
        for name in names:
            demand(name in self.dims or name in self.data_dims, f"there is no dim `{name}`")

    def _check_inputs(self, inputs: Sequence[Tensor]) -> None:
        """The inputs' shapes decide every dim."""
        demand(len({t.name for t in inputs}) == len(inputs), "two inputs have one name")
        least = least_sizes(self.dims, self.asserts)
        solved = solve_dims((t.shape, tuple(evaluate(d, least) for d in t.shape)) for t in inputs)
        demand(solved.keys() == self.dims.keys(), "the inputs' shapes do not decide every dim")

    def _profile(self, row: Any) -> Profile:
        dims = {name: read_profile_range(r) for name, r in read_object(row["dims"]).items()}
        values = {name: tuple(read_profile_range(r) for r in rs) for name, rs in read_object(row["values"]).items()}
        demand(dims.keys() == self.dims.keys(), "a profile names other dims than the network")
        known = {self.values[n].name for n in self.row["inputs"]}
        demand(values.keys() <= known, "a profile gives values for what is no input")
        return Profile(read_text(row["name"]), dims, values)

    def _points(self, steps: int) -> tuple[TunedPoint, ...]:
        """The choices at each tuned point, one a step. What a tactic's name means is for its provider to say."""
        pairs = [read_list(pair, 2) for pair in read_list(self.row["tactics"])]
        tactics = [Choice(read_text(provider), read_text(tactic), "engine") for provider, tactic in pairs]
        points = []
        for row in read_list(self.row["points"]):
            sizes = {name: read_int(v) for name, v in read_object(row["sizes"]).items()}
            demand(sizes.keys() == self.dims.keys(), "a tuned point names other dims than the network")
            numbers = [read_int(n) for n in read_list(row["choices"], steps)]
            demand(all(0 <= n < len(tactics) for n in numbers), "a tuned point has a choice that is no tactic")
            points.append(TunedPoint(sizes, tuple(tactics[n] for n in numbers)))
        demand(0 < len(points) <= POINT_LIMIT, f"{len(points)} tuned points")
        return tuple(points)

    # --- values ---

    def _read_values(self, sources: Sequence[Source]) -> list[Tensor]:
        constants = {read_int(value): sources[read_int(source)] for value, source in self.row["weights"]}
        known = {read_int(n) for n in self.row["known"]}
        values = []
        for number, (name, dtype, shape) in enumerate(self.row["values"]):
            plain = Tensor(read_text(name), read_dtype(dtype), tuple(self._dim(d) for d in shape))
            source = constants.get(number)
            values.append(plain if source is None else _constant(plain, source, number in known))
        return values

    def _take(self, number: Any) -> Tensor:
        """A value that is read."""
        n = read_int(number)
        demand(0 <= n < len(self.values), f"no value {n}")
        demand(n in self.bound or self.values[n].weight is not None, f"value {n} is read before it is made")
        return self.values[n]

    def _make(self, number: Any, value: tuple[Dim, ...] | None = None) -> Tensor:
        """A value that is made; `value` are its elements where the dims decide them."""
        n = read_int(number)
        demand(0 <= n < len(self.values), f"no value {n}")
        fresh = n not in self.bound and n not in self.hidden and self.values[n].weight is None
        demand(fresh, f"value {n} is made twice")
        self.bound.add(n)
        if value is not None:
            self.values[n] = replace(self.values[n], value=value)
        return self.values[n]

    # --- layers ---

    def _layer(self, row: Any, depth: int) -> Layer:
        demand(depth < DEPTH_LIMIT, "control flow is nested too deep")
        op = find_op(read_text(row["op"]))
        if op is None:
            raise DecodeError(f"this version has no op `{row['op'][:40]}`")
        inputs = tuple(None if n == -1 else self._take(n) for n in row["inputs"])
        regions = tuple(self._graph(g, depth + 1) for g in row.get("regions", ()))
        demand(len(regions) == op.regions, f"`{op.name}` has {op.regions} bodies")
        stated = [self.values[n].type for n in row["outputs"]]
        attrs = {read_text(k): read_attr(v) for k, v in read_object(row["attrs"]).items()}
        inferred = None if regions else self.memo.find(op, inputs, attrs, len(stated))
        inferred = inferred or self.memo.infer(
            op,
            inputs,
            attrs,
            fresh=self._fresh(stated),
            region_types=[[t.type for t in g.outputs] for g in regions],
            wanted=len(stated),
        )
        name = self.values[row["outputs"][0]].name if stated else op.name
        self._check_types(name, stated, inferred.types)
        for region in regions:
            wanted = op.body_inputs([None if t is None else t.type for t in inputs], inferred.attrs)
            self._check_types(name, [t.type for t in region.inputs], wanted)
        for r in inferred.requirements:
            self.claims.add(r.relation, r.message, name)
        return Layer(name, op, inputs, self._results(row["outputs"], inferred), inferred.attrs, regions, _origin(row))

    def _results(self, numbers: Sequence[Any], inferred: Inferred) -> tuple[Tensor, ...]:
        return tuple(self._make(n, inferred.value if place == 0 else None) for place, n in enumerate(numbers))

    def _check_types(self, name: str, stated: Sequence[TensorType], right: Sequence[TensorType]) -> None:
        """Demand that types are those that inference gives; a pass may have written a dim in another way."""
        demand(len(stated) == len(right), f"layer `{name}` has {len(right)} values here, not {len(stated)}")
        for have, want in zip(stated, right, strict=True):
            wrong = f"{have} is stated where it is {want}"
            demand(have.dtype is want.dtype and len(have.shape) == len(want.shape), f"layer `{name}`: {wrong}")
            for a, b in zip(have.shape, want.shape, strict=True):
                self.claims.add(Relation("==", b, a), wrong, name)

    def _fresh(self, stated: Sequence[TensorType]) -> _Fresh:
        return _Fresh([n for t in stated for d in t.shape for n in sorted(symbols(d)) if n in self.data_dims])

    def _graph(self, row: Any, depth: int) -> Graph:
        outer, around = set(self.bound), self.claims
        self.claims = around.inside(map(self._guard, row.get("guards", ())))
        inputs = tuple(self._make(n) for n in row["inputs"])
        layers = tuple(self._layer(r, depth) for r in row["layers"])
        outputs = tuple(self._take(n) for n in row["outputs"])
        guards = self.claims.guards
        self.hidden |= self.bound - outer
        self.bound, self.claims = outer, around
        return Graph(inputs, outputs, layers, guards)


class _Fresh:
    """Gives a layer's data-dependent sizes the names that its stated results have."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(dict.fromkeys(names))

    def __call__(self, low: Dim, high: Dim) -> Dim:
        demand(bool(self.names), "a data-dependent size has no name")
        return symbol(self.names.pop(0))


def _constant(tensor: Tensor, source: Source, is_known: bool) -> Tensor:
    """A value of the weight table. With `is_known`, shapes follow from its elements."""
    dtype, shape, data = source
    demand(dtype is tensor.dtype and shape == tensor.shape, f"weight `{tensor.name}` has another type")
    weight = Weight(tensor.name, dtype, shape, data)
    value = None
    if is_known:
        whole = dtype.is_integer or dtype is BOOL
        demand(
            whole and len(shape) <= 1 and weight.nbytes <= 8 * VALUE_LIMIT,
            f"weight `{tensor.name}` is no list of sizes",
        )
        value = tuple(int(v) for v in weight.load().reshape(-1))
    return replace(tensor, weight=weight, value=value)


def _origin(row: Any) -> Origin:
    return Origin(source=read_text(row.get("source", "")))


def _used_outside(steps: Sequence[Sequence[Layer]], graph: Graph) -> list[set[int]]:
    """For each step, the ids of its tensors that other steps or the network's outputs read, or that show a
    size.
    """
    home = {id(t): n for n, layers in enumerate(steps) for layer in layers for t in layer.outputs}
    used: list[set[int]] = [set() for _ in steps]
    for n, layers in enumerate(steps):
        for layer in layers:
            for t in (*layer.inputs, *captures(layer)):
                if t is not None and home.get(id(t), n) != n:
                    used[home[id(t)]].add(id(t))
    for key in {*(id(t) for t in graph.outputs), *sizing(graph)} & home.keys():
        used[home[key]].add(key)
    return used
