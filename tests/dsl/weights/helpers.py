"""What the weight tests share: manifests from text, findings as codes."""

from __future__ import annotations

from pathlib import Path

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.weights.manifest import load_manifest
from trtn.dsl.weights.table import WeightTable

__all__ = ["codes", "load", "source"]


def source(folder: Path, body: str) -> Source:
    """A manifest in `folder` with these lines in its braces."""
    return Source(str(folder / "m.weights.trtn"), f"trtn 1\nmanifest m {{\n{body}\n}}\n")


def load(folder: Path, body: str) -> WeightTable:
    """The table of a manifest that has no findings."""
    sink = Sink()
    table = load_manifest(source(folder, body), sink)
    assert not sink.diagnostics, list(map(str, sink.diagnostics))
    return table


def codes(sink: Sink) -> list[str]:
    return [d.code for d in sink.diagnostics]
