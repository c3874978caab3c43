"""Networks and feeds of the GPU's tests."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import trtn
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Network, Profile, ProfileRange

__all__ = ["SPECS", "assert_close", "fixed_at", "load", "make_feeds"]

SPECS = Path(__file__).parent.parent.parent / "specs"
TRANSFORMERS = """trtn 1
import "ops/attention.trtn" as attn
weights w = "small.weights.trtn"

network encoder {
  dim B in 1..8
  dim S in 8..64 step 8
  input  ids:  i32[B, S]
  input  mask: bool[B, S]
  output y:    f32[B, S, 192]
  x = embedding(ids, w.words) : f32[B, S, 192]
  repeat i in 0..2 carry x as layer {
    a = attn.self_attention(x, mask, p=w.layer[i], heads=3)
    r = layer_norm(x + a, w.layer[i].scale, w.layer[i].shift)
    h = gelu(linear(r, w.layer[i].up, w.layer[i].bias))
    x = layer_norm(r + linear(h, w.layer[i].down), w.layer[i].scale, w.layer[i].shift)
  }
  y = x
}

network decoder {
  dim B in 1..8
  dim S in 1..64
  input  ids:    i32[B, S]
  output scores: f32[B, 1000]
  x = embedding(ids, w.words) : f32[B, S, 192]
  repeat i in 0..2 carry x as layer {
    a = x + attn.causal_attention(layer_norm(x, w.layer[i].scale, w.layer[i].shift), p=w.layer[i], heads=3)
    h = gelu(linear(layer_norm(a, w.layer[i].scale, w.layer[i].shift), w.layer[i].up, w.layer[i].bias), approximate="tanh")
    x = a + linear(h, w.layer[i].down)
  }
  last = squeeze(slice(x, start=[S - 1], end=[S], axes=[1]), axes=[1]) : f32[B, 192]
  scores = last @ transpose(w.words)
}
"""
"""A text encoder and a text decoder, each of two small layers."""
MATRICES = {
    "q.weight": 192,
    "k.weight": 192,
    "v.weight": 192,
    "out.weight": 192,
    "c_attn.weight": 576,
    "c_proj.weight": 192,
}


@cache
def load(name: str) -> Network:
    """One of the repository's specs, or of the small transformers."""
    if name in ("encoder", "decoder"):
        with TemporaryDirectory() as folder:
            return _load_small(Path(folder), name)
    return trtn.load(SPECS / f"{name}.trtn")


def _load_small(folder: Path, name: str) -> Network:
    rows = ["words: f32[1000, 192] = normal(0, 1.0)"]
    for n in range(2):
        layer = f"layer[{n}]"
        rows += [f"{layer}.{m}: f32[192, {width}] = normal({n + width}, 0.05)" for m, width in MATRICES.items()]
        rows += [f"{layer}.{m.replace('weight', 'bias')}: f32[{w}] = normal({n}, 0.1)" for m, w in MATRICES.items()]
        rows += [f"{layer}.scale: f32[192] = normal({n}, 1.0)", f"{layer}.shift: f32[192] = normal({n + 5}, 0.1)"]
        rows += [f"{layer}.up: f32[192, 768] = normal({n}, 0.05)", f"{layer}.bias: f32[768] = normal({n}, 0.1)"]
        rows += [f"{layer}.down: f32[768, 192] = normal({n}, 0.05)"]
    manifest = "\n".join(f"  tensor {row}" for row in rows)
    (folder / "small.weights.trtn").write_text(f"trtn 1\nmanifest small {{\n{manifest}\n}}\n")
    shutil.copytree(SPECS / "ops", folder / "ops")
    (folder / "small.trtn").write_text(TRANSFORMERS)
    return trtn.load(folder / "small.trtn", network=name)


def fixed_at(network: Network, sizes: dict[str, int]) -> Network:
    """The network with one profile that serves these sizes alone: a build decides one tactic a problem."""
    return replace(network, profiles=(Profile("fixed", {n: ProfileRange(v, v, v) for n, v in sizes.items()}),))


def make_feeds(network: Network, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {}
    for t in network.inputs:
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        if t.dtype.is_float:
            feeds[t.name] = rng.standard_normal(shape).astype(t.dtype.numpy)
        else:
            feeds[t.name] = rng.integers(0, 2, shape).astype(t.dtype.numpy)
    return feeds


def assert_close(ours: dict[str, Any], reference: dict[str, Any], rtol: float) -> None:
    """Results are as far from the reference as `rtol` of its norm at most."""
    for name, expected in reference.items():
        found = ours[name]
        assert found.shape == expected.shape and found.dtype == expected.dtype
        norm = np.linalg.norm(expected.astype(np.float64)) or 1.0
        assert np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64)) <= rtol * norm, name
