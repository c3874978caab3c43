"""A spec and a manifest with every keyword of the grammar in its place; and words that are names there."""

from __future__ import annotations

__all__ = ["MANIFEST", "SPEC"]

SPEC = """\
trtn 1

import "blocks.trtn" as blocks
weights w = "all.weights.trtn"  # a comment with "quotes" and network

plugin fast(x: T[N]) -> T[N] {
  where T in {f16, bf16}
  version 2
}

block scaled(x: T[N, D], *, p: weights, act: str = "gelu") -> T[N, D] {
  doc "Scales."
  return activation(x * p.scale, kind=act)
}

network all {
  doc "Every word \\"in\\" its place."
  dim N in 1..64 step 1
  let width = 8
  assert N * width <= 512, "budget"
  input x: f32[N, width]
  input flag: bool[]
  output y: f32[N, width]

  @precision(f32)
  `odd name` = scaled(x, p=w.layer[0]) : f32[N, width]
  input = x @ w.proj
  a = if flag {
    yield relu(x)
  } else {
    yield -x
  }
  total, sums = scan over row = x axis 1 reverse carry s = w.zero {
    s = s + max(row, min(row, inf))
    yield s
  }
  grown = loop i in 0..4 max 10 carry g = total, go = flag while go {
    g = g * 2.5e-3
  }
  h = x
  repeat i in 0..4 carry h as layer {
    h = blocks.step(h, axis=-1, exact=true, other=none, scale=nan, off=false)
  }
  layer[0].y = h
  y = h ** 2 // 3 + output(input - 1)
}

profile small for all {
  N: min 1, opt 2, max 4
}

target device {
  network all
  profiles [small]
  device cuda:sm_90
  precision { default f16 keep f32 for [softmax] }
  workspace 4GiB
}
"""
MANIFEST = """\
trtn 1

manifest all {
  file f = "all.safetensors" size 21kB sha256:00ff
  tensor layer[0].scale: f32[8] = f["scale"] transpose offset 128 sha256:0123456789abcdef
  tensor proj: f32[8, 8] = normal(1, 0.1)
  tensor zero: f32[1] = inline [0.0]
}
"""
