"""Imports damaged ONNX models: each ends with an ImportModelError, in time and in bounded memory, or with a network that
is the same after it was saved and loaded.

python -m tests.fuzz.onnx_models --cases 10000 --workers 2  # a line for each finding, then a summary
python -m tests.fuzz.onnx_models --only 1234 -o bad.onnx    # one case again, with its file

A case follows from its number alone (and from which corpus models are at hand). Cases run in a process of their own that
has an address space of 2 GiB above what it starts with. More than 10 seconds of processor time are a finding; a process
that is silent for a minute is ended.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from select import select
from tempfile import TemporaryDirectory
from typing import IO, Any

from tests.fuzz.mutations import mutate

__all__ = ["Finding", "case_bytes", "findings"]

SECONDS = 10
"""Of processor time, for a case: the machine may be busy."""
_PATIENCE = 60
MEMORY = 2 << 30
_LARGEST = 1 << 20
_CORPUS = 0.2
"""How many of the cases begin with a corpus model, where there are any."""


@dataclass(frozen=True)
class Finding:
    """What went wrong with a case."""

    case: int
    what: str
    detail: str = ""


# --- cases ---


@cache
def _small() -> list[bytes]:
    """The models of ONNX's own tests of single ops."""
    import contextlib
    import io
    import warnings

    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        cases = sorted(collect_testcases(None), key=lambda c: c.name)
    return [c.model.SerializeToString() for c in cases if c.model is not None and c.model.ByteSize() <= _LARGEST]


@cache
def _corpus() -> list[Path]:
    from tests.corpus.models import folder

    paths = sorted(folder().glob("*.onnx")) if folder().is_dir() else []
    return [p for p in paths if p.stat().st_size <= _LARGEST]


def case_bytes(case: int) -> bytes:
    """The damaged model of a case."""
    random = Random(case)
    if _corpus() and random.random() < _CORPUS:
        return mutate(random.choice(_corpus()).read_bytes(), random)
    return mutate(random.choice(_small()), random)


# --- the process that runs them ---


def _run(case: int) -> Finding | None:
    from trtn.dsl.convert.onnx import import_onnx
    from trtn.dsl.errors import ImportModelError, TrtnError
    from trtn.dsl.load import load
    from trtn.dsl.save import save

    data = case_bytes(case)
    start = time.process_time()
    try:
        network = import_onnx(data)
        with TemporaryDirectory() as folder:
            save(network, Path(folder) / "net.trtn")
            again = load(Path(folder) / "net.trtn")
        if again.to_text() != network.to_text():
            return Finding(case, "saved and loaded, it is another network")
    except ImportModelError as error:
        if not error.diagnostics or not str(error):
            return Finding(case, "an error without a diagnostic", repr(error))
    except TrtnError as error:
        return Finding(case, "it is imported, and not saved or loaded", repr(error))
    except BaseException as error:
        return Finding(case, type(error).__name__, "".join(traceback.format_exception(error)))
    seconds = time.process_time() - start
    return Finding(case, f"took {seconds:.0f} s") if seconds > SECONDS else None


def _serve() -> None:
    """Answers a case's number with a line of JSON, until the input ends."""
    _small()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    print("ready", flush=True)
    for line in sys.stdin:
        found = _run(int(line))
        print(json.dumps(None if found is None else [found.what, found.detail]), flush=True)


class _Worker:
    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fuzz.onnx_models", "--serve"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.ask = self._stream(self._process.stdin)
        self.answer = self._stream(self._process.stdout)
        assert self.answer.readline() == "ready\n"

    @staticmethod
    def _stream(stream: IO[Any] | None) -> IO[Any]:
        assert stream is not None
        return stream

    def run(self, case: int) -> Finding | None:
        """The case's finding; a hang and a death end the worker."""
        self.ask.write(f"{case}\n")
        self.ask.flush()
        if not select([self.answer], [], [], _PATIENCE)[0]:
            self.close()
            return Finding(case, f"no answer within {_PATIENCE} s")
        line = self.answer.readline()
        if not line:
            return Finding(case, f"the process died: {self._process.wait()}")
        answer = json.loads(line)
        return None if answer is None else Finding(case, *answer)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.ask.close()
        self.answer.close()


def findings(cases: range) -> Iterator[Finding]:
    """What goes wrong with the cases."""
    worker = _Worker()
    try:
        for case in cases:
            if not worker.alive:
                worker = _Worker()
            found = worker.run(case)
            if found is not None:
                yield found
    finally:
        worker.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="the first case")
    parser.add_argument("--workers", type=int, default=1, help="processes side by side")
    parser.add_argument("--only", type=int, help="run one case here")
    parser.add_argument("-o", dest="output", help="where to write the model of --only")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve()
        return
    if options.only is not None:
        if options.output:
            Path(options.output).write_bytes(case_bytes(options.only))
        found = _run(options.only)
        print(f"{found.what}\n{found.detail}" if found else "nothing found")
        sys.exit(found is not None)
    start, end = time.monotonic(), options.seed + options.cases
    parts = [range(options.seed + n, end, options.workers) for n in range(options.workers)]
    with ThreadPoolExecutor(options.workers) as pool:
        count = sum(pool.map(_report, parts))
    print(f"{options.cases} cases from {options.seed}, {count} findings, {time.monotonic() - start:.0f} s")
    sys.exit(count > 0)


def _report(cases: range) -> int:
    """Prints the findings as they come; gives their number."""
    count = 0
    for found in findings(cases):
        count += 1
        last = (found.detail.strip().splitlines() or [""])[-1]
        print(f"{found.case}: {found.what}: {last[:200]}", flush=True)
    return count


if __name__ == "__main__":
    main()
