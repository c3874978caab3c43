"""Jobs that get ready side by side and are timed alone."""

from __future__ import annotations

import time
from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.gpu_jobs import READY, Job, run_jobs
from bench.harness import Failure


def job(name: str) -> Generator[str, None, Any]:
    """What `run_jobs` runs here: it counts while others are timed, and says how far it came."""
    yield "under way"
    print("not part of the answers")
    if name == "wrong":
        raise ValueError("it is wrong\nand says so at length")
    yield READY
    began = time.monotonic()
    time.sleep(0.15)
    return {"name": name, "began": began, "ended": time.monotonic()}


def jobs(folder: Path, *names: str) -> list[Job]:
    return [Job(n, job, {"name": n}, log=folder / f"{n}.log") for n in names]


def test_jobs_are_timed_one_by_one(tmp_path: Path) -> None:
    said: list[str] = []
    found = list(run_jobs(jobs(tmp_path, "a", "b", "wrong", "c"), 3, said.append))
    results = {j.name: result for j, result in found}
    assert results.keys() == {"a", "b", "c", "wrong"}
    failure = results.pop("wrong")
    assert isinstance(failure, Failure) and str(failure) == "ValueError: it is wrong"
    spans = sorted((r["began"], r["ended"]) for r in results.values() if not isinstance(r, Failure))
    assert all(ended <= began for (_, ended), (began, _) in pairwise(spans))
    assert "a: under way" in said and "c: ready to be timed" in said


def test_what_is_left_when_jobs_are_broken_off_is_ended(tmp_path: Path) -> None:
    started = jobs(tmp_path, "a", "b", "c")
    with pytest.raises(KeyboardInterrupt):
        for _ in run_jobs(started, 1, lambda line: None):
            raise KeyboardInterrupt
    time.sleep(0.1)
    assert all(j._process is None or j._process.poll() is not None for j in started)
