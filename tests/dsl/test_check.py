"""What the checker proves, refutes and leaves open, in the words that users read."""

from __future__ import annotations

import pytest

from tests.dsl.checking import OUT, accepted, check, codes, rejected, spec
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dims import Range

# --- proofs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "output y: f32[N, 2, 2]\n y = reshape(x, shape=[N, 2, -1])",
        "output y: f32[4 * N]\n y = reshape(x, shape=[-1])",
        "output y: f32[ceildiv(N, 2), 4]\n y = slice(x, step=[2])",
        "output y: f32[N // 2 + (N + 1) // 2, 4]\n y = x",
        "output y: f32[min(N, 3), 4]\n y = slice(x, end=[3])",
        "output y: f32[max(N, 1), 4]\n y = x",
        "output y: f32[N * N]\n y = reshape(tile(reduce_sum(x, axes=[1]), times=[N]), shape=[N * N])",
        "output y: f32[N + 2, 4]\n y = pad(x, pads=[1, 1], axes=[0])",
    ],
)
def test_shapes_are_equal_as_expressions(body: str) -> None:
    accepted(spec(body))


def test_a_witness_is_a_point_of_the_domain_and_the_note_shows_both_sides() -> None:
    found = rejected(
        spec(
            "assert N >= 3\n input k: f32[M, 5]\n output y: f32[N, 5]\n y = x @ k", dims="dim N in 1..8\n dim M in 2..9"
        )
    )
    assert (found.code, found.message) == ("E0312", "inner dims of `matmul` differ: 4 and M")
    assert found.values == {"N": 3, "M": 2}
    assert found.notes[0] == "`4 == M` fails for M = 2: 4 == 2 does not hold"
    assert found.help == "if the network is only ever used where it holds, say so: `assert 4 == M`"


def test_an_assert_that_could_never_hold_is_no_help() -> None:
    found = rejected(spec(OUT + "y = x + fill(shape=[N + 1, 4])"))
    assert (found.code, found.help) == ("E0311", "")


def test_steps_are_used() -> None:
    halves = "output y: f32[N // 2, 8]\n y = reshape(x, shape=[N // 2, 8])"
    accepted(spec(halves, dims="dim N in 2..64 step 2"))
    found = rejected(spec(halves, dims="dim N in 3..64 step 2"))
    assert found.values == {"N": 3}
    assert rejected(spec(halves, dims="dim N in 2..64")).values == {"N": 3}


def test_asserts_are_used() -> None:
    sliced = "output y: f32[N - 2, 4]\n y = slice(x, start=[2])"
    assert rejected(spec(sliced)).values == {"N": 1}
    accepted(spec("assert N >= 2\n" + sliced))
    same = "input z: f32[M, 4]\n output y: f32[N, 4]\n y = x + z"
    dims = "dim N in 1..8\n dim M in 1..8"
    assert rejected(spec(same, dims=dims)).code == "E0311"
    accepted(spec("assert N == M\n" + same, dims=dims))
    accepted(spec("assert N <= M\n assert M <= N\n" + same, dims=dims))


def test_asserts_may_follow_what_they_are_about() -> None:
    accepted(spec("output y: f32[N - 2, 4]\n y = slice(x, start=[2])\n assert N >= 2"))


def test_a_dim_in_a_block_is_the_callers() -> None:
    half = "block half(x: T[2 * H, C]) -> T[H, C] {\n return slice(x, end=[H])\n}"
    accepted(spec("output y: f32[N, 4]\n h = concat(x, x, axis=0)\n y = half2(h, x)", before=HALF2))
    # 2 * H says nothing that H could be read from.
    assert "E0201" in codes(spec("output y: f32[N, 4]\n y = half(concat(x, x, axis=0))", before=half))


HALF2 = "block half2(x: T[2 * H, C], like: T[H, C]) -> T[H, C] {\n return slice(x, end=[H]) + like\n}"


# --- guards ---------------------------------------------------------------------------------------------------------

LARGE = "dim N in 1..10000000\n dim M in 1..10000000"
OPEN = "input z: f32[M]\n input v: f32[1 + N * M % 9999991 // 9999990]\n output y: f32[N, 4]\n"


def test_what_is_neither_shown_nor_refuted_becomes_a_guard() -> None:
    networks, found = check(spec(OPEN + "u = reshape(v, shape=[1])\n y = x * u", dims=LARGE))
    (warning,) = found
    (network,) = networks
    (guard,) = network.guards
    assert (warning.code, warning.severity) == ("W0401", "warning")
    assert warning.message.startswith("not proven for all values of the dims: `reshape` of")
    assert warning.notes == (f"`{guard.relation}` is checked at run time, for each new shape",)
    assert guard.layer == "u"
    assert guard.relation.holds({"N": 1, "M": 1})
    assert not guard.relation.holds({"N": 3, "M": 3333330})


def test_a_relation_that_many_layers_need_is_one_guard() -> None:
    body = OPEN + "u = reshape(v, shape=[1])\n w = reshape(v, shape=[1])\n y = x * u * w"
    networks, found = check(spec(body, dims=LARGE))
    assert [d.code for d in found] == ["W0401"]
    assert len(networks[0].guards) == 1


def test_a_guard_follows_its_layer_when_an_output_renames_it() -> None:
    body = OPEN.replace("f32[N, 4]", "f32[1]") + "u = reshape(v, shape=[1])\n y = u"
    networks, _ = check(spec(body, dims=LARGE))
    assert [g.layer for g in networks[0].guards] == [networks[0].layers[0].name] == ["y"]


# --- dims and asserts -----------------------------------------------------------------------------------------------


def test_negative_sizes() -> None:
    found = rejected(spec("input z: f32[N - 2]\n output y: f32[N - 2]\n y = relu(z)"))
    assert (found.code, found.message) == ("E0401", "dim 0 of `z` may be negative: N - 2")
    assert found.values == {"N": 1}
    accepted(spec("assert N >= 2\n input z: f32[N - 2]\n output y: f32[N - 2]\n y = relu(z)"))


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ("y = reshape(fill(shape=[(N - 4) * (N - 4)]), shape=[N - 4, N - 4])", "f32[N - 4, N - 4]"),
        ("y = expand(fill(shape=[1]), shape=[N - 4])", "f32[N - 4]"),
        ("y = fill(shape=[N - 4])", "f32[N - 4]"),
        ("y, _ = split(x, sizes=[N - 4, 4])", "f32[N - 4, 4]"),
        ("y = one_hot(constant([0]), none, constant([0.0, 1.0]), size=N - 4)", "f32[1, N - 4]"),
        ("y = tile(x, times=[1, N - 4])", "f32[N, 4 * (N - 4)]"),
        ("y, _ = top_k(x, k=N - 4, axis=0)", "f32[N - 4, 4]"),
        ("y = resize(fill(shape=[1, 1, 4, 4]), sizes=[1, 1, 4, N - 4])", "f32[1, 1, 4, N - 4]"),
        ("y = pad(x, pads=[0, -4], axes=[0])", "f32[N - 4, 4]"),
        ("y = slice(x, start=[4])", "f32[N - 4, 4]"),
    ],
)
def test_no_op_may_be_told_a_negative_size(body: str, size: str) -> None:
    found = rejected(spec(f"output y: {size}\n {body}"))
    assert (found.code, found.values["N"]) == ("E0313", 1)
    accepted(spec(f"assert N >= 4\n output y: {size}\n {body}"))


def test_constant_indices_must_lie_in_the_axis() -> None:
    picked = "output y: f32[3, 4]\n y = gather(x, [0, 2, -1])"
    found = rejected(spec(picked))
    assert found.message == "index 2 of `gather` is outside its axis: `N >= 3` does not hold"
    assert found.values == {"N": 1}
    accepted(spec(picked, dims="dim N in 3..8"))


def test_a_divisor_is_at_least_1() -> None:
    found = rejected(
        spec("input z: f32[M]\n output y: f32[4 * N // M]\n y = fill(shape=[4 * N // M])", dims=f"{DIM} M in 0..4")
    )
    assert (found.code, found.values["M"]) == ("E0313", 0)
    assert found.message == "`fill` divides by `M`, which may be less than 1"
    assert (
        rejected(spec(f"input z: f32[M]\n assert N // M <= 4\n {OUT} y = x", dims=f"{DIM} M in 0..4")).values["M"] == 0
    )
    accepted(
        spec("input z: f32[M]\n output y: f32[4 * N // M]\n y = fill(shape=[4 * N // M])", dims=f"{DIM} M in 1..4")
    )


DIM = "dim N in 1..8\n dim"


@pytest.mark.parametrize(
    ("asserts", "code", "message"),
    [
        ("assert N > 8", "E0403", "`N > 8` holds for no values of the dims"),
        ("assert N >= 5\n assert N <= 4", "E0403", "`N <= 4` holds for no values of the dims where `N >= 5` holds"),
        (
            "assert N % 2 == 0\n assert N > 2\n assert N * N < 10", "E0403",
            "`N*N < 10` holds for no values of the dims where `N%2 == 0`, `N > 2` hold",
        ),
        ("assert N <= 64", "E0404", "`N <= 64` holds for all values of the dims anyway"),
        ("assert 3 < 4", "E0404", "this assert holds whatever the dims are"),
        ('assert 4 < 3, "why"', "E0403", "this assert never holds: why"),
        ("assert N", "E0306", "an assert is a relation over dims and numbers, not a dim"),
    ],
)  # fmt: skip
def test_asserts_that_say_nothing_or_too_much(asserts: str, code: str, message: str) -> None:
    found = rejected(spec(f"{asserts}\n {OUT} y = relu(x)"))
    assert (found.code, found.message) == (code, message)


def test_an_assert_about_several_dims_that_holds_anyway_is_pointed_out() -> None:
    """No range can say it, and ranges get wider: it is no error."""
    text = spec(f'input z: f32[M]\n assert N * M <= 64, "budget"\n {OUT} y = x', dims=f"{DIM} M in 1..8")
    finding = rejected(text)
    assert (finding.code, finding.severity) == ("W0402", "warning")
    accepted(text.replace("64", "63"))


@pytest.mark.parametrize(
    ("inputs", "missing"),
    [
        ("", "constrains nothing"),
        ("input z: f32[M * K]\n input u: f32[K * M + 1]", "can't be read off"),
        ("input z: f32[M // 2, K]", "can't be read off"),
        ("input z: f32[max(M, 2), K]", "can't be read off"),
        ("input z: f32[2 * M + N, K]", None),
        ("input z: f32[M + K // 2, K]", None),
        ("input z: f32[M * 3 - K, K + 1]\n assert M >= K", None),
    ],
)
def test_dims_follow_from_the_inputs(inputs: str, missing: str | None) -> None:
    _, found = check(spec(f"{inputs}\n {OUT} y = x", dims=f"{DIM} M in 1..4\n dim K in 1..4"))
    assert {d.code for d in found} == ({"E0402"} if missing else set())
    if missing:
        assert f"dim `M` {missing}" in found[0].message


def test_ranges_end_where_the_step_lands() -> None:
    network = accepted(spec("input z: f32[M]\n" + OUT + "y = x", dims=f"{DIM} M in 1..10 step 4"))
    assert network.dims["M"] == Range(1, 9, 4)


def test_too_many_elements() -> None:
    found = rejected(spec("output y: f32[N, 4]\n big = fill(shape=[N, 1000000000, 1000000000])\n y = x"))
    assert (found.code, found.notes) == ("E0418", ("the limit is 2^62",))
    grown = "repeat i in 0..700 carry z {\n z = concat(z, z, axis=0)\n }"
    assert set(codes(spec(f"{OUT} z = relu(x)\n {grown}\n y = x"))) == {"E0418"}


# --- data-dependent sizes -------------------------------------------------------------------------------------------


def test_a_size_that_the_data_decides_has_a_name_and_a_bound() -> None:
    network = accepted(spec("output y: i64[2, K]\n y = nonzero(x) : i64[2, K in 0..4 * N]"))
    assert list(network.data_dims) == ["K"]
    assert [str(d.high) for d in network.data_dims.values()] == ["4*N"]
    found = rejected(spec("output y: i64[2, K]\n y = nonzero(x)"))
    assert (found.code, found.help) == ("E0314", "name it in the statement's type, e.g. `K in 0..4*N`")


def test_bounds_of_the_data_take_part_in_proofs() -> None:
    cut = "output y: i64[2, K - 3]\n k = nonzero(x) : i64[2, K in {}..4 * N]\n y = slice(k, start=[3], axes=[1])"
    accepted(spec(cut.format(3)))
    assert rejected(spec(cut.format(2))).values["K"] == 2


def test_bounds_of_the_data_are_bounds() -> None:
    bad = "output y: i64[2, K]\n y = nonzero(x) : i64[2, K in {}]"
    assert rejected(spec(bad.format("5..3"))).message == "`K` in 5..3: no such range"
    assert rejected(spec(bad.format("N..4"))).values["N"] == 5
    assert rejected(spec(bad.format("0..x"))).code == "E0306"
    assert rejected(spec("output y: i64[2, K]\n K = 3\n y = nonzero(x) : i64[2, K in 0..3]")).code == "E0202"


# --- cascades and repetitions ---------------------------------------------------------------------------------------


def findings(text: str) -> list[Diagnostic]:
    return check(text)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (spec(f"{OUT} a = rleu(x)\n b = a @ a + softmax(a)\n y = b * 2 : f32[N, 4]"), "E0203"),
        (spec("input z: f31[M, 4]\n" + OUT + "y = x + z", dims=f"{DIM} M in 1..4"), "E0301"),
        (spec(OUT + "y = x", dims="dim N in 8..1", after="profile p for m { N: min 1, opt 1, max 1 }"), "E0401"),
        (spec(f"{OUT} a = relu(x,, x)\n y = relu(a)"), "E0101"),
        (spec(f"{OUT} let a = 1 / 0\n b = x + a\n y = b"), "E0306"),
        (spec(f"{OUT} a, b = split(x, axis=7)\n y = concat(a, b, axis=1)"), "E0304"),
        (spec(f"{OUT} a, b, c = split(x, axis=1, sizes=[2, 2])\n y = concat(a, b, c, axis=1)"), "E0208"),
        (spec(f"{OUT} y = f(x)", before="block f(x: T[N, D]) -> T[N, D] {\n a = foo(x)\n return a * 2\n}"), "E0203"),
        (spec(f"{OUT} y = f(x)", before="block f(x: T[N, D]) -> T[N, D] {\n a = relu(x\n return a * 2\n}"), "E0102"),
        (spec(f"{OUT} y = q.g(x) + q.h(x)", before='import "nowhere.trtn" as q'), "E0205"),
        (spec(f'{OUT} y = x + w.a', before='weights w = "nowhere.trtn"'), "E0504"),
        (spec(f"{OUT} y = if c {{\n yield bad(x)\n }} else {{\n yield x\n }}\n input c: bool[]"), "E0203"),
        (spec(f"{OUT} repeat i in 0..4 carry z {{\n z = z + i\n }}\n y = x + z"), "E0201"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_finding(text: str, expected: str) -> None:
    assert rejected(text).code == expected


def test_a_mistake_in_a_repeated_block_is_reported_once() -> None:
    block = "block f(x: T[N, D], *, k: int) -> T[N, D] {\n return x + fill(shape=[N + k, D])\n}"
    body = f"{OUT} z = relu(x)\n repeat i in 0..3 carry z as step {{\n h = f(x, k=i + 1)\n z = relu(x)\n }}\n y = z"
    found = rejected(spec(body, before=block))
    assert (found.code, found.span and found.span.line) == ("E0311", 3)
    assert "in layer `step[0].h`" in found.notes


def test_a_wrong_argument_is_not_reported_again_for_the_layers_of_its_block() -> None:
    block = "block f(a: T[N, D], b: T[D, N]) -> T[N, D] {\n return a @ b @ a\n}"
    _, found = check(spec(f"{OUT} y = f(x, x)", before=block))
    assert [d.message for d in found] == [
        "`b` of block `f`: dim `D` is 4, not N",
        "`b` of block `f`: dim `N` is N, not 4",
    ]


def test_all_findings_of_a_file_are_collected() -> None:
    body = """
      input z: f32[M]
      a = rleu(x)
      b = softmax(x, axs=1)
      c = x @ x
      d = zz + 1
      y = relu(x)
      assert N <= 64
    """
    text = spec(
        OUT + body, dims=f"{DIM} M in 1..8\n dim Q in 1..2", after="profile p for m { N: min 4, opt 2, max 99 }"
    )
    assert sorted(codes(text)) == ["E0201", "E0203", "E0204", "E0312", "E0402", "E0404", "E0411", "E0413"]


def test_what_several_networks_have_is_said_for_each() -> None:
    text = spec(f"{OUT} y = rleu(x)", after=spec(f"{OUT} y = relu(xx)").replace("trtn 1", "").replace("m {", "n {"))
    assert codes(text) == ["E0203", "E0201"]
