"""Specs that somebody wrote to hurt: each ends within seconds and bounded memory, with a diagnostic and no traceback.

Every file is checked by a process of its own, with an address space of 2 GiB and 20 seconds. TRTN_FULL_TESTS takes the full sizes.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import ALL, BY_NAME
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import Op, catalogue
from trtn.dsl.ops.infer import InferFailure, infer_layer

FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
SECONDS = 20
MEMORY = 2 << 30
MANY = 1_000_000 if FULL else 100_000
"""Of brackets, blocks and operators."""
SEVERAL = 100_000 if FULL else 10_000
"""Of statements and findings."""

Text = Iterator[str]


def run_check(path: Path) -> tuple[int, list[dict[str, Any]], str]:
    """The exit status, the diagnostics and the standard error of `trtn check`."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "trtn", "check", "--format", "json", str(path)],
        capture_output=True,
        timeout=SECONDS,
        preexec_fn=limit,
        cwd=path.parent,
    )
    errors = done.stderr.decode(errors="replace")
    assert "Traceback" not in errors, errors[-2000:]
    assert done.returncode in (0, 1), f"{done.returncode}: {errors[-2000:]}"
    return done.returncode, list(json.loads(done.stdout)["diagnostics"]), errors


def lines(count: int, piece: str, each: int = 1000) -> Text:
    """`piece` `count` times, in lines."""
    for _ in range(count // each):
        yield piece * each + "\n"


def network(*body: str) -> Text:
    yield "trtn 1\nnetwork n {\n dim N in 1..8\n input x: f32[N]\n output y: f32[N]\n"
    yield from body
    yield "\n}\n"


def nested(opening: str, closing: str = "", inner: str = "x", count: int = MANY) -> Text:
    yield from network(" y = ", *lines(count, opening), inner, *lines(count, closing))


def doubling(levels: int) -> Text:
    """Each block calls the one before twice: 2^levels layers."""
    yield "trtn 1\nblock b0(x: T[N]) -> T[N] { return relu(x) }\n"
    for n in range(1, levels):
        yield f"block b{n}(x: T[N]) -> T[N] {{ return b{n - 1}(b{n - 1}(x)) }}\n"
    yield f"network n {{ dim N in 1..8 input x: f32[N] output y: f32[N] y = b{levels - 1}(x) }}\n"


def squaring(levels: int) -> Text:
    yield from network("let d0 = N + 7\n", *(f"let d{n} = d{n - 1} * d{n - 1} + N\n" for n in range(1, levels)), f"y = reshape(x, shape=[d{levels - 1}])")


CASES: dict[str, tuple[Callable[[], Text], set[str]]] = {
    "brackets": (lambda: nested("(", ")"), {"E0107"}),
    "brackets never closed": (lambda: nested("("), {"E0107", "E0102"}),
    "closing brackets": (lambda: nested(")"), {"E0101"}),
    "lists": (lambda: nested("[", "]", "1"), {"E0107"}),
    "lists in an attribute": (lambda: nested("relu(x, a=[", "])", "1"), {"E0107"}),
    "calls": (lambda: nested("relu(", ")"), {"E0107"}),
    "braces": (lambda: nested("if c {", "}", "yield x"), {"E0107"}),
    "blocks in a file": (lambda: iter(["trtn 1\n", *lines(MANY, "block b {")]), {"E0101", "E0102", "E0107"}),
    "networks in a file": (lambda: iter(["trtn 1\n", *lines(MANY, "network n { ")]), {"E0101", "E0102", "E0107"}),
    "signs": (lambda: nested("-"), {"E0107"}),
    "powers": (lambda: nested("x ** "), {"E0107"}),
    "sums": (lambda: nested("x + "), {"E0107", "E0211"}),
    "a long path": (lambda: network(" y = w", *lines(MANY, ".a")), {"E0101", "E0107", "E0201"}),
    "a long list": (lambda: network(" y = reshape(x, shape=[", *lines(MANY, "1, "), "])"), {"E0303", "E0304", "E0313", "E0107", "E0312"}),
    "types": (lambda: network(" y = x : f32[", *lines(MANY, "N, "), "]"), {"E0303", "E0301", "E0310", "E0107"}),
    "a repeat": (lambda: network(" h = x repeat i in 0..1000000000 carry h { h = relu(h) } y = h"), {"E0211"}),
    "a repeat of nothing": (lambda: network(" repeat i in 0..1000000000 { } y = x"), {"E0211"}),
    "repeats in repeats": (
        lambda: network(" h = x repeat i in 0..10000 carry h { repeat j in 0..10000 carry h { h = relu(h) } } y = h"),
        {"E0211"},
    ),
    "repeats of lets": (lambda: network(" repeat i in 0..10000 { repeat j in 0..10000 { let a = i * j } } y = x"), {"E0211"}),
    "blocks that double": (lambda: doubling(40), {"E0211"}),
    "a dim of 2^63": (lambda: iter(["trtn 1\nnetwork n { dim N in 1..9223372036854775808 input x: f32[N] output y: f32[N] y = x }"]), {"E0405", "E0404", "E0401"}),
    "shapes of 2^100 elements": (
        lambda: iter(["trtn 1\nnetwork n { dim N in 1..9000000000 input x: bool[N] output y: f32[N,N,N] y = fill(shape=[N,N,N]) }"]),
        {"E0405", "E0404"},
    ),
    "dims that square": (lambda: squaring(60), {"E0404", "E0405", "E0310", "E0306", "E0312"}),
    "products of sums": (lambda: network(" y = reshape(x, shape=[", "*".join(["(N + 1)*(N + 3)"] * 500), "])"), {"E0306", "E0312"}),
    "a huge integer": (lambda: network(" let a =\n", "9" * 900_000, "\n y = x"), {"E0110", "E0111", "E0107"}),
    "a huge exponent": (lambda: network(" y = x * 1e", "9" * 900_000), {"E0110", "E0111", "E0107"}),
    "a huge string": (lambda: iter(["trtn 1\nnetwork n { doc \"", *lines(MANY, "aaaa"), "\" }"]), {"E0109", "E0107", "E0101"}),
    "a string never closed": (lambda: network(' doc "', "a" * 900_000), {"E0109", "E0101"}),
    "a long name": (lambda: network(" y = ", "a" * 900_000), {"E0201", "E0107"}),
    "NUL bytes": (lambda: network(" y = \0\0x"), {"E0105"}),
    "odd characters": (lambda: network(*lines(SEVERAL, " \u2028\u202e\ufeff\U0001f600")), {"E0105"}),
    "findings": (lambda: network(*lines(SEVERAL, "  a = nothing\n", 100), " y = x"), {"E0201", "E0202"}),
    "findings of syntax": (lambda: network(*lines(SEVERAL, "  = = 3\n", 100), " y = x"), {"E0101"}),
    "near misses": (
        lambda: network(*(f" let name{n} = {n}\n" for n in range(SEVERAL // 5)), *(f" t{n} = relu(nane{n})\n" for n in range(SEVERAL // 5)), " y = x"),
        {"E0201"},
    ),
    "unknown ops": (lambda: network(*(f" t{n} = rely{n}(x)\n" for n in range(SEVERAL // 5)), " y = x"), {"E0203"}),
    "dims": (
        lambda: iter(["trtn 1\nnetwork n {\n", *(f" dim D{n} in 1..8\n" for n in range(SEVERAL // 5)), " input x: f32[D0]\n output y: f32[D0]\n y = x\n}"]),
        {"E0402"},
    ),
    "asserts": (lambda: network(*(f" assert N * {n + 1} <= {n * 9 + 50}\n" for n in range(SEVERAL // 10)), " y = x"), {"E0402", "E0403"}),
    "relations that are hard": (
        lambda: iter(
            [
                "trtn 1\nblock b(x: T[N], m: T[M]) -> T[N] {\n",
                *(f" assert N * M != {988027 + 2 * n}\n" for n in range(SEVERAL // 200)),
                " return x }\nnetwork n { dim N in 1..1000 dim M in 1..1000 input x: f32[N] input m: f32[M] output y: f32[N] y = b(x, m) }",
            ]
        ),
        set(),
    ),
    "pieces": (lambda: network(" a, b = split(x, parts=1000000000) y = a"), {"E0304"}),
    "a list of pieces": (lambda: network(" a, b = split(x, sizes=[", *lines(MANY, "1, "), "]) y = a"), {"E0208", "E0107", "E0312"}),
    "profiles": (
        lambda: iter([*network(" y = x"), *(f"profile p{n} for n {{ N: min 1, opt 1, max {n % 9 + 1} }}\n" for n in range(SEVERAL // 5))]),
        {"E0414", "E0415", "E0412", "E0411", "E0413"},
    ),
    "blocks that call each other": (
        lambda: iter(["trtn 1\nblock a(x: T[N]) -> T[N] { return b(x) }\nblock b(x: T[N]) -> T[N] { return a(x) }\n", *network(" y = a(x)")][0:1] + list(network(" y = a(x)"))[0:0]),
        set(),
    ),
    "a manifest": (
        lambda: iter(["trtn 1\nmanifest m {\n", *(f" tensor t{n}: f32[99999, 99999, 99999] = normal({n}, 1.0)\n" for n in range(SEVERAL)), "}"]),
        set(),
    ),
    "an inline list": (lambda: iter(["trtn 1\nmanifest m {\n tensor t: f32[4] = inline [", *lines(MANY, "1, "), "]\n}"]), {"E0502", "E0503", "E0107", "E0510"}),
    "no end of blanks": (lambda: iter(["trtn 1\n", *lines(MANY * 5, "\n"), *lines(MANY, "# \n"), *list(network(" y = x"))]), {"E0103", "E0101"}),
}


if __name__ == "__main__":
    import time
    folder=Path(sys.argv[1])
    for name,(make,codes) in CASES.items():
        if len(sys.argv)>2 and sys.argv[2] not in name: continue
        p=folder/"spec.trtn"
        with p.open("w", encoding="utf-8") as f:
            f.writelines(make())
        t=time.time()
        try:
            rc,ds,err=run_check(p)
            from collections import Counter
            print(f"{time.time()-t:6.1f}s rc={rc} {name}: {dict(Counter(d['code'] for d in ds))} {'' if not ds else ds[0]['message'][:110]}")
        except BaseException as e:
            print(f"{time.time()-t:6.1f}s FAIL {name}: {type(e).__name__} {str(e)[-300:]}")
