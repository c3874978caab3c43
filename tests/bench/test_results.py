"""Results of several runs put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.report import section_text
from bench.results import Column, Table, merge_results, read_result, write_result

COLUMNS = (Column("name", "case"), Column("what", "what"), Column("ratio", "ratio", "ratio"))


def run(folder: Path, rows: list[tuple[str, str, float]], **failures: str) -> Path:
    made: list[dict[str, Any]] = [dict(zip(("name", "what", "ratio"), row, strict=True)) for row in rows]
    return write_result(folder, "gpu", [Table("All", COLUMNS, made, failures, mean="ratio")], 0.5)


def test_a_later_run_replaces_rows_and_failures(tmp_path: Path) -> None:
    first = run(tmp_path / "1", [("a", "x", 1.0), ("b", "x", 2.0)], c="it was cut")
    second = run(tmp_path / "2", [("b", "x", 4.0), ("c", "x", 2.0)])
    facts, (table,) = read_result(merge_results([first, second], tmp_path / "all"))
    assert facts["benchmark"] == "gpu"
    assert [(r["name"], r["ratio"]) for r in table.rows] == [("a", 1.0), ("b", 4.0), ("c", 2.0)]
    assert not table.failures
    assert "Geometric mean of the ratios: 2.00." in section_text(facts, [table])


def test_rows_are_told_apart_by_as_many_columns_as_it_takes(tmp_path: Path) -> None:
    first = run(tmp_path / "1", [("a", "x", 1.0), ("a", "y", 2.0)])
    second = run(tmp_path / "2", [("a", "y", 4.0)])
    _, (table,) = read_result(merge_results([first, second], tmp_path / "all"))
    assert [(r["what"], r["ratio"]) for r in table.rows] == [("x", 1.0), ("y", 4.0)]


def test_results_of_other_machines_are_not_put_together(tmp_path: Path) -> None:
    first, second = run(tmp_path / "1", []), run(tmp_path / "2", [])
    second.write_text(second.read_text().replace('"cores": ', '"cores": 1'))
    with pytest.raises(ValueError, match="machine"):
        merge_results([first, second], tmp_path / "all")
