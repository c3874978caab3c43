"""Compare two networks, part by part."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Mapping
from math import prod
from typing import TypeVar

from trtn.dsl.network import Layer, Network, Precision, Profile, ProfileRange, Target, Tensor
from trtn.dsl.ops.signature import show
from trtn.dsl.review.changes import Change, Comparison, Subject
from trtn.dsl.review.grouping import grouped
from trtn.dsl.review.matching import Matching, match_graphs
from trtn.dsl.review.weights import compare_weights

__all__ = ["compare"]

T = TypeVar("T")
SHOWN = 4
"""Constants of the text with up to so many elements are shown by their values."""


def compare(
    before: Network,
    after: Network,
    *,
    titles: tuple[str, str] = ("", ""),
    values: bool = False,
    without: Container[Subject] = (),
) -> Comparison:
    """What changed from one network to another.

    titles: what the two are called in a report; their networks' names without.
    values: whether weights that changed are loaded, to say by how much. Without it no weight's bytes are read, and one
    whose manifest gives no hash counts as changed only when its type or its source did.
    without: subjects that are left out.
    """
    matching = match_graphs(before.graph, after.graph)
    changes = [
        *_network(before, after),
        *_dims(before, after),
        *_asserts(before, after),
        *_tensors("input", before.inputs, after.inputs, {}),
        *_tensors("output", before.outputs, after.outputs, _renamed(matching, before, after)),
        *_layers(matching),
        *compare_weights(before, after, matching.moved, values),
        *_profiles(before, after),
        *_targets(before, after),
    ]
    changes = [c for c in changes if c.subject not in without]
    touched = {(c.subject, place) for c in changes for place in (c.places or (c.name,))}
    same = {
        "layer": sum(("layer", b.name) not in touched for _, b in matching.pairs),
        "weight": sum(("weight", t.name) not in touched for t in after.weights if t.weight and t.weight.name),
    }
    same = {subject: count for subject, count in same.items() if subject not in without}
    return Comparison(titles[0] or before.name, titles[1] or after.name, tuple(grouped(changes)), same)


def _pairs(before: Mapping[str, T], after: Mapping[str, T]) -> Iterator[tuple[str, T | None, T | None]]:
    """By name: those of `after` in their order, then those that are gone."""
    for name, value in after.items():
        yield name, before.get(name), value
    for name, value in before.items():
        if name not in after:
            yield name, value, None


def _facts(subject: Subject, name: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for what, a, b in _pairs(before, after):
        if a != b:
            yield Change(subject, "changed", name, what, a or "", b or "")


def _network(before: Network, after: Network) -> Iterator[Change]:
    facts = [{"name": n.name, "doc": show(n.doc)} for n in (before, after)]
    yield from _facts("network", after.name, *facts)


def _dims(before: Network, after: Network) -> Iterator[Change]:
    declared = [{n: str(r) for n, r in net.dims.items()} for net in (before, after)]
    data = [{n: f"{d.low}..{d.high}, from the data" for n, d in net.data_dims.items()} for net in (before, after)]
    yield from _whole("dim", declared[0] | data[0], declared[1] | data[1])


def _whole(subject: Subject, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    """Things that a text says whole."""
    for name, a, b in _pairs(before, after):
        if a is None:
            yield Change(subject, "added", name, after=b or "")
        elif b is None:
            yield Change(subject, "removed", name, before=a)
        elif a != b:
            yield Change(subject, "changed", name, before=a, after=b)


def _asserts(before: Network, after: Network) -> Iterator[Change]:
    texts = [{str(a.relation): a.message for a in n.asserts} for n in (before, after)]
    yield from _whole("assert", *texts)


def _renamed(matching: Matching, before: Network, after: Network) -> dict[str, str]:
    """Old names of outputs that the same layer gives under another name, with the new ones."""
    kept = {t.name for t in before.outputs} & {t.name for t in after.outputs}
    new = {matching.same[id(t)]: t.name for t in after.outputs if id(t) in matching.same and t.name not in kept}
    pairs = ((t.name, new.get(matching.same.get(id(t)))) for t in before.outputs if t.name not in kept)
    return {was: now for was, now in pairs if now is not None}


def _tensors(
    subject: Subject, before: Iterable[Tensor], after: Iterable[Tensor], renamed: Mapping[str, str]
) -> Iterator[Change]:
    for was, now in renamed.items():
        yield Change(subject, "renamed", now, before=was, after=now)
    old, new = ({t.name: str(t.type) for t in tensors} for tensors in (before, after))
    yield from _whole(subject, {renamed.get(name, name): text for name, text in old.items()}, new)
    kept = [name for name in old if name in new], [name for name in new if name in old]
    if kept[0] != kept[1]:
        yield Change(subject, "changed", f"{subject}s", "order", ", ".join(kept[0]), ", ".join(kept[1]))


# --- layers ---


def _layers(matching: Matching) -> Iterator[Change]:
    for layer in matching.removed:
        yield Change("layer", "removed", layer.name, before=_call(layer), line=_line(layer))
    for layer in matching.added:
        yield Change("layer", "added", layer.name, after=_call(layer), line=_line(layer))
    names = matching.new_names()
    for a, b in matching.pairs:
        if a.name != b.name:
            yield Change("layer", "renamed", b.name, before=a.name, after=b.name, line=_line(b))
        yield from _layer(matching, names, a, b)


def _layer(matching: Matching, new_names: Mapping[Hashable, str], a: Layer, b: Layer) -> Iterator[Change]:
    def change(what: str, before: str, after: str) -> Change:
        return Change("layer", "changed", b.name, what, before, after, _line(b))

    if a.op.name != b.op.name:
        yield change("op", a.op.name, b.op.name)
    names = [*b.attrs, *(n for n in a.attrs if n not in b.attrs)]
    if a.op.name == b.op.name:
        for name in names:
            if a.attrs.get(name) != b.attrs.get(name):
                yield change(f"attribute {name}", _value(a, name), _value(b, name))
    for at in range(max(len(a.inputs), len(b.inputs))):
        before, after = (layer.inputs[at] if at < len(layer.inputs) else None for layer in (a, b))
        if matching.identity(before) != matching.identity(after):
            yield change(f"input {at}", new_names.get(matching.identity(before), _name(before)), _name(after))
    for t, u in zip(a.outputs, b.outputs, strict=False):
        if t.type != u.type:
            yield change("type" if len(b.outputs) == 1 else f"type of {u.name}", str(t.type), str(u.type))
    if a.origin.precision is not b.origin.precision:
        yield change("precision", str(a.origin.precision or "default"), str(b.origin.precision or "default"))
    for at, (region, other) in enumerate(zip(a.regions, b.regions, strict=False)):
        inner = match_graphs(region, other)
        inner.same = {**matching.same, **inner.same}
        yield from _layers(inner)
        results = [[_name(t) for t in g.outputs] for g in (region, other)]
        if [inner.identity(t) for t in region.outputs] != [inner.identity(t) for t in other.outputs]:
            yield change(f"results of body {at}", ", ".join(results[0]), ", ".join(results[1]))


def _value(layer: Layer, name: str) -> str:
    return show(layer.attrs[name]) if name in layer.attrs else ""


def _name(tensor: Tensor | None) -> str:
    if tensor is None:
        return "none"
    weight = tensor.weight
    if weight is None:
        return tensor.name
    if weight.name:
        return weight.name
    return str(weight.load().tolist()) if prod(weight.shape) <= SHOWN else f"a constant {tensor.type}"


def _call(layer: Layer) -> str:
    """`conv(x, stem.weight, strides=[2, 2]) : f32[N, 64]`, attributes where they are not the default."""
    defaults = {attr.name: attr.default for attr in layer.op.spec.attrs}
    said = [f"{n}={show(v)}" for n, v in layer.attrs.items() if v is not None and v != defaults.get(n)]
    results = ", ".join(str(t.type) for t in layer.outputs)
    return f"{layer.op.name}({', '.join([*map(_name, layer.inputs), *said])}) : {results}"


def _line(layer: Layer) -> str:
    span = layer.origin.span
    return f"{span.source.path}:{span.line}" if span is not None else ""


# --- profiles and targets ---


def _profiles(before: Network, after: Network) -> Iterator[Change]:
    for name, a, b in _pairs({p.name: p for p in before.profiles}, {p.name: p for p in after.profiles}):
        if a is None or b is None:
            yield Change("profile", "added" if a is None else "removed", name)
        else:
            yield from _facts("profile", name, _profile(a), _profile(b))


def _profile(profile: Profile) -> dict[str, str]:
    facts = {name: _range(r) for name, r in profile.dims.items()}
    for name, ranges in profile.values.items():
        facts |= {f"{name}[{at}]": _range(r) for at, r in enumerate(ranges)}
    return facts


def _range(r: ProfileRange) -> str:
    return f"min {r.minimum}, opt {r.optimum}, max {r.maximum}"


def _targets(before: Network, after: Network) -> Iterator[Change]:
    for name, a, b in _pairs({t.name: t for t in before.targets}, {t.name: t for t in after.targets}):
        if a is None or b is None:
            yield Change("target", "added" if a is None else "removed", name)
        else:
            yield from _facts("target", name, _target(a), _target(b))


def _target(target: Target) -> dict[str, str]:
    facts = {
        "device": target.device,
        "profiles": ", ".join(target.profiles),
        "workspace": f"{target.workspace:,} bytes" if target.workspace is not None else "",
        "lock": target.lock,
        "output": target.output,
        **_precision(target.precision),
    }
    return {name: text for name, text in facts.items() if text}


def _precision(precision: Precision) -> dict[str, str]:
    kept = {f"precision of {op}": str(dtype) for op, dtype in sorted(precision.keep.items())}
    return {"precision": str(precision.default) if precision.default is not None else "", **kept}
