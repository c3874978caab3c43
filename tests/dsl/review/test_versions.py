"""Two releases of a real model (AECMOS of the package speechmos, September and November 2022), as the importer converts
them: wider layers, another activation, one score less. Their specs and manifests are committed, their weights are not.

`python -m tests.dsl.review.test_versions` writes the golden anew: read it before it is committed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import trtn
from tests.corpus.models import folder
from trtn.dsl.review import Comparison, compare
from trtn.dsl.review.report import human

PAIR = Path(__file__).parents[2] / "data" / "versions" / "aecmos"
RELEASES = tuple(f"speechmos__aecmos_Run_{run}_Stage_0.onnx" for run in ("1663829550", "1668423760"))


def committed() -> Comparison:
    before, after = (trtn.load(PAIR / f"{side}.trtn") for side in ("before", "after"))
    return compare(before, after, titles=("before", "after"))


def text() -> str:
    return human([committed()]).replace(f"{PAIR}/", "") + "\n"


def tells_the_story(found: Comparison) -> None:
    """Each layer is recognised in what it became, though nearly every name and size differs."""
    layers = found.of("layer")
    ops = [(c.before, c.after) for c in layers if c.what == "op"]
    assert ops.count(("silu", "leaky_relu")) == 6
    assert [(c.before, c.after) for c in layers if c.what == "attribute hidden"] == [("64", "96")] * 2
    assert [(c.before, c.after) for c in found.of("output")] == [("f32[4]", "f32[2]")]
    assert [(c.before, c.after) for c in found.of("input")] == [("f32[4, 1, 64]", "f32[4, 1, 96]")]
    weights = found.of("weight")
    assert {c.verb for c in weights} == {"renamed", "changed"}
    assert sum(c.verb == "changed" for c in weights) == 20
    assert sum(c.verb in ("added", "removed") for c in layers) <= 4


def test_golden() -> None:
    assert text() == (PAIR / "diff.txt").read_text()


def test_the_committed_pair() -> None:
    tells_the_story(committed())


def test_the_models_themselves() -> None:
    paths = [folder() / name for name in RELEASES]
    if not all(p.exists() for p in paths):
        pytest.skip("the corpus is not here")
    before, after = (trtn.import_onnx(p, name="aecmos") for p in paths)
    tells_the_story(compare(before, after))


if __name__ == "__main__":
    (PAIR / "diff.txt").write_text(text())
