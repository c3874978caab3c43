"""Products of more tiles than a GPU has multiprocessors, with each of the tiles that blocks finish one after another, against f64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net, case
from tests.backend.providers.codegen_harness import check
from tests.gpu.test_codegen import Mirror, launch_of
from trtn.backend.providers.codegen.gemm_choice import PERSISTENT
from trtn.backend.providers.codegen.gemm_tile import PersistentTile
from trtn.dsl.network import Tensor


def _residual(n: Net) -> Tensor:
    """50 times 5 tiles of 128 x 128; K goes through the ring of stages more than once, and is no multiple of a stage."""
    y = n.linear(n.x("f16", 6304, 840), n.random("f16", 840, 584, scale=840**-0.5), n.random("f16", 584, seed=1))
    return n.gelu(n.add(y, n.x("f16", 6304, 584, name="r")))  # type: ignore[no-any-return]


LARGE = case("residual_gelu", _residual, accumulated=120)


@pytest.mark.parametrize("tile", PERSISTENT, ids=str)
def test_large_products_are_right(tile: PersistentTile) -> None:
    import cupy

    inputs, outputs = [Mirror(a) for a in LARGE.inputs], [Mirror(a) for a in LARGE.outputs()]
    launch_of(LARGE, "matmul", str(tile), [m.array for m in inputs], [m.array for m in outputs])()
    cupy.cuda.Device().synchronize()
    check(LARGE, [m.fetch() for m in outputs])
    assert all(np.isfinite(m.host).all() for m in outputs)
