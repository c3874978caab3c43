"""`python -m bench.gpu_facts [PART..]`: what engines cost on a GPU besides their runs, from the networks of `specs/`.

python -m bench.gpu_facts                            # all parts, into build/bench
python -m bench.gpu_facts loading --effort 1         # one, with little tuning
python -m bench.gpu_facts shapes --shapes 20         # as many random shapes of BERT-base

The parts: `building` (with nothing known, from the lock, twice), `loading` (to the first result, with no cache folder),
`running` (the host's time of a run on bound buffers, the memory after many), `contexts` (two on two streams against one)
and `shapes` (dynamic ones: the first use, and then against an engine that was built for that shape). Engines are f16.
Each part runs in a process of its own, all with one new cache folder.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.facts import load_average
from bench.harness import Failure, isolated
from bench.report import section_text
from bench.results import Column, Table, read_result, write_result

__all__ = ["PARTS", "main"]

SPECS = Path(__file__).resolve().parent.parent / "specs"
MANY = 10_000
"""Runs after which memory is looked at."""
QUEUE = 16
"""Runs that are enqueued at once where the host's time counts: a full queue would make it wait."""
SECONDS = 0.2
"""How long a throughput is measured."""
BOX = {"B": (1, 8, 32), "S": (16, 128, 512)}
"""Least, best and most of BERT-base's dims."""
STEP = 8
"""S is a multiple of it."""


# --- the parts, each for a process of its own ---


def building(folder: str, spec: str, sizes: dict[str, int], effort: int) -> list[dict[str, Any]]:
    """Leaves `<spec>.engine` and its lock in the folder."""
    import trtn

    network, where = network_at(spec, {n: (v, v, v) for n, v in sizes.items()}), Path(folder)
    options: dict[str, Any] = {"device": "cuda", "precision": "f16", "lock": where / f"{spec}.lock"}
    rows = []
    with timed() as cold:
        engine = trtn.build(network, effort=effort, **options)
    rows.append(fact(spec, f"build, nothing known, effort {effort}", cold(), "s", 60))
    for name in (f"{spec}.engine", f"{spec}.again"):
        with timed() as locked:
            engine = trtn.build(network, locked=True, **options)
        engine.save(where / name)
    rows.append(fact(spec, "build with the lock", locked(), "s", 10))
    same = filecmp.cmp(where / f"{spec}.engine", where / f"{spec}.again", shallow=False)
    rows.append(fact(spec, "two builds with the lock are the same to the byte", "yes" if same else "no", "", "yes"))
    engine.save(where / f"{spec}.engine", kernels=True)
    pieces = trtn.load_engine(where / f"{spec}.engine").compiled
    rows.append(fact(spec, f"compiled kernels, {len(pieces)} in the file", sum(map(len, pieces.values())), "bytes"))
    return rows


def loading(folder: str, spec: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """CuPy is imported and has a device, nothing else is there yet."""
    import cupy

    import trtn

    path, network = Path(folder) / f"{spec}.engine", network_at(spec, {})
    feeds = make_feeds(network, sizes)
    cupy.cuda.Device().synchronize()
    os.environ["TRTN_CACHE"] = "off"
    rows = []
    for trusted, goal in ((True, 1), (False, None)):
        with timed() as took:
            trtn.load_engine(path, trusted=trusted).run(feeds)
        what = "compiled kernels trusted" if trusted else "kernels compiled anew, libraries loaded"
        rows.append(fact(spec, f"load to first result, {what}", took(), "s", goal))
    return rows


def running(folder: str, spec: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    import cupy

    import trtn

    engine = trtn.load_engine(Path(folder) / f"{spec}.engine", trusted=True)
    run, stream = bound(engine, sizes)
    hosts = []
    for _ in range(50):
        stream.synchronize()
        began = time.perf_counter()
        for _ in range(QUEUE):
            run()
        hosts.append((time.perf_counter() - began) / QUEUE)
    for _ in range(MANY // 10):
        run()
    stream.synchronize()
    free, resident = cupy.cuda.runtime.memGetInfo()[0], resident_bytes()
    for _ in range(MANY):
        run()
    stream.synchronize()
    taken = free - cupy.cuda.runtime.memGetInfo()[0]
    return [
        fact(spec, "host time of a run on bound buffers", statistics.median(hosts), "us", 15e-6),
        fact(spec, f"GPU memory taken by {MANY:,} runs", taken, "bytes", 0),
        fact(spec, f"host memory taken by {MANY:,} runs", max(0, resident_bytes() - resident), "bytes", 1 << 20),
    ]


def contexts(folder: str, spec: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    import trtn

    engine = trtn.load_engine(Path(folder) / f"{spec}.engine", trusted=True)
    both = [bound(engine, sizes) for _ in range(2)]

    def rate(some: list[tuple[Callable[[], None], Any]]) -> float:
        """Runs a second, all contexts together."""
        began, runs = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            for _ in range(QUEUE):
                for run, _ in some:
                    run()
            runs += QUEUE * len(some)
            for _, stream in some:
                stream.synchronize()
        return runs / (time.perf_counter() - began)

    rate(both)
    ratios = [rate(both) / rate(both[:1]) for _ in range(5)]
    return [fact(spec, "throughput of two contexts on two streams, one = 1", statistics.median(ratios), "", 1.5)]


def shapes(count: int, effort: int) -> list[dict[str, Any]]:
    """BERT-base in a box of shapes: random ones, each against an engine of its own."""
    import trtn

    pick, spec = random.Random(0), "bert_base"
    (low, _, high), (short, _, long) = BOX["B"], BOX["S"]
    tried = [{"B": pick.randint(low, high), "S": pick.randrange(short, long + 1, STEP)} for _ in range(count)]
    with timed() as built:
        engine = trtn.build(network_at(spec, BOX), device="cuda", precision="f16", effort=effort)
    context = engine.create_context()
    context.warm(shapes_of(engine, {n: most for n, (_, _, most) in BOX.items()}))  # the memory is there
    rows: list[dict[str, Any]] = [{"shape": "build", "first": built()}]
    for sizes in tried:
        with timed() as first:
            context.warm(shapes_of(engine, sizes))
        network = network_at(spec, {n: (v, v, v) for n, v in sizes.items()})
        static = trtn.build(network, device="cuda", precision="f16", effort=effort)
        ours, theirs = (back_to_back(e, sizes) for e in (engine, static))
        rows.append(
            {
                "shape": f"{sizes['B']}x{sizes['S']}",
                "first": first(),
                "back": ours,
                "static": theirs,
                "ratio": ours / theirs,
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


# --- what the parts need ---


def network_at(spec: str, box: Mapping[str, tuple[int, int, int]]) -> Any:
    """A spec's network with one profile, (min, opt, max) by dim; as it is without."""
    import trtn
    from trtn.dsl.network import Profile, ProfileRange

    network = trtn.load(SPECS / f"{spec}.trtn")
    if not box:
        return network
    return replace(network, profiles=(Profile("box", {n: ProfileRange(*r) for n, r in box.items()}),))


def shapes_of(engine: Any, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    from trtn.dsl.dims import evaluate

    return {t.name: tuple(evaluate(d, sizes) for d in t.shape) for t in engine.network.inputs}


def make_feeds(network: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    import numpy as np

    from trtn.dsl.dims import evaluate

    rng = np.random.default_rng(0)
    shapes = {t: tuple(evaluate(d, sizes) for d in t.shape) for t in network.inputs}
    return {
        t.name: (rng.standard_normal(shape) if t.dtype.is_float else rng.integers(0, 2, shape)).astype(t.dtype.numpy)
        for t, shape in shapes.items()
    }


def bound(engine: Any, sizes: Mapping[str, int]) -> tuple[Callable[[], None], Any]:
    """A run on bound buffers, warm, and its stream."""
    import cupy

    context, stream = engine.create_context(), cupy.cuda.Stream(non_blocking=True)
    feeds = {name: cupy.asarray(a) for name, a in make_feeds(engine.network, sizes).items()}
    buffers = {name: cupy.empty_like(a) for name, a in context.run(feeds).items()}
    context.bind({**feeds, **buffers})
    for _ in range(QUEUE):
        context.execute_async(stream)
    stream.synchronize()
    return lambda: context.execute_async(stream), stream


def back_to_back(engine: Any, sizes: Mapping[str, int]) -> float:
    """Seconds of one run among many that are enqueued one behind the other: the median of a few tries."""
    import cupy

    run, stream = bound(engine, sizes)
    start, end = cupy.cuda.Event(), cupy.cuda.Event()

    def once(count: int) -> float:
        start.record(stream)
        for _ in range(count):
            run()
        end.record(stream)
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1e3 / count

    count = max(5, min(500, int(SECONDS / 3 / once(5))))
    once(count)
    return statistics.median(once(count) for _ in range(3))


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """The seconds between its begin and its end, once it has ended."""
    began = time.perf_counter()
    took = [0.0]
    yield lambda: took[0]
    took[0] = time.perf_counter() - began


def fact(spec: str, what: str, value: float | str, unit: str, goal: float | str | None = None) -> dict[str, Any]:
    return {"network": spec, "fact": what, "value": _text(value, unit), "goal": _text(goal, unit)}


def _text(value: float | str | None, unit: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    match unit:
        case "us":
            return f"{value * 1e6:.1f} µs"
        case "s":
            return f"{value:.2f} s"
        case "bytes":
            return f"{value / 1e6:.2f} MB"
    return f"{value:.2f}"


# --- the command ---


RESNET: dict[str, Any] = {"spec": "resnet50", "sizes": {"N": 1}}
PARTS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "building": building,
    "loading": loading,
    "running": running,
    "contexts": contexts,
    "shapes": shapes,
}
FACTS = (Column("network", "network"), Column("fact", "what"), Column("value", "measured"), Column("goal", "goal"))
SHAPES = (
    Column("shape", "shape"),
    Column("first", "first use", "ms"),
    Column("back", "back to back", "ms"),
    Column("static", "built for the shape", "ms"),
    Column("ratio", "ratio", "ratio"),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m bench.gpu_facts", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)}; all without any")
    parser.add_argument("--effort", type=int, default=3, help="of the tuner, 0 to 5")
    parser.add_argument("--shapes", type=int, default=4, help="how many random shapes")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON result")
    chosen = parser.parse_args(arguments)
    if unknown := [p for p in chosen.parts if p not in PARTS]:
        parser.error(f"no part is called {', '.join(unknown)}")
    wanted = [p for p in PARTS if not chosen.parts or p in chosen.parts]
    facts, dynamic = Table("What an engine costs besides its runs", FACTS), Table("Dynamic shapes of BERT-base", SHAPES)
    before = load_average()
    with tempfile.TemporaryDirectory(prefix="trtn-bench-") as folder:
        os.environ["TRTN_CACHE"] = f"{folder}/cache"
        if wanted != ["shapes"] and "building" not in wanted:
            wanted.insert(0, "building")  # whose engine the others load
        for part in wanted:
            options = {"folder": folder, **RESNET} if part != "shapes" else {"count": chosen.shapes}
            options |= {"effort": chosen.effort} if part in ("building", "shapes") else {}
            table = dynamic if part == "shapes" else facts
            try:
                rows = isolated(PARTS[part], **options).value
            except Failure as failure:
                table.failures[part] = str(failure)
                print(part, failure, file=sys.stderr, flush=True)
                continue
            table.rows += rows
            print("\n".join(map(str, rows)), file=sys.stderr, flush=True)
            path = write_result(chosen.out, "gpu_facts", [t for t in (facts, dynamic) if t.rows or t.failures], before)
    print(section_text(*read_result(path)))
    return 1 if facts.failures or dynamic.failures else 0


if __name__ == "__main__":
    from bench.gpu_facts import main as start  # whose functions other processes find by this module's name

    sys.exit(start())
