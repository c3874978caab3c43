"""A network with its groups as JSON, and back. What comes back is checked as if a stranger had written it: every op is looked up in
the catalogue, every attribute fits its kind, every type is inferred anew and must be the one that is stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.backend.group import Group, make_group
from trtn.dsl.dims import Dim, Domain, Expr, Range, Relation, Verdict, parse_dim, prove
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import (
    Assertion,
    DataDim,
    Graph,
    Guard,
    Layer,
    Network,
    Origin,
    Profile,
    ProfileRange,
    Tensor,
    Weight,
    WeightSource,
    captures,
)
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import InferFailure, infer_layer

__all__ = ["DecodeError", "Decoded", "decode_network", "encode_network"]

LAYER_LIMIT = 1_000_000


class DecodeError(ValueError):
    """The JSON is not a network. The message says where."""


@dataclass(frozen=True, slots=True)
class Decoded:
    network: Network
    groups: tuple[Group, ...]
    tactics: tuple[tuple[str, str], ...]
    """(provider, tactic) of each group."""


# --- writing -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Numbers:
    """Values by number, in the order of first use."""

    rows: list[list[Any]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)

    def of(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        number = self.numbers.get(id(tensor))
        if number is None:
            number = self.numbers[id(tensor)] = len(self.rows)
            self.rows.append([tensor.name, tensor.dtype.name, [_dim(d) for d in tensor.shape]])
        return number


def encode_network(
    network: Network, groups: Sequence[Group], tactics: Sequence[tuple[str, str]], weights: Mapping[int, int]
) -> dict[str, Any]:
    """JSON of a network in groups. `weights` gives each constant tensor's row of the weight table, by tensor id."""
    values = _Numbers()
    inputs = [values.of(t) for t in network.inputs]
    steps = [
        {
            "kind": group.kind,
            "layers": [_layer(layer, values) for layer in group.layers],
            "provider": provider,
            "tactic": tactic,
        }
        for group, (provider, tactic) in zip(groups, tactics, strict=True)
    ]
    outputs = [values.of(t) for t in network.outputs]
    constants = {t: row for t, row in weights.items() if t in values.numbers}
    return {
        "name": network.name,
        "doc": network.doc,
        "dims": {n: [r.low, r.high, r.step] for n, r in network.dims.items()},
        "data_dims": {n: [_dim(d.low), _dim(d.high)] for n, d in network.data_dims.items()},
        "asserts": [[*_relation(a.relation), a.message] for a in network.asserts],
        "guards": [[*_relation(g.relation), g.message, g.layer] for g in network.guards],
        "profiles": [_profile(p) for p in network.profiles],
        "inputs": inputs,
        "outputs": outputs,
        "steps": steps,
        "values": values.rows,
        "weights": sorted([values.numbers[t], row] for t, row in constants.items()),
    }


def _layer(layer: Layer, values: _Numbers) -> dict[str, Any]:
    row: dict[str, Any] = {
        "op": layer.op.name,
        "inputs": [values.of(t) for t in layer.inputs],
        "attrs": {k: _attr(v) for k, v in sorted(layer.attrs.items())},
    }
    if layer.regions:
        row["regions"] = [_graph(g, values) for g in layer.regions]
    row["outputs"] = [values.of(t) for t in layer.outputs]
    if layer.origin.span is not None:
        row["line"] = [layer.origin.span.source.path.rsplit("/", 1)[-1], layer.origin.span.line]
    if layer.origin.source:
        row["source"] = layer.origin.source
    return row


def _graph(graph: Graph, values: _Numbers) -> dict[str, Any]:
    return {
        "inputs": [values.of(t) for t in graph.inputs],
        "layers": [_layer(layer, values) for layer in graph.layers],
        "outputs": [values.of(t) for t in graph.outputs],
    }


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "dims": {n: [r.minimum, r.optimum, r.maximum] for n, r in profile.dims.items()},
        "values": {n: [[r.minimum, r.optimum, r.maximum] for r in rs] for n, rs in profile.values.items()},
    }


def _relation(relation: Relation) -> list[Any]:
    return [relation.op, _dim(relation.left), _dim(relation.right)]


def _dim(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else str(dim)


def _attr(value: Any) -> Any:
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, Expr):
        return {"dim": str(value)}
    if isinstance(value, tuple):
        return [_attr(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    return value


# --- reading -----------------------------------------------------------------------------------------------------


def decode_network(row: Any, sources: Sequence[tuple[DType, tuple[int, ...], WeightSource]]) -> Decoded:
    """The network in groups that `encode_network` wrote. Raises DecodeError."""
    try:
        return _Reader(row, sources).read()
    except DecodeError:
        raise
    except InferFailure as e:
        raise DecodeError(f"a layer is not valid: {e.message}") from None
    except (
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        OverflowError,
        AssertionError,
    ) as e:
        raise DecodeError(f"the plan is malformed ({type(e).__name__}: {e})") from None


class _Reader:
    def __init__(self, row: Any, sources: Sequence[tuple[DType, tuple[int, ...], WeightSource]]) -> None:
        self.row = row
        self.sources = sources
        self.dims = {_name(n): Range(*(_int(v) for v in r)) for n, r in _dict(row["dims"]).items()}
        for n, r in self.dims.items():
            _demand(0 <= r.low <= r.high < 2**31 and r.step >= 1, f"dim {n} has no such range")
        self.data_dims = {_name(n): DataDim(_read_dim(a), _read_dim(b)) for n, (a, b) in _dict(row["data_dims"]).items()}
        constants = {_int(value): _int(source) for value, source in row["weights"]}
        self.values = [self._value(n, v, constants.get(n)) for n, v in enumerate(row["values"])]
        self.bound: set[int] = set()
        self.hidden: set[int] = set()
        """Values of bodies that are closed: neither to be read nor to be made again."""

    def _value(self, number: int, row: Any, constant: int | None) -> Tensor:
        name, dtype, shape = row
        tensor_shape = tuple(_read_dim(d) for d in shape)
        weight = None
        if constant is not None:
            _demand(0 <= constant < len(self.sources), f"value {number} has no weight")
            stated, sizes, source = self.sources[constant]
            _demand(
                stated is BY_NAME[dtype] and sizes == tensor_shape,
                f"weight of value {number} has another type",
            )
            weight = Weight(_name(name), stated, sizes, source)
        return Tensor(_name(name), BY_NAME[dtype], tensor_shape, weight=weight)

    def read(self) -> Decoded:
        row = self.row
        inputs = tuple(self._take(n, define=True) for n in row["inputs"])
        _demand(len(row["steps"]) <= LAYER_LIMIT, "too many steps")
        made: list[tuple[str, tuple[Layer, ...]]] = []
        tactics = []
        for step in row["steps"]:
            layers = tuple(self._layer(r, 0) for r in step["layers"])
            _demand(bool(layers), "a step without layers")
            made.append((_name(step["kind"]), layers))
            tactics.append((_name(step["provider"]), _name(step["tactic"])))
        outputs = tuple(self._take(n) for n in row["outputs"])
        used = _used_outside([layers for _, layers in made], outputs)
        groups = tuple(make_group(kind, layers, used[n]) for n, (kind, layers) in enumerate(made))
        network = Network(
            name=_name(row["name"]),
            doc=_name(row["doc"]),
            graph=Graph(inputs, outputs, tuple(layer for _, layers in made for layer in layers)),
            dims=self.dims,
            data_dims=self.data_dims,
            asserts=tuple(Assertion(_read_relation(r[:3]), _name(r[3])) for r in row["asserts"]),
            guards=tuple(Guard(_read_relation(r[:3]), _name(r[3]), _name(r[4])) for r in row["guards"]),
            profiles=tuple(self._read_profile(p) for p in row["profiles"]),
        )
        known = self.dims.keys() | self.data_dims.keys()
        for t in self.values:
            for d in t.shape:
                _demand(isinstance(d, int) or d.symbols <= known, f"a shape of {t.name} names an unknown dim")
        return Decoded(network, groups, tuple(tactics))

    def _take(self, number: Any, *, define: bool = False) -> Tensor:
        n = _int(number)
        _demand(0 <= n < len(self.values), f"no value {n}")
        if define:
            _demand(
                n not in self.bound | self.hidden and self.values[n].weight is None,
                f"value {n} is made twice",
            )
            self.bound.add(n)
        else:
            _demand(n in self.bound or self.values[n].weight is not None, f"value {n} is read before it is made")
        return self.values[n]

    def _layer(self, row: Any, depth: int) -> Layer:
        _demand(depth < 64, "control flow is nested too deep")
        op = find_op(_name(row["op"]))
        if op is None:
            raise DecodeError(f"this version has no op `{row['op']}`")
        inputs = tuple(None if n == -1 else self._take(n) for n in row["inputs"])
        regions = tuple(self._graph(g, depth + 1) for g in row.get("regions", ()))
        _demand(len(regions) == op.regions, f"`{op.name}` has {op.regions} bodies")
        outputs = tuple(self._take(n, define=True) for n in row["outputs"])
        attrs = self._attrs(op.name, row["attrs"])
        stated = [t.type for t in outputs]
        inferred = infer_layer(
            op,
            inputs,
            attrs,
            fresh=_Fresh(outputs, self.data_dims),
            region_types=[[t.type for t in g.outputs] for g in regions],
            wanted=len(outputs),
        )
        _demand(len(inferred.types) == len(stated), f"`{op.name}` has {len(inferred.types)} results")
        for name, (a, b) in zip([t.name for t in outputs], zip(inferred.types, stated, strict=True), strict=True):
            _demand(a.dtype is b.dtype and len(a.shape) == len(b.shape), f"{name} is {a}, not {b}")
            for x, y in zip(a.shape, b.shape, strict=True):
                _demand(x == y or self._equal(x, y), f"{name} is {a}, not {b}")
        origin = Origin(source=_name(row.get("source", "")) or _line(row.get("line")))
        return Layer(outputs[0].name if outputs else op.name, op, inputs, outputs, inferred.attrs, regions, origin)

    def _equal(self, a: Dim, b: Dim) -> bool:
        """Whether two dims are the same where the network is defined; a pass may have written one in another way. What could not
        be proven when the engine was built is among the guards."""
        asserts = tuple(_read_relation(r[:3]) for r in (*self.row["asserts"], *self.row["guards"]))
        relation = Relation("==", a, b)
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        if relation in asserts or Relation("==", b, a) in asserts:
            return True
        from trtn.dsl.network import make_domain

        domain: Domain = make_domain(self.dims, self.data_dims, asserts)
        return prove(relation, domain).verdict is not Verdict.REFUTED

    def _graph(self, row: Any, depth: int) -> Graph:
        outer = set(self.bound)
        inputs = tuple(self._take(n, define=True) for n in row["inputs"])
        layers = tuple(self._layer(r, depth) for r in row["layers"])
        outputs = tuple(self._take(n) for n in row["outputs"])
        self.hidden |= self.bound - outer
        self.bound = outer
        return Graph(inputs, outputs, layers)

    def _attrs(self, op: str, row: Any) -> dict[str, Any]:
        return {_name(k): _read_attr(v) for k, v in _dict(row).items()}

    def _read_profile(self, row: Any) -> Profile:
        dims = {_name(n): ProfileRange(*(_int(v) for v in r)) for n, r in _dict(row["dims"]).items()}
        values = {_name(n): tuple(ProfileRange(*(_int(v) for v in r)) for r in rs) for n, rs in _dict(row["values"]).items()}
        _demand(dims.keys() == self.dims.keys(), "a profile names other dims than the network")
        return Profile(_name(row["name"]), dims, values)


class _Fresh:
    """Gives a layer's data-dependent sizes the names that its stated results have."""

    def __init__(self, outputs: Sequence[Tensor], data_dims: Mapping[str, DataDim]) -> None:
        self.names: list[str] = []
        for t in outputs:
            for d in t.shape:
                for name in sorted(d.symbols) if isinstance(d, Expr) else ():
                    if name in data_dims and name not in self.names:
                        self.names.append(name)

    def __call__(self, low: Dim, high: Dim) -> Dim:
        if not self.names:
            raise DecodeError("a data-dependent size has no name")
        from trtn.dsl.dims import symbol

        return symbol(self.names.pop(0))


def _used_outside(groups: Sequence[tuple[Layer, ...]], outputs: Sequence[Tensor]) -> list[set[int]]:
    """For each group, the ids of its tensors that other groups or the network's outputs read."""
    home = {id(t): n for n, layers in enumerate(groups) for layer in layers for t in layer.outputs}
    used: list[set[int]] = [set() for _ in groups]
    for n, layers in enumerate(groups):
        for layer in layers:
            for t in (*layer.inputs, *captures(layer)):
                if t is not None and home.get(id(t), n) != n:
                    used[home[id(t)]].add(id(t))
    for t in outputs:
        if id(t) in home:
            used[home[id(t)]].add(id(t))
    return used


def _demand(condition: bool, message: str) -> None:
    if not condition:
        raise DecodeError(message)


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError(f"{value!r} is not an integer")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{value!r} is not text")
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError("an object is missing")
    return value


def _line(value: Any) -> str:
    return "" if value is None else f"{_name(value[0])}:{_int(value[1])}"


def _read_dim(value: Any) -> Dim:
    if isinstance(value, str):
        return parse_dim(value)
    number = _int(value)
    _demand(abs(number) < 2**62, "a dim is too large")
    return number


def _read_relation(row: Any) -> Relation:
    op, left, right = row
    _demand(op in ("==", "!=", "<", "<=", ">", ">="), f"no relation {op!r}")
    return Relation(op, _read_dim(left), _read_dim(right))


def _read_attr(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "dtype":
            return BY_NAME[inner]
        if kind == "dim":
            return parse_dim(inner)
        _demand(kind == "float" and inner in ("inf", "-inf", "nan"), f"no attribute of kind {kind!r}")
        return float(inner)
    if isinstance(value, list):
        return tuple(_read_attr(v) for v in value)
    return value
