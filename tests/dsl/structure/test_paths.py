"""Paths of weights that belong together."""

from __future__ import annotations

import numpy as np
import pytest

from trtn.dsl.builder import Builder
from trtn.dsl.structure.labels import module_labels
from trtn.dsl.structure.paths import Family, family, indexed, split_index


def paths(*occurrences: list[str]) -> Family:
    b = Builder("net")
    return family([[b.constant(np.zeros(40, np.float32), name) for name in names] for names in occurrences])


@pytest.mark.parametrize(
    ("occurrences", "prefixes", "suffixes"),
    [
        (
            (["e.layer[0].q.weight", "e.layer[0].k.weight"], ["e.layer[1].q.weight", "e.layer[1].k.weight"]),
            ("e.layer[0]", "e.layer[1]"),
            ("q.weight", "k.weight"),
        ),
        (
            (["l1[0].conv1.weight", "l1[0].down[0].weight"], ["l2[0].conv1.weight", "l2[0].down[0].weight"]),
            ("l1[0]", "l2[0]"),
            ("conv1.weight", "down[0].weight"),
        ),
        ((["b.layer_0.fc.weight"], ["b.layer_1.fc.weight"]), ("b.layer_0", "b.layer_1"), ("fc.weight",)),
        ((["a[0].fc.weight", "val_3"], ["a[1].fc.weight", "val_9"]), ("a[0]", "a[1]"), ("fc.weight", None)),
    ],
)
def test_prefixes_and_what_is_below(
    occurrences: tuple[list[str], ...], prefixes: tuple[str, ...], suffixes: tuple[str | None, ...]
) -> None:
    found = paths(*occurrences)
    assert (found.prefixes, found.suffixes) == (prefixes, suffixes)
    assert found.regular is (None not in suffixes) and found.fits


def test_a_weight_of_another_family_does_not_fit() -> None:
    q = ["l[0].q.weight", "l[1].q.weight", "l[2].q.weight"]
    norm = ["embed.norm.weight", "l[0].norm.weight", "l[1].norm.weight"]
    k = ["l[0].k.weight", "l[1].k.weight", "l[2].k.weight"]
    assert paths(*map(list, zip(q, k, strict=True))).fits
    assert not paths(*map(list, zip(norm, q, k, strict=True))).fits


def test_a_weight_that_all_share() -> None:
    b = Builder("net")
    table = b.constant(np.zeros(40, np.float32), "table")
    own = [b.constant(np.zeros(40, np.float32), f"l[{n}].q.weight") for n in range(2)]
    assert family([[table, t] for t in own]).shared == {0}


def test_indexes() -> None:
    assert indexed("layers.encoder_layer_3") == "layers.encoder_layer[3]"
    assert indexed("layers[3]") == "layers[3]" and indexed("layers.norm") == "layers.norm"
    assert split_index("layer[3]") == ("layer", 3) and split_index("layer[3].q") is None and split_index("") is None


def test_modules_are_called_by_as_much_as_tells_them_apart() -> None:
    labels = module_labels(
        ["attention.output.dense.weight", "output.dense.weight", "output.dense.bias", "conv[0][1].weight"]
    )
    assert list(labels.values()) == ["attention_output_dense", "output_dense", "output_dense", "conv_0_1"]
