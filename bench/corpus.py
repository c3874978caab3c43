"""Models that nobody here wrote: the ONNX files of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Model", "models"]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    path: Path


def models(folder: Path | None) -> list[Model]:
    """The `.onnx` files of a folder by name; none without a folder."""
    return [] if folder is None else [Model(p.stem, p) for p in sorted(folder.glob("*.onnx"))]
