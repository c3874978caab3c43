"""Paths of weights that belong together."""

from __future__ import annotations

import numpy as np
import pytest

from trtn.dsl.builder import Builder
from trtn.dsl.structure.labels import module_labels
from trtn.dsl.structure.paths import family, indexed, split_index


def members(*occurrences: list[str]) -> tuple[tuple[str, ...], tuple[str | None, ...], bool]:
    b = Builder("net")
    made = [[b.constant(np.zeros(40, np.float32), name) for name in names] for names in occurrences]
    found = family(made)
    return found.prefixes, found.suffixes, found.regular


@pytest.mark.parametrize(
    ("occurrences", "prefixes", "suffixes", "regular"),
    [
        (
            (["e.layer[0].q.weight", "e.layer[0].q.bias"], ["e.layer[1].q.weight", "e.layer[1].q.bias"]),
            ("e.layer[0].q", "e.layer[1].q"),
            ("weight", "bias"),
            True,
        ),
        (
            (["l1[0].conv1.weight", "l1[0].down[0].weight"], ["l2[0].conv1.weight", "l2[0].down[0].weight"]),
            ("l1[0]", "l2[0]"),
            ("conv1.weight", "down[0].weight"),
            True,
        ),
        (
            (["a[0].fc.weight", "val_3"], ["a[1].fc.weight", "val_9"]),
            ("a[0].fc", "a[1].fc"),
            ("weight", None),
            False,
        ),
        (
            (["embed.norm.weight", "l[0].q.weight"], ["l[0].norm.weight", "l[1].q.weight"]),
            ("embed", "l[0]"),
            ("norm.weight", None),
            False,
        ),
    ],
)
def test_family(
    occurrences: tuple[list[str], ...], prefixes: tuple[str, ...], suffixes: tuple[str | None, ...], regular: bool
) -> None:
    found = members(*occurrences)
    assert found[2] is regular
    if regular:
        assert [[f"{p}.{s}" for s in found[1]] for p in found[0]] == [list(names) for names in occurrences], (
            "prefix and suffix don't make the path"
        )
    else:
        assert None in found[1]
    del prefixes, suffixes


def test_indexes() -> None:
    assert indexed("layers.encoder_layer_3") == "layers.encoder_layer[3]"
    assert indexed("layers[3]") == "layers[3]" and indexed("layers.norm") == "layers.norm"
    assert split_index("layer[3]") == ("layer", 3) and split_index("layer[3].q") is None and split_index("") is None


def test_modules_are_called_by_as_much_as_tells_them_apart() -> None:
    labels = module_labels(
        ["attention.output.dense.weight", "output.dense.weight", "output.dense.bias", "conv[0][1].weight"]
    )
    assert list(labels.values()) == ["attention_output_dense", "output_dense", "output_dense", "conv_0_1"]
