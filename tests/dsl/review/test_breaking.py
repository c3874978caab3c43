"""Each rule finds what breaks it, at the line where it stands, and lets the harmless twin of that change pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.review.breaking import RULES, Kind, breaks
from trtn.dsl.review.release import Release, read_release

SPEC = """trtn 1
weights w = "net.weights.trtn"

plugin swirl(x: T[N, C], *, turns: int) -> T[N, C] {
  where T in {f16, f32}
  source "swirl.py"
  version "1.0"
}

block dense(x: T[N, C], *, p: weights, out: int) -> T[N, out] {
  return relu(linear(x, p.weight, p.bias))
}

block plain(x: T[N, C]) -> T[N, C] {
  return relu(x)
}

network net {
  dim N in 1..64
  input  x: f32[N, 8]
  input  mask: bool[N]
  output y: f32[N, 4]
  output z: f32[N, 8]
  y = dense(x, p=w.fc, out=4)
  z = where(unsqueeze(mask, axes=[1]), plain(x), x)
}

network other {
  input  a: f32[2]
  output b: f32[2]
  b = relu(a)
}

profile small for net {
  N: min 1, opt 8, max 16
}

profile large for net {
  N: min 16, opt 32, max 64
}

target here {
  network net
  device cpu
  precision { default f32 }
  profiles [small]
}

target there {
  network net
  device cpu
}
"""
MANIFEST = """trtn 1
manifest net {
  tensor fc.weight: f32[8, 4] = normal(1, 0.1)
  tensor fc.bias: f32[4] = zeros
  tensor spare: f32[4] = zeros
}
"""


def edited(text: str, *edits: str) -> str:
    """The text with each `old => new` applied; `old` stands in it once."""
    for edit in edits:
        old, _, new = edit.partition(" => ")
        assert text.count(old) == 1, f"`{old}` stands {text.count(old)} times in the spec"
        text = text.replace(old, new)
    return text


def release(folder: Path, text: str, manifest: str = MANIFEST) -> Release:
    folder.mkdir(exist_ok=True)
    (folder / "net.weights.trtn").write_text(manifest)
    sink = Sink()
    found = read_release(Source(str(folder / "net.trtn"), text), sink)
    assert not sink.has_errors, sink.diagnostics
    return found


def found_by(rule: str, diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    return [d for d in diagnostics if d.notes[0].startswith(f"{rule} ")]


PAIRS = {
    "BLOCK_NO_DELETE": (
        ["block plain( => block simple(", "plain(x), x) => simple(x), x)"],
        ["block plain( => block more(x: T[N, C]) -> T[N, C] {\n  return x\n}\n\nblock plain("],
        "trtn 1",
    ),
    "BLOCK_SAME_PARAMETERS": (
        ["p: weights, out: int) => p: weights, out: int, act: bool)", "out=4) => out=4, act=true)"],
        ["p: weights, out: int) => p: weights, out: int, act: bool = true)"],
        "block dense",
    ),
    "BLOCK_SAME_RESULTS": (
        ["block plain(x: T[N, C]) -> T[N, C] { => block plain(x: T[N, C]) -> f32[N, C] {"],
        ["  return relu(x) =>   y = relu(x)\n  return y"],
        "block plain",
    ),
    "NETWORK_NO_DELETE": (["network other { => network another {"], ["b = relu(a) => b = tanh(a)"], "trtn 1"),
    "INPUT_NO_DELETE": (
        ["  input  mask: bool[N]\n => ", "where(unsqueeze(mask, axes=[1]), plain(x), x) => plain(x)"],
        ["plain(x), x) => plain(x), relu(x))"],
        "network net",
    ),
    "INPUT_NO_ADD": (
        ["  input  a: f32[2] =>   input  a: f32[2]\n  input  c: f32[2]", "b = relu(a) => b = relu(a) + c"],
        ["b = relu(a) => b = relu(a) + a"],
        "input  c",
    ),
    "OUTPUT_NO_DELETE": (
        ["  output z: f32[N, 8]\n => ", "  z = where(unsqueeze(mask, axes=[1]), plain(x), x)\n => "],
        ["  output z: f32[N, 8] =>   output z: f32[N, 8]\n  output more: f32[N, 8]", "  z = => more = relu(x)\n  z ="],
        "network net",
    ),
    "INPUT_SAME_DTYPE": (
        ["input  a: f32[2] => input  a: f16[2]", "output b: f32[2] => output b: f16[2]"],
        ["b = relu(a) => b = cast(cast(relu(a), to=f16), to=f32)"],
        "input  a",
    ),
    "OUTPUT_SAME_DTYPE": (
        ["output b: f32[2] => output b: f16[2]", "b = relu(a) => b = cast(a, to=f16)"],
        ["b = relu(a) => b = cast(cast(a, to=f16), to=f32)"],
        "output b",
    ),
    "INPUT_SAME_RANK": (
        ["input  a: f32[2] => input  a: f32[2, 1]", "b = relu(a) => b = squeeze(a, axes=[1])"],
        ["b = relu(a) => b = squeeze(unsqueeze(a, axes=[1]), axes=[1])"],
        "input  a",
    ),
    "OUTPUT_SAME_RANK": (
        ["output b: f32[2] => output b: f32[2, 1]", "b = relu(a) => b = unsqueeze(a, axes=[1])"],
        ["b = relu(a) => c = unsqueeze(a, axes=[1])\n  b = squeeze(c, axes=[1])"],
        "output b",
    ),
    "INPUT_SAME_SHAPE": (
        [
            "input  a: f32[2] => input  a: f32[4]",
            "b = relu(a) => b = reduce_max(reshape(a, shape=[2, 2]), axes=[0], keepdims=false)",
        ],
        ["b = relu(a) => b = relu(reshape(a, shape=[2]))"],
        "input  a",
    ),
    "OUTPUT_SAME_SHAPE": (
        ["output b: f32[2] => output b: f32[4]", "b = relu(a) => b = concat(a, a, axis=0)"],
        ["b = relu(a) => b = relu(relu(a))"],
        "output b",
    ),
    "OUTPUT_SAME_ORDER": (
        ["  output y: f32[N, 4]\n  output z: f32[N, 8] =>   output z: f32[N, 8]\n  output y: f32[N, 4]"],
        ["  input  x: f32[N, 8]\n  input  mask: bool[N] =>   input  mask: bool[N]\n  input  x: f32[N, 8]"],
        "network net",
    ),
    "DIM_RANGE_NO_SHRINK": (
        ["dim N in 1..64 => dim N in 0..64 step 2", "min 1, opt 8 => min 2, opt 8"],
        ["dim N in 1..64 => dim N in 1..128"],
        "dim N",
    ),
    "ASSERT_NO_ADD": (
        ["  input  x: f32[N, 8] =>   assert N <= 60\n  input  x: f32[N, 8]", "max 64 => max 60"],
        ["b = relu(a) => b = tanh(a)"],
        "network net",
    ),
    "PROFILE_NO_DELETE": (
        ["profile large for net => profile huge for net"],
        ["profile large for net => profile huge for net {\n  N: min 1, opt 32, max 64\n}\n\nprofile large for net"],
        "network net",
    ),
    "PROFILE_RANGE_NO_SHRINK": (
        ["min 1, opt 8, max 16 => min 2, opt 8, max 16"],
        ["min 1, opt 8, max 16 => min 1, opt 4, max 32"],
        "N: min 2",
    ),
    "TARGET_NO_DELETE": (
        ["target there { => target nowhere {"],
        ["target there { => target more {\n  network net\n}\n\ntarget there {"],
        "trtn 1",
    ),
    "TARGET_SAME_DEVICE": (
        ["  network net\n  device cpu\n} =>   network net\n  device cuda\n}"],
        ["profiles [small] => profiles [small, large]"],
        "device cuda",
    ),
    "PLUGIN_SAME_VERSION": (
        ['version "1.0" => version "2.0"'],
        ["plugin swirl => # turns it round\nplugin swirl"],
        "plugin swirl",
    ),
    "TARGET_SAME_PRECISION": (["default f32 => default f16"], ["profiles [small] => workspace 1GiB"], "precision"),
    "WEIGHTS_SAME": (
        ["normal(1, 0.1) => normal(2, 0.1)"],
        ["spare: f32[4] = zeros => spare: f32[4] = ones"],
        "network net",
    ),
    "LAYERS_SAME": (
        ["return relu(linear => return tanh(linear"],
        ["return relu(linear(x, p.weight, p.bias)) => h = linear(x, p.weight, p.bias)\n  return relu(h)"],
        "network net",
    ),
}


@pytest.fixture
def old(tmp_path: Path) -> Release:
    return release(tmp_path / "old", SPEC)


def changed(tmp_path: Path, edits: list[str]) -> Release:
    in_manifest = [e for e in edits if e.partition(" => ")[0] in MANIFEST]
    text = edited(SPEC, *(e for e in edits if e not in in_manifest))
    return release(tmp_path / "new", text, edited(MANIFEST, *in_manifest))


def test_every_rule_has_its_pair() -> None:
    assert set(PAIRS) == set(RULES)


@pytest.mark.parametrize("rule", PAIRS)
def test_breaking(rule: str, old: Release, tmp_path: Path) -> None:
    new = changed(tmp_path, PAIRS[rule][0])
    found = found_by(rule, breaks(old, new))
    assert found, f"{rule} found nothing"
    assert found[0].span is not None
    assert PAIRS[rule][2] in new.source.line(found[0].span.line)


@pytest.mark.parametrize("rule", PAIRS)
def test_harmless(rule: str, old: Release, tmp_path: Path) -> None:
    assert found_by(rule, breaks(old, changed(tmp_path, PAIRS[rule][1]))) == []


def test_nothing_breaks_where_nothing_changed(old: Release, tmp_path: Path) -> None:
    assert breaks(old, release(tmp_path / "new", SPEC.replace("# ", "#  "))) == []


def test_a_line_may_allow_a_rule(old: Release, tmp_path: Path) -> None:
    edit = "min 1, opt 8, max 16 => min 2, opt 8, max 16  # trtn: allow(PROFILE_RANGE_NO_SHRINK)"
    assert breaks(old, changed(tmp_path, [edit])) == []
    other = "min 1, opt 8, max 16 => min 2, opt 8, max 16  # trtn: allow(INPUT_NO_ADD)"
    assert len(breaks(old, changed(tmp_path, [other]))) == 1


def test_classes_and_ignored_rules(old: Release, tmp_path: Path) -> None:
    new = changed(tmp_path, PAIRS["INPUT_SAME_DTYPE"][0])
    assert {d.code for d in breaks(old, new, kinds=[Kind.ENGINE])} == {"E0912"}
    assert {d.code for d in breaks(old, new, kinds=[Kind.NUMERIC])} == {"E0913"}
    assert not found_by("INPUT_SAME_DTYPE", breaks(old, new, ignore=["INPUT_SAME_DTYPE"]))
