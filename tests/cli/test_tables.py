"""Columns and units."""

from __future__ import annotations

import pytest

from trtn.cli.tables import bytes_text, duration, number, plural, rows


def test_rows() -> None:
    table = [["name", "size"], ["a", "1,000"], ["long name", "2", "more"]]
    assert rows(table, right=(1,)) == ["  name        size", "  a          1,000", "  long name      2  more"]
    assert rows([["日本", "x"], ["abcd", "y"]], indent="") == ["日本  x", "abcd  y"]
    assert rows([["a\x1b[31m\n", "b"]], indent="") == ["a␛[31m   b"]
    assert rows([]) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (100 * 2**20, "100.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**50, "1,024.0 TiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.5e-6, "1.50 us"), (0.0123, "12.30 ms"), (0.5, "500.0 ms"), (2.0, "2.00 s"), (125.2, "2 min 5 s")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers() -> None:
    assert [number(v) for v in (0.0123456, 1e10, float("nan"), -3)] == ["0.01235", "1e+10", "nan", "-3"]
    assert (plural(1, "layer"), plural(1024, "layer"), plural(2, "entry", "entries")) == (
        "1 layer",
        "1,024 layers",
        "2 entries",
    )
