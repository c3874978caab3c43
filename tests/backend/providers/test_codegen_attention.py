"""Attention of our own: which tiles are offered for what, what is refused, and blocks that take one tile after the other."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.backend.providers import emulator
from tests.backend.providers.codegen_cases import CASES, Net, case
from tests.backend.providers.codegen_harness import Case, check
from trtn.backend.problem import ArrayLayout, Problem, make_problem
from trtn.backend.providers.codegen import modules
from trtn.backend.providers.codegen.attention import FAMILY
from trtn.backend.providers.codegen.attention_keys import Tile
from trtn.backend.providers.codegen.attention_wgmma import WarpGroupAttentionSpec
from trtn.backend.providers.codegen.attention_wgmma_tile import AttentionTile
from trtn.backend.providers.codegen.flash_attention import FlashAttentionSpec, MaskRead
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

BY_CASE = {c.name: c for c in CASES}
HOPPER: Any = SimpleNamespace(name="cuda:sm_90")
AMPERE: Any = SimpleNamespace(name="cuda:sm_80")
STAYING = (
    "attention_large_63_65", "attention_large_200_390", "attention_large_shared", "attention_large_causal_192_192",
    "attention_large_padded",
)  # fmt: skip


def attention(width: int, heads: int = 12, scale: float | None = None, dtype: str = "f16") -> Case:
    def make(n: Net) -> Tensor:
        q, k, v = (n.x(dtype, "B", heads, "S", width, name=name) for name in "qkv")
        return n.attention(q, k, v, name="y", scale=scale)  # type: ignore[no-any-return]

    return case("attention", make, sizes={"B": 1, "S": 4})


def offered(width: int, batch: int, length: int, device: Any = HOPPER, effort: int = 3) -> list[str]:
    shape = (batch, 12, length, width)
    dense = ArrayLayout(shape, (12 * length * width, length * width, width, 1), BY_NAME["f16"])
    problem: Problem = make_problem(attention(width).group, {"B": batch, "S": length}, [dense] * 3, [dense])
    return [t.name for t in FAMILY.tactics_for(problem, device, effort)]


def test_many_queries_take_large_tiles() -> None:
    assert offered(64, 32, 384)[0] == "w192.k128" and offered(64, 32, 384, effort=0) == ["w192.k128"]
    assert offered(64, 32, 197)[0].endswith(".k112"), "two blocks of keys, with few of them beyond the last"
    assert offered(64, 1, 128)[0].startswith("q"), "few of them are a matter of waiting"


def test_large_tiles_are_for_what_has_their_instructions() -> None:
    assert all(name.startswith("q") for name in (*offered(64, 32, 384, AMPERE), *offered(80, 32, 384)))
    assert any(name.startswith("w") for name in offered(128, 8, 512))


def test_what_takes_far_longer_is_not_offered() -> None:
    assert len(offered(64, 32, 2048)) < len(offered(64, 1, 128))


@pytest.mark.parametrize("width", [16, 48, 64, 80, 128])
def test_f32_is_multiplied_in_tf32(width: int) -> None:
    """Which must be allowed; 16-bit kernels for many queries have no form of it."""
    tactics = FAMILY.tactics(attention(width, dtype="f32").group)
    assert tactics and all(t.numerics == "reduced" and t.name.startswith("q") for t in tactics)
    assert all(t.numerics == "reassociated" for t in FAMILY.tactics(attention(width).group))


@pytest.mark.parametrize("scale", [-0.2, 0.0])
def test_large_tiles_compare_scores_before_they_are_scaled(scale: float) -> None:
    assert all(t.name.startswith("q") for t in FAMILY.tactics(attention(64, scale=scale).group))
    assert any(t.name.startswith("w") for t in FAMILY.tactics(attention(64, scale=0.2).group))


def test_blocks_stay_for_one_tile_after_the_other(tmp_path: Path) -> None:
    """One block takes them all: groups with nothing to do in a tile go ahead, and none waits for another for ever."""
    reason = emulator.unavailable()
    if reason is not None:
        pytest.skip(reason)
    cases = [BY_CASE[name] for name in STAYING]
    outputs = [c.outputs() for c in cases]
    plans = [c.plan(*c.tactics[0], [*c.inputs, *o]) for c, o in zip(cases, outputs, strict=True)]
    machine = emulator.Emulator([p.calls[0].spec for p in plans], tmp_path)
    for wanted, result, plan in zip(cases, outputs, plans, strict=True):
        (call,) = plan.calls
        assert call.grid[0] > 1, wanted.name
        machine.run(replace(plan, calls=(replace(call, grid=(1, 1, 1)),)), [*wanted.inputs, *result])
        check(wanted, result)


@pytest.mark.parametrize(
    ("width", "tile", "mask"),
    [
        (64, Tile(1, 4, 1, 4, 4), None),
        (64, Tile(2, 4, 1, 2, 4), MaskRead("bool", False, True)),
        (64, Tile(2, 2, 2, 2, 3), None),
        (128, Tile(1, 4, 1, 2, 4), None),
        (32, Tile(1, 2, 4, 4), MaskRead("f32", True, True)),
    ],
    ids=str,
)
def test_fragments_of_f32_stay_in_registers(width: int, tile: Tile, mask: MaskRead | None) -> None:
    """But for an address or two."""
    reason = modules.unavailable()
    if reason is not None:
        pytest.skip(reason)
    assert tile.fits(width, width, 4, mask is not None and mask.by_query)
    spec = FlashAttentionSpec("f32", width, width, tile, False, mask, False, True)
    _, log = modules.compile_cubin(spec.source(), "sm_90a", ("--ptxas-options=-v",))
    spilled = re.search(r"(\d+) bytes spill stores", log)
    assert spilled is not None and int(spilled[1]) <= 16, log


@pytest.mark.parametrize(
    ("widths", "tile", "mask"),
    [
        ((64, 64), AttentionTile(3, 128), MaskRead("bool", False, False)),
        ((64, 64), AttentionTile(2, 112), None),
        ((64, 64), AttentionTile(1, 128), None),
        ((128, 128), AttentionTile(2, 128), None),
        ((64, 64), AttentionTile(2, 128), MaskRead("f16", True, True)),
    ],
    ids=str,
)
def test_products_stay_in_registers_and_under_way(
    widths: tuple[int, int], tile: AttentionTile, mask: MaskRead | None
) -> None:
    reason = modules.unavailable()
    if reason is not None:
        pytest.skip(reason)
    assert tile.fits(*widths, mask is not None and mask.by_query)
    spec = WarpGroupAttentionSpec("f16", *widths, tile, False, mask, False)
    _, log = modules.compile_cubin(spec.source(), "sm_90a", ("--ptxas-options=-v",))
    assert " 0 bytes spill stores" in log and "serialized" not in log, log
