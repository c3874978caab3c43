"""Strides of views: by NumPy's own reshape for numbers, by example for dims that are not known."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backend.passes.nets import N, Net
from trtn.backend.fusion import partition
from trtn.backend.plan.storage import Place, plan_storage
from trtn.backend.plan.strides import dense, reshaped
from trtn.dsl.dims import symbol

S = symbol("S")


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...]]:
    """A strided array and another shape of as many elements."""
    factors = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5))

    def grouped() -> list[int]:
        cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=3)))
        return [prod(factors[a:b]) for a, b in zip([0, *cuts], [*cuts, len(factors)], strict=True)]

    shape, to = grouped(), tuple(grouped())
    order = draw(st.permutations(range(len(shape))))
    room = [shape[a] + draw(st.sampled_from([0, 0, 2])) for a in order]
    whole = np.arange(prod(room)).reshape(room).transpose(np.argsort(order))
    return whole[tuple(slice(d) for d in shape)], to


@given(reshapes())
@settings(max_examples=300, deadline=None)
def test_a_reshape_is_a_view_where_numpy_says_so(case: tuple[np.ndarray, tuple[int, ...]]) -> None:
    array, to = case
    found = reshaped(array.shape, tuple(s // array.itemsize for s in array.strides), to)
    result = array.reshape(to)
    assert (found is not None) == np.shares_memory(result, array)
    if found is not None:
        assert all(d == 1 or s * 8 == own for d, s, own in zip(to, found, result.strides, strict=True))


def test_symbolic_axes_split_and_join() -> None:
    packed = (S * 2304, 2304, 1)
    assert reshaped((N, S, 768), packed, (N, S, 12, 64)) == (S * 2304, 2304, 64, 1)
    assert reshaped((N, S, 12, 64), (S * 2304, 2304, 64, 1), (N * S, 768)) == (2304, 1)
    assert reshaped((N, S, 768), packed, (N, S * 768)) is None
    assert reshaped((N, S, 768), packed, (S, N, 768)) == (N * 2304, 2304, 1)
    heads_inside = dense((N, 12, S, 64), (0, 2, 1, 3))
    assert heads_inside == (S * 768, 64, 768, 1)
    assert reshaped((N, 12, S, 64), heads_inside, (N, S * 768)) is None


def test_the_heads_of_a_split_are_views() -> None:
    """Attention reads q, k and v where a packed product has put them."""
    b = Net()
    packed = b.of("linear", b.x(8, 32), b.c(32, 96))
    parts = b.layer("split", packed, name="q", parts=3, axis=-1)
    heads = [b.of("transpose", b.of("reshape", t, shape=(N, 8, 4, 8)), perm=(0, 2, 1, 3)) for t in parts]
    network = b.done(b.of("attention", *heads))
    groups = partition(network)
    plan = plan_storage(network, groups)
    views = [t for g in groups if g.kind == "view" for t in g.outputs]
    assert len(views) == 9 and {plan.places[id(t)] for t in views} == {Place.VIEW}
    assert [t.name for t in plan.buffers] == [packed.name]


def test_channels_last_is_not_flattened_in_place() -> None:
    b = Net()
    y = b.of("relu", b.x(8, 3, 3))
    flat = b.of("flatten", y)
    network = b.done(b.of("neg", flat), b.of("exp", y))
    groups = partition(network)
    places = plan_storage(network, groups, {id(y): (0, 2, 3, 1)}).places
    assert places[id(flat)] is Place.ARENA
    assert plan_storage(network, groups).places[id(flat)] is Place.VIEW
