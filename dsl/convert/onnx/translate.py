"""One walk over a model's graph, which makes layers of its nodes and collects those that can't be imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.dsl.builder import ArraySource, Builder
from trtn.dsl.convert.onnx.call import INLINE_LIMIT, Call
from trtn.dsl.convert.onnx.conditions import Conditions
from trtn.dsl.convert.onnx.folding import Folder
from trtn.dsl.convert.onnx.initializers import tensor_source
from trtn.dsl.convert.onnx.model import ModelGraph, Node, OnnxModel
from trtn.dsl.convert.onnx.names import first_free, identifier, value_path, weight_path
from trtn.dsl.convert.onnx.ratios import Ratios
from trtn.dsl.convert.onnx.refusals import why_refused
from trtn.dsl.convert.onnx.registry import Handler, TensorList, Unsupported, find_handler, listed
from trtn.dsl.dims import Dim, DimError
from trtn.dsl.network import Tensor, Weight
from trtn.dsl.ops.infer import VALUE_LIMIT, InferFailure

__all__ = ["Incomplete", "Problem", "Scope", "Translator", "Undecided", "unknown_nodes"]

_ROLES: Mapping[str, tuple[str, ...]] = {
    "Conv": ("x", "weight", "bias"), "ConvTranspose": ("x", "weight", "bias"), "ConvInteger": ("x", "weight"),
    "Gemm": ("weight", "weight", "bias"), "MatMul": ("weight", "weight"), "MatMulInteger": ("weight", "weight"),
    "Add": ("bias", "bias"), "Sub": ("bias", "bias"), "Mul": ("scale", "scale"), "Div": ("scale", "scale"),
    "BatchNormalization": ("x", "scale", "bias", "mean", "variance"), "LayerNormalization": ("x", "scale", "bias"),
    "InstanceNormalization": ("x", "scale", "bias"), "GroupNormalization": ("x", "scale", "bias"),
    "LSTM": ("x", "w", "r", "bias"), "GRU": ("x", "w", "r", "bias"), "RNN": ("x", "w", "r", "bias"),
    "DynamicQuantizeLSTM": (
        "x", "w", "r", "bias", "lengths", "h0", "c0", "peephole", "w_scale", "w_zero", "r_scale", "r_zero",
    ),
    "Gather": ("table",), "PRelu": ("x", "slope"),
}  # fmt: skip


class Incomplete(Exception):
    """A body holds a node that can't be imported; the finding is already written down."""


class Undecided(Exception):
    """What a node does depends on dims that are open. `likely` is the answer to try first."""

    def __init__(self, key: str, likely: bool) -> None:
        super().__init__(key)
        self.key = key
        self.likely = likely


@dataclass(frozen=True, slots=True)
class Problem:
    """A node that can't be imported, and why."""

    node: Node
    reason: str


@dataclass(slots=True)
class Scope:
    """The values of a graph by name, over those of the graphs around it. A value that a failed node owes is None."""

    graph: ModelGraph
    outer: Scope | None = None
    tensors: dict[str, Tensor | None] = field(default_factory=dict)
    lists: dict[str, TensorList] = field(default_factory=dict)
    """Values of type sequence."""

    def owner(self, name: str) -> Scope | None:
        """The innermost scope that defines a name."""
        scope: Scope | None = self
        while scope is not None and name not in scope.tensors and name not in scope.graph.initializers:
            scope = scope.outer
        return scope


class Translator:
    """The state of one walk. `choices` are decisions on nodes that the dims leave open, by label."""

    def __init__(
        self, model: OnnxModel, builder: Builder, choices: Mapping[str, bool], output_names: Sequence[str]
    ) -> None:
        self.model = model
        self.builder = builder
        self.choices = choices
        self.problems: list[Problem] = []
        self.conditions = Conditions(builder)
        self.ratios = Ratios()
        self.scope = Scope(model.graph)
        self.chosen_by_dims: set[str] = set()
        """The `if` layers whose condition is a relation of dims: what their branches need is no news about the dims."""
        self.held_to_one: set[Dim] = set()
        """Dims that layers of regions hold to 1 themselves."""
        self.depth = 0
        """How many regions the walk is inside of."""
        self._outputs = frozenset(output_names)
        self._weight_names: set[str] = set()
        self._transposed: dict[int, tuple[Weight, Tensor]] = {}
        self._folder = Folder()

    # --- graphs ---

    def body(self, graph: ModelGraph, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Translate a nested graph into the layers being built; gives its outputs. Raises Incomplete."""
        self.scope = Scope(graph, self.scope, dict(inputs))
        try:
            self.nodes(graph)
            outputs = [self._lookup(v.name, None, 0) for v in graph.outputs]
            if any(self.tensor_list(v.name) is not None for v in graph.outputs):
                raise Unsupported("a body whose result is a list of tensors is not supported")
        finally:
            assert self.scope.outer is not None
            self.scope = self.scope.outer
        if any(t is None for t in outputs):
            raise Incomplete
        return [t for t in outputs if t is not None]

    def nodes(self, graph: ModelGraph) -> None:
        for node in graph.nodes:
            self._node(node)

    def tensor_list(self, name: str) -> TensorList | None:
        """The list of tensors that a name stands for, if it does."""
        scope: Scope | None = self.scope
        while scope is not None and name not in scope.lists:
            scope = scope.outer
        return scope.lists[name] if scope is not None else None

    def output(self, name: str) -> Tensor | None:
        """The tensor of a value of the current scope, or None where a failed node owes it."""
        return self._lookup(name, None, 0)

    def choose(self, node: Node, *, likely: bool) -> bool:
        """What was decided on a node. Raises Undecided on the first walk."""
        if node.label not in self.choices:
            raise Undecided(node.label, likely)
        return self.choices[node.label]

    # --- nodes ---

    def _node(self, node: Node) -> None:
        if not any(node.outputs):
            return  # nothing can come of it
        handler = find_handler(node.op, node.domain, self.model.opset(node.domain))
        inputs = [self._lookup(name, node, n) if name else None for n, name in enumerate(node.inputs)]
        owed = any(n and t is None and self.tensor_list(n) is None for n, t in zip(node.inputs, inputs, strict=True))
        results: Sequence[Tensor | None] = ()
        if handler is None:
            self._problem(node, _why_unknown(node, self.model))
        elif not owed:
            results = self._results(node, inputs, handler)
        for n, name in enumerate(node.outputs):
            if name:
                self.scope.tensors[name] = results[n] if n < len(results) else None

    def _problem(self, node: Node, reason: str) -> None:
        self.problems.append(Problem(node, reason))

    def _results(self, node: Node, inputs: Sequence[Tensor | None], handler: Handler) -> Sequence[Tensor | None]:
        while inputs and inputs[-1] is None:
            inputs = inputs[:-1]
        try:
            call = self._call(node, tuple(inputs))
            folded = self._folder.fold(call, handler)
            given = handler(call) if folded is None else folded
            if isinstance(given, TensorList):
                self.scope.lists[node.outputs[0]] = given
                return ()
            found = listed(given)
            if any(name and (n >= len(found) or found[n] is None) for n, name in enumerate(node.outputs)):
                raise Unsupported("an optional result that it has in ONNX is not supported")
            return found
        except Unsupported as e:
            self._problem(node, e.reason)
        except InferFailure as e:
            self._problem(node, f"{e.message} ({e.cure})" if e.cure else e.message)
        except DimError as e:
            self._problem(node, str(e))
        except Incomplete:
            pass
        return ()

    def _call(self, node: Node, inputs: tuple[Tensor | None, ...]) -> Call:
        names = [self._result_name(o, node) for o in node.outputs]
        path = names[0] if names and names[0] else self._result_name(node.label, node)
        results = tuple(name or f"{path}.{n}" for n, name in enumerate(names))
        return Call(node, inputs, self.model.opset(node.domain), self.builder, path, results, self._free_weight, self)

    def _result_name(self, value: str, node: Node) -> str:
        if not value:
            return ""
        if self.scope.outer is None and value in self._outputs:
            return value
        pretty = value_path(value, node.name if value == node.outputs[0] else "", node.op, node.module)
        other = "" if node.module else identifier(value)
        return first_free((pretty, other or pretty), self._is_taken)

    def _is_taken(self, name: str) -> bool:
        return not self.builder.is_free(name) or name in self._outputs

    # --- weights ---

    def _lookup(self, name: str, reader: Node | None, position: int) -> Tensor | None:
        scope = self.scope.owner(name)
        if scope is None:
            return None
        if name not in scope.tensors:
            scope.tensors[name] = self._initializer(name, scope.graph.initializers[name], reader, position)
        return scope.tensors[name]

    def _initializer(self, name: str, proto: Any, reader: Node | None, position: int) -> Tensor | None:
        try:
            storage = self.model.storage if self.model.graph.initializers.get(proto.name) is proto else None
            dtype, shape, source = tensor_source(proto, self.model.folder, self.model.allow_outside, storage)
        except Unsupported as e:
            node = reader or Node("initializer", "", proto.name, (), (proto.name,), {})
            self._problem(node, e.reason)
            return None
        size = 1
        for d in shape:
            size *= d
        if size <= VALUE_LIMIT and not dtype.is_float:
            source = ArraySource(source.load())
        inline = not shape or (size <= INLINE_LIMIT and not dtype.is_float)
        wish = "" if inline else self._weight_wish(name, reader, position)
        return self.builder.weight(Weight(self._free_weight(wish) if wish else "", dtype, shape, source))

    def _weight_wish(self, name: str, reader: Node | None, position: int) -> str:
        if reader is None:
            return weight_path(name, "", "", "value")
        roles = _ROLES.get(reader.op, ())
        role = roles[position] if position < len(roles) else "value"
        node = f"{reader.module}/{reader.op}" if reader.module and "/" not in reader.name else reader.name
        return weight_path(name, node, reader.op, role)

    def _free_weight(self, wish: str) -> str:
        name = first_free((wish,), self._weight_names.__contains__)
        self._weight_names.add(name)
        return name

    def transposed(self, weight: Weight, make: Callable[[], Weight]) -> Tensor:
        """The tensor of a weight that is read the other way round, one for each weight."""
        if id(weight) not in self._transposed:
            self._transposed[id(weight)] = (weight, self.builder.weight(make()))
        return self._transposed[id(weight)][1]


def unknown_nodes(model: OnnxModel) -> list[Problem]:
    """The nodes for whose ops there is no handler, those of bodies included."""
    found: list[Problem] = []
    graphs = [model.graph]
    while graphs:
        for node in graphs.pop().nodes:
            graphs += node.graphs
            if find_handler(node.op, node.domain, model.opset(node.domain)) is None:
                found.append(Problem(node, _why_unknown(node, model)))
    return found


def _why_unknown(node: Node, model: OnnxModel) -> str:
    if (reason := why_refused(node.op, node.domain)) is not None:
        return reason
    if find_handler(node.op, node.domain, 1 << 30) is not None:
        return f"not supported at opset {model.opset(node.domain)}"
    return "no op of trtn does this" if not node.domain else f"the domain `{node.domain}` is not known"
