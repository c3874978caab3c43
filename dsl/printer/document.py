"""A whole spec: where the weights are, one network, its profiles and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from trtn.dsl.diagnostics import Source
from trtn.dsl.network import Assertion, Network, Precision, Profile, ProfileRange, Target, Weight
from trtn.dsl.printer.body import MANIFEST, BodyWriter
from trtn.dsl.printer.layout import physical_lines
from trtn.dsl.printer.literals import assert_text, name_text
from trtn.dsl.printer.names import Names
from trtn.dsl.printer.placement import Placement
from trtn.dsl.printer.rewrite import expressible
from trtn.dsl.syntax import format_source, quote_name, quote_string

__all__ = ["Document", "declarations", "header", "late_asserts", "outputs_called_as_inputs", "write_document"]

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a spec, and the weights that its manifest must hold, by path."""

    text: str
    weights: Mapping[str, Weight]


def write_document(
    network: Network, *, weights_path: str | None = None, provenance: bool = False, types: bool = False
) -> Document:
    """See `print_network`."""
    network = replace(network, graph=expressible(network.graph))
    names, placement = Names(network), Placement(network)
    body = BodyWriter(network, names, placement, provenance, types)
    for tensor in network.inputs:
        names.enter(names.top, tensor, tensor.name)
    body.layers(network.layers, names.top, {})
    for line in late_asserts(network, names):
        body.line(line)
    body.lines += outputs_called_as_inputs(network, names)
    path = weights_path if weights_path is not None else f"{network.name}.weights.trtn"
    alias = names.weights_alias()
    lines = ["trtn 1", *([f"weights {alias} = {quote_string(path)}"] if placement.weights else []), ""]
    lines.append(f"network {name_text(network.name)} {{")
    lines += [part for line in header(network, names) for part in physical_lines(line, 1)]
    lines += [""] if body.lines else []
    lines += [part for depth, line in body.lines for part in physical_lines(line.replace(MANIFEST, alias), depth)]
    lines.append("}")
    return Document("\n".join(lines) + "\n" + declarations(network, names), placement.weights)


# --- the network -------------------------------------------------------------------------------------------------


def header(network: Network, names: Names) -> Iterator[str]:
    """What a network declares: its doc, dims, asserts, inputs and outputs."""
    dims = names.dims
    for line in network.doc.split("\n") if network.doc else []:
        yield f"doc {quote_string(line)}"
    for name, values in network.dims.items():
        yield f"dim {dims.name(name)} in {values.low}..{values.last}" + (
            f" step {values.step}" if values.step > 1 else ""
        )
    yield from (
        assert_text(a.relation, a.message, names.dims)
        for a in network.asserts
        if a.relation.symbols and not _is_late(a, network)
    )
    for word, tensors in (("input", network.inputs), ("output", network.outputs)):
        for t in tensors:
            yield f"{word} {quote_name(t.name)}: {t.dtype}[{', '.join(map(dims, t.shape))}]"


def _is_late(assertion: Assertion, network: Network) -> bool:
    """Whether it is about a size that only the data decides: that has no name before the statement that makes it."""
    return not assertion.relation.symbols.isdisjoint(network.data_dims)


def late_asserts(network: Network, names: Names) -> Iterator[str]:
    """The asserts that come behind the statements."""
    yield from (assert_text(a.relation, a.message, names.dims) for a in network.asserts if _is_late(a, network))


def outputs_called_as_inputs(network: Network, names: Names) -> Iterator[tuple[int, str]]:
    """A name is bound once, but for what a `repeat` carries: so an output gets the name that an input has too."""
    inputs = {id(t) for t in network.inputs}
    for t in network.outputs:
        if t.name in names.inputs and id(t) not in inputs:
            yield 1, f"repeat i in 0..1 carry {quote_name(t.name)} {{"
            yield 2, f"{quote_name(t.name)} = {names.top.text(t)}"
            yield 1, "}"


# --- profiles and targets ----------------------------------------------------------------------------------------


def declarations(network: Network, names: Names) -> str:
    """Profiles and targets: their columns are the formatter's work."""
    lines = [line for p in network.profiles for line in _profile(p, network, names)]
    lines += [line for t in network.targets for line in _target(t, network)]
    if not lines:
        return ""
    _, _, rest = format_source(Source("-", "\n".join(["trtn 1", *lines]))).partition("\n")
    return rest


def _profile(profile: Profile, network: Network, names: Names) -> Iterator[str]:
    yield f"profile {name_text(profile.name)} for {name_text(network.name)} {{"
    for dim, r in profile.dims.items():
        yield f"{names.dims.name(dim)}: min {r.minimum}, opt {r.optimum}, max {r.maximum}"
    ranks = {t.name: t.rank for t in network.inputs}
    for name, ranges in profile.values.items():
        low, best, high = (_entry(ranges, which, ranks.get(name, 1)) for which in ("minimum", "optimum", "maximum"))
        yield f"{quote_name(name)}: min {low}, opt {best}, max {high}"
    yield "}"


def _entry(ranges: tuple[ProfileRange, ...], which: str, rank: int) -> str:
    numbers = [str(getattr(r, which)) for r in ranges]
    return f"[{', '.join(numbers)}]" if rank else numbers[0]


def _target(target: Target, network: Network) -> Iterator[str]:
    yield f"target {name_text(target.name)} {{"
    yield f"network {name_text(network.name)}"
    if target.profiles:
        yield f"profiles [{', '.join(map(name_text, target.profiles))}]"
    if target.device is not None:
        yield f"device {target.device}"
    yield from _precision(target.precision)
    if target.workspace is not None:
        yield f"workspace {_size(target.workspace)}"
    for word, path in (("lock", target.lock), ("output", target.output)):
        if path is not None:
            yield f"{word} {quote_string(path)}"
    yield "}"


def _precision(precision: Precision) -> Iterator[str]:
    if precision.default is None and not precision.keep:
        return
    yield "precision {"
    if precision.default is not None:
        yield f"default {precision.default}"
    for dtype in dict.fromkeys(precision.keep.values()):
        yield f"keep {dtype} for [{', '.join(op for op, d in precision.keep.items() if d is dtype)}]"
    yield "}"


def _size(count: int) -> str:
    """A number of bytes in the largest unit that it is a multiple of."""
    unit = next(((word, size) for word, size in _UNITS if count and count % size == 0), None)
    return str(count) if unit is None else f"{count // unit[1]}{unit[0]}"
