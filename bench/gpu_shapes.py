"""BERT-base on a GPU at random shapes that it was not tuned for, against engines that were built for these shapes."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from typing import Any

from bench.gpu_engines import back_to_back, make_feeds, network_at, shapes_of, timed
from bench.gpu_jobs import READY
from bench.results import Column

__all__ = ["SHAPE_COLUMNS", "shapes"]

SPEC = "bert_base"
BOX = {"B": (1, 8, 32), "S": (16, 128, 512)}
"""Least, best and most of its dims."""
STEP = 8
"""S is a multiple of it."""
WORST = 3
"""Groups that are named where a shape's time is over that of the engine built for it."""

SHAPE_COLUMNS = (
    Column("shape", "shape"),
    Column("first", "first use", "ms"),
    Column("back", "back to back", "ms"),
    Column("static", "built for the shape", "ms"),
    Column("ratio", "ratio", "ratio"),
    Column("where", "where the time goes: what it was built with -> what runs, time more or less"),
)


def shapes(count: int, effort: int) -> Generator[str, None, list[dict[str, Any]]]:
    """A row for each shape, a job. The engine that the times are held against has a profile for each of the shapes, so that
    each is tuned as the optimum of a profile is."""
    import trtn

    pick = random.Random(0)
    (low, _, high), (short, _, long) = BOX["B"], BOX["S"]
    tried = [{"B": pick.randint(low, high), "S": pick.randrange(short, long + 1, STEP)} for _ in range(count)]
    began = time.perf_counter()
    engine = trtn.build(network_at(SPEC, BOX), device="cuda", precision="f16", effort=effort)
    built = time.perf_counter() - began
    yield f"built in {built:.1f} s"
    context = engine.create_context()
    context.warm(shapes_of(engine, {n: most for n, (_, _, most) in BOX.items()}))  # the memory is there
    first = {}
    for n, sizes in enumerate(tried):
        with timed() as took:
            context.warm(shapes_of(engine, sizes))
        first[n] = took()
    yield f"first use: { ({_name(sizes): round(first[n], 3) for n, sizes in enumerate(tried)}) }"
    fixed = [{n: (v, v, v) for n, v in sizes.items()} for sizes in tried]
    static = trtn.build(network_at(SPEC, *fixed), device="cuda", precision="f16", effort=effort)
    yield READY
    rows: list[dict[str, Any]] = [{"shape": "build", "first": built}]
    for n, sizes in enumerate(tried):
        ours, theirs = (back_to_back(e, sizes) for e in (engine, static))
        row = {"shape": _name(sizes), "first": first[n], "back": ours, "static": theirs, "ratio": ours / theirs}
        rows.append(row | {"where": _where(engine, static, sizes)})
        yield str(rows[-1])
    return rows


def _name(sizes: Mapping[str, int]) -> str:
    return f"{sizes['B']}x{sizes['S']}"


def _where(engine: Any, static: Any, sizes: Mapping[str, int]) -> str:
    """The groups that take most longer than in the engine that was built for the shape, steps timed one by one."""
    from trtn.backend.runtime.profiler import profile_steps

    feeds = make_feeds(engine.network, sizes)
    ours, theirs = (profile_steps(e, feeds, runs=5).steps for e in (engine, static))
    more: dict[str, float] = defaultdict(float)
    chosen = [e.kernels.choices_at(sizes)[1] for e in (engine, static)]
    for group, here, there in zip(engine.groups, *chosen, strict=True):
        if group.name in ours and group.name in theirs:
            what = f"{group.kind} {there.provider} {there.tactic} -> {here.provider} {here.tactic}"
            more[what] += ours[group.name] - theirs[group.name]
    worst = sorted(more.items(), key=lambda item: -abs(item[1]))[:WORST]
    return "; ".join(f"{what} {ms * 1e3:+.0f} us" for what, ms in worst)
