"""Inputs that no person writes. None may take long (a timeout would show it), recurse, or flood the reader."""

from __future__ import annotations

import pytest

from tests.dsl.syntax.reading import read

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{" * MILLION, "E0107"),
        ("network n { x = " + "(" * MILLION, "E0107"),
        ("network n { x = " + "[(" * MILLION, "E0107"),
        ("network n { x = " + "-" * 100_000 + "y }", "E0107"),
        ("network n { x = y" + "+y" * 50_000 + " }", "E0107"),
        ("network n { x = y" + "**y" * 50_000 + " }", "E0107"),
        ("\0" * MILLION, "E0105"),
        ("network n { x = " + "9" * MILLION + " }", "E0107"),
        ("network n { x = a[" + "9" * MILLION + "] }", "E0107"),
        ("network n { x = f32" + "[" + "9" * 100_000 + "] }", "E0107"),
        ("network n { x = " + ")" * 100_000 + " }", "E0101"),
        ("network n { x = f(" + "a," * 100_000 + "b = }", "E0102"),
        ('network n {\n x = "' + ")" * 100_000 + "x\n}", "E0109"),
        ("network n { " + "@a " * 20_000 + " }", "E0101"),
    ],
    ids=lambda value: value[:24] if len(value) > 5 else None,
)
def test_one_error(text: str, code: str) -> None:
    _, found = read(text)
    assert [d.code for d in found] == [code]


@pytest.mark.parametrize("line", ["x = )", "x y", "x = $", 'x = "', "`x = 3", "x = 1a", 'doc "\\q"'])
def test_many_errors_are_cut_off(line: str) -> None:
    _, found = read("network n {\n" + f"{line}\n" * 20_000 + "}")
    assert len(found) == 101
    assert (found[-1].code, "more than 100 errors" in found[-1].message) == ("E0107", True)


@pytest.mark.parametrize("levels", [40, 100])
def test_nesting_up_to_the_limit(levels: int) -> None:
    _, found = read("network n {\n x = " + "(" * (levels - 1) + "y" + ")" * (levels - 1) + "\n}")
    assert not found


def test_large_and_right() -> None:
    module, found = read("network n { x = f(" + "a, " * 20_000 + "b) y = [1" + ", 1" * 20_000 + "] }")
    assert not found
    assert len(module.items[0].members[0].value.args) == 20_001  # type: ignore[union-attr]
