"""Specs as short texts, built and held against the reference evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.interpreter import evaluate_network
from trtn.backend.build import build
from trtn.backend.engine.file import load_engine
from trtn.backend.runtime import Engine
from trtn.dsl.load import load_text
from trtn.dsl.network import Network

__all__ = ["Feeds", "assert_same", "floats", "network", "run_both"]

Feeds = Mapping[str, Any]


def network(text: str, folder: Path | None = None, weights: str = "") -> Network:
    """The network of a spec without its edition line. `weights` are lines of a manifest, known as `w`; it
    lies in `folder`.
    """
    if not weights:
        return load_text(f"trtn 1\n{text}")
    assert folder is not None
    (folder / "w.weights.trtn").write_text(f"trtn 1\nmanifest w {{\n{weights}\n}}\n")
    return load_text(f'trtn 1\nweights w = "w.weights.trtn"\n{text}', path=str(folder / "net.trtn"))


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def assert_same(actual: Feeds, expected: Feeds) -> None:
    """Equal names in order, dtypes, shapes and bytes."""
    assert list(actual) == list(expected)
    for name, array in expected.items():
        got = actual[name]
        assert isinstance(got, np.ndarray)
        assert (got.dtype, got.shape) == (array.dtype, array.shape), name
        if got.tobytes() != np.ascontiguousarray(array).tobytes():
            np.testing.assert_array_equal(got, array, err_msg=name)
            raise AssertionError(f"{name}: the values are equal, the bytes are not")


def run_both(net: Network, feeds: Sequence[Feeds], folder: Path, *, exact: bool = True) -> Engine:
    """Run the engine, built of the reference provider alone, and its reloaded copy on each of `feeds`, in one context
    and through `Engine.run`.

    Results are, to the bit, those of the reference evaluation of the network as optimised; with `exact` of
    the network as written, too. Saving the reloaded engine gives the same file. Gives the built engine.
    """
    engine = build(net, device="cpu", providers=())
    path = folder / "net.engine"
    engine.save(path)
    copy = load_engine(path)
    copy.save(folder / "again.engine")
    assert (folder / "again.engine").read_bytes() == path.read_bytes()
    for each in (engine, copy):
        context = each.create_context()
        for feed in feeds:
            kept = {name: np.array(a, copy=True) for name, a in feed.items()}
            expected = evaluate_network(each.network, feed)
            assert_same(context.run(feed), expected)
            assert_same(each.run(feed), expected)
            as_written = evaluate_network(net, feed)
            if exact:
                assert_same(expected, as_written)
            for name, a in as_written.items():
                np.testing.assert_allclose(expected[name], a, rtol=1e-5, atol=1e-5, err_msg=name)
            assert_same({n: np.asarray(a) for n, a in feed.items()}, kept)
    return engine
