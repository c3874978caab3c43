"""Ranges, steps, equalities and asserts from what layers demand."""

from __future__ import annotations

import pytest

from trtn.dsl.convert.onnx.fitting import Fit, asserted, equalities, fitted_ranges, refuted
from trtn.dsl.dims import Dim, Domain, Range, Relation, Verdict, ceildiv, prove, symbol

H, W, N, M = (symbol(name) for name in "HWNM")
FREE = Range(1, 4096)


def rel(left: Dim, op: str, right: Dim) -> Relation:
    return Relation(op, left, right)


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        (rel(H, ">=", 7), Range(7, 4096)),
        (rel(ceildiv(H, 2) - 5, ">=", 1), Range(11, 4096)),
        (rel(H // 2 * 2, "==", H), Range(2, 4096, 2)),
        (rel(2 * ceildiv(H, 32), "==", ceildiv(H, 16)), Range(32, 4096, 32)),
        (rel((H + 320) // 512, "==", 1), Range(192, 703)),
        (rel(H, "<=", 512), Range(1, 512)),
        (rel(H % 3, "==", 0), None),
    ],
)
def test_one_dim(relation: Relation, expected: Range | None) -> None:
    ranges = fitted_ranges([relation], Domain({"H": FREE, "W": FREE}))
    assert ranges["W"] == FREE
    if expected is not None:
        assert ranges["H"] == expected
        assert prove(relation, Domain(ranges)).verdict is Verdict.PROVED


def test_ranges_too_long_to_list() -> None:
    ranges = fitted_ranges(
        [rel(H, ">=", 1000), rel(W % 8, "==", 0)], Domain({"H": Range(1, 10**6), "W": Range(1, 10**6)})
    )
    assert ranges == {"H": Range(1000, 10**6), "W": Range(8, 10**6, 8)}


def test_several_dims_get_one_step() -> None:
    relation = rel((H // 4) * (W // 4) * 16, "==", H * W)
    ranges = fitted_ranges([relation], Domain({"H": FREE, "W": FREE}))
    assert ranges == {"H": Range(4, 4096, 4), "W": Range(4, 4096, 4)}


def test_what_is_left_is_asserted_shortest_first() -> None:
    domain = Domain({"N": FREE, "M": FREE})
    relations = refuted([rel(N * M, "<=", 1000), rel(N * M * 2, "<=", 2000), rel(N, ">=", 1)], domain)
    assert len(relations) == 2
    assert asserted(relations, domain) == [rel(N * M, "<=", 1000)]


def test_equal_dims_become_one() -> None:
    fit = Fit({"N": FREE, "M": Range(2, 64)})
    better = equalities([rel(N + 1, "==", M + 1)], fit)
    assert better is not None and better.ranges == {"M": Range(2, 64)} and better.resolve("N") == M


def test_a_dim_with_one_value() -> None:
    better = equalities([rel(3 * N - 36, "==", 0)], Fit({"N": FREE}))
    assert better is not None and better.ranges == {} and better.resolve("N") == 12


def test_equations_that_bind_nothing() -> None:
    fit = Fit({"N": FREE, "M": FREE})
    for relation in (rel(N, "==", 9999), rel(N, "<=", M), rel(2 * N, "==", M), rel(N // 2, "==", M)):
        assert equalities([relation], fit) is None


def test_chains_of_equal_dims() -> None:
    fit = equalities([rel(N, "==", M)], Fit({"N": FREE, "M": FREE, "H": FREE}))
    assert fit is not None
    (left,) = set(fit.ranges) - {"H"}
    again = equalities([rel(symbol(left), "==", H)], fit)
    assert again is not None and len(again.ranges) == 1
    assert again.resolve("N") == again.resolve("M") == again.resolve("H")
