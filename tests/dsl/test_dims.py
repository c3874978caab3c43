"""Dim expressions, bounds and proofs, against plain integer arithmetic and brute force."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from itertools import product as cartesian

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtn.dsl.dims import (
    Dim,
    Domain,
    Expr,
    Range,
    Relation,
    Verdict,
    bounds,
    ceildiv,
    dim_max,
    dim_min,
    evaluate,
    floordiv,
    modulo,
    parse_dim,
    product,
    prove,
    sample,
    substitute,
    symbol,
    symbols,
)

B, H, K, S = (symbol(name) for name in "BHKS")
Env = dict[str, int]

# --- random expressions, each with its meaning in plain Python ---

Meaning = Callable[[Env], int]
Pair = tuple[Dim, Meaning]


def _binary(op: str, left: Pair, right: Pair) -> Pair:
    (a, f), (b, g) = left, right
    meanings: dict[str, tuple[Callable[[], Dim], Meaning]] = {
        "+": (lambda: a + b, lambda env: f(env) + g(env)),
        "-": (lambda: a - b, lambda env: f(env) - g(env)),
        "*": (lambda: a * b, lambda env: f(env) * g(env)),
        "min": (lambda: dim_min(a, b), lambda env: min(f(env), g(env))),
        "max": (lambda: dim_max(a, b), lambda env: max(f(env), g(env))),
    }
    make, meaning = meanings[op]
    return make(), meaning


def _division(op: str, left: Pair, right: Pair) -> Pair:
    (a, f), (b, g) = left, right
    if op == "//":
        return floordiv(a, b), lambda env: f(env) // g(env)
    if op == "%":
        return modulo(a, b), lambda env: f(env) % g(env)
    return ceildiv(a, b), lambda env: -(-f(env) // g(env))


def _constant(value: int) -> Pair:
    return value, lambda env: value


def _named(name: str) -> Pair:
    return symbol(name), lambda env: env[name]


_symbols = st.sampled_from(["B", "S", "K"]).map(_named)
_divisors = st.one_of(
    st.integers(1, 9).map(_constant),
    _symbols,
    st.builds(_binary, st.sampled_from(["+", "*"]), _symbols, st.one_of(_symbols, st.integers(1, 4).map(_constant))),
)
_pairs: st.SearchStrategy[Pair] = st.recursive(
    st.one_of(st.integers(-9, 9).map(_constant), _symbols),
    lambda inner: st.one_of(
        st.builds(_binary, st.sampled_from(["+", "-", "*", "min", "max"]), inner, inner),
        st.builds(_division, st.sampled_from(["//", "%", "ceildiv"]), inner, _divisors),
    ),
    max_leaves=8,
)
_envs = st.fixed_dictionaries({name: st.one_of(st.integers(1, 40), st.integers(1, 2**62)) for name in "BSK"})


@settings(deadline=None)
@given(_pairs, _envs)
def test_canonical_form_keeps_the_value(pair: Pair, env: Env) -> None:
    dim, meaning = pair
    assert evaluate(dim, env) == meaning(env)


@settings(deadline=None)
@given(_pairs)
def test_text_reads_back_to_an_equal_dim(pair: Pair) -> None:
    dim, _ = pair
    again = parse_dim(str(dim))
    assert again == dim
    assert hash(again) == hash(dim)


@settings(deadline=None)
@given(_pairs, _pairs, _envs)
def test_substitution_is_composition(pair: Pair, other: Pair, env: Env) -> None:
    (dim, meaning), (inner, inner_meaning) = pair, other
    positive = dim_max(inner, 1)
    value = substitute(dim, {"S": positive})
    assert evaluate(value, env) == meaning({**env, "S": max(1, inner_meaning(env))})
    assert symbols(value) <= symbols(dim) - {"S"} | symbols(positive)


@settings(deadline=None)
@given(_pairs, _pairs, _pairs)
def test_ring_laws_are_structural(x: Pair, y: Pair, z: Pair) -> None:
    a, b, c = x[0], y[0], z[0]
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert -1 * (-1 * a) == a


@settings(deadline=None)
@given(_pairs)
def test_copies_are_equal(pair: Pair) -> None:
    dim, _ = pair
    assert pickle.loads(pickle.dumps(dim)) == dim
    assert copy.deepcopy(dim) == dim


# --- the canonical form and its text ---


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (3 + S * B * 2, "2*B*S + 3"),
        (3 - S, "3 - S"),
        (-S - 3, "-S - 3"),
        (-(S // 4), "-(S//4)"),
        ((-S) // 4, "(-S)//4"),
        (1 - S // 4, "1 - S//4"),
        (2 * (S // 4), "2*(S//4)"),
        ((2 * S) // 3, "(2*S)//3"),
        ((S + 2) // 8 % B, "((S + 2)//8)%B"),
        (S % 8 + 1, "S%8 + 1"),
        (dim_min(512, S), "min(S, 512)"),
        (ceildiv(S, 8), "ceildiv(S, 8)"),
        (-(ceildiv(S, 2) // B), "-(ceildiv(S, 2)//B)"),
        (S * S, "S*S"),
        (symbol("layer.0 size") * 2, "2*`layer.0 size`"),
        (symbol("min") + 1, "`min` + 1"),
        (B // (S * 2), "B//(2*S)"),
    ],
)
def test_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse_dim(text) == dim


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4 * S + 3) // 4, S),
        ((8 * S + B) // 4, 2 * S + B // 4),
        ((S * B) // B, S),
        ((B * (S + 1) * 768) // (B * (S + 1)), 768),
        ((B * S) // (B * H), S // H),
        ((S * S - 1) // (S + 1), S - 1),
        (S // 2 // 3, S // 6),
        (((H - 1) // 2 + 1 - 1) // 2 + 1, ceildiv(H, 4)),
        ((S + 2 * 1 - 3) // 2 + 1, ceildiv(S, 2)),
        ((2 * S + 1) // 4, S // 2),
        (S // -2, (-S) // 2),
        ((S + 8 * B) % 8, S % 8),
        ((S % 16 + 3) % 8, (S + 3) % 8),
        ((2 * S + 1) % 4, 2 * (S % 2) + 1),
        (S % 4 % 8, S % 4),
        ((S - 1) // S, 0),
        (dim_min(S, dim_min(B, S), 7, 9), dim_min(B, 7, S)),
        (dim_max(S + 1, S + 3), S + 3),
        (dim_min(S, S), S),
        (ceildiv(8 * S, 8), S),
        (ceildiv(S, 1), S),
        (product([2, S, 3]), 6 * S),
        (product([]), 1),
        (7 // S * 0, 0),
    ],
)
def test_equal_expressions_are_equal(left: Dim, right: Dim) -> None:
    assert left == right
    assert isinstance(left, int) == isinstance(right, int)


def test_constants_are_plain_ints() -> None:
    assert type(S - S) is int
    assert type(S // S) is int
    assert type(parse_dim("2*(S + 1) - 2*S")) is int
    assert ceildiv(7, 2) == 4
    assert dim_max(3, 4) == 4


def test_equality_is_structural() -> None:
    assert S != B
    assert symbol("S") == S
    assert S != "S"
    assert len({S + 1, 1 + S, S}) == 2


def test_evaluation_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="`S` has no value"):
        (S + B).evaluate({"B": 1})  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"division by zero.*B//S"):
        evaluate(B // S, {"B": 1, "S": 0})
    with pytest.raises(ValueError, match="division by zero"):
        S // 0
    with pytest.raises(ValueError, match="division by zero"):
        S % 0


def test_other_operands_are_refused() -> None:
    for operation in (lambda: S + 1.5, lambda: "a" * S, lambda: S // None):  # type: ignore[operator]
        with pytest.raises(TypeError):
            operation()


@pytest.mark.parametrize("name", ["", "a`b", "a\nb"])
def test_names_that_text_cannot_carry_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't name a dim"):
        symbol(name)


# --- reading text ---


@pytest.mark.parametrize(
    ("text", "dim"),
    [
        ("-7", -7),
        (" 2 * B*S+3 ", 2 * B * S + 3),
        ("--S", S),
        ("7 - 2 - 1", 4),
        ("17 // 5 // 2", 1),
        ("-7 // 2", -4),
        ("(S + 1)//2 % 3", (S + 1) // 2 % 3),
        ("min(S, 4, max(B, 2))", dim_min(S, 4, dim_max(B, 2))),
        ("ceildiv(S, B)", ceildiv(S, B)),
    ],
)
def test_parse(text: str, dim: Dim) -> None:
    assert parse_dim(text) == dim


@pytest.mark.parametrize(
    "text",
    [
        "",
        "S +",
        "(S",
        "S)",
        "S S",
        "2S",
        "1.5",
        "S ** 2",
        "S / 2",
        "foo(S)",
        "min()",
        "min(S,)",
        "ceildiv(S)",
        "ceildiv(S, 2, 3)",
        "`S",
        "``",
        "S // 0",
        "S % (B - B)",
        "__import__('os')",
        "S\x00",
        "\u0661",
        "(S, B)",
    ],
)
def test_bad_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_dim(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000 + "S" + ")" * 100_000,
        "(" * 5_000 + "S" + ")" * 5_000,
        "min(" * 200 + "S" + ", 1)" * 200,
        "1" * 10_000,
        "*".join(["9" * 70] * 200),
        "*".join(["(a + b + c + d)"] * 60),
        "*".join(["S"] * 5_000),
        "-".join(f"x{i}" for i in range(2_000)),
        "S" + "//(S + 1)" * 500,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_dim(text)


def test_many_signs_are_no_trouble() -> None:
    assert parse_dim("-" * 10_001 + "S") == -S


def test_growth_by_sharing_is_stopped() -> None:
    def grow() -> None:
        dim: Dim = S
        for i in range(100):
            dim = dim_max((dim + B) // 3, dim % (7 + i), K)

    with pytest.raises(ValueError, match="too large"):
        grow()


# --- ranges, relations, domains ---


def test_range() -> None:
    values = Range(8, 30, 8)
    assert list(values) == [8, 16, 24]
    assert (values.count, values.last) == (3, 24)
    assert 16 in values
    assert 12 not in values
    assert 32 not in values
    assert [values.clamp(value) for value in (0, 8, 23, 1000)] == [8, 8, 16, 24]
    assert Range(3, 2).count == 0
    assert str(values) == "8..30 step 8"
    assert str(Range(1, 4)) == "1..4"
    with pytest.raises(ValueError, match="at least 1"):
        Range(0, 4, 0)
    with pytest.raises(ValueError, match="empty"):
        Range(3, 2).clamp(3)


def test_relation() -> None:
    relation = Relation("<=", B * S, 32768)
    assert str(relation) == "B*S <= 32768"
    assert relation.symbols == {"B", "S"}
    assert relation.holds({"B": 64, "S": 512})
    assert not relation.negated().holds({"B": 64, "S": 512})
    with pytest.raises(ValueError, match="does not relate"):
        Relation("=", S, 1)


@pytest.mark.parametrize("op", ["==", "!=", "<=", "<", ">=", ">"])
@pytest.mark.parametrize("value", [1, 2, 3])
def test_negation_swaps_truth(op: str, value: int) -> None:
    relation = Relation(op, S, 2)
    assert relation.holds({"S": value}) != relation.negated().holds({"S": value})


SERVING = {"B": Range(1, 64), "S": Range(8, 512, 8)}


def test_domain_contains() -> None:
    domain = Domain(SERVING, (Relation("<=", B * S, 1024),))
    assert domain.contains({"B": 2, "S": 512})
    assert not domain.contains({"B": 3, "S": 512})
    assert not domain.contains({"B": 2, "S": 12})
    assert not domain.contains({"B": 2})


def test_samples_start_at_corners_and_repeat_exactly() -> None:
    domain = Domain(SERVING, (Relation("<=", B * S, 16384),))
    points = list(sample(domain))
    assert points[0] == {"B": 1, "S": 8}
    assert {"B": 1, "S": 512} in points
    assert {"B": 64, "S": 512} not in points
    assert all(domain.contains(point) for point in points)
    assert len({tuple(sorted(point.items())) for point in points}) == len(points) > 100
    assert points == list(sample(domain))


def test_samples_solve_equalities() -> None:
    domain = Domain({"S": Range(0, 2**40), "K": Range(0, 2**40)}, (Relation("==", S, 3 * K + 5),))
    assert len(list(sample(domain))) > 20


def test_empty_domains_have_no_samples() -> None:
    assert list(sample(Domain({"S": Range(3, 2)}))) == []
    assert list(sample(Domain())) == [{}]


# --- bounds ---


@pytest.mark.parametrize(
    ("dim", "expected"),
    [
        (7, (7, 7)),
        (B * S, (8, 32768)),
        (B * S - B, (7, 64 * 511)),
        (512 - S, (0, 504)),
        (S - S // 2, (4, 256)),
        (2 * ((S - 1) // 2 + 1) - S, (0, 0)),
        (ceildiv(S, 16) * B, (1, 2048)),
        (dim_min(S, 100) + 1, (9, 101)),
        (dim_max(S, 100), (100, 512)),
        (S % 8, (0, 0)),
        (B % 5, (0, 4)),
        (S - B, (8 - 64, 511)),
        (B * B - B, (0, 64 * 63)),
    ],
)
def test_bounds_are_tight(dim: Dim, expected: tuple[int, int]) -> None:
    assert bounds(dim, Domain(SERVING)) == expected


def test_bounds_of_choices_inside_choices() -> None:
    inner = dim_min(B, 0)
    low, high = bounds(inner - dim_min(inner - B, 0), Domain({"B": Range(1, 2)}))
    assert low <= 1 and high >= 2


def test_bounds_heed_constraints_on_one_symbol() -> None:
    constraints = (Relation("<=", S, 100), Relation(">", B, 2), Relation("==", S % 24, 0))
    assert bounds(S * B, Domain(SERVING, constraints)) == (24 * 3, 96 * 64)


def test_bounds_of_huge_values() -> None:
    assert bounds(S * S + S // 3, Domain({"S": Range(0, 2**62)})) == (0, 2**124 + 2**62 // 3)


def test_bounds_need_ranges() -> None:
    with pytest.raises(ValueError, match="`H` has no range"):
        bounds(H, Domain(SERVING))
    with pytest.raises(ValueError, match="no values"):
        bounds(H, Domain({"H": Range(2, 1)}))
    with pytest.raises(ValueError, match="divisor"):
        bounds(S // H, Domain({"S": Range(1, 2), "H": Range(0, 2)}))


_ranges = st.builds(
    lambda low, count, step: Range(low, low + count * step, step),
    st.integers(1, 9),
    st.integers(0, 4),
    st.integers(1, 6),
)
_relations = st.builds(
    lambda op, left, right: Relation(op, left[0], right[0]),
    st.sampled_from(["==", "!=", "<=", "<", ">=", ">"]),
    _pairs,
    _pairs,
)
_domains = st.builds(
    Domain,
    st.fixed_dictionaries({"B": _ranges, "S": _ranges, "K": _ranges}),
    st.lists(_relations, max_size=2).map(tuple),
)


def _points(domain: Domain) -> Iterator[Env]:
    for values in cartesian(*domain.ranges.values()):
        env = dict(zip(domain.ranges, values, strict=True))
        if domain.contains(env):
            yield env


@settings(deadline=None)
@given(_pairs, _domains)
def test_bounds_are_sound(pair: Pair, domain: Domain) -> None:
    low, high = bounds(pair[0], domain)
    assert low <= high
    for env in _points(domain):
        assert low <= pair[1](env) <= high


# --- proofs ---


def _check(relation: Relation, domain: Domain, budget: int) -> Verdict:
    proof = prove(relation, domain, budget=budget)
    if proof.verdict is Verdict.REFUTED:
        assert proof.witness is not None
        assert set(proof.witness) == set(domain.ranges)
        assert domain.contains(proof.witness)
        assert not relation.holds(proof.witness)
    else:
        assert proof.witness is None
    if proof.verdict is Verdict.PROVED:
        assert all(relation.holds(env) for env in _points(domain))
    return proof.verdict


@settings(deadline=None, max_examples=250)
@given(_relations, _domains)
def test_proofs_agree_with_brute_force(relation: Relation, domain: Domain) -> None:
    assert _check(relation, domain, budget=1_000) is not Verdict.UNKNOWN
    _check(relation, domain, budget=0)


@settings(deadline=None, max_examples=150)
@given(_pairs, st.integers(1, 6), st.sampled_from(["==", "<=", ">="]), _domains)
def test_true_relations_are_never_refuted(pair: Pair, c: int, op: str, domain: Domain) -> None:
    """Identities that hold for every integer, which the canonical form may or may not see."""
    dim, _ = pair
    relation = Relation(op, c * floordiv(dim, c) + modulo(dim, c), dim)
    assert prove(relation, domain, budget=0).verdict is not Verdict.REFUTED


IMAGES = {"B": Range(1, 64), "H": Range(32, 1024, 32), "K": Range(0, 2**62), "S": Range(1, 2**62)}


@pytest.mark.parametrize(
    ("left", "op", "right"),
    [
        (2 * ((H - 1) // 2 + 1), "==", H),  # down by a convolution, up by a resize
        (ceildiv(H, 32) * 32, "==", H),
        (H % 32, "==", 0),
        (K // 2 + (K + 1) // 2, "==", K),
        (3 * (K // 3) + K % 3, "==", K),
        (K // 2 * 2, "<=", K),
        (ceildiv(K, 8) * 8, ">=", K),
        (ceildiv(K, 8) * 8, "<", K + 8),
        ((S + 2 - 3) // 2 + 1, "<=", S),
        (dim_min(K, S), "<=", S),
        (dim_max(K, S) + dim_min(K, S), "==", K + S),
        (dim_min(K, 7) + dim_max(K - 7, 0), "==", K),
        (2 * K + 1, "!=", H),
        (S * S, ">=", S),
        (B * S - S, ">=", 0),
        (K % 2 + (K + 1) % 2, "==", 1),
    ],
)
def test_proved_over_large_ranges(left: Dim, op: str, right: Dim) -> None:
    assert prove(Relation(op, left, right), Domain(IMAGES), budget=0).verdict is Verdict.PROVED


@pytest.mark.parametrize(
    ("left", "op", "right", "witness"),
    [
        (768, "==", 512, {"B": 1, "H": 32, "K": 0, "S": 1}),
        (H, "<=", 512, {"H": 544}),
        (H % 64, "==", 0, {"H": 32}),
        (K, "!=", S, {"K": 1, "S": 1}),
        (2 * ((K - 1) // 2 + 1), "==", K, {"K": 1}),
        (B * H, "<", 64 * 1024, {"B": 64, "H": 1024}),
    ],
)
def test_refuted_with_a_simple_witness(left: Dim, op: str, right: Dim, witness: Env) -> None:
    proof = prove(Relation(op, left, right), Domain(IMAGES))
    assert proof.verdict is Verdict.REFUTED
    assert proof.witness is not None
    assert witness.items() <= proof.witness.items()
    assert Domain(IMAGES).contains(proof.witness)


def test_token_budget() -> None:
    assert prove(Relation("<=", B * S, 32768), Domain(SERVING)).verdict is Verdict.PROVED
    proof = prove(Relation("<=", B * S, 32767), Domain(SERVING))
    assert proof.witness == {"B": 64, "S": 512}


def test_asserts_are_used() -> None:
    wide = {"B": Range(1, 2**40), "S": Range(8, 2**40, 8), "K": Range(0, 2**40)}
    asserts = (Relation("<=", B * S, 32768), Relation("==", K, 2 * S))
    domain = Domain(wide, asserts)

    def verdict(op: str, left: Dim, right: Dim) -> Verdict:
        return prove(Relation(op, left, right), domain, budget=0).verdict

    assert verdict("<=", 2 * B * S, 65536) is Verdict.PROVED
    assert verdict("<=", B * S + 5, 32773) is Verdict.PROVED
    assert verdict("<=", B * K, 65536) is Verdict.PROVED
    assert verdict("==", K // 2, S) is Verdict.PROVED
    assert verdict("==", K % 16, 0) is Verdict.PROVED
    assert verdict(">", K, S) is Verdict.PROVED
    assert verdict("<=", 2 * B * S, 100) is Verdict.REFUTED


def test_asserts_exclude_witnesses() -> None:
    domain = Domain(SERVING, (Relation("<=", B * S, 16384), Relation("==", S % 64, 0)))
    assert prove(Relation("<=", B * S, 16384), domain).verdict is Verdict.PROVED
    assert prove(Relation("==", S % 64, 0), domain).verdict is Verdict.PROVED
    proof = prove(Relation("<=", B * S, 16383), domain)
    assert proof.witness is not None
    assert proof.witness["B"] * proof.witness["S"] == 16384


def test_witnesses_satisfy_unrelated_asserts() -> None:
    domain = Domain({**SERVING, "H": Range(1, 500), "K": Range(1, 500)}, (Relation("==", 7 * H, 11 * K + 1),))
    proof = prove(Relation("<", S, 512), domain, budget=300_000)
    assert proof.witness is not None
    assert domain.contains(proof.witness)


def test_empty_domains() -> None:
    false = Relation("==", S, S + 1)
    assert prove(false, Domain({"S": Range(3, 2)})).verdict is Verdict.PROVED
    assert prove(false, Domain({"S": Range(0, 9)}, (Relation(">", S, 9),))).verdict is Verdict.PROVED
    assert prove(false, Domain({"S": Range(0, 9)}, (Relation("==", 1, 2),))).verdict is Verdict.PROVED
    hidden = Domain({"S": Range(0, 9), "K": Range(0, 9)}, (Relation("==", S * S + 1, 7 * K),))
    assert prove(false, hidden).verdict is Verdict.PROVED
    assert prove(false, hidden, budget=10).verdict is Verdict.UNKNOWN


def test_what_cannot_be_decided_is_unknown() -> None:
    huge = Domain({name: Range(10**6, 2**62) for name in "BHKS"})
    fermat = Relation("!=", B * B * B + S * S * S, K * K * K)
    assert prove(fermat, huge, budget=100).verdict is Verdict.UNKNOWN


def test_relations_need_ranges() -> None:
    assert prove(Relation("==", H + 1, 1 + H), Domain(SERVING)).verdict is Verdict.PROVED
    with pytest.raises(ValueError, match="`H` has no range"):
        prove(Relation("==", H, S), Domain(SERVING))


def test_broadcasting() -> None:
    """Two dims broadcast where they are equal or one is 1: the checker asks each in turn."""
    domain = Domain({"B": Range(1, 1), "S": Range(2, 8)})
    assert prove(Relation("==", B, 1), domain).verdict is Verdict.PROVED
    assert prove(Relation("==", B * S, S), domain).verdict is Verdict.PROVED
    assert prove(Relation("==", S, B), domain).witness == {"B": 1, "S": 2}


def test_expressions_are_typed() -> None:
    assert isinstance(S + 1, Expr)
    assert (S + 1).symbols == {"S"}  # type: ignore[union-attr]
