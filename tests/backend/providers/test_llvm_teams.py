"""Generated kernels that several threads share, and copies that transpose: against the ops' own evaluation.

Tolerances are those of test_llvm's `check`: exact for copies and levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import group_of
from tests.backend.providers.test_llvm import check, view_of
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

LAST = (0, 2, 3, 1)
Make = Callable[[Net, Tensor], Tensor]
COPIES: dict[str, Make] = {
    "constant around": lambda n, x: n.pad(x, pads=[1, 3, 2, 0], axes=[2, 3], mode="constant", fill=2.0),
    "edges around": lambda n, x: n.pad(x, pads=[1, 3, 2, 0], axes=[2, 3], mode="edge"),
    "concat": lambda n, x: n.concat(x, x, axis=1),
}


@pytest.fixture(params=[1, 3], ids="{} threads".format)
def threads(request: pytest.FixtureRequest) -> Any:
    with CPU(request.param).running(compiled=True, arrays=False):
        yield request.param


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("orders", [(None, LAST), (LAST, None), (LAST, LAST)], ids=str)
def test_copies(threads: int, kind: str, orders: tuple[Sequence[int] | None, Sequence[int] | None]) -> None:
    """Squares of 8 don't divide the sides."""
    group = group_of(lambda n: COPIES[kind](n, n.x("f32", 2, 37, 27, 45)))
    check(group, orders={"x": orders[0]} if orders[0] else None, out=orders[1])


@pytest.mark.parametrize("shape", [(8, 8), (9, 15), (5, 300), (257, 300)], ids=str)
def test_transposition(shape: tuple[int, ...]) -> None:
    check(view_of(lambda n: n.transpose(n.x("f32", *shape), perm=[1, 0])))
    check(view_of(lambda n: n.transpose(n.x("f32", 3, *shape, 2), perm=[2, 0, 1, 3])))


@pytest.mark.parametrize("shape", [(1 << 17,), (2, 33, 2000)], ids=str)
def test_pointwise(threads: int, shape: tuple[int, ...]) -> None:
    check(group_of(lambda n: n.tanh(n.add(n.x("f32", *shape), n.x("f32", shape[-1], name="y")))))


@pytest.mark.parametrize("low", [-3.0, 0.0, 2.0, np.nan])
def test_the_range_of_all_shares(threads: int, low: float) -> None:
    """Each thread sees its own part: the least and the greatest lie at the ends."""
    x = np.random.default_rng(0).uniform(max(low, 0.0) if low == low else 0.0, 3.0, (5, 30_000))
    x.flat[0], x.flat[-1] = low, 7.0
    kept = slice(None) if low == low else slice(1, 2)  # levels of NaN are any
    with np.errstate(invalid="ignore"):
        check(group_of(lambda n: list(n.dynamic_quantize_linear(n.x("f32", *x.shape))[kept])), {"x": x})
