"""What a comparison says of one commit's edit, as a golden text each; and what makes two networks the same.

`python -m tests.dsl.review.test_compare` writes the goldens anew: read them before they are committed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

import trtn
from tests.dsl.review.pairs import GOLDENS, NAMES, edits_of, golden, network
from trtn.dsl.network import Graph, Network
from trtn.dsl.printer import network_digest
from trtn.dsl.review import Comparison, compare
from trtn.dsl.review.report import human, markdown


def comparison(folder: Path, name: str) -> Comparison:
    before = network(folder / "before", [])
    return compare(before, network(folder / "after", edits_of(name)), titles=("before", "after"))


def text(folder: Path, name: str) -> str:
    return human([comparison(folder, name)]).replace(f"{folder}/", "") + "\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return network(tmp_path_factory.mktemp("base"), [])


def test_there_are_pairs_enough() -> None:
    assert len(NAMES) >= 40
    assert all(golden(name)[1] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, tmp_path: Path) -> None:
    assert text(tmp_path, name) == golden(name)[1]


@pytest.mark.parametrize("name", NAMES)
def test_same_means_the_same_results(name: str, base: Network, tmp_path: Path) -> None:
    """Where nothing but inner names is said to differ, the outputs are the same, bit by bit."""
    after = network(tmp_path, edits_of(name))
    if not compare(base, after).is_same:
        assert network_digest(after) != network_digest(base) or name == "outputs_in_another_order"
        return
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((3, 8), np.float32), "keep": np.array([True, False, True])}
    ours, theirs = (trtn.build(n, device="cpu").run(feeds) for n in (base, after))
    assert all(np.array_equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("name", NAMES)
def test_both_ways(name: str, base: Network, tmp_path: Path) -> None:
    """What was added one way was removed the other way, and neither is changed by comparing with itself."""
    after = network(tmp_path, edits_of(name))
    there, back = compare(base, after), compare(after, base)
    assert there.is_same == back.is_same
    for subject in ("input", "output", "weight", "profile", "dim"):
        added = {c.name for c in there.of(subject) if c.verb == "added"}
        assert added == {c.name for c in back.of(subject) if c.verb == "removed"}, subject
    assert compare(after, after).changes == ()


def test_weights_are_compared_by_value(tmp_path: Path) -> None:
    before = network(tmp_path / "a", [])
    after = network(tmp_path / "b", [("head.bias: f32[4] = zeros", "head.bias: f32[4] = inline [0, 0.5, 0, -0.25]")])
    (change,) = compare(before, after, values=True).changes
    assert change.amount == (0.5, 0.1875)
    same = network(tmp_path / "c", [("head.bias: f32[4] = zeros", "head.bias: f32[4] = full(0)")])
    assert compare(before, same, values=True).is_same
    assert not compare(before, same).is_same  # without values, what the manifest says is what counts


def test_markdown_and_json(tmp_path: Path) -> None:
    found = comparison(tmp_path, "op_inside_a_repeat")
    table = markdown([found])
    assert "**3 changes**" in table
    assert "| changed | `a[0..2].sigmoid` op (3×) | `tanh` | `sigmoid` |" in table
    document = json.loads(json.dumps(found.to_json()))
    assert document["same"] is False
    assert [c["places"] for c in document["changes"] if c["verb"] == "changed"] == [
        ["a[0].sigmoid", "a[1].sigmoid", "a[2].sigmoid"]
    ]


def test_long_tables_are_folded(base: Network, tmp_path: Path) -> None:
    nothing = Network("nothing", Graph((), (), ()))
    assert "<details>" not in markdown([compare(nothing, base)])
    many = network(tmp_path, [("0..3 carry", "0..1 carry"), *_written_out()])
    assert "<details><summary>layers" in markdown([compare(nothing, many)])


def _written_out() -> list[tuple[str, str]]:
    """More layers than a table shows unfolded, each of another op's name than its neighbour's."""
    chain = "".join(f"  c{i} = relu({f'c{i - 1}' if i else 'n'})\n" for i in range(12))
    return [("  y = linear(n", f"{chain}  y = linear(c11")]


if __name__ == "__main__":
    for edit in NAMES:
        with tempfile.TemporaryDirectory() as scratch:
            (GOLDENS / f"{edit}.txt").write_text(f"{golden(edit)[0]}----\n{text(Path(scratch), edit)}")
