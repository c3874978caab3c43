"""Generated kernels that look for elements: what is refused, which way is taken at which size, indices outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.backend.providers import emulator
from tests.backend.providers.codegen_net import Net, case
from trtn.backend.group import Group
from trtn.backend.problem import ArrayLayout, make_problem
from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen.provider import families
from trtn.backend.providers.codegen.resize import ResizeSpec
from trtn.backend.providers.codegen.top_k import FAMILY as TOP_K
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

FAMILIES = {family.name: family for family in families()}


def group_of(make: Callable[[Net], Any]) -> Group:
    return case("group", make).group


@pytest.mark.parametrize(
    ("family", "make", "why"),
    [
        (
            "resize",
            lambda n: n.resize(n.x("f32", 1, 2, 8, 8), sizes=(1, 2, 4, 4), mode="linear", antialias=True),
            "antialias",
        ),
        (
            "resize",
            lambda n: n.resize(n.x("f32", 1, 4), None, None, n.x("f32", 4, name="r"), sizes=(1, 8), coordinates="crop"),
            "as tensors",
        ),
        ("top_k", lambda n: n.top_k(n.x("i64", 9), k=2), "i64 is not ranked"),
        (
            "scatter",
            lambda n: n.scatter_nd(n.x("f32", 9), n.x("i64", 4, 1, name="i"), n.x("f32", 4, name="u"), reduction="add"),
            "combined",
        ),
        ("running", lambda n: n.cumsum(n.x("f32", 4, 4), n.x("i64", 1, name="axis")), "as a tensor"),
        ("generate", lambda n: n.range(*(n.x("i64", name=name) for name in "abc")), "as tensors"),
        ("grid_sample", lambda n: n.relu(n.x("f32", 4)), "not a grid_sample"),
        ("lrn", lambda n: n.relu(n.x("f32", 4)), "not an lrn"),
    ],
)
def test_what_is_not_taken_is_refused_with_a_reason(family: str, make: Callable[[Net], Any], why: str) -> None:
    assert why in FAMILIES[family].refusal(group_of(make))


def ranked(length: int, k: int, effort: int = 3) -> list[str]:
    group = group_of(lambda n: n.top_k(n.x("f32", 2, length), k=k, name="y"))
    x = ArrayLayout((2, length), (length, 1), BY_NAME["f32"])
    made = [ArrayLayout((2, k), (k, 1), t.dtype) for t in group.outputs]
    device: Any = SimpleNamespace(name="cuda:sm_90")
    return [t.name for t in TOP_K.tactics_for(make_problem(group, {}, [x], made), device, effort)]


def test_short_rows_are_sorted_and_long_ones_selected_from() -> None:
    assert ranked(300, 10) == ["sort", "select"]
    assert ranked(4000, 10) == ["select", "sort"]
    assert ranked(5000, 10) == ["select"]


def test_more_than_a_block_sorts_is_left_to_others() -> None:
    wanted = case("top_k", lambda n: n.top_k(n.x("f32", 1, 9000), k=5000, name="y"))
    for tactic in ("sort", "select"):
        with pytest.raises(TacticError, match="more than 4096"):
            wanted.plan("top_k", tactic, [*wanted.inputs, *wanted.outputs()])


def test_channels_are_resampled_in_vectors() -> None:
    def lanes(channels: int, layout: str) -> int:
        wanted = case(
            "resize",
            lambda n: n.resize(n.x("f16", 2, channels, 4, 6), sizes=(2, channels, 8, 12), name="y"),
            layouts=dict.fromkeys("xy", layout),
        )
        (call,) = wanted.plan("resize", "auto", [*wanted.inputs, *wanted.outputs()]).calls
        assert isinstance(call.spec, ResizeSpec)
        return call.spec.vector

    assert lanes(16, "last") == 8 and lanes(21, "last") == 1
    assert lanes(3, "") == 4, "neighbours of a row, each of which looks elsewhere"


def test_indices_outside_touch_nothing_outside(tmp_path: Path) -> None:
    """Gathering takes the nearest element, scattering leaves the update out."""
    reason = emulator.unavailable()
    if reason is not None:
        pytest.skip(reason)

    def gather(n: Net) -> Tensor:
        return n.gather_nd(n.x("f32", 4, 3), n.x("i64", 3, 1, name="ids"), name="y")  # type: ignore[no-any-return]

    def scatter(n: Net) -> Tensor:
        return n.scatter_nd(n.x("f32", 4, 3), n.x("i64", 3, 1, name="ids"), n.x("f32", 3, 3, name="u"), name="y")  # type: ignore[no-any-return]

    x, updates = np.arange(12, dtype=np.float32).reshape(4, 3), -np.ones((3, 3), np.float32)
    ids = np.array([[1 << 40], [-(1 << 40)], [-1]])
    results = []
    for make, arrays in ((gather, [x, ids]), (scatter, [x, ids, updates])):
        wanted = case(make.__name__, make)
        y = wanted.outputs()[0]
        plan = wanted.plan(*wanted.tactics[0], [*arrays, y])
        emulator.Emulator([c.spec for c in plan.calls], tmp_path).run(plan, [*arrays, y])
        results.append(y)
    np.testing.assert_array_equal(results[0], x[[3, 0, 3]])
    np.testing.assert_array_equal(results[1], np.concatenate([x[:3], updates[:1]]))
