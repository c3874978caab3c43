"""A spec of 2,000 lines, or of fewer, as a person would write it: layers with names, blocks here and in another file, weights."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BLOCKS", "LINES", "MANIFEST", "SHORT", "SPEC", "write"]

LINES = 2000
_LAYERS = 12
_SHAPES = {
    "norm.weight": "64", "norm.bias": "64", "q.weight": "64, 64", "q.bias": "64", "ffn.fc1.weight": "64, 128",
    "ffn.fc1.bias": "128", "ffn.fc2.weight": "128, 64", "ffn.fc2.bias": "64",
}  # fmt: skip

BLOCKS = """\
trtn 1

block residual(x: T[B, S, D], r: T[B, S, D], *, scale: float = 1.0) -> T[B, S, D] {
  return x * scale + r
}
"""
_HEAD = """\
trtn 1

import "blocks.trtn" as common
weights w = "large.weights.trtn"

block ffn(x: T[B, S, D], *, p: weights, act: str = "gelu") -> T[B, S, D] {
  h = activation(linear(x, p.fc1.weight, p.fc1.bias), kind=act)
  return linear(h, p.fc2.weight, p.fc2.bias)
}

network large {
  doc "Twelve layers' weights, used over and over."
  dim B in 1..8
  dim S in 8..512 step 8
  let width = 64
  input x: f32[B, S, width]
  output y: f32[B, S, width]

  repeat i in 0..2 carry x as stem {
    x = layer_norm(x, w.layer[i].norm.weight, w.layer[i].norm.bias)
  }
"""
_LAYER = """\
  # layer {n}
  h{n} = layer_norm({before}, w.layer[{k}].norm.weight, w.layer[{k}].norm.bias)
  q{n} = linear(h{n}, w.layer[{k}].q.weight, w.layer[{k}].q.bias) : f32[B, S, width]
  k{n} = reshape(q{n}, shape=[B, S, 4, 16])
  t{n} = transpose(k{n}, perm=[0, 2, 1, 3])
  s{n} = softmax(t{n} * 0.125, axis=-1)
  u{n} = reshape(transpose(s{n}, perm=[0, 2, 1, 3]), shape=[B, S, 64])
  f{n} = ffn(u{n} + {before}, p=w.layer[{k}].ffn)
  r{n} = common.residual(f{n}, {before})
"""
_TAIL = """\
  y = relu({before})
}}

profile small for large {{
  B: min 1, opt 1,  max 4
  S: min 8, opt 64, max 128
}}
"""


def _spec(lines: int) -> str:
    text, n, before = _HEAD, 0, "x"
    while text.count("\n") + _LAYER.count("\n") + _TAIL.count("\n") <= lines:
        text += _LAYER.format(n=n, k=n % _LAYERS, before=before)
        n, before = n + 1, f"r{n}"
    return text + _TAIL.format(before=before)


def _manifest() -> str:
    rows = [
        f"  tensor layer[{k}].{name}: f32[{shape}] = zeros\n" for k in range(_LAYERS) for name, shape in _SHAPES.items()
    ]
    return f"trtn 1\n\nmanifest large {{\n{''.join(rows)}}}\n"


SPEC = _spec(LINES)
SHORT = _spec(140)
MANIFEST = _manifest()


def write(folder: Path) -> Path:
    """The spec with the files that it names; gives the spec's path."""
    (folder / "blocks.trtn").write_text(BLOCKS)
    (folder / "large.weights.trtn").write_text(MANIFEST)
    path = folder / "large.trtn"
    path.write_text(SPEC)
    (folder / "short.trtn").write_text(SHORT)
    return path
