"""A spec and its edits, for the comparison's tests: what a reader does to a network in one commit."""

from __future__ import annotations

import re
from pathlib import Path

from trtn.dsl.load import load
from trtn.dsl.network import Network

__all__ = ["GOLDENS", "NAMES", "edits_of", "golden", "network"]

SPEC = """trtn 1
weights w = "net.weights.trtn"

block norm_act(x: T[N, C], *, p: weights, act: bool = true) -> T[N, C] {
  h = layer_norm(x, p.scale, p.shift, axis=1, eps=1e-3)
  return relu(h)
}

network net {
  doc "A small classifier."
  dim N in 1..64
  input  x: f32[N, 8]
  input  keep: bool[N]
  output y: f32[N, 4]
  output score: f32[N]
  h = linear(x, w.stem.weight, w.stem.bias)
  a = relu(h)
  repeat i in 0..3 carry a {
    t = linear(a, w.layer[i].weight, w.layer[i].bias)
    a = a + tanh(t)
  }
  n = norm_act(a, p=w.norm)
  y = linear(n, w.head.weight, w.head.bias)
  m = where(unsqueeze(keep, axes=[1]), y, 0.5)
  score = reduce_max(m, axes=[1], keepdims=false)
}

profile small for net {
  N: min 1, opt 8, max 16
}

target here {
  network net
  device cpu
  precision { default f32 }
  profiles [small]
}
"""
MANIFEST = """trtn 1
manifest net {
  tensor stem.weight: f32[8, 16] = normal(1, 0.1)
  tensor stem.bias: f32[16] = zeros
  tensor layer[0].weight: f32[16, 16] = normal(2, 0.1)
  tensor layer[0].bias: f32[16] = zeros
  tensor layer[1].weight: f32[16, 16] = normal(3, 0.1)
  tensor layer[1].bias: f32[16] = zeros
  tensor layer[2].weight: f32[16, 16] = normal(4, 0.1)
  tensor layer[2].bias: f32[16] = zeros
  tensor norm.scale: f32[16] = ones
  tensor norm.shift: f32[16] = zeros
  tensor head.weight: f32[16, 4] = normal(5, 0.1)
  tensor head.bias: f32[4] = zeros
}
"""

GOLDENS = Path(__file__).parent.parent.parent / "data" / "diff"
_EDIT = re.compile(r"<<<<\n(.*?)\n====\n(.*?)\n>>>>\n", re.DOTALL)

Edit = tuple[str, str]
"""A text that stands once in the spec or its manifest, and what stands there afterwards."""


def golden(name: str) -> tuple[str, str]:
    """A golden file's two halves: its edits, each between `<<<<`, `====` and `>>>>`, and after `----` what is said."""
    edits, _, said = (GOLDENS / f"{name}.txt").read_text().partition("----\n")
    return edits, said


def edits_of(name: str) -> list[Edit]:
    return [(old, new) for old, new in _EDIT.findall(golden(name)[0])]


NAMES = sorted(p.stem for p in GOLDENS.glob("*.txt"))


def edited(text: str, edits: list[Edit]) -> str:
    for old, new in edits:
        assert text.count(old) == 1, f"`{old}` stands {text.count(old)} times"
        text = text.replace(old, new)
    return text


def network(folder: Path, edits: list[Edit]) -> Network:
    """The network of the edited spec, written to a folder."""
    in_manifest = [e for e in edits if e[0] in MANIFEST]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.weights.trtn").write_text(edited(MANIFEST, in_manifest))
    spec = folder / "net.trtn"
    spec.write_text(edited(SPEC, [e for e in edits if e not in in_manifest]))
    return load(spec)
