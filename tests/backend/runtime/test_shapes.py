"""Feeds that don't fit are refused with the name, the dim and the range; the profile is chosen by shapes and
values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats, network
from trtn.backend.build import build
from trtn.backend.runtime import Engine
from trtn.dsl.errors import BuildError, EngineError, ShapeError

PROFILED = """
network n {
  dim B in 1..64
  dim S in 8..512 step 8
  assert B * S <= 8192, "token budget"
  input ids: i32[B, S]
  input x: f32[B, 4]
  output y: f32[B, S]
  y = cast(ids, to=f32) * reduce_sum(x, axes=[1], keepdims=true)
}
profile small for n { B: min 1, opt 1, max 2  S: min 8, opt 8, max 64 }
profile large for n { B: min 2, opt 8, max 32  S: min 64, opt 64, max 256 }
"""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build(network(PROFILED))


def feeds(b: int, s: int) -> dict[str, Any]:
    return {"ids": np.ones((b, s), np.int32), "x": floats(b, 4)}


def refusal(engine: Engine, given: Any, code: str) -> str:
    with pytest.raises(ShapeError) as caught:
        engine.run(given)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert diagnostic.message == str(caught.value)
    return " | ".join((diagnostic.message, *diagnostic.notes, diagnostic.help or ""))


def test_names(engine: Engine) -> None:
    assert "no feed for input `x` (f32[B, 4])" in refusal(engine, {"ids": feeds(1, 8)["ids"]}, "E0705")
    unknown = refusal(engine, {**feeds(1, 8), "idz": 1}, "E0705")
    assert "no input `idz`" in unknown
    assert "did you mean `ids`" in unknown
    assert "inputs: `ids`, `x`" in refusal(engine, {**feeds(1, 8), "pixels": 1}, "E0705")


@pytest.mark.parametrize("given", [None, [], 3, "ids", np.ones(3)])
def test_feeds_that_are_no_mapping(engine: Engine, given: Any) -> None:
    assert "arrays by input name" in refusal(engine, given, "E0705")


def test_dtypes(engine: Engine) -> None:
    wrong = refusal(engine, {**feeds(1, 8), "ids": np.ones((1, 8), np.int64)}, "E0705")
    assert "input `ids` is i32, the feed is int64" in wrong
    assert "astype('int32')" in wrong
    refusal(engine, {**feeds(1, 8), "x": floats(1, 4).astype(">f4")}, "E0705")
    refusal(engine, {**feeds(1, 8), "x": np.array([[None] * 4])}, "E0705")


@pytest.mark.parametrize(
    "given",
    [
        [[1.5] * 8],
        [["a"] * 8],
        [[1] * 8, [2] * 7],
        [[2**40] * 8],
        [[None] * 8],
        {"a": 1},
        [[1j] * 8],
        object(),
        b"12345678",
    ],
)
def test_lists_that_do_not_become_the_dtype(engine: Engine, given: Any) -> None:
    assert "`ids` can't be made i32[B, S]" in refusal(engine, {**feeds(1, 8), "ids": given}, "E0705")


def test_lists_that_do(engine: Engine) -> None:
    out = engine.run({"ids": [[1, 2, 3, 4, 5, 6, 7, True]], "x": [[1, 2, 3, 4.5]]})
    np.testing.assert_array_equal(out["y"], np.array([[1, 2, 3, 4, 5, 6, 7, 1]], np.float32) * 10.5)


def test_arrays_of_any_layout(engine: Engine) -> None:
    given = {"ids": np.asfortranarray(np.arange(16, dtype=np.int32).reshape(2, 8)), "x": floats(4, 8)[::2, ::2]}
    assert not given["x"].flags.c_contiguous
    expected = given["ids"].astype(np.float32) * given["x"].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(engine.run(given)["y"], expected, rtol=1e-6)


def test_ranks_and_fixed_dims(engine: Engine) -> None:
    assert "rank 1, not 2" in refusal(engine, {**feeds(1, 8), "x": floats(4)}, "E0705")
    assert "dim 1 is 5, but it is 4" in refusal(engine, {**feeds(1, 8), "x": floats(1, 5)}, "E0705")


def test_inputs_that_disagree_about_a_dim(engine: Engine) -> None:
    wrong = refusal(engine, {"ids": np.ones((2, 8), np.int32), "x": floats(3, 4)}, "E0705")
    assert "input `x` is f32[B, 4], the feed has shape [3, 4]: dim 0 is 3" in wrong
    assert "`B` is 2" in wrong


def test_ranges_and_steps(engine: Engine) -> None:
    assert "`B` is 65; the network is defined for 1..64" in refusal(engine, feeds(65, 8), "E0706")
    assert "`B` is 0; the network is defined for 1..64" in refusal(engine, feeds(0, 8), "E0706")
    assert "`S` is 12; the network is defined for 8..512 step 8" in refusal(engine, feeds(1, 12), "E0706")


def test_asserts(engine: Engine) -> None:
    wrong = refusal(engine, feeds(64, 136), "E0707")
    assert "token budget" in wrong
    assert "B = 64, S = 136" in wrong


def test_guards() -> None:
    """What the checker could not show is checked for each new shape."""
    net = network(
        """
        block odd(x: T[N], m: T[M]) -> T[N] { assert N * M != 988027, "no such pair"  return relu(x) }
        network n { dim N in 1..1000 dim M in 1..1000 input x: f32[N] input m: f32[M] output y: f32[N] y = odd(x, m) }
        """
    )
    assert len(net.guards) == 1
    engine = build(net)
    wrong = refusal(engine, {"x": floats(997), "m": floats(991)}, "E0707")
    assert "no such pair" in wrong
    assert "M = 991, N = 997" in wrong
    engine.run({"x": floats(997), "m": floats(990)})


def test_guards_over_a_size_that_the_data_decides() -> None:
    engine = build(
        network(
            """
            block odd(x: T[N]) -> T[1, N] { assert N * N != 961, "no such size"  return unsqueeze(x, axes=[0]) }
            network n {
              dim N in 1..100000
              input x: f32[N]
              output y: f32[1, K]
              i = nonzero(relu(x)) : i64[1, K in 0..N]
              y = odd(gather(x, squeeze(i, axes=[0])))
            }
            """
        )
    )
    wrong = refusal(engine, {"x": np.ones(31, np.float32)}, "E0707")
    assert "no such size" in wrong
    assert "K = 31" in wrong
    assert engine.run({"x": np.ones(30, np.float32)})["y"].shape == (1, 30)


def test_the_profile_is_chosen_by_the_shapes(engine: Engine) -> None:
    context = engine.create_context()
    for b, s, name in [
        (1, 8, "small"),
        (2, 64, "small"),
        (3, 64, "large"),
        (1, 8, "small"),
        (2, 72, "large"),
        (2, 64, "small"),
    ]:
        context.run(feeds(b, s))
        assert context.profile is not None
        assert context.profile.name == name


def test_outside_every_profile(engine: Engine) -> None:
    wrong = refusal(engine, feeds(1, 128), "E0706")
    assert "no profile serves B = 1, S = 128" in wrong
    assert "`S` is 128, outside 8..64 of profile `small`" in wrong
    assert "`B` is 1, outside 2..32 of profile `large`" in wrong


def test_a_context_is_held_to_its_profile(engine: Engine) -> None:
    context = engine.create_context(profile="large")
    context.run(feeds(2, 64))
    with pytest.raises(ShapeError, match=r"outside 64\.\.256 of profile `large`"):
        context.run(feeds(2, 8))
    context.run(feeds(2, 64))
    with pytest.raises(ShapeError, match="no profile `huge`"):
        engine.create_context(profile="huge")


def test_an_engine_of_some_profiles() -> None:
    net = network(PROFILED)
    engine = build(net, profiles=["large"])
    assert [p.name for p in engine.profiles] == ["large"]
    with pytest.raises(ShapeError, match=r"outside 64\.\.256"):
        engine.run(feeds(2, 8))
    with pytest.raises(BuildError, match="no profile `largo`") as caught:
        build(net, profiles=["largo"])
    assert "`large`" in (caught.value.diagnostics[0].help or "")


def test_without_profiles_the_ranges_count() -> None:
    engine = build(network("network n { dim N in 2..8 input x: f32[N] output y: f32[N] y = relu(x) }"))
    assert [p.name for p in engine.profiles] == ["default"]
    engine.run({"x": floats(8)})
    assert "`N` is 9; the network is defined for 2..8" in refusal(engine, {"x": floats(9)}, "E0706")


def test_a_failed_run_leaves_the_engine_usable(engine: Engine) -> None:
    context = engine.create_context()
    expected = context.run(feeds(2, 8))["y"]
    for bad in (feeds(65, 8), feeds(1, 128), {}):
        with pytest.raises(ShapeError):
            context.run(bad)
    np.testing.assert_array_equal(context.run(feeds(2, 8))["y"], expected)


def test_inputs_and_outputs_are_described(engine: Engine) -> None:
    assert [str(t) for t in engine.inputs] == ["ids: i32[B, S]", "x: f32[B, 4]"]
    (out,) = engine.outputs
    assert (out.name, out.dtype, out.shape) == ("y", "f32", ("B", "S"))
    assert out.profiles == {"small": ((1, 8), (1, 8), (2, 64)), "large": ((2, 64), (8, 64), (32, 256))}


# values that are read as shapes

VALUED = """
network n {
  dim N in 1..8
  input x: f32[N]
  input count: i64[1]
  output y: f32[K]
  y = tile(x, count) : f32[K in 0..1000]
}
profile few for n { N: min 1, opt 4, max 8  count: min 1, opt 1, max 3 }
profile many for n { N: min 1, opt 4, max 8  count: min 4, opt 8, max 16 }
"""


@pytest.fixture(scope="module")
def valued() -> Iterator[Engine]:
    yield build(network(VALUED))


def test_the_profile_is_chosen_by_values_too(valued: Engine) -> None:
    context = valued.create_context()
    for count, name in [(2, "few"), (9, "many"), (3, "few"), (4, "many")]:
        y = context.run({"x": floats(4), "count": np.array([count])})["y"]
        np.testing.assert_array_equal(y, np.tile(floats(4), count))
        assert context.profile is not None
        assert context.profile.name == name


def test_a_value_outside_every_profile(valued: Engine) -> None:
    wrong = refusal(valued, {"x": floats(4), "count": np.array([17])}, "E0706")
    assert "element 0 of `count` is 17, outside 1..3 of profile `few`" in wrong
    assert "outside 4..16 of profile `many`" in wrong
    context = valued.create_context(profile="many")
    with pytest.raises(ShapeError, match=r"is 2, outside 4\.\.16"):
        context.run({"x": floats(4), "count": np.array([2])})


def test_values_that_a_layer_refuses() -> None:
    """Indices beyond the table: an error of the library's, with the cause kept."""
    engine = build(
        network("network n { dim N in 1..8 input i: i64[N] input t: f32[4] output y: f32[N] y = gather(t, i) }")
    )
    with pytest.raises(EngineError, match="IndexError") as caught:
        engine.run({"i": np.array([99]), "t": floats(4)})
    assert caught.value.diagnostics[0].code == "E0701"
    np.testing.assert_array_equal(engine.run({"i": np.array([-1]), "t": floats(4)})["y"], floats(4)[-1:])
