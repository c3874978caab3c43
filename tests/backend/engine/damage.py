"""Damages an engine file in random ways, and counts what comes of it: `python -m tests.backend.engine.damage
COUNT SEED`.

Half of the files are damaged blindly (flipped bytes, cut, spliced), half by somebody who knows the format:
the plan's JSON is changed and every hash is made anew. A file of the first kind is refused. One of the second
kind may be a plan all the same: then it runs, to a result or one of trtn's errors. Anything else is a finding
and ends the process with status 1. Runs with an address space of 2 GiB.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from tests.backend.harness import assert_same, floats, network
from trtn.backend.binaries import BinaryKey
from trtn.backend.build import build
from trtn.backend.engine.container import Section, read_container, write_container
from trtn.backend.engine.file import load_engine
from trtn.dsl.errors import EngineError, TrtnError

SPEC = """
network n {
  dim N in 1..16
  dim M in 1..8 step 1
  assert N * M <= 100, "budget"
  input x: f32[N, 6]
  input m: f32[M, 4]
  input c: bool[]
  input n: i64[]
  output y: f32[N, 4]
  output i: i64[2, K]
  output g: f32[K]
  output s: f32[M, 4]
  output l: f32[L, 4]
  h = relu(linear(x, w.k, w.b))
  left, right = split(h, axis=1, parts=2)
  y = if c { yield softmax(h) } else { yield concat(left, tanh(reshape(w.k2, shape=[1, 2])) * right, axis=1) }
  i = nonzero(h) : i64[2, K in 0..4*N]
  g = fill(shape=[K], value=2.0)
  last, s = scan over v = m carry a = w.b { a = tanh(a + v) yield a }
  q, l = loop r in 0..n max 5 carry a = last { a = a * 0.5 + w.b yield a } : f32[4], f32[L in 0..5, 4]
}
profile small for n { N: min 1, opt 2, max 4  M: min 1, opt 1, max 2  n: min 0, opt 1, max 5 }
profile large for n { N: min 2, opt 8, max 12  M: min 1, opt 4, max 8  n: min 0, opt 1, max 5 }
"""
WEIGHTS = (
    "tensor k: f32[6, 4] = normal(1, 0.5)\ntensor b: f32[4] = normal(2, 0.5)\ntensor k2: f32[2] = inline [0.5, 2.0]"
)
FEEDS = {"x": floats(3, 6), "m": floats(2, 4), "c": np.array(False), "n": np.array(3)}

KERNELS = {
    BinaryKey("cudnn-91900-1.32.0", "NVIDIA H200, 132 SMs", "ab" * 32): bytes(range(200)),
    BinaryKey("nvrtc-13.0", "sm_90", "cd" * 32): b"\x7fELF" * 50,
}
"""Compiled kernels, in the order of their keys."""
LOAD_SECONDS, RUN_SECONDS = 10, 5
ODD: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3, 7, 64, 2**31 - 1, 2**31, 2**53, 2**62, -(2**62), 10**25, 0.5, -0.0, 1e308,
    "", "N", "K", "L", "M", "N*N*N*N*N*N*N", "N - 17", "Z", "(" * 5000, "N//0", "N%(M - 1)", "min(N, M)", "`x`", "-1",
    "1" * 90, "é\u2028", [], {}, [[]], [-1], [0] * 2000, {"dtype": "f16"}, {"dim": "N"}, {"dim": "K"}, {"float": "nan"},
    "relu", "reshape", "concat", "loop", "scan", "if", "nonzero", "tile", "split", "f64", "i64", "bool", "i4", "view",
    "reference",
]  # fmt: skip


class Slow(BaseException):
    """Time is over."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


# damage


def blindly(data: bytes, pick: random.Random) -> bytes:
    """Some bytes flipped, cut off, left out, doubled, or taken from elsewhere."""
    kind = pick.choice(["bit", "bytes", "cut", "hole", "double", "splice", "zero"])
    out = bytearray(data)
    at, length = pick.randrange(len(data)), pick.choice([1, 4, 64, 700])
    if kind == "bit":
        out[at] ^= 1 << pick.randrange(8)
    elif kind == "bytes":
        for _ in range(pick.randint(1, 20)):
            out[pick.randrange(len(out))] = pick.randrange(256)
    elif kind == "cut":
        del out[at:]
    elif kind == "hole":
        del out[at : at + length]
    elif kind == "double":
        out[at:at] = out[at : at + length]
    elif kind == "splice":
        start = pick.randrange(len(data))
        out[at : at + length] = data[start : start + length]
    else:
        out[at : at + length] = bytes(len(out[at : at + length]))
    return bytes(out)


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value, as (container, key)."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from nodes(value[key])


def knowingly(header: dict[str, Any], pick: random.Random) -> dict[str, Any]:
    """One to three places of a plan exchanged for something else."""
    out = deepcopy(header)
    for _ in range(pick.choice([1, 1, 1, 2, 3])):
        places = list(nodes(out))
        holder, key = pick.choice(places)
        kind = pick.choice(
            ["odd", "odd", "near", "other", "alike", "alike", "alike", "drop", "double", "rename", "swap"]
        )
        value = holder[key]
        if kind == "alike":  # what stands at such a place elsewhere: an op for an op, a shape for a shape
            alike = [h[k] for h, k in places if k == key and type(h[k]) is type(value) and len(h) == len(holder)]
            holder[key] = deepcopy(pick.choice(alike))
            continue
        other, elsewhere = pick.choice(places)
        if kind == "near" and isinstance(value, int):
            holder[key] = value + pick.choice([-1, 1])
        elif kind == "other":
            holder[key] = deepcopy(other[elsewhere])
        elif kind == "drop":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, deepcopy(value))
        elif kind == "rename" and isinstance(holder, dict):
            holder[pick.choice(["", "N", "q", "inputs", "x"])] = holder.pop(key)
        elif kind == "swap" and isinstance(holder, list):
            place = pick.randrange(len(holder))
            holder[key], holder[place] = holder[place], holder[key]
        else:
            holder[key] = deepcopy(pick.choice(ODD))
    return out


# what comes of it


def outcome(path: Path, original: dict[str, Any], *, hostile: bool) -> str:
    """`refused`, `same`, `other`, `error`, `slow`; or a finding, which starts with `!`."""
    try:
        with at_most(LOAD_SECONDS):
            engine = load_engine(path, trusted=True)
    except EngineError as error:
        return "refused" if error.diagnostics and str(error) else "! an error without a diagnostic"
    except Slow:
        return "! loading takes too long"
    except BaseException as error:
        return f"! loading raises {type(error).__name__}: {error}"
    try:
        with at_most(RUN_SECONDS):
            outputs = engine.run(FEEDS)
    except TrtnError as error:
        return "error" if hostile else f"! runs, to {error}"
    except Slow:
        return "slow" if hostile else "! runs for too long"
    except BaseException as error:
        return f"! running raises {type(error).__name__}: {error}"
    try:
        assert_same(outputs, original)
    except AssertionError:
        return "other" if hostile else "! gives other results"
    return "same"


def main(count: int, seed: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    began = time.monotonic()
    pick = random.Random(seed)
    tally: dict[str, dict[str, int]] = {"blind": {}, "hostile": {}}
    findings: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good, bad = folder / "good.engine", folder / "bad.engine"
        engine = build(network(SPEC, folder, WEIGHTS), device="cpu")
        engine.save(good)
        original = engine.run(FEEDS)
        assert outcome(good, original, hostile=False) == "same"
        container = read_container(good)
        header, weights = forge_kernels(container.header), bytes(container.section("weights"))
        kernels = b"".join(KERNELS.values())
        forge(good, header, weights, kernels)
        assert outcome(good, original, hostile=False) == "same"
        data = good.read_bytes()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(count):
            hostile = number % 2 == 1
            if hostile:
                forge(bad, knowingly(header, pick), blindly(weights, pick) if pick.random() < 0.1 else weights, kernels)
            else:
                bad.write_bytes(blindly(data, pick))
            found = outcome(bad, original, hostile=hostile)
            kind = tally["hostile" if hostile else "blind"]
            kind[found[:1] if found.startswith("!") else found] = (
                kind.get(found[:1] if found.startswith("!") else found, 0) + 1
            )
            if found.startswith("!"):
                findings.append({"number": number, "what": found})
                keep = Path(tempfile.gettempdir()) / f"damaged-{seed}-{number}.engine"
                keep.write_bytes(bad.read_bytes())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    report = {
        "files": count,
        "seconds": round(time.monotonic() - began, 1),
        "grown_MiB": grown // 1024,
        **tally,
        "findings": findings[:20],
    }
    print(json.dumps(report))
    return 1 if findings else 0


def forge_kernels(header: dict[str, Any]) -> dict[str, Any]:
    """A header that has the table of KERNELS."""
    return {**header, "kernels": [[k.library, k.target, k.digest, len(piece)] for k, piece in KERNELS.items()]}


def forge(path: Path, header: dict[str, Any], weights: bytes, kernels: bytes = b"") -> None:
    """An engine file of these parts, with hashes that are right."""

    def section(name: str, data: bytes) -> Section:
        return Section(name, len(data), lambda: [data])

    write_container(path, header, [section("weights", weights), *([section("kernels", kernels)] if kernels else [])])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
