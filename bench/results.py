"""What a benchmark gives: tables of measured values, kept as JSON, one file a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.facts import load_average, machine, versions
from bench.harness import Sample

__all__ = ["Benchmark", "Column", "Options", "Table", "Unit", "read_result", "write_result"]

Unit = Literal["text", "count", "bytes", "ratio", "us", "ms", "s"]
"""How a value is shown. Times are stored in seconds, sizes in bytes, whatever the unit."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run was told: `corpus` is a folder of models, `nets` one of networks that are measured against other CPU
    engines, `openvino` an interpreter that has OpenVINO; `quick` asks for fewer runs."""

    specs: Path
    scratch: Path
    corpus: Path | None = None
    quick: bool = False
    threads: int = 2
    nets: Path | None = None
    openvino: str | None = None

    def runs(self, wanted: int) -> int:
        return max(1, wanted // 5) if self.quick else wanted


@dataclass(frozen=True, slots=True)
class Column:
    """`key` in the rows, `heading` and `unit` in the document."""

    key: str
    heading: str
    unit: Unit = "text"


@dataclass(slots=True)
class Table:
    """Rows of values by column: a number, a text, a `Sample`, or nothing. `failures` says why rows are missing."""

    title: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark by name. `run` measures; progress goes to the callable, a line at a time."""

    name: str
    about: str
    run: Callable[[Options, Callable[[str], None]], list[Table]]


def write_result(folder: Path, name: str, tables: list[Table], load_before: float) -> Path:
    """Write `<name>.json`: the tables with the machine, the versions, and how busy the machine was before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": name,
        "machine": machine(),
        "versions": versions(),
        "load_average": [load_before, load_average()],
        "tables": [asdict(t) for t in tables],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, default=_plain) + "\n")
    return path


def read_result(path: Path) -> tuple[Mapping[str, Any], list[Table]]:
    """A result's facts and its tables."""
    document = json.loads(path.read_text())
    tables = []
    for t in document["tables"]:
        columns = tuple(Column(**c) for c in t["columns"])
        rows = [{key: _sample(value) for key, value in row.items()} for row in t["rows"]]
        tables.append(Table(t["title"], columns, rows, t["failures"], t["notes"]))
    return document, tables


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"a result can't hold {type(value).__name__}")


def _sample(value: Any) -> Any:
    return Sample(**value) if isinstance(value, dict) else value
