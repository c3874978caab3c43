"""Profiles: an entry for every dim, inside its range and step; asserts and layers hold in the whole box."""

from __future__ import annotations

import pytest

from tests.dsl.checking import accepted, check, codes, rejected, spec
from trtn.dsl.network import ProfileRange

NETWORK = 'input z: f32[M]\nassert N * M <= 40, "token budget"\noutput y: f32[N, 4]\ny = relu(x)'
DIMS = "dim N in 1..8\n dim M in 4..32 step 4"


def profiled(*entries: str, body: str = NETWORK, dims: str = DIMS) -> str:
    return spec(body, dims=dims, after="profile p for m {\n" + "".join(f"  {e}\n" for e in entries) + "}")


def test_a_good_profile() -> None:
    network = accepted(profiled("N: min 1, opt 2, max 5", "M: min 4, opt 8, max 8"))
    (profile,) = network.profiles
    assert profile.dims == {"N": ProfileRange(1, 2, 5), "M": ProfileRange(4, 8, 8)}
    assert profile.corner("maximum") == {"N": 5, "M": 8}


@pytest.mark.parametrize(
    ("entries", "code", "message", "help_"),
    [
        (["N: min 1, opt 2, max 5"], "E0411", "profile `p` has no entry for `M`", "add `M: min .., opt .., max ..`"),
        ([], "E0411", "profile `p` has no entry for `N`, `M`", "add `N: min .., opt .., max ..`"),
        (
            ["N: min 1, opt 2, max 5", "M: min 4, opt 4, max 4", "MM: min 1, opt 1, max 1"], "E0412",
            "network `m` has no dim `MM`, and no integer input of that name with rank 0 or 1", "did you mean `M`?",
        ),
        (
            ["N: min 3, opt 2, max 5", "M: min 4, opt 4, max 4"], "E0413",
            "profile `p`: `N` has min 3, opt 2, max 5", "",
        ),
        (
            ["N: min 1, opt 6, max 5", "M: min 4, opt 4, max 4"], "E0413",
            "profile `p`: `N` has min 1, opt 6, max 5", "",
        ),
        (
            ["N: min 0, opt 2, max 5", "M: min 4, opt 4, max 4"], "E0414",
            "profile `p`: min 0 of `N` is outside 1..8", "the nearest value is 1",
        ),
        (
            ["N: min 1, opt 2, max 9", "M: min 4, opt 4, max 4"], "E0414",
            "profile `p`: max 9 of `N` is outside 1..8", "the nearest value is 8",
        ),
        (
            ["N: min 1, opt 2, max 3", "M: min 4, opt 7, max 8"], "E0414",
            "profile `p`: opt 7 of `M` is off the step of 4..32 step 4", "the nearest value is 4",
        ),
        (
            ["N: min 1, opt 2, max 3", "N: min 1, opt 2, max 3", "M: min 4, opt 4, max 8"], "E0202",
            "`N` has two entries", "",
        ),
        (["N: min 1, opt 2, max M", "M: min 4, opt 4, max 8"], "E0306", "a profile's entry is an integer", ""),
        (["N: min 1, opt 2.5, max 3", "M: min 4, opt 4, max 8"], "E0306", "a profile's entry is an integer", ""),
    ],
)  # fmt: skip
def test_bad_entries(entries: list[str], code: str, message: str, help_: str) -> None:
    found = rejected(profiled(*entries))
    assert (found.code, found.message, found.help) == (code, message, help_)


def test_every_bad_entry_is_reported() -> None:
    assert codes(profiled("N: min 0, opt 2, max 9", "M: min 5, opt 4, max 3", "Q: min 1, opt 1, max 1")) == [
        "E0414",
        "E0414",
        "E0413",
        "E0412",
    ]


@pytest.mark.parametrize(
    ("n", "m", "where", "values"),
    [
        ((8, 8, 8), (8, 8, 8), "fails at min: M = 8, N = 8: 64 <= 40 does not hold", {"N": 8, "M": 8}),
        ((1, 8, 8), (4, 8, 8), "fails at opt: M = 8, N = 8: 64 <= 40 does not hold", {"N": 8, "M": 8}),
        ((1, 1, 8), (4, 4, 8), "fails at max: M = 8, N = 8: 64 <= 40 does not hold", {"N": 8, "M": 8}),
    ],
)  # fmt: skip
def test_an_assert_that_fails_at_a_corner(
    n: tuple[int, ...], m: tuple[int, ...], where: str, values: dict[str, int]
) -> None:
    entries = [f"{name}: min {r[0]}, opt {r[1]}, max {r[2]}" for name, r in (("N", n), ("M", m))]
    found = rejected(profiled(*entries))
    assert (found.code, found.message) == ("E0415", "profile `p` breaks `assert M*N <= 40` (token budget)")
    assert found.notes == (where,)
    assert found.values == values
    assert [label.text for label in found.labels] == ["the assert"]


def test_an_assert_that_fails_inside_the_box() -> None:
    body = "input z: f32[M]\nassert N == 2 * M\noutput y: f32[N, 4]\ny = relu(x)"
    found = rejected(
        profiled("N: min 2, opt 4, max 8", "M: min 1, opt 2, max 4", body=body, dims="dim N in 1..8\n dim M in 1..4")
    )
    assert found.code == "E0415"
    assert found.notes[0].startswith("fails inside the box: ")
    assert found.values["N"] != 2 * found.values["M"]


OPEN = (
    "input z: f32[M]\ninput v: f32[1 + N * M % 9999991 // 9999990]\noutput y: f32[N, 4]\ny = x * reshape(v, shape=[1])"
)
LARGE = "dim N in 1..10000000\n dim M in 1..10000000"
BAD = 3333330
"""3 * BAD = -1 modulo 9999991: there v has two elements."""


@pytest.mark.parametrize(
    ("m", "where"),
    [
        ((BAD, BAD, BAD), "at min"),
        ((1, BAD, BAD), "at opt"),
        ((1, 2, BAD), "at max"),
        ((BAD - 5, BAD - 4, BAD + 7), "inside the box"),
    ],
)
def test_a_layer_that_fails_in_a_profile(m: tuple[int, int, int], where: str) -> None:
    text = profiled("N: min 3, opt 3, max 3", f"M: min {m[0]}, opt {m[1]}, max {m[2]}", body=OPEN, dims=LARGE)
    found = rejected(text)
    assert found.code == "E0416"
    assert found.message.startswith("layer `y.reshape` is invalid inside profile `p`: `reshape` of")
    assert found.notes[0].startswith(f"fails {where}: M = {BAD}, N = 3: 2 == 1 does not hold"), found.notes
    assert found.values == {"N": 3, "M": BAD}
    assert [label.span.text for label in found.labels] == ["p"]


def test_a_layer_that_holds_in_every_profile_is_still_a_guard() -> None:
    text = profiled("N: min 3, opt 3, max 3", "M: min 1, opt 2, max 3", body=OPEN, dims=LARGE)
    networks, found = check(text)
    assert [d.code for d in found] == ["W0401"]
    assert len(networks[0].guards) == 1


def test_profiles_for_networks_that_are_not_there() -> None:
    found = rejected(spec("output y: f32[N, 4]\ny = relu(x)", after="profile p for mm { N: min 1, opt 1, max 1 }"))
    assert (found.code, found.help) == ("E0417", "did you mean `m`?")
    again = "profile p for m { N: min 1, opt 1, max 1 }"
    assert rejected(spec("output y: f32[N, 4]\ny = relu(x)", after=f"{again}\n{again}")).code == "E0202"


VALUES = "input size: i64[2]\noutput y: f32[K, L]\ny = expand(fill(shape=[1, 1]), size) : f32[K in 0..64, L in 0..64]"


def test_values_of_inputs_that_are_read_as_shapes() -> None:
    text = profiled(
        "size: min [1, 2], opt [4, 4], max [8, 64]", "N: min 1, opt 1, max 1", body=VALUES, dims="dim N in 1..8"
    )
    (profile,) = accepted(text).profiles
    assert profile.values == {"size": (ProfileRange(1, 4, 8), ProfileRange(2, 4, 64))}


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ("size: min [1], opt [4, 4], max [8, 64]", "E0412", "`size` has 2 elements; the entries have 1, 2, 2"),
        ("size: min 1, opt 4, max 8", "E0412", "`size` has 2 elements; the entries have 1, 1, 1"),
        ("size: min [1, 5], opt [4, 4], max [8, 64]", "E0413", "element 1 of `size` has min 5, opt 4, max 64"),
        ("size: min [1, x], opt [4, 4], max [8, 64]", "E0306", "a profile's entry is an integer"),
        ("x: min 1, opt 1, max 1", "E0412", "no dim `x`, and no integer input of that name with rank 0 or 1"),
    ],
)  # fmt: skip
def test_bad_values(entry: str, code: str, message: str) -> None:
    found = rejected(profiled(entry, "N: min 1, opt 1, max 1", body=VALUES, dims="dim N in 1..8"))
    assert found.code == code
    assert found.message.endswith(message)
