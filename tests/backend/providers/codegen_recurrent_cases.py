"""Cases of recurrent layers for the generated kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.backend.providers.codegen_harness import Array, Case
from tests.backend.providers.codegen_net import Net, case
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor

__all__ = ["CASES"]


def _recurrent() -> Iterator[Case]:
    """Units that leave tails, one block and clusters, weights in shared memory, each direction, lengths, first states."""
    gates = {"lstm": 4, "gru": 3, "rnn": 1, "dynamic_quantize_lstm": 4}

    def layer(
        op: str, hidden: int, features: int, dtype: str = "f32", given: str = "bias", **attrs: Any
    ) -> Callable[[Net], list[Tensor]]:
        def make(n: Net) -> list[Tensor]:
            both, first = attrs.get("direction") == "bidirectional", attrs.get("batch_first", False)
            sides, columns = 1 + both, gates[op] * hidden
            x = n.x(dtype, *(("B", "S") if first else ("S", "B")), features)
            if op == "dynamic_quantize_lstm":
                rng, levels = np.random.default_rng(2), attrs.get("levels", "i8")
                per = (sides, columns) if "columns" in given else (sides,)
                w, r = (
                    n.w(rng.integers(-100, 100, (sides, k, columns)) + 128 * (levels == "u8"), levels)
                    for k in (features, hidden)
                )
                numbers = [n.w(rng.uniform(0.002, 0.004, per)), n.w(rng.integers(0, 9, per), levels)] * 2
                weights = [w, r, *numbers]
            else:
                weights = [n.random(dtype, sides, columns, k, seed=k, scale=0.6 * k**-0.5) for k in (features, hidden)]
            bias = n.random(dtype, sides, 2 * columns, seed=3, scale=0.3) if "bias" in given else None
            lengths = n.x("i32", "B", name="lengths") if "lengths" in given else None
            state = ("B", sides, hidden) if first else (sides, "B", hidden)
            states = [
                n.x(dtype, *state, name=f"{s}0") if "states" in given else None for s in ("hc" if "lstm" in op else "h")
            ]
            peephole = n.random(dtype, sides, 3 * hidden, seed=4) if "peephole" in given else None
            kept = {k: v for k, v in attrs.items() if k != "levels"}
            more = [peephole] if "lstm" in op else []
            results = n.op(op, x, *weights, bias, lengths, *states, *more, name="y", hidden=hidden, **kept)
            return [results[-1]] if "last" in given else list(results)

        return make

    def lengths(name: str, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array | None:
        return np.arange(shape[0]) * 2 % 6 if name == "lengths" else None

    both, settings = "bidirectional", {"family": "recurrent", "accumulated": 64.0, "data": lengths}

    def recurrent(name: str, make: Callable[[Net], list[Tensor]], steps: int, batch: int, **more: Any) -> Case:
        return case(f"recurrent_{name}", make, sizes={"S": steps, "B": batch}, **{**settings, **more})

    yield recurrent("lstm", layer("lstm", 32, 16), 5, 1)
    yield recurrent("lstm_tail", layer("lstm", 37, 19, direction=both), 4, 3)
    yield recurrent("lstm_one_step", layer("lstm", 24, 70, given="", direction="reverse"), 1, 2)
    yield recurrent("lstm_cluster", layer("lstm", 100, 8, given="bias states", direction=both), 4, 1)
    yield recurrent("lstm_wide", layer("lstm", 260, 8), 2, 1)
    yield recurrent("lstm_lengths", layer("lstm", 20, 12, given="bias lengths states", direction=both), 5, 5)
    yield recurrent(
        "lstm_first", layer("lstm", 12, 10, given="bias states lengths", batch_first=True, direction=both), 6, 9
    )
    more = {
        "clip": 0.4,
        "input_forget": True,
        "activations": ["hard_sigmoid", "softsign", "elu"],
        "alpha": [0.3],
        "beta": [0.4],
    }
    yield recurrent("lstm_peephole", layer("lstm", 18, 7, given="bias peephole states", **more), 4, 2)
    yield recurrent("lstm_last", layer("lstm", 16, 5, given="last"), 7, 2)
    yield recurrent("lstm_f16", layer("lstm", 48, 40, "f16", given="bias states"), 5, 2)
    yield recurrent("gru", layer("gru", 32, 24, direction=both, linear_before_reset=True), 5, 1)
    yield recurrent("gru_cluster", layer("gru", 130, 24, linear_before_reset=True, batch_first=True), 3, 2)
    yield recurrent("gru_late", layer("gru", 33, 17, given="bias states lengths", direction=both), 5, 3)
    yield recurrent("gru_late_cluster", layer("gru", 140, 9, given="bias states"), 3, 1)
    yield recurrent("gru_bf16", layer("gru", 16, 9, "bf16", given="states", linear_before_reset=True), 4, 2)
    yield recurrent("rnn", layer("rnn", 45, 30, given="bias states lengths", direction=both), 5, 4)
    yield recurrent("rnn_cluster", layer("rnn", 300, 4, activations=["relu"]), 3, 1)
    levels = "dynamic_quantize_lstm"
    yield recurrent("levels", layer(levels, 24, 21, direction=both), 4, 1)
    yield recurrent("levels_columns", layer(levels, 20, 67, given="bias columns states", levels="u8"), 3, 3)
    yield recurrent("levels_cluster", layer(levels, 150, 30, given="bias", direction="reverse"), 3, 1)


CASES: list[Case] = list(_recurrent())
