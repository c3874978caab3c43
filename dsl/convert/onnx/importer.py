"""`import_onnx`: an ONNX model as a network.

The model is walked more than once: a walk shows what its layers demand of the open dims (see `fitting`) and on which
nodes the dims alone don't decide; the next one knows more. Nothing in here knows any particular model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from trtn.dsl.builder import Builder, PendingGuard
from trtn.dsl.check import check_network
from trtn.dsl.convert.onnx.fitting import Fit, asserted, equalities, fitted_ranges, refuted
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.inputdims import DEFAULT_RANGE, bounded_by_default, dim_expressions, name_dims
from trtn.dsl.convert.onnx.model import OnnxModel, ValueInfo
from trtn.dsl.convert.onnx.names import network_name
from trtn.dsl.convert.onnx.reader import read_model
from trtn.dsl.convert.onnx.registry import Unsupported
from trtn.dsl.convert.onnx.translate import Problem, Translator, Undecided, unknown_nodes
from trtn.dsl.convert.onnx.weightnames import with_distinct_weights
from trtn.dsl.diagnostics import Diagnostic, Sink, did_you_mean
from trtn.dsl.dims import Dim, Domain, Expr, Range, Relation, substitute
from trtn.dsl.dtypes import DType
from trtn.dsl.elaborate.types import DIM_LIMIT
from trtn.dsl.errors import ImportModelError
from trtn.dsl.network import Assertion, Graph, Network, Tensor, walk
from trtn.dsl.structure.deadcode import without_dead_layers
from trtn.dsl.structure.recognise import recognise as recognised
from trtn.dsl.structure.renaming import named_after_modules

__all__ = ["import_onnx", "import_with_values"]

_KINDS = {"sequence": "a list of tensors", "optional": "an optional list of tensors", "unknown": "of no declared type"}
_MOST_WALKS = 24
"""Walks over a model before the importer gives up on fitting its dims."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """What one walk came to. Without a network there are problems."""

    network: Network | None
    problems: tuple[Problem, ...]
    requirements: tuple[PendingGuard, ...] = ()
    conditional: frozenset[str] = frozenset()
    """Layers inside of the branches of an `if`: what they need must hold only where they run."""
    by_data: frozenset[str] = frozenset()
    """Those of them that run or not whatever the dims are."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The model's name for each tensor outside of regions, by the tensor's own."""

    def always(self, domain: Domain) -> list[Relation]:
        """What layers demand that run in any case, and what fails for some values of the dims."""
        return refuted((p.requirement.relation for p in self.requirements if p.layer not in self.conditional), domain)

    def sometimes(self, domain: Domain) -> list[Relation]:
        """The same for layers of branches."""
        return refuted((p.requirement.relation for p in self.requirements if p.layer in self.conditional), domain)

    def least(self, domain: Domain) -> list[Relation]:
        """Lower ends that layers of branches demand.

        A dim may well be below where its branch isn't taken; but a network whose dims suit both branches is easier to
        use than one that fails at run time.
        """
        demands = (p.requirement.relation for p in self.requirements if p.layer in self.by_data)
        return refuted((r for r in demands if r.op in (">", ">=")), domain)


def import_onnx(
    model: str | Path | bytes | Any,
    *,
    dims: Mapping[str, Range] | None = None,
    name: str | None = None,
    allow_outside: bool = False,
    recognise: bool = True,
) -> Network:
    """Import a model from a path, its bytes or an onnx.ModelProto.

    `dims` gives ranges to the open dims of its inputs, by the name that they get in the network or by the model's own
    dim_param; the others are `DEFAULT_RANGE`. `name` names the network. Files of external data must lie in the model's
    folder unless `allow_outside`. Weights stay references: nothing large is read. An input of type optional must be
    given when the network is run: it is imported for that case. With `recognise`, what exporters spell out in several
    nodes (attention, norms, activations, linear layers..) is one layer; without, each node is its own.

    Raises ImportModelError: E0801 where the file is no valid model, E0802 for each node that can't be imported, E0803
    for its inputs and for `dims`; codes of the checker where no ranges make the layers right.
    """
    network, _ = _Import(read_model(model, allow_outside=allow_outside), dims or {}, name).run()
    if not recognise:
        return network
    return named_after_modules(recognised(network), {t.name for x in walk(network.graph) for t in x.outputs})


def import_with_values(
    model: str | Path | bytes | Any, *, allow_outside: bool = False
) -> tuple[Network, Mapping[str, str]]:
    """As `import_onnx`, with the model's name for each tensor of the network's own graph, by the tensor's name.

    A name need not be a value of the file: what stands for an inlined function has names of its own.
    """
    return _Import(read_model(model, allow_outside=allow_outside), {}, None).run()


class _Import:
    def __init__(self, model: OnnxModel, ranges: Mapping[str, Range], name: str | None) -> None:
        self.model = model
        self.name = name or network_name(model.graph.name, model.file)
        graph = model.graph
        self.types = _input_types(model)
        self.expressions = dim_expressions(graph.inputs)
        taken = {v.name for v in (*graph.inputs, *graph.outputs)}
        named = name_dims([_without(v, self.expressions) for v in graph.inputs], taken)
        self.dim_names = named
        self.given = self._given(ranges)
        fixed = {n: r.low for n, r in self.given.items() if r.count == 1}
        self.fit = Fit(
            {n: self.given.get(n, DEFAULT_RANGE) for n in dict.fromkeys(named.values()) if n not in fixed},
            fixed,
        )

    def _given(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        names = set(self.dim_names.values())
        given = {}
        for key, values in ranges.items():
            name = key if key in names else self.dim_names.get(key)
            if name is None or not values.count:
                known = ", ".join(f"`{n}`" for n in sorted(names)) or "none"
                words = (
                    f"no dim of the model is called `{key}`"
                    if name is None
                    else f"the range {values} of dim `{key}` is empty"
                )
                _fail([Diagnostic("E0803", words, notes=(f"its open dims: {known}",), help=did_you_mean(key, names))])
            given[name] = values
        return given

    # --- walks ---

    def run(self) -> tuple[Network, Mapping[str, str]]:
        if not self.model.graph.outputs:
            _fail([Diagnostic("E0803", "the model has no outputs")])
        choices = self._choices()
        found = next(choices)
        for _ in range(_MOST_WALKS):
            if found.network is None:
                following = next(choices, None)
                if following is None:
                    break
                found = following
                continue
            better = equalities(found.always(self._domain()), self.fit) or equalities(
                [r for r in found.sometimes(self._domain()) if _joins_dims(r)], self.fit
            )
            if better is None:
                return self._finished(found), found.values
            self.fit = better
            choices = self._choices()
            found = next(choices)
        _fail(_findings(found.problems))

    def _domain(self) -> Domain:
        return Domain(self.fit.ranges)

    def _choices(self) -> Iterator[_Walk]:
        """Walks with other decisions on open nodes: the likely ones first, then each turned around, the last first."""
        pending: list[dict[str, bool]] = [{}]
        while pending:
            choices = pending.pop()
            walk = None
            while walk is None:
                try:
                    walk = self._walk(choices)
                except Undecided as question:
                    pending.append({**choices, question.key: not question.likely})
                    choices = {**choices, question.key: question.likely}
            yield walk

    def _walk(self, choices: Mapping[str, bool]) -> _Walk:
        graph = self.model.graph
        builder = Builder(self.name, dims=self.fit.ranges, doc=graph.doc.strip())
        for dim in self.fit.ranges:
            builder.unique(dim)
        outputs = [v.name for v in graph.outputs]
        translator = Translator(self.model, builder, choices, outputs)
        for value in graph.inputs:
            translator.scope.tensors[value.name] = builder.input(value.name, self.types[value.name], self._shape(value))
        translator.nodes(graph)
        tensors = [(name, translator.output(name)) for name in outputs]
        lists = [name for name in outputs if translator.tensor_list(name) is not None]
        if lists:
            _fail([Diagnostic("E0803", f"output `{o}` is a list of tensors, which is not supported") for o in lists])
        if translator.problems or any(t is None for _, t in tensors):
            return _Walk(None, tuple(translator.problems))
        found = [(name, t) for name, t in tensors if t is not None]
        wrong = _wrong_rank(graph.outputs, found)
        if wrong is not None and choices:
            return _Walk(None, (Problem(graph.nodes[-1], wrong),))
        names = {t.name: name for name, t in found}
        network = with_distinct_weights(bounded_by_default(without_dead_layers(builder.finish(found))))
        live = {layer.name for layer in walk(network.graph)}
        requirements = (replace(p, layer=names.get(p.layer, p.layer)) for p in builder.requirements)
        return _Walk(
            network,
            (),
            tuple(p for p in requirements if p.layer in live),
            _in_branches(network.graph),
            _in_branches(network.graph, {names.get(n, n) for n in translator.chosen_by_dims}),
            {names.get(t.name, t.name): v for v, t in translator.scope.tensors.items() if t and t.weight is None},
        )

    def _shape(self, value: ValueInfo) -> tuple[Dim, ...]:
        return tuple(self._dim(value, axis, d) for axis, d in enumerate(value.shape or ()))

    def _dim(self, value: ValueInfo, axis: int, dim: int | str | None) -> Dim:
        if isinstance(dim, int):
            return dim
        if dim in self.expressions:
            return substitute(self.expressions[dim], {p: self._symbol(p) for p in self.dim_names if isinstance(p, str)})
        return self._symbol(dim if dim is not None else (value.name, axis))

    def _symbol(self, key: str | tuple[str, int]) -> Dim:
        return self.fit.resolve(self.dim_names[key])

    # --- the end ---

    def _finished(self, found: _Walk) -> Network:
        """The network with ranges and asserts under which its layers are right, and guards for what is not decided."""
        network = found.network
        assert network is not None
        domain = network.domain()
        demands = [a.relation for a in network.asserts]
        free = Domain(domain.ranges)
        demands += [r for r in (*found.always(free), *found.least(free)) if r.symbols <= network.dims.keys()]
        _check_sizes(network)
        network = replace(network, dims=fitted_ranges(demands, Domain(network.dims)), asserts=())
        stated = asserted([*demands, *found.always(network.domain())], network.domain())
        network = replace(network, asserts=tuple(Assertion(r) for r in stated))
        sink = Sink()
        network = check_network(network, found.requirements, sink)
        if sink.has_errors:
            _fail(sink.diagnostics)
        return network


def _in_branches(graph: Graph, left_out: Collection[str] = ()) -> frozenset[str]:
    """The layers that an `if` may pass over; the branches of those in `left_out` don't count."""
    found: set[str] = set()
    for layer in graph.layers:
        for region in layer.regions if layer.name not in left_out else ():
            inner = (x.name for x in walk(region)) if layer.op.name == "if" else _in_branches(region, left_out)
            found.update(inner)
    return frozenset(found)


def _joins_dims(relation: Relation) -> bool:
    """Whether a relation says that two dims are one."""
    sides = (relation.left, relation.right)
    return relation.op == "==" and all(isinstance(s, Expr) and str(s) in s.symbols for s in sides)


def _input_types(model: OnnxModel) -> dict[str, DType]:
    types: dict[str, DType] = {}
    found: list[Diagnostic] = []
    for value in model.graph.inputs:
        if value.kind != "tensor":
            found.append(
                Diagnostic(
                    "E0803", f"input `{value.name}` is {_KINDS.get(value.kind, value.kind)}; only tensors are supported"
                )
            )
        elif value.shape is None:
            found.append(Diagnostic("E0803", f"the rank of input `{value.name}` is not declared"))
        else:
            try:
                types[value.name] = dtype_of(value.elem)
            except Unsupported as e:
                found.append(Diagnostic("E0803", f"input `{value.name}`: {e.reason}"))
    if found:
        _fail([*found, *_findings(unknown_nodes(model))])
    return types


def _check_sizes(network: Network) -> None:
    """A spec states the types of inputs and outputs, and the ranges of dims: in sizes that it can say."""
    found = [
        f"{kind} `{t.name}` has a dim of {d}"
        for kind, tensors in (("input", network.inputs), ("output", network.outputs))
        for t in tensors
        for d in t.shape
        if isinstance(d, int) and d > DIM_LIMIT
    ]
    found += [f"dim `{name}` goes to {r.high}" for name, r in network.dims.items() if r.high > DIM_LIMIT]
    if found:
        _fail([Diagnostic("E0803", f"{words}; dims lie in 0..{DIM_LIMIT}") for words in found])


def _without(value: ValueInfo, expressions: Mapping[str, Dim]) -> ValueInfo:
    """An input whose dims that are arithmetic over others count as known."""
    shape = tuple(0 if isinstance(d, str) and d in expressions else d for d in value.shape or ())
    return replace(value, shape=shape)


def _wrong_rank(declared: tuple[ValueInfo, ...], found: list[tuple[str, Tensor]]) -> str | None:
    for value, (name, tensor) in zip(declared, found, strict=True):
        if value.shape is not None and len(value.shape) != tensor.rank:
            return f"output `{name}` has rank {tensor.rank}, but is declared with rank {len(value.shape)}"
    return None


def _findings(problems: Iterable[Problem]) -> list[Diagnostic]:
    """One finding for each node, however many walks met it."""
    messages = dict.fromkeys(f"{p.node.kind} `{p.node.name or p.node.label}`: {p.reason}" for p in problems)
    return [Diagnostic("E0802", message) for message in messages]


def _fail(diagnostics: list[Diagnostic]) -> NoReturn:
    first, rest = diagnostics[0], len(diagnostics) - 1
    more = f" (and {rest} more)" if rest else ""
    raise ImportModelError(f"{first.message}{more}", diagnostics)
