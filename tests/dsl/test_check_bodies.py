"""What bodies of control flow need must hold where they run, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.checking import OUT, X, accepted, check, rejected, spec
from tests.interpreter import evaluate_network
from trtn.dsl.diagnostics import Severity
from trtn.dsl.load import load_text
from trtn.dsl.network import Network, bodies
from trtn.dsl.printer import print_network

FLAG = "input c: bool[]\n"


def branch(then: str, otherwise: str = "yield x") -> str:
    return f"{FLAG}y = if c {{\n{then}\n}} else {{\n{otherwise}\n}}"


def guards(network: Network) -> list[list[str]]:
    return [[str(g.relation) for g in body.guards] for body in bodies(network.layers)]


SLICED = "t = slice(x, start=[4])\nyield x + reduce_sum(t)"


def test_a_branch_may_need_more_than_the_network() -> None:
    (network,), (warning,) = check(spec(OUT + branch(SLICED)))
    assert network.guards == () and guards(network) == [["N - 4 >= 0"], []]
    assert (warning.code, warning.severity) == ("W0401", Severity.WARNING)
    assert warning.notes[1] == "it fails for N = 1: -3 >= 0 does not hold"
    for flag, rows, runs in ((True, 5, True), (False, 5, True), (False, 2, True), (True, 2, False)):
        feeds = {"x": np.ones((rows, 4), np.float32), "c": np.array(flag)}
        if runs:
            evaluate_network(network, feeds)
        else:
            with pytest.raises(AssertionError, match="N - 4 >= 0"):
                evaluate_network(network, feeds)


def test_the_same_outside_of_a_branch_is_an_error() -> None:
    assert rejected(spec(OUT + "t = slice(x, start=[4])\ny = x + reduce_sum(t)")).values == {"N": 1}


def test_an_assert_in_a_branch_is_the_branchs() -> None:
    network = accepted(spec(OUT + branch(f'assert N >= 4, "long"\n{SLICED}')))
    assert network.asserts == network.guards == () and guards(network) == [["N >= 4"], []]
    assert rejected(spec(OUT + branch(f"assert N >= 9\n{SLICED}"))).code == "E0403"


def test_what_a_branch_asserts_holds_in_the_bodies_inside_and_not_beside() -> None:
    inner = f"r = if c {{\n{SLICED}\n}} else {{\nyield x\n}}\nyield r"
    network = accepted(spec(OUT + branch(f"assert N >= 4\n{inner}")))
    assert guards(network) == [["N >= 4"], [], [], []]
    (network,), (warning,) = check(spec(OUT + branch("assert N >= 4\nyield x", SLICED)))
    assert warning.code == "W0401" and guards(network) == [["N >= 4"], ["N - 4 >= 0"]]


def test_a_need_of_the_network_is_one_of_its_branches_too() -> None:
    """What holds in any case is not asked again where a branch runs."""
    assert guards(accepted(spec("assert N >= 4\n" + OUT + branch(SLICED)))) == [[], []]


ROWS = "dim N in 0..8\ndim M in 1..8"


def test_a_scan_runs_where_there_is_something_to_scan() -> None:
    """N - 1 is negative only for N = 0, and then there are no rows."""
    scan = "s, ys = scan over r = x carry s = constant(0.0) {\n z = fill(shape=[N - 1])\n s = s + reduce_sum(z)\n yield r\n}"
    network = accepted(spec(f"output y: f32[N, 4]\n{scan}\ny = ys", dims="dim N in 0..8"))
    for rows in (0, 3):
        evaluate_network(network, {"x": np.ones((rows, 4), np.float32)})
    finding = rejected(spec(f"output y: f32[N, 4]\n{scan.replace('N - 1', 'N - 2')}\ny = ys", dims="dim N in 0..8"))
    assert finding.values == {"N": 1}


def loop(head: str) -> str:
    body = "t = slice(x, start=[4])\n h = h + reduce_sum(t)\n on = reduce_sum(h) < 3.0"
    return f"{FLAG}input n: i64[]\ny, _ = loop i in 0..{head} {{\n{body}\n}}"


@pytest.mark.parametrize(
    ("head", "optional"),
    [("3 carry h = x, on = c", False), ("n max 3 carry h = x, on = c", True), ("3 carry h = x, on = c while on", True)],
)
def test_a_loop_runs_as_its_limit_says(head: str, optional: bool) -> None:
    _, (finding,) = check(spec(OUT + loop(head)))
    assert finding.severity is (Severity.WARNING if optional else Severity.ERROR)


def test_a_loop_over_a_dim() -> None:
    text = "y = loop i in 0..N - 4 max 8 carry h = x {\n t = slice(x, start=[5])\n h = h + reduce_sum(t)\n}"
    accepted(spec(OUT + text, dims="dim N in 4..8"))
    assert rejected(spec(OUT + text.replace("5", "6"), dims="dim N in 4..8")).values == {"N": 5}


def test_a_divisor_in_a_branch() -> None:
    text = spec(OUT + branch("t = fill(shape=[8 // (N - 1)])\nyield x + reduce_sum(t)"))
    (network,), found = check(text)
    assert {d.code for d in found} == {"W0401"} and guards(network)[0] == ["N - 1 >= 1"]
    assert rejected(spec(OUT + "t = fill(shape=[8 // (N - 1)])\ny = x + reduce_sum(t)")).code == "E0313"


def test_a_profile_does_not_bind_a_branch() -> None:
    profile = "profile p for m {\n N: min 1, opt 2, max 3\n}"
    _, found = check(spec(OUT + branch(SLICED), after=profile))
    assert [d.code for d in found] == ["W0401"]


@pytest.mark.parametrize("stated", ["", 'assert N >= 5, "long"\n'])
def test_printed_branches_keep_what_they_need(stated: str) -> None:
    (network,), _ = check(spec(OUT + branch(stated + SLICED)))
    text = print_network(network)
    again = load_text(text)
    assert guards(again) == guards(network) and print_network(again) == text
    assert [g.message for g in next(bodies(again.layers)).guards] == [
        g.message for g in next(bodies(network.layers)).guards
    ]
    np.testing.assert_array_equal(evaluate_network(again, {"x": X, "c": np.array(False)})["y"], X)


def test_a_branch_asserts_about_what_its_data_decides() -> None:
    counted = "k = nonzero(x) : i64[2, K in 0..4 * N]\nassert K <= 3\nyield x + cast(reduce_sum(k), to=f32)"
    network = accepted(spec(OUT + branch(counted)))
    assert guards(network) == [["K <= 3"], []]
    again = load_text(print_network(network))
    assert guards(again) == guards(network)
    evaluate_network(again, {"x": np.eye(3, 4, dtype=np.float32), "c": np.array(True)})
    evaluate_network(again, {"x": X, "c": np.array(False)})
    with pytest.raises(AssertionError, match="K <= 3"):
        evaluate_network(again, {"x": X, "c": np.array(True)})


@pytest.mark.parametrize(
    ("bound", "left"),
    [
        ("0..4 * N", []),  # what the op says itself
        ("0..N", ["K <= N"]),
        ("1..4 * N", ["K >= 1"]),
        ("1..3", ["K >= 1", "K <= 3"]),
    ],
)
def test_a_bound_that_a_branch_states_for_its_data_is_checked_when_it_runs(bound: str, left: list[str]) -> None:
    counted = f"k = nonzero(x) : i64[2, K in {bound}]\nyield x + cast(reduce_sum(k), to=f32)"
    network = accepted(spec(OUT + branch(counted)))
    assert guards(network) == [left, []]
    again = load_text(print_network(network))
    assert guards(again) == guards(network)
    evaluate_network(again, {"x": X, "c": np.array(False)})
    if left:
        zero_or_full = np.zeros_like(X) if bound.startswith("1..4") else np.ones_like(X)
        with pytest.raises(AssertionError, match=left[-1]):
            evaluate_network(again, {"x": zero_or_full, "c": np.array(True)})
