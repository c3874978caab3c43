"""The networks of specs/: each checks, is formatted, builds, plans a tight arena and gives the reference's
results.

TRTN_FULL_TESTS runs the three large ones as well, which are only built otherwise.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interpreter import evaluate_network
from trtn.backend.build import build
from trtn.backend.engine.file import load_engine
from trtn.backend.plan.arena import Lifetime, check_arena
from trtn.backend.plan.storage import ALIGNMENT, nbytes
from trtn.backend.runtime import Engine
from trtn.dsl.diagnostics import Sink
from trtn.dsl.dims import evaluate
from trtn.dsl.dtypes import BOOL
from trtn.dsl.load import load
from trtn.dsl.network import Network, Tensor
from trtn.dsl.syntax import read_source
from trtn.dsl.syntax.formatter import format_source

FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
FOLDER = Path(__file__).parents[2] / "specs"
SPECS = ["bert_base", "gpt2_small", "lenet", "mobilenet_v2", "resnet50"]
SMALL = ["lenet", "mobilenet_v2"]
RUN = SPECS if FULL else SMALL
LAYERS = {"bert_base": 250, "gpt2_small": 230, "lenet": 9, "mobilenet_v2": 150, "resnet50": 170}
"""About how many layers each has before anything is optimised: a spec that lost half of them is no test."""


@cache
def loaded(name: str) -> Network:
    return load(FOLDER / f"{name}.trtn")


@cache
def built(name: str) -> Engine:
    return build(loaded(name), device="cpu")


def feeds(net: Network, sizes: dict[str, int]) -> dict[str, Any]:
    pick = np.random.default_rng(3)

    def values(t: Tensor) -> Any:
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        if t.dtype is BOOL:
            return pick.random(shape) < 0.8
        return (
            pick.integers(0, 2, shape, t.dtype.numpy) if t.dtype.is_integer else pick.standard_normal(shape, np.float32)
        )

    return {t.name: values(t) for t in net.inputs}


def test_every_spec_is_here() -> None:
    assert sorted(p.stem for p in FOLDER.glob("*.trtn") if "." not in p.stem) == SPECS


@pytest.mark.parametrize("name", SPECS)
def test_it_checks_and_has_a_profile_and_a_target(name: str) -> None:
    net = loaded(name)
    assert net.name == name
    assert net.doc
    assert net.profiles
    assert any(t.device == "cpu" for t in net.targets)
    assert not net.guards, "its shapes are shown to fit, with nothing left to the runtime"
    assert len(net.layers) > LAYERS[name] * 0.7


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.trtn")), ids=lambda p: str(p.name))
def test_it_is_formatted(path: Path) -> None:
    """Specs, what they import, and manifests."""
    source = read_source(path, Sink())
    assert source is not None
    assert format_source(source) == source.text


@pytest.mark.parametrize("name", SPECS)
def test_the_arena_is_within_five_percent(name: str) -> None:
    """At max, opt and min of each profile, and no two values that live together share a byte."""
    engine = built(name)
    plan = engine.storage
    for profile in engine.profiles:
        for corner in ("maximum", "optimum", "minimum"):
            sizes = profile.corner(corner)
            arena = engine.arena(sizes)
            assert arena.lower_bound > 0
            assert arena.nbytes <= arena.lower_bound * 1.05, (profile.name, corner)
            spans = [Lifetime(*span, nbytes(t, sizes)) for t, span in zip(plan.buffers, plan.lifetimes, strict=True)]
            check_arena(arena, spans, align=ALIGNMENT)


@pytest.mark.parametrize("name", RUN)
def test_it_runs_as_the_reference_does(name: str, tmp_path: Path) -> None:
    """The built engine and its copy from a file agree to the bit; both agree with the spec as written."""
    net = loaded(name)
    engine = built(name)
    engine.save(tmp_path / "engine")
    copy = load_engine(tmp_path / "engine")
    sizes = {n: min(p.dims[n].minimum for p in engine.profiles) for n in net.dims}
    given = feeds(net, sizes)
    expected = evaluate_network(net, given)
    results = engine.run(given)
    again = copy.run(given)
    assert list(results) == list(expected) == list(again)
    for key, array in expected.items():
        assert np.isfinite(array).all()
        assert np.std(array) > 0, "constant results prove nothing"
        np.testing.assert_array_equal(again[key], results[key])
        np.testing.assert_allclose(results[key], array, rtol=1e-3, atol=1e-4 * float(np.abs(array).max()))
