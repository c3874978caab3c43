"""`trtn check`: everything about specs and manifests that can be known without a device and weight bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    Format,
    Reading,
    Reporting,
    epilog,
    verb,
)
from trtn.cli.specs import find_specs, read
from trtn.cli.tables import plural

if TYPE_CHECKING:
    from trtn.dsl.network import Network

__all__ = ["app"]

app = verb()


class FailLevel(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@app.command(
    epilog=epilog(
        "trtn check models/bert.trtn models/bert.weights.trtn",
        "trtn check specs/                             # all .trtn files under a folder",
        "trtn check --format github specs/             # annotations on a pull request",
        "trtn check --format sarif specs/ > trtn.sarif",
        "cat bert.trtn | trtn check - --stdin-filename models/bert.trtn",
        one="there are errors (with --fail-level warning: or warnings)",
    )
)
@grouped
def check(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC", help="Specs, manifests, folders of them, or `-`.")],
    fail_level: Annotated[
        FailLevel, typer.Option("--fail-level", help="The least severity that fails.")
    ] = FailLevel.ERROR,
    *,
    reporting: Reporting,
    reading: Reading,
) -> None:
    """Check specs and weight manifests: names, types, shapes, profiles.

    Needs no GPU and reads no weight bytes. Every network is checked for all values of its dims and for each of its
    profiles; all findings are reported, not the first.
    """
    with Console.of(reporting) as console:
        from trtn.dsl.diagnostics import Sink
        from trtn.dsl.elaborate import EXPANSION_LIMIT
        from trtn.dsl.load import check_source

        sink = Sink()
        for path in find_specs(specs):
            before = len(sink.diagnostics)
            source = read(path, sink, reading.stdin_filename)
            if source is None:
                continue
            networks = check_source(
                source,
                sink,
                allow_outside=reading.allow_outside,
                max_expansion=reading.max_expansion or EXPANSION_LIMIT,
            )
            if (
                not reporting.quiet
                and reporting.format is Format.HUMAN
                and all(d.severity != "error" for d in sink.diagnostics[before:])
            ):
                console.result(f"{source.path}: ok{_summary(networks)}")
        console.found(sink.diagnostics)
        console.failed = fail_level is FailLevel.WARNING and bool(sink.diagnostics)


def _summary(networks: list[Network]) -> str:
    """`: network bert_base, 201 layers, 2 profiles`."""
    described = [
        f"network {n.name}, {plural(len(n.layers), 'layer')}, {plural(len(n.profiles), 'profile')}" for n in networks
    ]
    return f": {'; '.join(described)}" if described else ""
