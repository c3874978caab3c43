"""The arena: no two live values share a byte, and networks come within 5 % of the lower bound."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtn.backend.plan import arena as arena_module
from trtn.backend.plan.arena import Arena, Lifetime, check_arena, plan_arena

lifetimes = st.lists(
    st.builds(
        lambda first, length, nbytes: Lifetime(first, first + length, nbytes),
        st.integers(0, 30),
        st.integers(0, 8) | st.integers(0, 40),
        st.sampled_from([0, 1, 63, 64, 65, 4096]) | st.integers(0, 1 << 20),
    ),
    max_size=60,
)


def overlaps(arena: Arena, lives: list[Lifetime]) -> bool:
    """The invariant, by brute force over pairs."""
    spans = [(o, o + life.nbytes, life) for o, life in zip(arena.offsets, lives, strict=True) if life.nbytes]
    return any(
        a_start < b_end and b_start < a_end and a.first <= b.last and b.first <= a.last
        for at, (a_start, a_end, a) in enumerate(spans)
        for b_start, b_end, b in spans[:at]
    )


@settings(max_examples=150, deadline=None)
@given(lifetimes, st.sampled_from([1, 64, 256]))
def test_plans_are_sound_and_repeatable(lives: list[Lifetime], align: int) -> None:
    arena = plan_arena(lives, align=align)
    assert not overlaps(arena, lives)
    check_arena(arena, lives, align=align)
    assert all(offset % align == 0 for offset in arena.offsets)
    assert all(offset == 0 for offset, life in zip(arena.offsets, lives, strict=True) if not life.nbytes)
    alive = [
        sum(-(-life.nbytes // align) * align for life in lives if life.first <= step <= life.last) for step in range(80)
    ]
    assert arena.lower_bound == max(alive)
    assert arena.nbytes >= arena.lower_bound
    assert plan_arena(list(lives), align=align) == arena


@settings(max_examples=60, deadline=None)
@given(lifetimes.filter(lambda lives: any(life.nbytes for life in lives)), st.data())
def test_check_agrees_with_brute_force(lives: list[Lifetime], data: st.DataObject) -> None:
    offsets = tuple(64 * data.draw(st.integers(0, 40)) for _ in lives)
    arena = Arena(offsets, 1 << 30, 0)
    if overlaps(arena, lives):
        with pytest.raises(ValueError, match="share bytes"):
            check_arena(arena, lives)
    else:
        check_arena(arena, lives)


def test_check_names_the_fault() -> None:
    lives = [Lifetime(0, 1, 64), Lifetime(1, 2, 64)]
    good = plan_arena(lives)
    with pytest.raises(ValueError, match="share bytes"):
        check_arena(replace(good, offsets=(0, 0)), lives)
    with pytest.raises(ValueError, match="no multiple of 64"):
        check_arena(replace(good, offsets=(0, 65)), lives)
    with pytest.raises(ValueError, match="outside"):
        check_arena(replace(good, offsets=(0, 128)), lives)
    with pytest.raises(ValueError, match="1 offsets for 2"):
        check_arena(replace(good, offsets=(0,)), lives)


@pytest.mark.parametrize("life", [Lifetime(3, 2, 1), Lifetime(0, 0, -1)])
def test_impossible_lifetimes_are_refused(life: Lifetime) -> None:
    with pytest.raises(ValueError, match="lifetime 1 is impossible"):
        plan_arena([Lifetime(0, 0, 1), life])


def test_alignment_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_arena([], align=0)


def test_nothing_takes_no_memory() -> None:
    assert plan_arena([]) == Arena((), 0, 0)
    assert plan_arena([Lifetime(0, 5, 0)]) == Arena((0,), 0, 0)


def test_sizes_beyond_64_bits_still_plan() -> None:
    lives = [Lifetime(i, i + 1 + i % 3, 3 << (60 + i % 7)) for i in range(30)]
    check_arena(plan_arena(lives), lives)


class Net:
    """Lifetimes as a network makes them: one step a layer, inputs live until their last reader."""

    def __init__(self) -> None:
        self.spans: list[list[int]] = []
        self.step = 0

    def layer(self, nbytes: int, *inputs: int, scratch: int = 0) -> int:
        for value in inputs:
            self.spans[value][1] = self.step
        if scratch:
            self.spans.append([self.step, self.step, scratch])
        self.spans.append([self.step, self.step, nbytes])
        self.step += 1
        return len(self.spans) - 1

    def lifetimes(self, *outputs: int) -> list[Lifetime]:
        for value in outputs:
            self.spans[value][1] = self.step
        return [Lifetime(*span) for span in self.spans]


def resnet(stages: tuple[int, ...] = (3, 4, 6, 3), size: int = 224, scratch: int = 0) -> list[Lifetime]:
    net, size, width = Net(), size // 4, 64
    x = net.layer(width * size * size * 4, net.layer(3 * 16 * size * size * 4))
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            y = net.layer(width * size * size * 4, x, scratch=scratch * size)
            size //= stride
            y = net.layer(width * size * size * 4, y, scratch=scratch * size * 3)
            y = net.layer(4 * width * size * size * 4, y)
            skip = x if block else net.layer(4 * width * size * size * 4, x)
            x = net.layer(4 * width * size * size * 4, y, skip)
        width *= 2
    return net.lifetimes(net.layer(4000, x))


def inception(seed: int, modules: int = 12) -> list[Lifetime]:
    draw, net, size = random.Random(seed), Net(), 28
    x = net.layer(192 * size * size * 4)
    for module in range(modules):
        if module % 4 == 3:
            size //= 2
        branches, channels = [], 0
        for _ in range(draw.randint(3, 6)):
            y = x
            for _ in range(draw.randint(0, 3)):
                y = net.layer(draw.choice([16, 48, 64, 96]) * size * size * 4, y)
            width = draw.choice([32, 64, 96, 128])
            branches.append(net.layer(width * size * size * 4, y))
            channels += width
        x = net.layer(channels * size * size * 4, *branches)
    return net.lifetimes(x)


def transformer(layers: int = 12, seq: int = 128, cache: bool = False) -> list[Lifetime]:
    net, wide, heads, kept = Net(), 768, 12, []
    mask = net.layer(seq * seq)
    x = net.layer(seq * wide * 2)
    for _ in range(layers):
        norm = net.layer(seq * wide * 2, x)
        q, k, v = (net.layer(seq * wide * 2, norm) for _ in range(3))
        kept += [k, v] if cache else []
        scores = net.layer(heads * seq * seq * 2, net.layer(heads * seq * seq * 2, q, k), mask)
        attended = net.layer(seq * wide * 2, net.layer(heads * seq * seq * 2, scores), v)
        x = net.layer(seq * wide * 2, x, net.layer(seq * wide * 2, attended))
        hidden = net.layer(seq * wide * 8, net.layer(seq * wide * 2, x))
        x = net.layer(seq * wide * 2, x, net.layer(seq * wide * 2, net.layer(seq * wide * 8, hidden)))
    return net.lifetimes(x, *kept)


def unet(depth: int, convs: int, concat: bool = True) -> list[Lifetime]:
    net, size, width, skips = Net(), 256, 32, []
    x = net.layer(3 * size * size * 4)
    for _ in range(depth):
        for _ in range(convs):
            x = net.layer(width * size * size * 4, x)
        skips.append((x, width, size))
        size //= 2
        x = net.layer(width * size * size * 4, x)
        width *= 2
    for skip, width, size in reversed(skips):
        x = net.layer(width * size * size * 4, x)
        x = net.layer(width * size * size * (8 if concat else 4), x, skip)
        for _ in range(convs):
            x = net.layer(width * size * size * 4, x)
    return net.lifetimes(x)


def densenet(blocks: tuple[int, ...] = (6, 12, 24, 16), size: int = 56) -> list[Lifetime]:
    net, channels = Net(), 64
    x = net.layer(channels * size * size * 4)
    for layers in blocks:
        features, widths = [x], [channels]
        for _ in range(layers):
            joined = net.layer(sum(widths) * size * size * 4, *features)
            features.append(net.layer(32 * size * size * 4, net.layer(128 * size * size * 4, joined)))
            widths.append(32)
        channels = sum(widths) // 2
        joined = net.layer(2 * channels * size * size * 4, *features)
        x = net.layer(channels * size * size, net.layer(channels * size * size * 4, joined))
        size //= 2
    return net.lifetimes(x)


def graph(seed: int, layers: int = 300) -> list[Lifetime]:
    """A random network: mostly short edges, some long skips, sizes over three decades, some scratch."""
    draw, net = random.Random(seed), Net()
    values = [net.layer(1000)]
    for _ in range(layers):
        inputs = [values[-1 - min(int(draw.expovariate(0.12)), len(values) - 1)] for _ in range(draw.randint(1, 3))]
        if draw.random() < 0.05:
            inputs.append(draw.choice(values))
        scratch = int(2 ** draw.uniform(8, 18)) if draw.random() < 0.2 else 0
        values.append(net.layer(int(2 ** draw.uniform(8, 20)), *inputs, scratch=scratch))
    return net.lifetimes(values[-1])


NETWORKS: dict[str, Callable[[], list[Lifetime]]] = {
    "resnet50": resnet,
    "resnet152_odd": lambda: resnet((3, 8, 36, 3), 231),
    "resnet50_scratch": lambda: resnet(scratch=40_000),
    **{f"inception_{seed}": lambda seed=seed: inception(seed) for seed in range(4)},  # type: ignore[misc]
    **{f"transformer_{seq}": lambda seq=seq: transformer(seq=seq) for seq in (1, 17, 128, 1000)},  # type: ignore[misc]
    "transformer_cache": lambda: transformer(seq=500, cache=True),
    "transformer_deep": lambda: transformer(layers=300),
    **{
        f"unet_{depth}_{convs}_{concat}": lambda d=depth, n=convs, c=concat: unet(d, n, c)  # type: ignore[misc]
        for depth in (3, 5)
        for convs in (1, 2, 3)
        for concat in (True, False)
    },
    "densenet121": densenet,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_within_five_percent(name: str) -> None:
    lives = NETWORKS[name]()
    arena = plan_arena(lives)
    check_arena(arena, lives)
    assert arena.nbytes <= 1.05 * arena.lower_bound


def test_random_networks_do_so_nearly_always() -> None:
    ratios = []
    for seed in range(40):
        lives = graph(seed)
        arena = plan_arena(lives)
        check_arena(arena, lives)
        ratios.append(arena.nbytes / arena.lower_bound)
    assert sum(ratio > 1.05 for ratio in ratios) <= 1
    assert max(ratios) < 1.1
    assert sum(ratios) / len(ratios) < 1.025


def test_repair_is_needed_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without work the search adds nothing to the allocator; with work it does. Both are sound."""
    lives = graph(3, 200)
    full = plan_arena(lives)
    monkeypatch.setattr(arena_module, "_WORK", 0)
    idle = plan_arena(lives)
    check_arena(idle, lives)
    assert full.nbytes < idle.nbytes


def test_huge_problems_never_build_the_interval_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(lives: object) -> list[list[int]]:
        raise AssertionError("quadratic work on a huge problem")

    monkeypatch.setattr(arena_module, "_neighbours", refuse)
    draw = random.Random(0)
    starts = [draw.randint(0, 10_000) for _ in range(20_000)]
    lives = [Lifetime(start, start + draw.randint(0, 5_000), draw.randint(1, 1 << 20)) for start in starts]
    arena = plan_arena(lives)
    check_arena(arena, lives)
    assert arena.nbytes < 1.5 * arena.lower_bound
