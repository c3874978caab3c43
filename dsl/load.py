"""From a spec's file to a checked network: read, parse, elaborate, check. All findings are collected before anything
is refused."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtn.dsl.check import check_network
from trtn.dsl.dependencies import dependencies_of
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.elaborate import EXPANSION_LIMIT, Loader, Unit, elaborate_network
from trtn.dsl.elaborate.targets import target_network
from trtn.dsl.errors import SpecError
from trtn.dsl.network import Network
from trtn.dsl.syntax.collecting import no_collections

if TYPE_CHECKING:
    from trtn.dsl.elaborate.replay import Past

__all__ = ["check_source", "check_unit", "is_manifest", "load", "load_text"]

_MANIFEST = re.compile(r"\A(?:\s|#[^\n]*\n)*trtn\s+\d+(?:\s|#[^\n]*\n)*manifest\b")


def load(
    path: str | Path,
    *,
    network: str | None = None,
    allow_outside: bool = False,
    max_expansion: int = EXPANSION_LIMIT,
) -> Network:
    """The network of a spec, checked.

    path: the spec's file, or `-` for standard input.
    network: which one, where the file has several.
    allow_outside: whether imports, manifests and weight files may lie outside the spec's folder.
    Raises SpecError with every finding.
    """
    from trtn.dsl.syntax import read_source

    sink = Sink()
    source = read_source(str(path), sink)
    if source is None:
        raise SpecError(_summary(sink), sink.diagnostics)
    return _one(source, sink, network, allow_outside, max_expansion)


def load_text(
    text: str,
    *,
    path: str = "-",
    network: str | None = None,
    allow_outside: bool = False,
    max_expansion: int = EXPANSION_LIMIT,
) -> Network:
    """The network of a spec given as text; files that it names lie relative to the folder of `path`. Raises
    SpecError."""
    return _one(Source(path, text), Sink(), network, allow_outside, max_expansion)


def is_manifest(source: Source) -> bool:
    """Whether a file is a weight manifest and not a spec."""
    return _MANIFEST.match(source.text) is not None


@no_collections()
def check_source(
    source: Source,
    sink: Sink,
    *,
    allow_outside: bool = False,
    max_expansion: int = EXPANSION_LIMIT,
    only: str | None = None,
) -> list[Network]:
    """Check all networks of a spec (or `only` one), or a manifest. Findings go to the sink.

    The networks that have no errors come back, none where the text itself has some.
    """
    if is_manifest(source):
        from trtn.dsl.weights.manifest import load_manifest

        load_manifest(source, sink, allow_outside=allow_outside)
        return []
    errors = sink.error_count
    unit = Loader(sink, allow_outside=allow_outside).unit(source)
    readable = sink.error_count == errors
    if only is not None and only not in unit.networks and not unit.broken:
        sink.error(
            "E0215", f"no network is called `{only}`", source.span(0, 0), help=did_you_mean(only, list(unit.networks))
        )
    networks = check_unit(unit, sink, max_expansion=max_expansion, only=only)
    return networks if readable else []


def check_unit(
    unit: Unit,
    sink: Sink,
    *,
    max_expansion: int = EXPANSION_LIMIT,
    only: str | None = None,
    history: MutableMapping[str, Past] | None = None,
) -> list[Network]:
    """Check all networks of a spec that has been read (or `only` one): those that have no errors come back.

    history: of an earlier text of the same file, as for `elaborate_network`.
    """
    _check_references(unit, sink)
    dependencies = dependencies_of(unit)
    networks = []
    for name, declaration in unit.networks.items():
        if only is not None and name != only:
            continue
        errors = sink.error_count
        elaborated = elaborate_network(unit, declaration, sink, limit=max_expansion, history=history)
        if elaborated is None:
            continue
        network = check_network(elaborated.network, elaborated.requirements, sink, elaborated.spans)
        if sink.error_count == errors:
            networks.append(replace(network, dependencies=dependencies))
    return networks


def _check_references(unit: Unit, sink: Sink) -> None:
    """Profiles and targets that name no network of the file."""
    names = list(unit.networks)
    for profile in unit.profiles:
        if profile.network not in unit.networks:
            span = unit.source.span(profile.network_start, profile.network_end)
            sink.error(
                "E0417",
                f"no network is called `{profile.network}`",
                span,
                help=did_you_mean(profile.network, names),
            )
    for target in unit.targets:
        named = target_network(target)
        if named is not None and named not in unit.networks:
            item = next(f for f in target.fields if f.name == "network")
            sink.error(
                "E0422",
                f"no network is called `{named}`",
                unit.source.span(item.start, item.end),
                help=did_you_mean(named, names),
            )
        elif named is None and len(unit.networks) != 1:
            where = unit.source.span(target.name_start, target.name_end)
            sink.error("E0421", f"target `{target.name}` names no network", where, help="add `network NAME`")


def _one(source: Source, sink: Sink, wanted: str | None, allow_outside: bool, max_expansion: int) -> Network:
    networks = check_source(source, sink, allow_outside=allow_outside, max_expansion=max_expansion, only=wanted)
    if sink.has_errors:
        raise SpecError(_summary(sink), sink.diagnostics)
    if len(networks) != 1:
        none = (
            "the file is a weight manifest, which has no network" if is_manifest(source) else "the file has no network"
        )
        listed = f"the file has {len(networks)} networks: {', '.join(n.name for n in networks)}"
        sink.error(
            "E0215",
            listed if networks else none,
            source.span(0, 0),
            help="name the one that is meant" if networks else "",
        )
        raise SpecError(_summary(sink), sink.diagnostics)
    return networks[0]


def _summary(sink: Sink) -> str:
    errors = [d for d in sink.diagnostics if d.severity == "error"]
    first = str(errors[0]) if errors else "the spec has findings"
    return first if len(errors) <= 1 else f"{first} (and {len(errors) - 1} more)"
