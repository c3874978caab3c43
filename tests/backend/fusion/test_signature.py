"""Signatures: equal for equal groups, different for different ones, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.backend.passes.nets import F32, N, Net
from trtn.backend.fusion import partition, signature
from trtn.backend.group import Group
from trtn.dsl.network import TensorType


def _group(name: str = "", *, width: int = 4, act: str = "relu", rows: Any = N, groups: int = 1) -> Group:
    b = Net()
    x = b.input(f"x{name}", F32, (rows, width, 8))
    y = b.of("conv", x, b.c(width, width // groups, 3), b.c(width), name=f"c{name}", groups=groups)
    (group,) = partition(b.done(b.of(act, y, name=f"a{name}")))
    return group


def test_the_text() -> None:
    assert signature(_group()) == (
        "conv(a0: f32[N, 4, 8], w0: f32[4, 4, 3], w1: f32[4]) { "
        'a1: f32[N, 4, 6] = conv(a0, w0, w1, auto_pad="none", dilations=[1], groups=1, pads=[0, 0], strides=[1]); '
        "a2: f32[N, 4, 6] = relu(a1) } -> a2: f32[N, 4, 6]"
    )


def test_names_and_values_do_not_count() -> None:
    assert signature(_group("one")) == signature(_group("two"))


@pytest.mark.parametrize("change", [{"width": 8}, {"act": "exp"}, {"rows": 2}, {"groups": 2}])
def test_what_decides_the_work_counts(change: dict[str, Any]) -> None:
    assert signature(_group()) != signature(_group(**change))


def test_bodies_count() -> None:
    texts = []
    for op in ("exp", "neg", "exp"):
        b = Net()
        x = b.x(4)
        with b.region([("x_t", TensorType(F32, (N,)))]) as region:
            body = region.finish([b.of("add", b.of(op, region.inputs[0]), b.k([2.0]))])
        network = b.done(b.layer("scan", x, regions=[body], name="s", axes=(1,))[0])
        (group,) = partition(network)
        texts.append(signature(group))
    assert texts[0] == texts[2] != texts[1]
    assert "w0: f32[1]" in texts[0]


def test_it_is_the_same_in_another_process() -> None:
    code = "from tests.backend.fusion.test_signature import _group, signature; print(signature(_group()))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == signature(_group())
