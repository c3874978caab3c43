"""`export_onnx`: a network as an ONNX model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

import onnx
from onnx import helper

from trtn.dsl.convert.export.metadata import properties
from trtn.dsl.convert.export.registry import Unexportable, find_handler
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.sizes import Sizes
from trtn.dsl.convert.export.values import Names, Value, value_info
from trtn.dsl.convert.export.weights import EMBEDDED_LIMIT, StoredTensor, Weights
from trtn.dsl.convert.export.writer import Writer
from trtn.dsl.diagnostics import Diagnostic, Span
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Graph, Layer, Network, Tensor

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "Written", "export_onnx", "newest_opset", "write"]

OLDEST_OPSET = 17
DEFAULT_OPSET = 21


@cache
def newest_opset() -> int:
    """The newest opset that the installed `onnx` package knows."""
    return int(onnx.defs.onnx_opset_version())


def export_onnx(network: Network, *, opset: int = DEFAULT_OPSET) -> Any:
    """The network as an `onnx.ModelProto`, its weights inside.

    opset: of ONNX's own domain, from 17 to `newest_opset()`. Ops that it lacks are spelled out in those that it has.

    Inputs, outputs and weights keep their names; layers' names are those of their results. Open dims are dim_params.
    Dims' ranges, asserts and profiles are in the model's metadata (`trtn.dim.*`, `trtn.assert.*`, `trtn.profile.*`).

    Raises BuildError: E0805 where a layer or the opset can't be written (one finding a layer), or where the weights are
    more than a model can hold (`save_onnx` puts them in a file of their own), and what loading the weights raises.
    """
    return write(network, opset, external=None).model


@dataclass(frozen=True, slots=True)
class Written:
    """A model, and the weights that go to a file beside it in this order."""

    model: Any
    stored: Sequence[StoredTensor]


def write(network: Network, opset: int, *, external: str | None) -> Written:
    """Write the model; with `external`, the name of a file beside it that is to hold the large weights.

    Raises BuildError: E0805.
    """
    if not OLDEST_OPSET <= opset <= newest_opset():
        words = f"opset {opset} can't be written: {OLDEST_OPSET} to {newest_opset()} can, with this `onnx`"
        _fail([Diagnostic("E0805", words)])
    total = sum(t.weight.nbytes for t in network.weights if t.weight is not None)
    if external is None and total > EMBEDDED_LIMIT:
        words = f"weights of {total / 1e9:.2f} GB don't fit into an ONNX model's file"
        cure = "`trtn.save_onnx(net, path)` and `trtn export onnx` put them in a file beside it"
        _fail([Diagnostic("E0805", words, help=cure)])
    return _Export(network, opset, external).run()


class _Export:
    def __init__(self, network: Network, opset: int, external: str | None) -> None:
        self.network = network
        names = Names(dict.fromkeys(t.name for t in (*network.inputs, *network.outputs)))
        self.writer = Writer(opset, names)
        self.weights = Weights(self.writer, external)
        self.sizes = Sizes(self.writer, network.domain())
        self.values: dict[int, Value] = {}
        self.findings: list[Diagnostic] = []
        self._infos: dict[str, Any] = {}
        for tensor in network.weights:  # before the layers: their names are the manifest's, whatever layers are called
            self._guarded("weight", tensor.name, None, lambda t=tensor: self._value(t))

    def run(self) -> Written:
        graph = self._main()
        if self.findings:
            _fail(self.findings)
        imports = [helper.make_opsetid("", self.writer.opset)]
        imports += [helper.make_opsetid(domain, 1) for domain in sorted(self.writer.domains - {""})]
        model = helper.make_model(
            graph,
            producer_name="trtn",
            producer_version=_version(),
            doc_string=self.network.doc,
            opset_imports=imports,
            ir_version=helper.find_min_ir_version_for(imports[:1]),
        )
        helper.set_model_props(model, properties(self.network))
        return Written(model, self.weights.stored)

    # --- graphs ---

    def _main(self) -> Any:
        graph = self.network.graph
        for t in graph.inputs:
            self.values[id(t)] = Value(t.name, t.dtype)
            self._guarded("input", t.name, None, lambda t=t: self.writer.check_dtype(t.dtype))
        self.sizes.learn_inputs([(self.values[id(t)], t.shape) for t in graph.inputs])
        outputs = self._layers(graph, dict.fromkeys(t.name for t in graph.outputs))
        scope = self.writer.scope
        return helper.make_graph(
            scope.nodes,
            self.network.name,
            [value_info(t.name, t) for t in graph.inputs],
            [value_info(name, t) for name, t in zip(outputs, graph.outputs, strict=True)],
            initializer=[*self.weights.protos, *self.writer.initializers],
            doc_string=self.network.doc,
            value_info=scope.infos,
        )

    def _body(self, region: Graph, name: str) -> Any:
        """A region as a graph."""
        with self.writer.body() as scope:
            inputs = []
            for t in region.inputs:
                value = Value(self.writer.names.unique(t.name), t.dtype)
                self.values[id(t)] = value
                self.sizes.learn(value, t.shape)
                inputs.append(value_info(value.name, t))
            outputs = self._layers(region, {})
            self.sizes.forget_body()
        infos = [value_info(n, t) for n, t in zip(outputs, region.outputs, strict=True)]
        return helper.make_graph(scope.nodes, name, inputs, infos, value_info=scope.infos)

    def _layers(self, graph: Graph, wanted: dict[str, None]) -> list[str]:
        """Write a graph's layers; gives the names of its outputs, each of which a node of this graph makes.

        `wanted`: the names that the outputs must have, in order, where they are given.
        """
        for layer in graph.layers:
            self._layer(layer, {id(t) for t in graph.outputs} if wanted else set())
        names: list[str] = []
        final = [t.name for t in graph.outputs] if wanted else [""] * len(graph.outputs)
        for tensor, name in zip(graph.outputs, final, strict=True):
            value = self._value(tensor)
            if value.name in self.writer.scope.produced and value.name not in names and name in ("", value.name):
                names.append(value.name)
            elif value.name == name:  # an input that is an output under its own name
                names.append(name)
            else:
                names.append(name or self.writer.names.unique(f"{value.name}/out"))
                self.writer.node("Identity", [value], [names[-1]])
        return names

    # --- layers ---

    def _layer(self, layer: Layer, finals: set[int]) -> None:
        results = tuple(t.name if id(t) in finals else self.writer.names.unique(t.name) for t in layer.outputs)
        for tensor, name in zip(layer.outputs, results, strict=True):
            self.values[id(tensor)] = Value(name, tensor.dtype)
        site = Site(layer, self.writer, self.sizes, results, self._value, self._body)
        self._guarded(layer.op.name, layer.name, layer.origin.span, lambda: _write_layer(site))
        for tensor, name in zip(layer.outputs, results, strict=True):
            self.sizes.learn(self.values[id(tensor)], tensor.shape)
            if id(tensor) not in finals:
                self.writer.scope.infos.append(value_info(name, tensor))

    def _value(self, tensor: Tensor) -> Value:
        return self.weights.value(tensor.weight) if tensor.weight is not None else self.values[id(tensor)]

    def _guarded(self, what: str, name: str, span: Span | None, action: Any) -> None:
        try:
            action()
        except Unexportable as e:
            message = f"`{what}` of layer `{name}` has no form in ONNX opset {self.writer.opset}: {e.reason}"
            if what in ("input", "weight"):
                message = f"{what} `{name}` has no form in ONNX opset {self.writer.opset}: {e.reason}"
            self.findings.append(Diagnostic("E0805", message, span))


def _write_layer(site: Site) -> None:
    handler = find_handler(site.layer.op.name)
    if handler is None:
        raise Unexportable("no ONNX ops compute it")
    handler(site)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trtn")
    except PackageNotFoundError:
        return ""


def _fail(findings: Sequence[Diagnostic]) -> NoReturn:
    first, rest = findings[0], len(findings) - 1
    more = f" (and {rest} more)" if rest else ""
    raise BuildError(f"{first.message}{more}", findings)
