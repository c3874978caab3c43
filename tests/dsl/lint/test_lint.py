"""Each rule finds its page's example and nothing else there; fixing never changes what a network computes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtn.dsl.diagnostics import CODES, Sink, Source
from trtn.dsl.lint import RULES, Subject, fixed, lint
from trtn.dsl.lint.linter import read_subject
from trtn.dsl.lint.sameness import same_results
from trtn.dsl.syntax import format_source

MANIFEST = """trtn 1
manifest net {
  tensor scale: f32[4] = ones
  tensor shift: f32[4] = zeros
}
"""
SPECS = Path(__file__).parent.parent.parent.parent / "specs"


def found(text: str, folder: Path = Path()) -> list[str]:
    return [d.code for d in lint(subject_of(text, folder))[0]]


def subject_of(text: str, folder: Path = Path()) -> Subject:
    sink = Sink()
    subject = read_subject(Source(str(folder / "net.trtn"), text), sink)
    assert subject is not None, sink.diagnostics
    return subject


def mended(text: str) -> str:
    """The text after all fixes, as `trtn lint --fix` makes them."""
    for _ in range(10):
        edits = lint(subject_of(text))[1]
        if not edits:
            break
        text = format_source(Source("net.trtn", fixed(text, edits)))
    return text


@pytest.mark.parametrize("code", RULES)
def test_the_example_of_its_page(code: str, tmp_path: Path) -> None:
    (tmp_path / "net.weights.trtn").write_text(MANIFEST)
    assert set(found(CODES[code].example, tmp_path)) == {code}


@pytest.mark.parametrize("code", RULES)
def test_a_line_may_allow_it(code: str, tmp_path: Path) -> None:
    (tmp_path / "net.weights.trtn").write_text(MANIFEST)
    text = CODES[code].example
    (diagnostic, *_) = lint(subject_of(text, tmp_path))[0]
    assert diagnostic.span is not None
    lines = text.splitlines()
    for line in {d.span.line for d in lint(subject_of(text, tmp_path))[0] if d.span is not None}:
        lines[line - 1] += f"  # trtn: allow({code})"
    assert found("\n".join(lines) + "\n", tmp_path) == []
    named = [line.replace(f"allow({code})", f"allow({RULES[code].name})") for line in lines]
    assert found("\n".join(named) + "\n", tmp_path) == []


def test_names_that_are_paths() -> None:
    text = """trtn 1

network net {
  input x: f32[4]
  output y: f32[4]

  a.b[0] = relu(x)
  a.c = relu(x)
  y = tanh(a.b[0])
}
"""
    found = [d.message for d in lint(subject_of(text))[0]]
    assert found == ["nothing reads `a.c`"]


def test_layers_without_inputs() -> None:
    """A size as a value is made of dims alone."""
    text = """trtn 1

network net {
  dim N in 1..8
  input x: i64[N]
  output y: i64[N]

  y = x * N
}
"""
    assert found(text) == []


def test_rules_can_be_ignored() -> None:
    subject = subject_of(CODES["L0101"].example)
    assert lint(subject, ignore=["L0101"])[0] == lint(subject, ignore=["unused-name"])[0] == []


@pytest.mark.parametrize("spec", sorted(SPECS.glob("*.trtn"), key=lambda p: p.name), ids=lambda p: p.stem)
def test_our_specs_have_nothing_unused(spec: Path) -> None:
    sink = Sink()
    if spec.name.endswith(".weights.trtn"):
        return
    subject = read_subject(Source(str(spec), spec.read_text()), sink)
    assert subject is not None
    assert {d.code for d in lint(subject)[0]} <= {"L0121"}


NETWORK = """trtn 1
network net {{
  let D = 16
  input  x: f32[4, D]
  output y: f32[4, D]
{body}
  y = {last} + x
}}
"""
STEPS = [
    "relu({a})",
    "cast({a}, to=f32)",
    "cast(cast({a}, to=f64), to=f32)",
    "cast(cast({a}, to=f16), to=f32)",
    "transpose({a}, perm=[0, 1])",
    "transpose(transpose({a}, perm=[1, 0]), perm=[1, 0])",
    "reshape({a}, shape=[4, 16])",
    "reshape({a}, shape=[4, D])",
    "{a} * {b}",
    "tanh(reshape(reshape({a}, shape=[64]), shape=[4, 16]))",
    "relu(cast({a}, to=f32)) : f32[4, 16]",
]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_fixing_changes_no_result(steps: list[tuple[str, int, int]]) -> None:
    """Random chains of steps, some of which nothing reads, some of which do nothing."""
    names = ["x"]
    lines = []
    for n, (step, a, b) in enumerate(steps):
        lines.append(f"  v{n} = {step.format(a=names[a % len(names)], b=names[b % len(names)])}")
        names.append(f"v{n}")
    text = format_source(Source("net.trtn", NETWORK.format(body="\n".join(lines), last=names[-1])))
    after = mended(text)
    before, now = (subject_of(t).networks["net"] for t in (text, after))
    assert same_results(before, now)
    assert mended(after) == after
    left = lint(subject_of(after))[0]
    assert all(d.code in ("L0111", "L0112") for d in left), "only what takes thought is left"
    assert _evaluated(text) == _evaluated(after)


def _evaluated(text: str) -> bytes:
    import numpy as np

    import trtn
    from trtn.dsl.load import load_text

    feeds = {"x": np.random.default_rng(0).standard_normal((4, 16), np.float32)}
    return trtn.build(load_text(text), device="cpu").run(feeds)["y"].tobytes()


def test_sameness_sees_differences() -> None:
    """What the guard of `--fix` rests on."""
    text = NETWORK.format(body="  h = relu(x)", last="h")
    base = subject_of(text).networks["net"]
    for old, new in (
        ("relu(x)", "tanh(x)"),
        ("h + x", "x + h"),
        ("f32[4, D]", "f32[8, D]"),
        ("relu(x)", "relu(relu(x))"),
    ):
        other = subject_of(text.replace(old, new)).networks["net"]
        assert not same_results(base, other), (old, new)
    assert same_results(base, subject_of(text.replace("relu(x)", "relu(cast(x, to=f32))")).networks["net"])
    assert same_results(base, subject_of(text.replace("h = relu(x)", "g = tanh(x)\n  h = relu(x)")).networks["net"])


def test_overlapping_edits_are_made_once() -> None:
    from trtn.dsl.lint import Edit

    assert fixed("abcdef", [Edit(1, 4, "X"), Edit(2, 5, "Y"), Edit(5, 6, "Z"), Edit(5, 6, "Z")]) == "aXeZ"
