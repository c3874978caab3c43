"""Generated means of whole images.

Tolerance: a sum of n numbers in f32, one after another, is off by sqrt(n) / 2 ulp or so of the sum of their sizes: 3e-6 for
up to 1,000 of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.llvm.provider import PROVIDER

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))

LAST = (0, 2, 3, 1)
MEANS = Tactic("means")


@pytest.mark.parametrize(
    "shape", [(1, 8, 1, 1), (1, 72, 7, 7), (3, 64, 5, 6), (2, 520, 3, 4), (1, 1280, 7, 7), (1, 24, 31, 32)], ids=str
)
def test_means(shape: tuple[int, ...]) -> None:
    group = group_of(lambda n: n.global_avg_pool(n.x("f32", *shape)))
    x = arrange(np.random.default_rng(0).standard_normal(shape).astype(np.float32), LAST)
    y = np.zeros((*shape[:2], 1, 1), np.float32)
    run(PROVIDER, MEANS, problem_for(group, [x], [y], {}), [x], [y])
    wide = x.astype(np.float64)
    np.testing.assert_allclose(y, wide.mean((2, 3), keepdims=True), 0, 3e-6 * np.abs(wide).mean((2, 3)).max())


@pytest.mark.parametrize(("shape", "order"), [((1, 20, 7, 7), LAST), ((1, 16, 7, 7), (0, 1, 2, 3))], ids=str)
def test_what_is_left_to_others(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    group = group_of(lambda n: n.global_avg_pool(n.x("f32", *shape)))
    arrays = [arrange(np.zeros(shape, np.float32), order)], [np.zeros((*shape[:2], 1, 1), np.float32)]
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem_for(group, *arrays, {}), MEANS, CPU())
