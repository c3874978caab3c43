"""A spec as a build leaves it, to stand beside an engine: is the engine still what the spec says?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trtn.backend.build import with_profiles
from trtn.backend.fusion import partition
from trtn.backend.passes import run_passes
from trtn.backend.runtime.engine import Engine
from trtn.dsl.network import Network, Precision
from trtn.dsl.printer import network_digest
from trtn.dsl.review import Comparison, compare

__all__ = ["compare_built"]


def compare_built(engine: Engine, network: Network, *, titles: tuple[str, str], engine_first: bool) -> Comparison:
    """An engine beside a spec's network, after the passes of a build for the engine's device. An engine does not say
    which target it is of: the one that comes nearest to it counts. Weights are read where they may differ.

    engine_first: whether the engine is what there was before.
    Raises BuildError.
    """
    found = []
    for policy, wanted in _candidates(engine, network):
        if network_digest(wanted) == engine.provenance.get("network"):
            # Of this very text and these very weights: what the passes made of it need not be looked at.
            wanted = replace(wanted, graph=engine.network.graph)
        else:
            wanted = run_passes(wanted, precision=policy, device=engine.device)
            groups = partition(wanted, device=engine.device)
            graph = replace(wanted.graph, layers=tuple(layer for g in groups for layer in g.layers))
            wanted = replace(wanted, graph=graph)
        pair = (engine.network, wanted) if engine_first else (wanted, engine.network)
        found.append(compare(*pair, titles=titles, values=True, without=("target",)))
        if found[-1].is_same:
            break
    return min(found, key=lambda c: len(c.changes))


def _candidates(engine: Engine, network: Network) -> Iterator[tuple[Precision, Network]]:
    """The policies and profiles that the engine may have been built with."""
    device = engine.device.partition(":")[0]
    for target in network.targets:
        if target.device is None or target.device.partition(":")[0] == device:
            yield target.precision, with_profiles(network, target.profiles or None)
    names = {p.name for p in engine.profiles} & {p.name for p in network.profiles}
    chosen = tuple(p.name for p in network.profiles if p.name in names)
    yield Precision(), network
    if names and len(chosen) < len(network.profiles):
        yield Precision(), with_profiles(network, chosen)
