"""The quick GELUs of 16-bit results, over all numbers that they take, against f64."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.backend.providers import emulator
from tests.backend.providers.codegen_cases import Net, case
from trtn.dsl.network import Tensor

BOUND = 5e-7
"""Of the absolute error beside the rounding to f16, for results up to 8: 9e-8 by the fit, the rest roundings of f32."""


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_quick_gelus_are_within_their_bound(approximate: str, tmp_path: Path) -> None:
    reason = emulator.unavailable()
    if reason is not None:
        pytest.skip(reason)
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]

    def make(n: Net) -> Tensor:
        return n.gelu(n.x("f16", finite.size + 4), approximate=approximate, name="y")  # type: ignore[no-any-return]

    wanted = case("gelu", make)
    given, (y,) = np.concatenate([finite, np.float16([np.nan, np.inf, -0.0, 0.0])]), wanted.outputs()
    ((family, tactic), *_) = wanted.tactics
    made = wanted.plan(family, tactic, [given, y])
    emulator.Emulator([c.spec for c in made.calls], tmp_path).run(made, [given, y])
    assert np.isnan(y[-4]) and y[-3] == np.inf and y[-2] == y[-1] == 0

    x = finite.astype(np.float64)
    if approximate == "none":
        expected = 0.5 * x * np.array([math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    else:
        expected = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    off = np.abs(y[:-4].astype(np.float64) - expected)
    half = np.maximum(2.0**-11 * np.abs(expected), 2.0**-25)
    allowed = 1.001 * half + BOUND * np.maximum(1, np.abs(expected) / 8)
    assert (off <= allowed).all(), (x[np.argmax(off - allowed)], np.max(off - allowed))
