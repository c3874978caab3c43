"""The name that was probably meant."""

from __future__ import annotations

from difflib import get_close_matches

import pytest

from trtn.dsl.diagnostics import did_you_mean
from trtn.dsl.diagnostics.suggest import nearest

OPS = ("conv", "deconv", "relu", "max_pool", "softmax", "layer_norm", "B", "S")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rleu", "relu"),
        ("convv", "conv"),
        ("MaxPool", "max_pool"),
        ("layernorm", "layer_norm"),
        ("b", "B"),
        ("attention", None),
        ("q", None),
        ("", None),
        ("x" * 5000, None),
    ],
)
def test_nearest(name: str, meant: str | None) -> None:
    assert nearest(name, OPS) == meant
    assert did_you_mean(name, OPS) == (f"did you mean `{meant}`?" if meant else "")


def test_the_name_itself_is_no_suggestion() -> None:
    assert did_you_mean("conv", ["conv"]) == ""


def test_order_does_not_matter() -> None:
    names = ["fc1.weight", "fc2.weight", "fc3.weight"]
    assert nearest("fc.weight", names) == nearest("fc.weight", reversed(names))
    assert nearest("MAXPOOL", ["max_pool", "maxpool"]) == nearest("MAXPOOL", ["maxpool", "max_pool"])


@pytest.mark.parametrize(
    "typo", ["encodr.layer[512].q.weight", "encoder.layer[512].q.wieght", "encoder.layr[512].q.weight"]
)
def test_huge_lists_are_not_compared_one_by_one(typo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def counting(name: str, near: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(near))
        return get_close_matches(name, near, n=n, cutoff=cutoff)

    monkeypatch.setattr("difflib.get_close_matches", counting)
    manifest = [f"encoder.layer[{n}].{part}.weight" for n in range(2000) for part in "qkv"]
    assert nearest(typo, manifest) == "encoder.layer[512].q.weight"
    assert len(compared) == 1
    assert compared[0] <= 200
