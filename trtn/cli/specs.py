"""Specs as the command line names them: files, folders, standard input; one network of several; one target."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from trtn.cli.console import Console
from trtn.dsl.errors import SpecError

if TYPE_CHECKING:
    from trtn.cli.options import Reading
    from trtn.dsl.diagnostics import Sink, Source
    from trtn.dsl.network import Network, Target

__all__ = ["choose", "find_specs", "load_networks", "load_spec", "read"]


def find_specs(paths: Iterable[str]) -> list[str]:
    """The files that paths name; of a folder all `.trtn` files under it, sorted, hidden ones left out."""
    found: list[str] = []
    for path in paths:
        if path != "-" and os.path.isdir(path):
            inside = sorted(Path(path).rglob("*.trtn"))
            found += [str(p) for p in inside if not any(part.startswith(".") for part in p.relative_to(path).parts)]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def read(path: str, sink: Sink, stdin_filename: str | None = None) -> Source | None:
    """The text of a file, or of standard input under the name that the user gives it; None after an error."""
    from trtn.dsl.diagnostics import Source
    from trtn.dsl.syntax import read_source

    source = read_source(path, sink)
    if source is not None and path == "-" and stdin_filename:
        return Source(stdin_filename, source.text)
    return source


def load_spec(
    console: Console,
    path: str,
    *,
    network: str | None = None,
    target: str | None = None,
    reading: Reading,
) -> tuple[Network, Target | None]:
    """A spec's network, checked, and its target. Warnings go to the console. Raises SpecError with every finding."""
    networks, named = load_networks(console, path, network=network, reading=reading)
    return choose(networks, named, network=network, target=target)


def load_networks(
    console: Console, path: str, *, network: str | None = None, reading: Reading
) -> tuple[list[Network], str]:
    """A spec's networks (or the one that is named), checked, and what the spec's file is called. Warnings go to the
    console. Raises SpecError with every finding."""
    from trtn.dsl.diagnostics import Sink
    from trtn.dsl.elaborate import EXPANSION_LIMIT
    from trtn.dsl.load import check_source

    sink = Sink()
    source = read(path, sink, reading.stdin_filename)
    networks: list[Network] = []
    if source is not None:
        limit = reading.max_expansion or EXPANSION_LIMIT
        networks = check_source(source, sink, allow_outside=reading.allow_outside, max_expansion=limit, only=network)
    if sink.has_errors:
        raise SpecError("the spec has findings", sink.diagnostics)
    console.found(sink.diagnostics)
    assert source is not None
    return networks, source.path


def choose(
    networks: Sequence[Network], path: str, *, network: str | None, target: str | None
) -> tuple[Network, Target | None]:
    """The network and the target that are meant. Raises SpecError where that is not clear."""
    if target is not None:
        pairs = [(n, t) for n in networks for t in n.targets if t.name == target]
        if not pairs:
            _refuse(
                "E0422",
                f"{path} has no target `{target}`",
                target,
                [t.name for n in networks for t in n.targets],
                "targets",
            )
        if len(pairs) == 1:
            return pairs[0]
    if network is None and len(networks) > 1:
        _refuse("E0215", f"{path} has several networks", "", [n.name for n in networks], "choose one with --network")
    if not networks:
        what = f"no network `{network}`" if network is not None else "no network"
        _refuse("E0215", f"{path} has {what}", "", [], "")
    return networks[0], None


def _refuse(code: str, message: str, name: str, known: Sequence[str], words: str) -> NoReturn:
    from trtn.dsl.diagnostics import Diagnostic, did_you_mean

    cure = did_you_mean(name, known) or (f"{words}: {', '.join(f'`{n}`' for n in known)}" if known else "")
    raise SpecError(message, [Diagnostic(code, message, help=cure)])
