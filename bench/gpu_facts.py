"""`python -m bench.gpu_facts [PART..]`: what engines cost on a GPU besides their runs, from the networks of `specs/`.

python -m bench.gpu_facts                            # all parts, into build/bench
python -m bench.gpu_facts loading --effort 1         # one, with little tuning
python -m bench.gpu_facts shapes --shapes 20         # as many random shapes of BERT-base
python -m bench.gpu_facts corpus --corpus ~/models   # and the specs, against ONNX Runtime and CuPy

The parts: `building` (with nothing known, from the lock, twice; ResNet-50 at 8 images and BERT-base at 8 x 128, then ResNet-50
at 1, which the parts after it load), `untimed` (builds at effort 0, with and without checks), `loading` (to the first
result, with no cache folder), `running` (the host's time of a run on bound buffers, the memory after many), `contexts`
(two on two streams against one), `profiling` (the steps' times), `shapes` (dynamic ones: the first use, and then against
an engine that was built for that shape) and `corpus` (only with `--corpus`). Engines are f16, those of the corpus as
written. Parts, models and specs have processes of their own, all with one new cache folder.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from bench.facts import load_average
from bench.gpu_corpus import corpus_jobs, corpus_table
from bench.gpu_engines import QUEUE, SECONDS, bound, make_feeds, network_at, resident_bytes, timed
from bench.gpu_jobs import Job, run_jobs
from bench.gpu_shapes import SHAPE_COLUMNS, shapes
from bench.harness import Failure, isolated
from bench.report import section_text
from bench.results import Column, Table, read_result, write_result

__all__ = ["PARTS", "main"]

MANY = 10_000
"""Runs after which memory is looked at."""


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


def untimed(spec: str, sizes: dict[str, int], checked: bool) -> list[dict[str, Any]]:
    """A build in which nothing is timed, with and without a look at what the tactics give."""
    import trtn
    from trtn.backend.tuner import tuner

    os.environ["TRTN_CACHE"] = "off"
    tuner.CHEAP = tuner.CHEAP if checked else -1
    network = network_at(spec, {n: (v, v, v) for n, v in sizes.items()})
    with timed() as took:
        trtn.build(network, device="cuda", precision="f16", effort=0)
    what = "each tactic run once and held against the reference" if checked else "nothing run"
    return [fact(spec, f"build, nothing known, effort 0, {what}", took(), "s")]


def loading(folder: str, spec: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    """CuPy is imported and has a device, nothing else is there yet."""
    import cupy

    import trtn

    path, network = Path(folder) / f"{spec}.engine", network_at(spec)
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
    rows = [fact(spec, "host time of a run on bound buffers", statistics.median(hosts), "us", 15e-6)]
    for turn in ("first", "second", "third"):
        free, resident = cupy.cuda.runtime.memGetInfo()[0], resident_bytes()
        for _ in range(MANY):
            run()
        stream.synchronize()
        taken = free - cupy.cuda.runtime.memGetInfo()[0]
        rows.append(fact(spec, f"GPU memory taken by the {turn} {MANY:,} runs", taken, "bytes", 0))
        held = max(0, resident_bytes() - resident)
        rows.append(fact(spec, f"host memory taken by the {turn} {MANY:,} runs", held, "bytes", 1 << 20))
    return rows


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


def profiling(folder: str, spec: str, sizes: dict[str, int]) -> list[dict[str, Any]]:
    import trtn
    from trtn.backend.runtime.profiler import profile_steps

    engine = trtn.load_engine(Path(folder) / f"{spec}.engine", trusted=True)
    profile = profile_steps(engine, make_feeds(engine.network, sizes))
    name, longest = max(profile.steps.items(), key=lambda item: item[1])
    return [
        fact(spec, f"steps timed one by one, {len(profile.steps)} together", profile.total / 1e3, "us"),
        fact(spec, f"the longest, `{name}`", longest / 1e3, "us"),
    ]


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
BUILT: tuple[dict[str, Any], ...] = (
    {"spec": "resnet50", "sizes": {"N": 8}},
    {"spec": "bert_base", "sizes": {"B": 8, "S": 128}},
    RESNET,  # last: the engine that the other parts load
)
PARTS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "building": building,
    "untimed": untimed,
    "loading": loading,
    "running": running,
    "contexts": contexts,
    "profiling": profiling,
}
SHAPES = "shapes"
CORPUS = "corpus"
BESIDE = 4
"""Models of the corpus whose processes run at a time."""
FACTS = (Column("network", "network"), Column("fact", "what"), Column("value", "measured"), Column("goal", "goal"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m bench.gpu_facts", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"which of {', '.join([*PARTS, SHAPES, CORPUS])}; all without any"
    )
    parser.add_argument("--effort", type=int, default=3, help="of the tuner, 0 to 5; for the corpus 1 at most")
    parser.add_argument("--shapes", type=int, default=4, help="how many random shapes")
    parser.add_argument("--corpus", type=Path, help="folder of .onnx models")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON result")
    chosen = parser.parse_args(arguments)
    if unknown := [p for p in chosen.parts if p not in (*PARTS, SHAPES, CORPUS)]:
        parser.error(f"no part is called {', '.join(unknown)}")
    if CORPUS in chosen.parts and chosen.corpus is None:
        parser.error("where the models are is said by --corpus")
    parts = [p for p in (*PARTS, SHAPES) if not chosen.parts or p in chosen.parts]
    facts, dynamic = (
        Table("What an engine costs besides its runs", FACTS),
        Table("Dynamic shapes of BERT-base", SHAPE_COLUMNS),
    )
    models = corpus_table("The corpus and the specs, against ONNX Runtime and CuPy alone")
    tables, before, started = (facts, dynamic, models), load_average(), time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:6.1f}] {line}", file=sys.stderr, flush=True)

    def write() -> None:
        """After each part: a run that is cut keeps what it has."""
        write_result(chosen.out, "gpu_facts", [t for t in tables if t.rows or t.failures], before)

    with tempfile.TemporaryDirectory(prefix="trtn-bench-") as folder:
        os.environ["TRTN_CACHE"] = f"{folder}/cache"
        for part, options in _calls(parts, folder, chosen.effort, chosen.shapes):
            table = dynamic if part == SHAPES else facts
            try:
                if part == SHAPES:  # which tells how far it is: it takes minutes
                    ((_, rows),) = run_jobs(
                        [Job(part, shapes, options, log=Path(folder) / "shapes.log")],
                        1,
                        say,
                    )
                else:
                    rows = isolated(PARTS[part], blas_threads=8, **options).value
                if isinstance(rows, Failure):
                    raise rows
                table.rows += rows
                say("\n".join(map(str, rows)))
            except Failure as failure:
                table.failures[part] = str(failure)
            say(f"{part} {table.failures.get(part, '')}")
            write()
        if chosen.corpus is not None and (CORPUS in chosen.parts or not chosen.parts):
            jobs = corpus_jobs(chosen.corpus, min(chosen.effort, 1), Path(folder))
            for job, row in run_jobs(jobs, BESIDE, say):
                if isinstance(row, Failure) or not row.pop("good"):
                    models.failures[job.name] = str(row) if isinstance(row, Failure) else "its error is too large"
                if not isinstance(row, Failure):
                    models.rows.append(row)
                say(f"{job.name} {row}")
                write()
    print(section_text(*read_result(chosen.out / "gpu_facts.json")))
    return 1 if any(t.failures for t in tables) else 0


def _calls(parts: Sequence[str], folder: str, effort: int, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts with their arguments; what others load is built whether or not it was asked for."""
    built = BUILT if "building" in parts else (RESNET,) if {*parts} - {SHAPES, "untimed"} else ()
    for network in built:
        yield "building", {"folder": folder, **network, "effort": effort}
    for part in parts:
        if part == SHAPES:
            yield part, {"count": count, "effort": effort}
        elif part == "untimed":
            for network, checked in product(BUILT[:2], (True, False)):
                yield part, {**network, "checked": checked}
        elif part != "building":
            yield part, {"folder": folder, **RESNET}


if __name__ == "__main__":
    from bench.gpu_facts import main as start  # whose functions other processes find by this module's name

    sys.exit(start())
