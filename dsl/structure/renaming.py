"""Names of weights and tensors: regular paths stay, numbers become indexes, made-up names give way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from trtn.dsl.network import Graph, Layer, Network, Tensor, walk
from trtn.dsl.structure.find import Occurrence
from trtn.dsl.structure.labels import block_name
from trtn.dsl.structure.paths import family, indexed, split_index, steps

__all__ = ["named_after_modules", "regular_names", "renamed", "tidied", "with_plain_names"]

_MODULES = frozenset({
    "batch_norm", "conv", "deconv", "group_norm", "instance_norm", "layer_norm", "linear", "rms_norm",
})  # fmt: skip
"""Ops that are the main one of the module that their weights are of."""
_FOLDED_BIAS = ".weight_bias"
"""What torch calls the bias of a layer that it has folded a batch norm into."""


def tidied(network: Network) -> Network:
    """The network without the leading path that all its weights share, in the names of its layers too, and with `bias`
    for the path of a bias.
    """
    names = [t.weight.name for t in network.weights if t.weight is not None and t.weight.name]
    lead = _common_lead(names)
    new = {name: name.removeprefix(lead) for name in names}
    for name, short in new.items():
        if short.endswith(_FOLDED_BIAS):
            bias = f"{short.removesuffix(_FOLDED_BIAS)}.bias"
            if bias not in new.values():
                new[name] = bias
    network = renamed(network, {a: b for a, b in new.items() if a != b} if _distinct(new, names) else {})
    return _without_lead(network, lead) if lead else network


def _without_lead(network: Network, lead: str) -> Network:
    finals = {id(t) for t in network.outputs}
    short = {
        id(t): replace(t, name=t.name.removeprefix(lead))
        for layer in network.layers
        for t in layer.outputs
        if t.name.startswith(lead) and id(t) not in finals
    }
    return replace(network, graph=_graph(network.graph, short))


def named_after_modules(network: Network, taken: Collection[str]) -> Network:
    """The network with the module's own path for the result of a layer that has a module's weights: `fc1` for `fc1.add`
    or `view_3` where it reads `fc1.weight`. Nothing gets a name of `taken`. A matrix that has lost its path is where its
    bias is.
    """
    network = _with_weights_beside_biases(network)
    finals = {id(t) for t in network.outputs}
    wishes: dict[str, list[Tensor]] = {}
    for layer in network.layers:
        modules = {t.weight.name.rpartition(".")[0] for t in layer.inputs if t is not None and t.weight is not None}
        if len(layer.outputs) != 1 or id(layer.output) in finals or len(modules) != 1:
            continue
        module = modules.pop()
        if module and (layer.op.name in _MODULES or layer.output.name.rpartition(".")[0] == module):
            wishes.setdefault(module, []).append(layer.output)
    used = {*taken, *(t.name for t in network.inputs), *(t.name for x in walk(network.graph) for t in x.outputs)}
    new = {id(t): replace(t, name=name) for name, (t, *others) in wishes.items() if not others and name not in used}
    return replace(network, graph=_graph(network.graph, new))


def _with_weights_beside_biases(network: Network) -> Network:
    """Exporters that transpose a matrix may leave it without a path: `mat_mul_7.weight`, added `layers.0.fc1.bias`."""
    reads = Counter(
        id(t.weight) for x in walk(network.graph) for t in x.inputs if t is not None and t.weight is not None
    )
    taken = {t.weight.name for t in network.weights if t.weight is not None}
    new: dict[str, str] = {}
    for layer in network.layers:
        operands = layer.inputs[1:3] if layer.op.name in ("conv", "deconv", "linear") else ()
        weight, bias = (t.weight if t is not None else None for t in operands) if len(operands) == 2 else (None, None)
        if weight is None or bias is None or not reads[id(weight)] == reads[id(bias)] == 1:
            continue
        path = f"{bias.name.removesuffix('.bias')}.weight"
        if bias.name.endswith(".bias") and len(steps(weight.name)) == 2 < len(steps(path)) and path not in taken:
            new[weight.name] = path
    return renamed(network, new)


def regular_names(network: Network, blocks: Sequence[Sequence[Occurrence]]) -> dict[str, str]:
    """New names for weights whose paths don't show which occurrence of a block they are of, or don't index it."""
    names = [t.weight.name for t in network.weights if t.weight is not None and t.weight.name]
    new: dict[str, str] = {}
    taken = set(names)
    for occurrences in blocks:
        members = family([o.weights for o in occurrences])
        known = len(set(members.prefixes)) == len(members.prefixes) and "" not in members.prefixes
        stem = block_name(occurrences, members.prefixes)
        while not known and any(n == stem or n.startswith((f"{stem}[", f"{stem}.")) for n in taken):
            stem = f"{stem}_2"
        old = members.prefixes
        better = tuple(map(indexed, old)) if known else tuple(f"{stem}[{n}]" for n in range(len(occurrences)))
        if known and not (_are_new(old, better, names) and _follow(better)):
            better = old
        if known and better != old:
            for before, after in zip(old, better, strict=True):
                for name in names:
                    if name.startswith((f"{before}.", f"{before}[")):
                        new[name] = after + name[len(before) :]
        for role, label in _role_names(occurrences[0], members.suffixes).items():
            if role in members.shared:
                continue
            for prefix, occurrence in zip(better, occurrences, strict=True):
                weight = occurrence.weights[role].weight
                if weight is not None and weight.name:
                    new[weight.name] = f"{prefix}.{label}"
        taken |= set(new.values())
    full = {name: new.get(name, name) for name in names}
    return {name: other for name, other in new.items() if name != other} if _distinct(full, names) else {}


def renamed(network: Network, names: Mapping[str, str]) -> Network:
    """The network with other names for some weights."""
    if not names:
        return network
    tensors: dict[int, Tensor] = {}
    for t in network.weights:
        if t.weight is not None and t.weight.name in names:
            name = names[t.weight.name]
            tensors[id(t)] = replace(t, name=name, weight=replace(t.weight, name=name))
    return replace(network, graph=_graph(network.graph, tensors))


def with_plain_names(network: Network, paths: Mapping[int, str]) -> Network:
    """The network with running numbers for names of layers, and weights under `paths` (by id of the weight).

    Two networks that differ in such names only become the same. Inputs and outputs keep their names.
    """
    finals = {id(t) for t in network.outputs}
    tensors: dict[int, Tensor] = {}
    made = [t for layer in walk(network.graph) for t in layer.outputs]
    made += [t for layer in walk(network.graph) for region in layer.regions for t in region.inputs]
    for number, t in enumerate(made):
        if id(t) not in finals:
            tensors[id(t)] = replace(t, name=f"t{number}")
    for t in network.weights:
        if t.weight is not None and id(t.weight) in paths:
            name = paths[id(t.weight)]
            tensors[id(t)] = replace(t, name=name, weight=replace(t.weight, name=name))
    return replace(network, graph=_graph(network.graph, tensors))


def _graph(graph: Graph, tensors: Mapping[int, Tensor]) -> Graph:
    inputs = tuple(tensors.get(id(t), t) for t in graph.inputs)
    outputs = tuple(tensors.get(id(t), t) for t in graph.outputs)
    layers = tuple(_layer(layer, tensors) for layer in graph.layers)
    return replace(graph, inputs=inputs, outputs=outputs, layers=layers)


def _layer(layer: Layer, tensors: Mapping[int, Tensor]) -> Layer:
    if not layer.regions and not any(id(t) in tensors for t in (*layer.inputs, *layer.outputs)):
        return layer
    inputs = tuple(t if t is None else tensors.get(id(t), t) for t in layer.inputs)
    outputs = tuple(tensors.get(id(t), t) for t in layer.outputs)
    regions = tuple(_graph(r, tensors) for r in layer.regions)
    name = outputs[0].name if outputs else layer.name
    return replace(layer, name=name, inputs=inputs, outputs=outputs, regions=regions)


def _role_names(occurrence: Occurrence, suffixes: Sequence[str | None]) -> dict[int, str]:
    """For roles whose paths don't fit: the op that reads the weight, numbered, and what it is to it."""
    known = {s for s in suffixes if s is not None}
    labels: dict[int, str] = {}
    places = {id(t.weight): n for n, t in enumerate(occurrence.weights)}
    counts: dict[str, int] = {}
    for layer in occurrence.layers:
        declared = layer.op.spec.inputs
        roles = [
            (places[id(t.weight)], declared[min(n, len(declared) - 1)].name)
            for n, t in enumerate(layer.inputs)
            if t is not None and t.weight is not None and id(t.weight) in places
        ]
        open_roles = [(role, name) for role, name in roles if suffixes[role] is None and role not in labels]
        if not open_roles:
            continue
        module = layer.op.name
        while True:
            counts[layer.op.name] = counts.get(layer.op.name, 0) + 1
            number = counts[layer.op.name]
            module = layer.op.name if number == 1 else f"{layer.op.name}_{number}"
            if not any(s.startswith(f"{module}.") for s in known):
                break
        labels |= {role: f"{module}.{name}" for role, name in open_roles}
    return labels


def _follow(prefixes: Sequence[str]) -> bool:
    """Whether two of the indexes at least follow each other: then a repeat can count them."""
    found = {split for p in prefixes if (split := split_index(p)) is not None}
    return any((stem, number + 1) in found for stem, number in found)


def _are_new(old: Sequence[str], better: Sequence[str], names: Sequence[str]) -> bool:
    """Whether nothing is called like the better prefixes yet."""
    if len(set(better)) != len(better):
        return False
    changed = [b for a, b in zip(old, better, strict=True) if a != b]
    return not any(name.startswith((f"{b}.", f"{b}[")) for b in changed for name in names)


def _distinct(new: Mapping[str, str], names: Sequence[str]) -> bool:
    return len(set(new.values())) == len(set(names))


def _common_lead(names: Sequence[str]) -> str:
    """`model.` where all names begin so and have two more steps at least. Names of one step have no path to share."""
    parts = [name.split(".") for name in names if "." in name]
    if len(parts) < 2:
        return ""
    count = 0
    while all(len(p) > count + 2 for p in parts) and len({p[count] for p in parts}) == 1 and "[" not in parts[0][count]:
        count += 1
    return "".join(f"{p}." for p in parts[0][:count])
