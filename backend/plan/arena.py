"""Where each temporary value lives: offsets in one arena; values alive at the same step share no byte.

A pure function of integers; it knows neither networks nor devices. It runs again whenever a context meets new
input shapes, so it stops as soon as the arena is good, and its work is bounded by counts (never by a clock:
equal lifetimes must give equal offsets).

1. The allocator walks the steps, forwards and backwards, with best fit: n log n, all that huge problems get.
2. The values that fit wherever the others are get set aside; what is left, the core, is small in networks.
3. The search places the core greedily in a few fixed orders, then repairs the best. The easy values follow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush

import numpy as np

from trtn.dsl.records import record

__all__ = ["Arena", "Lifetime", "check_arena", "plan_arena"]

_GOAL_PERCENT = 5  # above the lower bound; DESIGN's promise, where repair stops
_GOOD_PERCENT = 1  # above the lower bound; where everything stops
_MAX_EDGES = 1_000_000  # of the interval graph; above, it is not built
_MAX_ROUNDS = 50  # of setting aside; real networks take about five
_WORK = 1_000_000  # values placed plus neighbours looked at in the search: about 0.2 s

_Span = tuple[int, int]  # first byte, end


@record()
class Lifetime:
    """A value of `nbytes` bytes that is alive in the steps `first` to `last`, both included."""

    first: int
    last: int
    nbytes: int


@record()
class Arena:
    """`offsets[i]` is the first byte of value i; `nbytes` the arena's size.

    `lower_bound` is the largest sum over any step of the aligned bytes alive there: no arena can be smaller.
    """

    offsets: tuple[int, ...]
    nbytes: int
    lower_bound: int


def plan_arena(lifetimes: Sequence[Lifetime], *, align: int = 64) -> Arena:
    """Offsets, all multiples of `align`, for values that may share memory when their lifetimes are disjoint.

    Deterministic. Values of no bytes get offset 0. Raises ValueError for a lifetime that ends before it
    starts, a negative size or an alignment below 1.
    """
    if align < 1:
        raise ValueError(f"alignment is {align}; it must be at least 1")
    for index, life in enumerate(lifetimes):
        if life.last < life.first or life.nbytes < 0:
            raise ValueError(f"lifetime {index} is impossible: {life}")
    kept = [index for index, life in enumerate(lifetimes) if life.nbytes > 0]
    lives = [_aligned(lifetimes[index], align) for index in kept]
    bound = _lower_bound(lives)
    placed = _solve(lives, bound, align)
    offsets = [0] * len(lifetimes)
    for index, offset in zip(kept, placed.offsets, strict=True):
        offsets[index] = offset
    return Arena(tuple(offsets), placed.peak, bound)


def check_arena(arena: Arena, lifetimes: Sequence[Lifetime], *, align: int = 64) -> None:
    """Raises ValueError if two values share a byte at some step, or an offset is misaligned or outside."""
    if len(arena.offsets) != len(lifetimes):
        raise ValueError(f"{len(arena.offsets)} offsets for {len(lifetimes)} lifetimes")
    for index, (offset, life) in enumerate(zip(arena.offsets, lifetimes, strict=True)):
        if offset % align:
            raise ValueError(f"value {index} is at {offset}, which is no multiple of {align}")
        if offset < 0 or offset + life.nbytes > arena.nbytes:
            raise ValueError(f"value {index} ({life.nbytes} bytes at {offset}) is outside {arena.nbytes} bytes")
    alive: list[tuple[int, int, int]] = []  # offset, end, index: disjoint, so only the two neighbours can clash
    ends: list[tuple[int, tuple[int, int, int]]] = []
    for index in sorted(range(len(lifetimes)), key=lambda i: lifetimes[i].first):
        life, offset = lifetimes[index], arena.offsets[index]
        if life.nbytes == 0:
            continue
        while ends and ends[0][0] < life.first:
            gone = heappop(ends)[1]
            del alive[bisect_left(alive, gone)]
        span = (offset, offset + life.nbytes, index)
        at = bisect_left(alive, span)
        for other in alive[max(at - 1, 0) : at + 1]:
            if other[0] < span[1] and span[0] < other[1]:
                raise ValueError(f"values {other[2]} and {index} share bytes while both are alive")
        alive.insert(at, span)
        heappush(ends, (life.last, span))


@record()
class _Placement:
    offsets: Sequence[int]
    peak: int


def _aligned(life: Lifetime, align: int) -> Lifetime:
    return Lifetime(life.first, life.last, -(-life.nbytes // align) * align)


def _lower_bound(lives: Sequence[Lifetime]) -> int:
    change: dict[int, int] = {}
    for life in lives:
        change[life.first] = change.get(life.first, 0) + life.nbytes
        change[life.last + 1] = change.get(life.last + 1, 0) - life.nbytes
    alive = most = 0
    for step in sorted(change):
        alive += change[step]
        most = max(most, alive)
    return most


def _solve(lives: Sequence[Lifetime], bound: int, align: int) -> _Placement:
    good = bound * (100 + _GOOD_PERCENT) // 100
    best = _place_in_time(lives)
    if best.peak <= good:
        return best
    mirrored = [Lifetime(-life.last, -life.first, life.nbytes) for life in lives]
    best = min(best, _place_in_time(mirrored), key=lambda placement: placement.peak)
    too_big_for_int64 = sum(life.nbytes for life in lives) * len(lives) >= 1 << 62
    if best.peak <= good or too_big_for_int64 or _count_edges(lives) > _MAX_EDGES:
        return best
    core, easy = _set_aside(lives, good, align)
    search = _Search([lives[index] for index in core], best.peak)
    search.try_orders(good)
    search.repair(good, bound * (100 + _GOAL_PERCENT) // 100)
    if search.offsets is None:
        return best
    return _complete(lives, dict(zip(core, search.offsets, strict=True)), easy)


# 1. the allocator


def _place_in_time(lives: Sequence[Lifetime]) -> _Placement:
    """Best fit in step order, the longest-lived first among those that start together."""
    heap = _FreeList()
    offsets = [0] * len(lives)
    ends: list[tuple[int, int]] = []
    for index in sorted(range(len(lives)), key=lambda i: (lives[i].first, -lives[i].last, -lives[i].nbytes)):
        life = lives[index]
        while ends and ends[0][0] < life.first:
            gone = heappop(ends)[1]
            heap.free(offsets[gone], lives[gone].nbytes)
        offsets[index] = heap.take(life.nbytes)
        heappush(ends, (life.last, index))
    return _Placement(offsets, heap.top)


class _FreeList:
    """Gaps below `top`, by size for best fit and by both ends for merging. Taking and freeing cost log n."""

    def __init__(self) -> None:
        self.top = 0
        self._by_size: list[tuple[int, int]] = []
        self._end_of: dict[int, int] = {}
        self._start_of: dict[int, int] = {}

    def take(self, nbytes: int) -> int:
        at = bisect_left(self._by_size, (nbytes, 0))
        if at < len(self._by_size):
            size, start = self._by_size[at]
            self._drop(start, start + size)
            if size > nbytes:
                self._add(start + nbytes, start + size)
            return start
        start = self._start_of.get(self.top, self.top)  # a gap at the very top is used by growing it
        if start < self.top:
            self._drop(start, self.top)
        self.top = start + nbytes
        return start

    def free(self, start: int, nbytes: int) -> None:
        end = start + nbytes
        below = self._start_of.get(start)
        if below is not None:
            self._drop(below, start)
            start = below
        above = self._end_of.get(end)
        if above is not None:
            self._drop(end, above)
            end = above
        self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        self._end_of[start] = end
        self._start_of[end] = start
        insort(self._by_size, (end - start, start))

    def _drop(self, start: int, end: int) -> None:
        del self._end_of[start], self._start_of[end]
        del self._by_size[bisect_left(self._by_size, (end - start, start))]


# 2. the core


def _count_edges(lives: Sequence[Lifetime]) -> int:
    """Pairs of values that are alive together: each value counts those that start during it."""
    firsts = sorted(life.first for life in lives)
    started = sum(bisect_right(firsts, life.last) - bisect_left(firsts, life.first) for life in lives)
    ties = sum(bisect_right(firsts, first) - bisect_left(firsts, first) for first in firsts)
    return started - (ties + len(lives)) // 2


def _set_aside(lives: Sequence[Lifetime], room: int, align: int) -> tuple[list[int], list[int]]:
    """Splits off the values that fit below `room` wherever the others are, as register allocators simplify.

    A neighbour of n bytes rules out n + size - align starts of a value of `size` bytes at most; where one
    below `room` is left over, the value is easy, and no concern to the rest. Returns the core and the easy
    ones, these in an order of placement in which each meets only neighbours that it was easy among.
    """
    first, last, size = np.array([(life.first, life.last, life.nbytes) for life in lives], np.int64).T
    left, easy = np.arange(len(lives)), np.empty(0, np.int64)
    for _ in range(_MAX_ROUNDS):
        by_first, by_last = left[np.argsort(first[left])], left[np.argsort(last[left])]
        started = np.searchsorted(first[by_first], last[left], "right")
        over = np.searchsorted(last[by_last], first[left], "left")
        total_started = np.concatenate(([0], np.cumsum(size[by_first])))
        total_over = np.concatenate(([0], np.cumsum(size[by_last])))
        count = started - over - 1
        nbytes = total_started[started] - total_over[over] - size[left]
        fits = nbytes + count * (size[left] - align) <= room - size[left]
        if not fits.any():
            break
        easy = np.concatenate((left[fits], easy))
        left = left[~fits]
    return left.tolist(), easy.tolist()


def _complete(lives: Sequence[Lifetime], placed: Mapping[int, int], easy: Sequence[int]) -> _Placement:
    """The core where it was placed, the easy values in the lowest gap each."""
    spans: list[_Span | None] = [None] * len(lives)
    for index, offset in placed.items():
        spans[index] = (offset, offset + lives[index].nbytes)
    neighbours = _neighbours(lives)
    for index in easy:
        offset = _lowest_gap(lives[index].nbytes, filter(None, map(spans.__getitem__, neighbours[index])))
        spans[index] = (offset, offset + lives[index].nbytes)
    final = [span for span in spans if span is not None]
    return _Placement([start for start, _ in final], max(end for _, end in final))


def _neighbours(lives: Sequence[Lifetime]) -> list[list[int]]:
    """For each value, those alive together with it."""
    result: list[list[int]] = [[] for _ in lives]
    alive: list[int] = []
    for index in sorted(range(len(lives)), key=lambda i: lives[i].first):
        first = lives[index].first
        alive = [other for other in alive if lives[other].last >= first]
        result[index].extend(alive)
        for other in alive:
            result[other].append(index)
        alive.append(index)
    return result


def _lowest_gap(size: int, spans: Iterable[_Span]) -> int:
    at = 0
    for start, end in sorted(spans):
        if start - at >= size:
            break
        if end > at:
            at = end
    return at


# 3. the search

_ORDERS: tuple[Callable[[Lifetime], tuple[int, ...]], ...] = (
    lambda life: (-life.nbytes, life.first - life.last, life.first),  # the largest first
    lambda life: (life.first - life.last, -life.nbytes, life.first),  # the longest-lived first
    lambda life: (life.nbytes * (life.first - life.last - 1), life.first),  # the largest area first
    lambda life: (life.first, -life.last, -life.nbytes),  # as they come
    lambda life: (-life.last, life.first, -life.nbytes),  # as they go, backwards
)


class _Search:
    """Greedy placements of the core under one work budget. `offsets` is None until one beats `peak`."""

    def __init__(self, lives: Sequence[Lifetime], peak: int) -> None:
        self.offsets: list[int] | None = None
        self.peak = peak
        self._lives = lives
        self._sizes = [life.nbytes for life in lives]
        self._neighbours = _neighbours(lives)
        self._order = sorted(range(len(lives)), key=lambda i: _ORDERS[0](lives[i]))
        self._work = _WORK

    def try_orders(self, good: int) -> None:
        """Each fixed order, until one gives an arena of at most `good` bytes."""
        for key in _ORDERS:
            if self.peak <= good or self._work <= 0:
                return
            self._place(sorted(range(len(self._lives)), key=[key(life) for life in self._lives].__getitem__), good)

    def repair(self, good: int, goal: int) -> None:
        """Until the arena has at most `goal` bytes: moves the first value that ends above `good` in front of
        some neighbour placed before it, and places all again. Aiming below the goal gets there sooner.
        """
        order, random = list(self._order), _Random()
        while self.peak > goal and self._work > 0:
            culprit = self._place(order, good)
            if culprit is None:
                return
            around = set(self._neighbours[culprit])
            at = order.index(culprit)
            earlier = [place for place in range(at) if order[place] in around]
            order.insert(earlier[random.below(len(earlier))], order.pop(at))

    def _place(self, order: list[int], good: int) -> int | None:
        """Each value into the lowest gap that takes it, until this can't beat the best so far.

        Returns the first value that ends above `good`.
        """
        spans: list[_Span | None] = [None] * len(order)
        peak, culprit = 0, None
        for index in order:
            size, around = self._sizes[index], self._neighbours[index]
            self._work -= len(around) + 1
            start = _lowest_gap(size, filter(None, map(spans.__getitem__, around)))
            spans[index] = (start, start + size)
            if start + size > peak:
                peak = start + size
                if peak > good and culprit is None:
                    culprit = index
                if peak >= self.peak:
                    return culprit
        self.peak, self.offsets, self._order = (
            peak,
            [span[0] for span in spans if span is not None],
            list(order),
        )
        return culprit


class _Random:
    """A linear congruential generator (Knuth's MMIX constants): the same numbers everywhere, for ever."""

    def __init__(self) -> None:
        self._state = 0x9E3779B97F4A7C15

    def below(self, limit: int) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        return (self._state >> 33) % limit
