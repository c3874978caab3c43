"""What a benchmark gives: tables of measured values, kept as JSON, one file a benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.facts import load_average, machine, versions
from bench.harness import Sample

__all__ = ["Benchmark", "Column", "Options", "Table", "Unit", "merge_results", "read_result", "write_result"]

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
    mean: str = ""
    """The key of a column of ratios whose geometric mean is told below."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark by name. `run` measures; progress goes to the callable, a line at a time."""

    name: str
    about: str
    run: Callable[[Options, Callable[[str], None]], list[Table]]


def write_result(folder: Path, name: str, tables: list[Table], load_before: float) -> Path:
    """Write `<name>.json`: the tables with the machine, the versions, and how busy the machine was before and after."""
    document = {
        "benchmark": name,
        "machine": machine(),
        "versions": versions(),
        "load_average": [load_before, load_average()],
        "tables": [asdict(t) for t in tables],
    }
    return _write(folder / f"{name}.json", document)


def read_result(path: Path) -> tuple[Mapping[str, Any], list[Table]]:
    """A result's facts and its tables."""
    document = json.loads(path.read_text())
    tables = []
    for t in document["tables"]:
        columns = tuple(Column(**c) for c in t["columns"])
        rows = [{key: _sample(value) for key, value in row.items()} for row in t["rows"]]
        tables.append(Table(t["title"], columns, rows, t["failures"], t["notes"], t.get("mean", "")))
    return document, tables


def merge_results(paths: Sequence[Path], folder: Path) -> Path:
    """Put the results of several runs of one benchmark, on one machine, together as one. Tables of one title become one:
    a row takes the place of an earlier run's that has the same in the first columns. Raises ValueError."""
    read = [read_result(path) for path in paths]
    facts = dict(read[-1][0])
    for key in ("benchmark", "machine", "versions"):
        if any(other[key] != facts[key] for other, _ in read):
            raise ValueError(f"results of different {key} can't be put together")
    tables: dict[str, Table] = {}
    for _, found in read:
        for table in found:
            tables[table.title] = _merged(tables[table.title], table) if table.title in tables else table
    facts["load_average"] = [max(other["load_average"][n] for other, _ in read) for n in range(2)]
    facts["tables"] = [asdict(t) for t in tables.values()]
    return _write(folder / f"{facts['benchmark']}.json", facts)


def _merged(first: Table, second: Table) -> Table:
    columns = [c.key for c in second.columns]
    prefixes = (columns[:n] for n in range(1, len(columns)))
    key = next((k for k in prefixes if all(_are_different(t.rows, k) for t in (first, second))), columns)
    fresh = {_identity(row, key) for row in second.rows}
    rows = [row for row in first.rows if _identity(row, key) not in fresh] + second.rows
    failures = {name: why for name, why in first.failures.items() if (name,) not in fresh} | second.failures
    notes = list(dict.fromkeys([*first.notes, *second.notes]))
    return Table(second.title, second.columns, rows, failures, notes, second.mean)


def _are_different(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> bool:
    return len({_identity(row, key) for row in rows}) == len(rows)


def _identity(row: Mapping[str, Any], key: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(row.get(k)) for k in key)


def _write(path: Path, document: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, default=_plain) + "\n")
    return path


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"a result can't hold {type(value).__name__}")


def _sample(value: Any) -> Any:
    return Sample(**value) if isinstance(value, dict) else value
