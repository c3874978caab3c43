"""Matrix products of our own: which tiles are offered for what, what is refused, and that the kernels compile as they are meant to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.providers import emulator
from tests.backend.providers.codegen_cases import CASES, Net, case
from tests.backend.providers.codegen_harness import Case, check
from trtn.backend.devices import Device
from trtn.backend.devices.cpu import CPU
from trtn.backend.problem import ArrayLayout, Problem, make_problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import PROVIDER, cluster, modules
from trtn.backend.providers.codegen.family import Operand
from trtn.backend.providers.codegen.gemm_choice import PERSISTENT, SHAPES, Product, parse_tile, tiles_for
from trtn.backend.providers.codegen.gemm_persistent import (
    MULTIPLYING,
    REGISTERS,
    THREADS,
    PersistentSpec,
)
from trtn.backend.providers.codegen.gemm_tile import PackSpec, PersistentTile, Tile
from trtn.backend.providers.codegen.kernel import operand_of, operands_of
from trtn.backend.providers.codegen.matmul import FAMILY
from trtn.backend.providers.codegen.tensor_map import MatrixMap
from trtn.dsl.network import Tensor

BY_CASE = {c.name: c for c in CASES}
SIZES = (
    Product(128, 768, 3072, 1), Product(128, 3072, 768, 1), Product(197, 2304, 768, 1), Product(1024, 1024, 1024, 1),
    Product(49, 512, 512, 9), Product(3136, 64, 64, 9), Product(196, 256, 1024, 1), Product(49, 8, 8, 1),
    Product(12288, 3072, 768, 1), Product(401408, 256, 64, 1), Product(1024, 768, 3072, 1),
)  # fmt: skip


class Hopper(CPU):
    """A device by name only."""

    name = "cuda:sm_90"


def linear(rows: int, inner: int, columns: int, dtype: str = "f16") -> Case:
    def make(n: Net) -> Tensor:
        return n.linear(n.x(dtype, rows, inner), n.random(dtype, inner, columns))  # type: ignore[no-any-return]

    return case("linear", make)


def problem_of(case: Case) -> Problem:
    tensors = (*case.group.inputs, *case.group.outputs)
    arrays = (*case.inputs, *case.outputs())
    operands = [operand_of(t, a.shape, a.strides, a.ctypes.data) for t, a in zip(tensors, arrays, strict=True)]
    layouts = [
        ArrayLayout(o.shape, o.strides, o.dtype, t.weight is not None) for t, o in zip(tensors, operands, strict=True)
    ]
    count = len(case.group.inputs)
    return make_problem(case.group, case.sizes, layouts[:count], layouts[count:])


def plan(case: Case, tactic: str, change: Any = lambda inputs, outputs: (inputs, outputs)) -> Any:
    problem = problem_of(case)
    inputs, outputs = change(*operands_of(problem))
    return FAMILY.plan(problem.group, tactic, problem.sizes, inputs, outputs)


def offered(case: Case, device: Device | None = None, effort: int = 3) -> list[str]:
    return [t.name for t in FAMILY.tactics_for(problem_of(case), device or Hopper(), effort)]


@pytest.mark.parametrize("product", SIZES, ids=str)
def test_tiles_fit_and_are_told_by_their_names(product: Product) -> None:
    tiles = tiles_for(product)
    assert len(set(tiles)) == len(tiles) >= len(SHAPES)
    for tile in tiles:
        assert parse_tile(str(tile)) == tile
        part = -(-product.stages // tile.parts)
        if isinstance(tile, PersistentTile):
            assert tile.parts <= product.stages
        else:
            assert tile.parts <= product.stages and tile.shared <= cluster.SHARED
            assert tile.threads <= 1024 and tile.stages <= part and (tile.stages >= 2 or part == 1)


def test_a_long_sum_of_few_results_is_shared_by_blocks() -> None:
    """24 tiles of 64 x 64 leave most of 132 multiprocessors without work."""
    assert all(t.parts > 1 for t in tiles_for(Product(128, 768, 3072, 1))[:5])
    assert tiles_for(Product(1024, 1024, 256, 1))[0].parts == 1


def test_what_is_offered_can_be_planned() -> None:
    for wanted in (linear(128, 256, 96), BY_CASE["matmul_conv_strided"], BY_CASE["matmul_residual"]):
        names = offered(wanted)
        assert len(set(names)) == len(names) > 3
        assert len(offered(wanted, effort=5)) > len(names) > len(offered(wanted, effort=1))
        for name in names:
            (call,) = plan(wanted, name).calls
            tile = parse_tile(name)
            assert (
                isinstance(tile, Tile)
                and call.shared == tile.shared
                and call.grid[2] == tile.parts
                and call.block == (tile.threads, 1, 1)
            )


def test_what_others_do_better_is_left_to_them() -> None:
    assert not offered(linear(8, 256, 96)), "a few rows"
    assert offered(linear(128, 256, 96)) and not offered(linear(128, 256, 96), CPU()), "other devices"
    window = Product(1 << 20, 96, 256, 9)
    assert not tiles_for(window, window=True), "large convolutions"


def test_large_products_fill_the_gpu_in_whole_turns() -> None:
    """132 multiprocessors: 6304 rows are 33 times 192, 1024 x 3072 are 128 tiles of 128 x 192."""
    assert parse_tile("192x96.turns.m1") in tiles_for(Product(6304, 768, 3072, 1))[:2]
    assert str(tiles_for(Product(1024, 3072, 768, 1))[0]).startswith("128x192.together")
    for product in SIZES:
        few = [t for t in tiles_for(product) if isinstance(t, PersistentTile)]
        assert bool(few) == (product.rows >= 200)


def test_a_persistent_grid_is_no_larger_than_the_gpu() -> None:
    for rows, tile, grid in (
        (12288, "128x192.turns.m1", (132, 1, 1)),
        (12288, "128x96.together.m2", (66, 1, 2)),
        (300, "128x96.together.m2", (16, 1, 2)),
        (1024, "128x96.together.k3", (64, 1, 3)),
    ):
        (call,) = plan(linear(rows, 768, 768), tile).calls
        assert isinstance(call.spec, PersistentSpec) and call.grid == grid and call.spec.cluster == grid[2]
        x = call.arguments[0]
        assert isinstance(x, MatrixMap) and (x.rows, x.columns, x.distance) == (rows, 768, 768)


@pytest.mark.parametrize(
    ("tile", "rows", "inner", "columns"),
    [
        ("128x192.turns.m1", 300, 328, 200),
        ("192x96.turns.m1", 400, 136, 104),
        ("128x64.together.m2", 300, 584, 40),
        ("128x96.together.k2", 100, 1096, 72),
        ("128x128.together.k3", 128, 1096, 104),
    ],
)
def test_blocks_finish_one_tile_after_another(tile: str, rows: int, inner: int, columns: int, tmp_path: Path) -> None:
    """With one cluster for all tiles, which go through the ring of stages more than once."""
    reason = emulator.unavailable()
    if reason is not None:
        pytest.skip(reason)

    def make(n: Net) -> Tensor:
        w = n.random("f16", inner, columns, scale=inner**-0.5)
        y = n.linear(n.x("f16", rows, inner), w, n.random("f16", columns, seed=1))
        return n.add(y, n.x("f16", rows, columns, name="r"))  # type: ignore[no-any-return]

    wanted = case("residual", make, accumulated=120)
    outputs = wanted.outputs()
    arrays = [*wanted.inputs, *outputs]
    made = wanted.plan("matmul", tile, arrays)
    (call,) = made.calls
    tiles = -(-rows // (call.spec.tile.rows * call.spec.tile.sharers)) * -(-columns // call.spec.tile.columns)
    assert call.spec.stages * call.spec.tile.parts < -(-inner // 64) * tiles
    made = replace(made, calls=(replace(call, grid=(1, *call.grid[1:])),))
    emulator.Emulator([c.spec for c in (*made.once, *made.calls)], tmp_path).run(made, arrays)
    check(wanted, outputs)


@pytest.mark.parametrize("tile", PERSISTENT, ids=str)
def test_enough_stages_fit_beside_what_else_a_block_holds(tile: PersistentTile) -> None:
    (call,) = plan(BY_CASE["matmul_residual"], str(tile)).calls
    assert isinstance(call.spec, PersistentSpec)
    assert call.shared == call.spec.dynamic_shared <= cluster.SHARED and call.spec.stages >= 4
    assert isinstance(call.arguments[3], MatrixMap) == (not tile.together), "a residual that is fetched"
    assert call.spec.patches <= 2 * call.spec.ring <= 2 * call.spec.patches


def test_registers_change_hands_within_what_a_block_has() -> None:
    for threads, few, many in REGISTERS.values():
        start = 65536 // threads // 8 * 8
        assert few % 8 == many % 8 == 0
        assert 128 * few + MULTIPLYING * many <= THREADS * start


def test_a_weight_is_packed_as_shared_memory_holds_it() -> None:
    """Each 8 columns of a stage: rows of 64 elements, chunk c of row n at place c ^ n."""
    (call,) = plan(linear(64, 72, 16), "64x16.c1.s2.f4").once
    assert isinstance(call.spec, PackSpec)
    octets, steps, columns, channels, *strides = (int(a) for a in call.arguments[3:])
    assert (octets, steps, columns, channels) == (2, 2, 16, 72) and strides == [1, 16, 0, 0]
    assert int(call.arguments[2]) == octets * steps * 8 * 64


@pytest.mark.parametrize(
    "name",
    [
        "",
        "64x64",
        "64x64.c1.s4",
        "63x64.c1.s4.f4",
        "64x64.c5.s4.f4",
        "64x64.c1.s0.f4",
        "64x64.c1.s99.f4",
        "64x64.c1.s4.f5",
        "128x80.turns.m1",
        "64x64.together.m1",
        "128x256.turns.m1",
        "128x64.turns.k2",
        "128x64.together.m3",
    ],
)
def test_names_of_no_tile_are_refused(name: str) -> None:
    with pytest.raises(TacticError):
        parse_tile(name)


def test_parts_and_stages_must_suit_the_sum() -> None:
    with pytest.raises(TacticError, match="shared by 4"):
        plan(linear(64, 128, 64), "64x64.c4.s2.f4")
    with pytest.raises(TacticError, match="single stage"):
        plan(linear(64, 128, 64), "64x64.c1.s1.f4")


def test_arrays_that_can_not_be_fetched_are_refused() -> None:
    def with_x(**changes: Any) -> Any:
        return lambda inputs, outputs: ([replace(inputs[0], **changes), *inputs[1:]], outputs)

    wanted, tactic = linear(64, 128, 64), "64x64.c1.s2.f4"
    plan(wanted, tactic, with_x(strides=(136, 1)))
    for changes in (
        {"strides": (132, 1)},
        {"strides": (1, 64)},
        {"align": 8},
        {"strides": (1 << 26, 1)},
        {"strides": (0, 2)},
    ):
        with pytest.raises(TacticError):
            plan(wanted, tactic, with_x(**changes))
    with pytest.raises(TacticError, match="side by side"):
        plan(replace(BY_CASE["matmul_conv_same"], layouts=dict.fromkeys("ry", "last")), tactic)
    with pytest.raises(TacticError, match="equal distances"):
        plan(replace(BY_CASE["matmul_conv_same"], layouts={}), tactic)


def test_constants_are_read_in_vectors() -> None:
    """The weight is packed, so it may lie anywhere; a bias may not."""

    def moved(number: int) -> Any:
        return lambda inputs, outputs: (
            [replace(o, align=4) if n == number else o for n, o in enumerate(inputs)],
            outputs,
        )

    wanted, tactic = BY_CASE["matmul_tails"], "64x64.c1.s2.f4"
    plan(wanted, tactic, moved(1))
    with pytest.raises(TacticError, match="a constant"):
        plan(wanted, tactic, moved(2))


def test_groups_that_are_no_such_product_are_refused() -> None:
    def reason(make: Any) -> str:
        return FAMILY.refusal(case("refused", make).group)

    assert "neither" in reason(lambda n: n.relu(n.x("f16", 4, 8)))
    assert "f64" in reason(lambda n: n.linear(n.x("f64", 4, 8), n.random("f64", 8, 8)))
    window = lambda n: n.conv(n.x("f32", 1, 8, 4, 4), n.random("f32", 8, 8, 3, 3))  # noqa: E731
    assert "window" in reason(window)
    assert "multiples of 8" in reason(lambda n: n.linear(n.x("f16", 4, 12), n.random("f16", 12, 8)))
    assert "constant" in reason(lambda n: n.linear(n.x("f16", 4, 8), n.x("f16", 8, 8, name="w")))
    grouped = lambda n: n.conv(n.x("f16", 1, 32, 4, 4), n.random("f16", 32, 16, 1, 1), groups=2)  # noqa: E731
    assert "groups" in reason(grouped)
    assert FAMILY.refusal(linear(64, 128, 64).group) == ""


def test_empty_results_take_no_launch() -> None:
    def empty(inputs: Sequence[Operand], outputs: Sequence[Operand]) -> Any:
        return [replace(inputs[0], shape=(0, 128)), *inputs[1:]], [replace(outputs[0], shape=(0, 64))]

    assert plan(linear(64, 128, 64), "64x64.c1.s2.f4", empty).calls == ()


@pytest.mark.parametrize(
    "tile",
    [
        Tile(64, 64, 4, 3),
        Tile(64, 192, 1, 4),
        Tile(128, 128, 2, 4),
        Tile(64, 96, 2, 6, 8),
        *PERSISTENT[:2],
        *PERSISTENT[-9:],
    ],
    ids=str,
)
def test_products_stay_in_registers_and_under_way(tile: Tile) -> None:
    reason = modules.unavailable()
    if reason is not None:
        pytest.skip(reason)
    (call,) = plan(BY_CASE["matmul_residual"], str(tile)).calls
    _, log = modules.compile_cubin(call.spec.source(), "sm_90a", ("--ptxas-options=-v",))
    assert " 0 bytes spill stores" in log and "serialized" not in log, log


def test_rows_are_gathered_only_where_a_window_asks_for_it() -> None:
    point = plan(BY_CASE["matmul_conv_point"], "64x64.c1.s2.f4").calls[0].spec
    sparse = plan(BY_CASE["matmul_conv_sparse"], "64x64.c1.s2.f4").calls[0].spec
    assert point.taps is None and sparse.taps is not None and np.prod(sparse.taps.kernel) == 1


def test_other_sizes_get_tiles_of_their_own() -> None:
    """Where it was chosen for sizes near these, and where it leads; what others do better is left to them here, too."""
    small, large, few = (linear(rows, 256, 96) for rows in (64, 4096, 8))
    chosen = Tactic(f"matmul.{offered(small)[2]}")
    assert PROVIDER.elastic(problem_of(small), chosen, Hopper()) == chosen, "its kernel is there"
    unlikely = next(name for name in offered(linear(64, 3072, 96)) if name not in offered(large))
    found = PROVIDER.elastic(problem_of(large), Tactic(f"matmul.{unlikely}"), Hopper())
    assert found == Tactic(f"matmul.{offered(large)[0]}")
    assert PROVIDER.elastic(problem_of(few), chosen, Hopper()) is None
    assert PROVIDER.elastic(problem_of(small), None, Hopper()) == Tactic(f"matmul.{offered(small)[0]}"), "it leads here"
    assert PROVIDER.elastic(problem_of(linear(4096, 1024, 1024)), None, Hopper()) is None
    assert PROVIDER.elastic(problem_of(small), Tactic("gemv.warps4"), Hopper()) == Tactic("gemv.warps4")
