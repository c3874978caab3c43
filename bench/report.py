"""Results as Markdown. A document holds a marked section for each benchmark; what is between the marks is rewritten.

<!-- bench: startup -->
..
<!-- end: startup -->
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from bench.harness import Sample
from bench.results import Column, Table, read_result

__all__ = ["facts_text", "rewrite", "section_text", "table_text"]

_SCALES = {"us": 1e6, "ms": 1e3, "s": 1.0}
_UNIT_TEXTS = {"us": "µs", "ms": "ms", "s": "s"}


def rewrite(document: Path, results: Path) -> list[str]:
    """Put the results of a folder into the document. Gives the names of results that it has no section for."""
    text = document.read_text()
    missing = []
    for path in sorted(results.glob("*.json")):
        name = path.stem
        pattern = re.compile(rf"(<!-- bench: {re.escape(name)} -->\n).*?(<!-- end: {re.escape(name)} -->)", re.S)
        if not pattern.search(text):
            missing.append(name)
            continue
        body = section_text(*read_result(path))
        text = pattern.sub(lambda m, body=body: f"{m[1]}{body}{m[2]}", text)  # type: ignore[misc]
    document.write_text(text)
    return missing


def section_text(facts: Mapping[str, Any], tables: Sequence[Table]) -> str:
    """The facts of a run in one line, then its tables."""
    return "\n".join(["", facts_text(facts), "", *(table_text(t) for t in tables)])


def facts_text(facts: Mapping[str, Any]) -> str:
    """`AMD EPYC .., 2 cores, 23 GB, Linux x86_64; Python 3.11, NumPy ..; load 0.1 before, 0.9 after.`"""
    m = facts["machine"]
    tools = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    gpu = f", {m['gpu']}" if "gpu" in m else ""
    features = f" ({', '.join(m['features'])})" if m["features"] else ""
    before, after = facts["load_average"]
    return (
        f"Measured on {m['cpu']}, {m['cores']} cores{features}, {_bytes(m['memory_bytes'])}, {m['system']}{gpu}; {tools}. "
        f"Load average {before:.1f} before, {after:.1f} after."
    )


def table_text(table: Table) -> str:
    """A table with its title above, failures and notes below. Columns that no row fills are left out."""
    shown = [c for c in table.columns if any(row.get(c.key) is not None for row in table.rows)]
    lines = [f"### {table.title}", ""]
    if table.rows:
        lines.append("| " + " | ".join(_heading(c) for c in shown) + " |")
        lines.append("|" + "|".join("---" if c.unit == "text" else "---:" for c in shown) + "|")
        lines += ["| " + " | ".join(_cell(row.get(c.key), c) for c in shown) + " |" for row in table.rows]
        lines.append("")
    if table.failures:
        lines += ["Failed:", "", *(f"- `{name}`: {_escaped(why)}" for name, why in table.failures.items()), ""]
    if ratios := [row[table.mean] for row in table.rows if row.get(table.mean)]:
        lines += [f"Geometric mean of the ratios: {geometric_mean(ratios):.2f}.\n"]
    lines += [f"{note}\n" for note in table.notes]
    return "\n".join(lines)


def _heading(column: Column) -> str:
    return f"{column.heading}, {_UNIT_TEXTS[column.unit]}" if column.unit in _UNIT_TEXTS else column.heading


def _cell(value: Any, column: Column) -> str:
    if value is None:
        return ""
    if column.unit in _SCALES:
        return _time(value, _SCALES[column.unit])
    if column.unit == "bytes":
        return _bytes(value)
    if column.unit == "count":
        return f"{value:,}"
    if column.unit == "ratio":
        return f"{value:.2f}"
    return _escaped(str(value))


def _time(value: Any, scale: float) -> str:
    """`12.3 (11.9–14.0)`: the median, and the range where there were several runs."""
    if not isinstance(value, Sample):
        return _digits(value * scale)
    middle = _digits(value.median * scale)
    return middle if value.runs == 1 else f"{middle} ({_digits(value.low * scale)}–{_digits(value.high * scale)})"


def _digits(number: float) -> str:
    """Three digits that say something."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 0.1 else f"{number:.3f}"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{_digits(count / size)} {unit}"
    return f"{count:.0f} B"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
