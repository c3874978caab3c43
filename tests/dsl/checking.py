"""Specs in a few lines, and what checking them gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.interpreter import evaluate_network
from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.load import check_source
from trtn.dsl.network import Network, walk

__all__ = ["OUT", "X", "accepted", "check", "codes", "layer_names", "made", "ops", "rejected", "run", "spec"]

X = np.arange(12, dtype=np.float32).reshape(3, 4) / 4 - 1
"""A feed of the input `x`."""
OUT = "output y: f32[N, 4]\n"


def spec(body: str, *, before: str = "", after: str = "", dims: str = "dim N in 1..8") -> str:
    """A spec with the network `m`: `dims`, the input `x: f32[N, 4]`, then `body`; the rest goes around it."""
    lines = [dims, "input x: f32[N, 4]", *body.strip().splitlines()]
    inside = "".join(f"  {line.strip()}\n" for line in lines if line.strip())
    return f"trtn 1\n{before.strip()}\nnetwork m {{\n{inside}}}\n{after.strip()}\n"


def check(text: str, path: str | Path = "m.trtn") -> tuple[list[Network], list[Diagnostic]]:
    sink = Sink()
    networks = check_source(Source(str(path), text), sink)
    return networks, sink.diagnostics


def codes(text: str) -> list[str]:
    return [d.code for d in check(text)[1]]


def accepted(text: str, path: str | Path = "m.trtn") -> Network:
    """The only network of a spec without any finding, not even a warning."""
    networks, found = check(text, path)
    assert not found, list(map(str, found))
    (network,) = networks
    return network


def rejected(text: str, path: str | Path = "m.trtn") -> Diagnostic:
    """The only finding of a spec."""
    _, found = check(text, path)
    assert len(found) == 1, list(map(str, found))
    return found[0]


def layer_names(network: Network) -> list[str]:
    return [layer.name for layer in walk(network.graph)]


def ops(network: Network) -> list[str]:
    return [layer.op.name for layer in walk(network.graph)]


def made(body: str, before: str = "") -> Network:
    """The network of a body with the output `y: f32[N, 4]`."""
    return accepted(spec(OUT + body, before=before))


def run(body: str, before: str = "", **feeds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The output of such a network for X."""
    return evaluate_network(made(body, before), {"x": X, **feeds})["y"]
