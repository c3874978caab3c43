from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dsl.syntax.reading import expression, statements
from trtn.dsl.syntax import RESERVED, ast, quote_name, quote_string


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x", "x"),
        ("layers[0].attn.out", "layers[0].attn.out"),
        ("input", "input"),
        ("/stem/Conv_output_0", "`/stem/Conv_output_0`"),
        ("a.0", "`a.0`"),
        ("_", "`_`"),
        ("step", "`step`"),
        ("a`b\nc\\", "`a\\u{60}b\\nc\\\\`"),
        ("", "``"),
        ("größe", "`größe`"),
        ("a\u202eb", "`a\\u{202e}b`"),
    ],
)
def test_quote_name(name: str, text: str) -> None:
    assert quote_name(name) == text


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(sorted(RESERVED))


@given(NAMES)
def test_the_parser_is_the_inverse(name: str) -> None:
    text = quote_name(name)
    (assign,) = statements(f"{text} = relu({text})")
    assert assign.targets[0].name == name
    (ref,) = assign.value.args
    assert isinstance(ref, ast.Ref)
    if text.startswith("`"):
        assert (ref.parts, ref.quoted) == ((name,), (0,))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quote_string(value: str) -> None:
    assert expression(quote_string(value)).value == value
