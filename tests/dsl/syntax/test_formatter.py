from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtn.dsl.diagnostics import Source
from trtn.dsl.errors import SpecError
from trtn.dsl.syntax import format_source
from trtn.dsl.syntax.tokens import TOKEN

FOLDER = Path(__file__).parents[2] / "data/fmt"
PAIRS = sorted(path.name.removesuffix(".in.trtn") for path in FOLDER.glob("*.in.trtn"))


def _format(text: str) -> str:
    return format_source(Source("x.trtn", text))


def _read(name: str) -> str:
    return (FOLDER / name).read_bytes().decode()


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    formatted = _read(f"{name}.out.trtn")
    assert _format(_read(f"{name}.in.trtn")) == formatted
    assert _format(formatted) == formatted


def test_enough_pairs() -> None:
    assert len(PAIRS) >= 12


BLANKS = st.sampled_from(["", " ", "  ", "\t", "\n", " \n\t", "\r\n"])


def _tokens(text: str) -> list[str]:
    return [match.group() for match in TOKEN.finditer(text)]


def _mangle(data: st.DataObject, text: str) -> str:
    """The same tokens with other blanks between them: what touches may stay in touch, comments end their lines."""
    pieces: list[str] = []
    end = 0
    for match in TOKEN.finditer(text):
        gap = text[end : match.start()]
        if pieces and pieces[-1].startswith("#"):
            gap = "\n"
        elif gap and match.group()[0] not in "#@" and "".join(pieces[-1:]) != "trtn":
            gap = data.draw(BLANKS) or " "
        pieces += [gap, match.group()]
        end = match.end()
    return "".join(pieces) + "\n"


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([name for name in PAIRS if "comments" not in name]))
def test_mangled_blanks(data: st.DataObject, name: str) -> None:
    """However the tokens are laid out: the layout of the formatted text hangs on the tokens and blank lines only."""
    formatted = _read(f"{name}.out.trtn")
    mangled = _format(_mangle(data, formatted))
    assert _without_blank_lines(mangled) == _without_blank_lines(formatted)
    assert _tokens(mangled) == _tokens(formatted)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from([name for name in PAIRS if "comments" in name]))
def test_mangled_comments(data: st.DataObject, name: str) -> None:
    """Comments may end up behind or above, but none is lost or moved past a token; format_source checks idempotence."""
    formatted = _read(f"{name}.out.trtn")
    assert [t for t in _tokens(_format(_mangle(data, formatted))) if t != ","] == [
        t for t in _tokens(formatted) if t != ","
    ]


def _without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_errors_are_all_told() -> None:
    with pytest.raises(SpecError) as error:
        _format("trtn 1\nnetwork n {\n x = (\n y = 1a\n}\n")
    assert [d.code for d in error.value.diagnostics] == ["E0102", "E0105"]


def test_only_the_edition() -> None:
    assert _format("trtn   1") == "trtn 1\n"
