"""`trtn weights`: manifests and the files that they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtn.cli.console import Console
from trtn.cli.failures import usage_error
from trtn.cli.files import replace_text
from trtn.cli.grouped import grouped
from trtn.cli.options import (
    AllowOutside,
    Color,
    ColorOption,
    DocumentFormat,
    DocumentOption,
    Reporting,
    epilog,
    verb,
)
from trtn.cli.progress import ProgressBar
from trtn.cli.tables import bytes_text, plural, rows
from trtn.dsl.errors import SpecError

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Source

__all__ = ["app"]

app = verb()

Manifest = Annotated[str, typer.Argument(metavar="MANIFEST", help="The weight manifest.")]


@app.callback(
    epilog=epilog(
        "trtn weights verify bert-base.weights.trtn", one="a hash, a type or a file is not as the manifest says"
    )
)
def weights() -> None:
    """Fill in, check and list the tensors of a weight manifest."""


@app.command(
    "hash",
    epilog=epilog(
        "trtn weights hash bert-base.weights.trtn",
        "trtn weights hash --check bert-base.weights.trtn",
        one="a tensor can't be read, or (--check) a hash is missing or differs",
    ),
)
@grouped
def hash_weights(
    manifest: Manifest,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; only say whether hashes would change.")
    ] = False,
    allow_outside: AllowOutside = False,
    *,
    reporting: Reporting,
) -> None:
    """Write the hash of every stored tensor into the manifest.

    Reads all weights once. Text that is not a hash stays as it is.
    """
    with Console.of(reporting) as console:
        from trtn.dsl.diagnostics import Sink
        from trtn.dsl.weights.listing import hash_manifest

        source, sink = _read(manifest), Sink()
        with ProgressBar(console, "hashing") as progress:
            text = hash_manifest(
                source, sink, allow_outside=allow_outside, progress=lambda done, total: progress("hashing", done, total)
            )
        console.found(sink.diagnostics)
        if console.has_errors:
            return
        old, new = source.text.splitlines(), text.splitlines()
        changed = plural(sum(a != b for a, b in zip(old, new, strict=True)), "line")
        if text == source.text:
            console.status(f"{manifest}: every hash is up to date")
        elif check:
            console.failed = True
            console.result(f"{manifest}: {changed} would change")
        else:
            replace_text(Path(manifest), text)
            console.status(f"{manifest}: {changed} changed")


@app.command(
    epilog=epilog(
        "trtn weights verify bert-base.weights.trtn",
        "trtn weights verify --require-hashes bert-base.weights.trtn",
        one="a hash, a type, a size or a file is not as the manifest says",
    )
)
@grouped
def verify(
    manifest: Manifest,
    require_hashes: Annotated[
        bool, typer.Option("--require-hashes", help="A stored tensor without a hash is an error.")
    ] = False,
    allow_outside: AllowOutside = False,
    *,
    reporting: Reporting,
) -> None:
    """Compare everything that a manifest says with the files that it names."""
    with Console.of(reporting) as console:
        from trtn.dsl.diagnostics import Sink
        from trtn.dsl.weights.verify import verify_manifest

        source, sink = _read(manifest), Sink()
        with ProgressBar(console, "verifying") as progress:
            table = verify_manifest(
                source,
                sink,
                allow_outside=allow_outside,
                require_hashes=require_hashes,
                progress=lambda done, total: progress("verifying", done, total),
            )
        console.found(sink.diagnostics)
        if not console.has_errors:
            size = bytes_text(sum(w.nbytes for w in table.values()))
            console.status(f"{manifest}: {plural(len(table), 'tensor')} ({size}) as stated")


@app.command(
    "list",
    epilog=epilog(
        "trtn weights list bert-base.weights.trtn",
        "trtn weights list --format json bert-base.weights.trtn",
        one="the manifest has errors",
    ),
)
def list_weights(
    manifest: Manifest,
    format: DocumentOption = DocumentFormat.HUMAN,  # noqa: A002
    color: ColorOption = Color.AUTO,
    allow_outside: AllowOutside = False,
) -> None:
    """List a manifest's tensors: type, size, source, hash. No weight file is opened.

    JSON: format_version, manifest, tensors (name, dtype, shape, bytes, source, digest, state: stated, generated or
    missing).
    """
    with Console(format, color=color) as console:
        from trtn.dsl.diagnostics import Sink
        from trtn.dsl.network import format_type
        from trtn.dsl.weights.hashing import short
        from trtn.dsl.weights.listing import list_manifest

        sink = Sink()
        listed = list_manifest(_read(manifest), sink, allow_outside=allow_outside)
        console.found(sink.diagnostics)
        table = [["tensor", "type", "size", "source", "hash"]]
        for row in listed:
            state = short(row.digest) if row.digest else row.state
            table.append([row.name, format_type(row.dtype, row.shape), bytes_text(row.nbytes), row.source, state])
        total = f"{plural(len(listed), 'tensor')}, {bytes_text(sum(r.nbytes for r in listed))}"
        console.result("\n".join([*rows(table, right=(2,), indent=""), "", total]))
        console.document(
            {
                "format_version": "1.0",
                "manifest": manifest,
                "tensors": [
                    {
                        "name": r.name,
                        "dtype": r.dtype.name,
                        "shape": list(r.shape),
                        "bytes": r.nbytes,
                        "source": r.source,
                        "digest": r.digest,
                        "state": r.state,
                    }
                    for r in listed
                ],
            }
        )


def _read(path: str) -> Source:
    """A manifest's text. Raises SpecError where it can't be read."""
    from trtn.dsl.diagnostics import Sink
    from trtn.dsl.syntax import read_source

    if path == "-":
        raise usage_error("a manifest is a file: its weights lie next to it", "MANIFEST")
    sink = Sink()
    source = read_source(path, sink)
    if source is None:
        raise SpecError(sink.diagnostics[0].message, sink.diagnostics)
    return source
