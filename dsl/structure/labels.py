"""Names that say what something is: by the paths of the weights, or by the ops."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from trtn.dsl.structure.find import Occurrence
from trtn.dsl.structure.paths import split_index, steps

__all__ = ["block_name", "last_name", "module_labels", "word"]

_GENERIC = frozenset({"block", "blocks", "h", "layer", "layers", "m", "model", "module", "net", "stage", "stages"})


def module_labels(suffixes: Iterable[str]) -> dict[str, str]:
    """For each weight below a block the name of its module: as much of the path's end as tells it from the others."""
    modules = {suffix: _module(suffix) for suffix in suffixes}
    known = sorted({tuple(m) for m in modules.values()})
    labels: dict[tuple[str, ...], str] = {}
    for module in known:
        count = 1
        while count < len(module) and any(_tail(o, count) == _tail(module, count) for o in known if o != module):
            count += 1
        labels[module] = word("_".join(_tail(module, count)))
    return {suffix: labels[tuple(module)] for suffix, module in modules.items()}


def _module(suffix: str) -> list[str]:
    """The steps of the module that has a weight, an index with the name before it."""
    parts = steps(suffix)
    names: list[str] = []
    for step in parts[:-1] if len(parts) > 1 else parts:
        if step.startswith("[") and names:
            names[-1] += f"_{step[1:-1]}"
        else:
            names.append(step.lstrip("."))
    return names


def last_name(path: str) -> str:
    """The last name of a path with the indexes behind it: `features_2` for `net.features[2]`."""
    return word(_module(f"{path}.weight")[-1])


def _tail(module: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(module[-count:])


def word(text: str) -> str:
    """A text as an identifier."""
    found = re.sub(r"\W+", "_", text, flags=re.A).strip("_") or "t"
    return f"t{found}" if found[0].isdigit() else found


def block_name(occurrences: Sequence[Occurrence], prefixes: Sequence[str]) -> str:
    """What a block could be called: by what it does, else by the path that its weights have in common."""
    layers = occurrences[0].layers
    ops = {layer.op.name for layer in layers}
    if "attention" in ops:
        attentions = [layer for layer in layers if layer.op.name == "attention"]
        if len(attentions) > 1 or any(layer.attrs["causal"] for layer in attentions):
            return "decoder_layer"
        sides = [side for side in ("encoder", "decoder") if all(side in p for p in prefixes)]
        return f"{sides[0]}_layer" if len(sides) == 1 else "transformer_layer"
    if "conv" in ops:
        convs = [layer for layer in layers if layer.op.name == "conv"]
        depthwise = any(layer.attrs["groups"] > 1 for layer in convs)
        if _adds_input(occurrences[0]):
            return "inverted_residual" if depthwise else "residual"
        if any(layer.op.name == "add" for layer in layers):
            return "projection"
        return "separable" if depthwise else "convolutions"
    stems = {_stem(p) for p in prefixes if p}
    stem = stems.pop() if len(stems) == 1 else ""
    return stem or "block"


def _adds_input(occurrence: Occurrence) -> bool:
    given = {id(t) for t in occurrence.inputs}
    return any(layer.op.name == "add" and any(id(t) in given for t in layer.inputs) for layer in occurrence.layers)


def _stem(prefix: str) -> str:
    found = split_index(prefix)
    last = steps(found[0] if found is not None else prefix)[-1].lstrip(".")
    last = word(last)
    if last in _GENERIC:
        return "layer" if last in ("h", "layer", "layers") else "block"
    return last.removesuffix("s") if len(last) > 3 else last
