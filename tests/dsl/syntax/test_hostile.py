"""Inputs that no person writes. None may take long (a timeout would show it), recurse, or flood the reader."""

from __future__ import annotations

import pytest

from tests.dsl.syntax.reading import read, read_manifest_ok

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


@pytest.mark.parametrize("key", ["k" * 10_000, 'k\\"' * 3_000])
def test_a_row_without_its_hash_is_read_once(key: str) -> None:
    """A row with one is a token: to fail as that at its end must not lead to other ways of reading its string."""
    manifest = read_manifest_ok(f'manifest m {{ file f = "w.npz" tensor a: f32[2] = f["{key}"] }}')
    assert manifest.tensors[0].key == key.replace("\\", "")


@pytest.mark.parametrize("end", [" + y", ' + "', "(", ""])
def test_a_statement_that_is_nearly_one_token_is_read_once(end: str) -> None:
    arguments = ", ".join([*(f"a.b[{n}].c" for n in range(500)), *(f'k{n}="{n}{n}", j{n}=1.25e3' for n in range(500))])
    read(f"network n {{\n  x = f({arguments}){end}\n  y = relu(x)\n}}")


def test_large_and_right() -> None:
    module, found = read("network n { x = f(" + "a, " * 20_000 + "b) y = [1" + ", 1" * 20_000 + "] }")
    assert not found
    assert len(module.items[0].members[0].value.args) == 20_001  # type: ignore[union-attr]
