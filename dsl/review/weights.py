"""Compare the weights of two networks: by the hashes of their manifests, and by their values where those are wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from trtn.dsl.network import Network, Weight
from trtn.dsl.review.changes import Change
from trtn.dsl.weights.hashing import SCHEME, digest
from trtn.dsl.weights.sources import GeneratedSource, StoredSource

__all__ = ["compare_weights"]


def compare_weights(before: Network, after: Network, moved: Mapping[str, str], values: bool) -> Iterator[Change]:
    """Weights of the manifests that came, went, moved to another name, or changed their type or their contents.

    moved: new names with old ones of weights that are read at the same places.
    """
    old, new = _named(before), _named(after)
    moved = {**_moved(old, new), **moved}
    for name, weight in new.items():
        a = old.get(name)
        if a is not None:
            yield from _changed(name, a, weight, values)
        elif name in moved:
            yield Change("weight", "renamed", name, before=moved[name], after=name)
            yield from _changed(name, old[moved[name]], weight, values)
        else:
            yield Change("weight", "added", name, after=_type(weight))
    gone = set(moved.values())
    for name, weight in old.items():
        if name not in new and name not in gone:
            yield Change("weight", "removed", name, before=_type(weight))


def _named(network: Network) -> dict[str, Weight]:
    return {t.weight.name: t.weight for t in network.weights if t.weight is not None and t.weight.name}


def _moved(old: dict[str, Weight], new: dict[str, Weight]) -> dict[str, str]:
    """New names of weights that are known by their contents, with the old ones. Needs hashes."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for name, weight in old.items():
        if name not in new and weight.digest is not None:
            waiting[weight.digest].append(name)
    found = {}
    for name, weight in new.items():
        if name not in old and waiting.get(weight.digest or ""):
            found[name] = waiting[weight.digest or ""].pop(0)
    return found


def _changed(name: str, a: Weight, b: Weight, values: bool) -> Iterator[Change]:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        yield Change("weight", "changed", name, "type", _type(a), _type(b))
        return
    before, after = _contents(a), _contents(b)
    if before == after:
        return
    amount = _distance(a, b) if values else None
    if amount is None or amount[0] != 0:
        yield Change("weight", "changed", name, "contents", _short(before), _short(after), amount=amount)


def _contents(weight: Weight) -> str:
    """What tells whether two weights are the same: the manifest's hash; without one what the manifest says that they
    are. Those of a foreign model are hashed: their bytes are at hand."""
    if weight.digest is not None:
        return weight.digest
    if isinstance(weight.source, GeneratedSource | StoredSource):
        return str(weight.source)
    return digest(weight.load())


def _distance(a: Weight, b: Weight) -> tuple[float, float]:
    """How far the values are apart: at most, and in the mean. NaN counts as infinitely far from a number."""
    import numpy as np

    x, y = a.load(), b.load()
    if x.tobytes() == y.tobytes() or not x.size:
        return 0.0, 0.0
    with np.errstate(invalid="ignore"):
        wide = np.abs(x.astype(np.float64) - y.astype(np.float64))
    wide[np.isnan(wide)] = np.inf
    return float(wide.max()), float(wide.mean())


def _type(weight: Weight) -> str:
    return f"{weight.dtype}[{', '.join(map(str, weight.shape))}]"


def _short(contents: str) -> str:
    return contents[:19] if contents.startswith(SCHEME) else contents
