"""Specs that somebody wrote to hurt: each ends within seconds and bounded memory, with a diagnostic and no
traceback.

In CI one process checks them all, at a tenth of the size or less. With TRTN_FULL_TESTS each has full size and
a process of its own. A process has an address space of 2 GiB.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import ALL, BY_NAME
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import Op, catalogue
from trtn.dsl.ops.infer import InferFailure, infer_layer
from trtn.dsl.ops.signature import Attr

FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
SECONDS = 20 if FULL else 60
"""Of processor time; the machine may be busy."""
MEMORY = 2 << 30
MANY = 1_000_000 if FULL else 20_000
"""Of brackets, blocks and operators."""
SEVERAL = 100_000 if FULL else 2_000
"""Of statements and findings."""
MEGABYTES = 1024 if FULL else 64

Text = Iterator[str]


def run_check(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The diagnostics of `trtn check`, which ends in time and as it should."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

    options = ["--format", "json", *([] if FULL else ["--max-expansion", "10000"])]
    done = subprocess.run(
        [sys.executable, "-m", "trtn", "check", *options, *(p.name for p in paths)],
        capture_output=True,
        timeout=10 * SECONDS,
        preexec_fn=limit,
        cwd=paths[0].parent,
    )
    errors = done.stderr.decode(errors="replace")
    assert "Traceback" not in errors, errors[-2000:]
    assert done.returncode in (0, 1), f"{done.returncode}: {errors[-2000:]}"
    return list(json.loads(done.stdout)["diagnostics"])


def lines(count: int, piece: str, each: int = 1000) -> Text:
    """`piece` `count` times, in lines."""
    for _ in range(count // each):
        yield piece * each + "\n"


def network(*body: str) -> Text:
    yield "trtn 1\nnetwork n {\n dim N in 1..8\n input x: f32[N]\n output y: f32[N]\n"
    yield from body
    yield "\n}\n"


def numbered(text: str, count: int) -> Text:
    """`text` with `#` replaced by 0, 1, .. in turn."""
    return (text.replace("#", str(n)) + "\n" for n in range(count))


def nested(opening: str, closing: str = "", inner: str = "x") -> Text:
    return network(" y = ", *lines(MANY, opening), inner, *lines(MANY, closing))


def doubling(levels: int) -> Text:
    """Each block calls the one before twice: 2^levels layers."""
    yield "trtn 1\nblock b0(x: T[N]) -> T[N] { return relu(x) }\n"
    for n in range(1, levels):
        yield f"block b{n}(x: T[N]) -> T[N] {{ return b{n - 1}(b{n - 1}(x)) }}\n"
    yield f"network n {{ dim N in 1..8 input x: f32[N] output y: f32[N] y = b{levels - 1}(x) }}\n"


def squaring(levels: int) -> Text:
    yield "trtn 1\nnetwork n {\n dim N in 1..8\n input x: f32[N]\n output y: f32[N]\n let d0 = N + 7\n"
    yield from (f" let d{n} = d{n - 1} * d{n - 1} + N\n" for n in range(1, levels))
    yield f" y = reshape(x, shape=[d{levels - 1}])\n}}\n"


def two_dims(relation: str, count: int) -> Text:
    """A block with relations over two dims that nothing shorter than trying all of them can decide."""
    yield "trtn 1\nblock b(x: T[N], m: T[M]) -> T[N] {\n"
    yield from (f" assert N * M {relation} {988027 + 2 * n}\n" for n in range(count))
    yield " return relu(x)\n}\nnetwork n {\n dim N in 1..1000\n dim M in 1..1000\n input x: f32[N]\n input m: f32[M]\n"
    yield " output y: f32[N]\n y = b(x, m)\n}\n"


def plain(text: str) -> Callable[[], Text]:
    return lambda: iter([f"trtn 1\n{text}\n"])


ONE = "dim N in 1..8 input x: f32[N] output y: f32[N]"
CASES: dict[str, tuple[Callable[[], Text], str]] = {
    "brackets": (lambda: nested("(", ")"), "E0107"),
    "brackets never closed": (lambda: nested("("), "E0107"),
    "closing brackets": (lambda: nested(")"), "E0101"),
    "lists": (lambda: nested("[", "]", "1"), "E0107"),
    "lists in an attribute": (lambda: nested("relu(x, a=[", "])", "1"), "E0107"),
    "calls": (lambda: nested("relu(", ")"), "E0107"),
    "bodies": (lambda: nested("if c {", "}", "yield x"), "E0107"),
    "blocks in blocks": (lambda: iter(["trtn 1\n", *lines(MANY, "block b {")]), "E0107"),
    "networks in networks": (lambda: iter(["trtn 1\n", *lines(MANY, "network n { ")]), "E0107"),
    "signs": (lambda: nested("-"), "E0107"),
    "powers": (lambda: nested("x ** "), "E0107"),
    "sums": (lambda: nested("x + "), "E0107"),
    "a long path": (lambda: network(" y = w", *lines(MANY, ".a")), "E0201"),
    "a long shape": (lambda: network(" y = reshape(x, shape=[", *lines(MANY, "1, "), "])"), "E0303"),
    "a long type": (lambda: network(" y = x : f32[", *lines(MANY, "N, "), "]"), "E0303"),
    "a repeat": (
        plain(f"network n {{ {ONE} h = x repeat i in 0..1000000000 carry h {{ h = relu(h) }} y = h }}"),
        "E0211",
    ),
    "a repeat of nothing": (plain(f"network n {{ {ONE} repeat i in 0..1000000000 {{ }} y = x }}"), "E0211"),
    "repeats in repeats": (
        plain(
            f"network n {{ {ONE} h = x repeat i in 0..9999 carry h {{ repeat j in 0..9999 carry h {{"
            " h = relu(h) } } y = h }"
        ),
        "E0211",
    ),
    "repeats of values": (
        plain(f"network n {{ {ONE} repeat i in 0..9999 {{ repeat j in 0..9999 {{ let a = i * j }} }} y = x }}"),
        "E0211",
    ),
    "blocks that double": (lambda: doubling(40), "E0211"),
    "blocks in a circle": (
        plain(
            "block a(x: T[N]) -> T[N] { return b(x) } block b(x: T[N]) -> T[N] { return a(x) }"
            f" network n {{ {ONE} y = a(x) }}"
        ),
        "E0206",
    ),
    "more types than names": (
        plain(
            f"network n {{ {ONE} input n: i64[] y, ys = loop i in 0..n max 5 carry a = x {{ a = neg(a) yield a }}"
            " : f32[N], bool[], f32[K in 0..5, N] }"
        ),
        "E0208",
    ),
    "a dim of 2^63": (
        plain("network n { dim N in 1..9223372036854775808 input x: f32[N] output y: f32[N] y = x }"),
        "E0401",
    ),
    "a result of 2^90 elements": (
        plain("network n { dim N in 1..2000000000 input x: bool[N] output y: f32[N, N, N] y = fill(shape=[N, N, N]) }"),
        "E0418",
    ),
    "dims that square": (lambda: squaring(60), "E0306"),
    "products of sums": (
        lambda: network(" y = reshape(x, shape=[", "*".join(["(N + 1)*(N + 3)"] * 500), "])"),
        "E0107",
    ),
    "a huge integer": (lambda: network(" let a =\n", "9" * 900_000, "\n y = x"), "E0107"),
    "a huge exponent": (lambda: network(" y = x * 1e", "9" * 900_000), "E0107"),
    "a string over many lines": (lambda: iter(['trtn 1\nnetwork n { doc "', *lines(MANY, "aaaa"), '" }']), "E0109"),
    "a string never closed": (lambda: network(' doc "', "a" * 900_000), "E0109"),
    "a long name": (lambda: network(" y = ", "a" * 900_000), "E0201"),
    "NUL bytes": (lambda: network(" y = \0\0x"), "E0105"),
    "odd characters": (lambda: network(*lines(SEVERAL, " \u2028\u202e\ufeff\U0001f600")), "E0105"),
    "findings": (lambda: network(*numbered("  a = nothing", SEVERAL), " y = x"), "E0201"),
    "findings of syntax": (lambda: network(*numbered("  = = 3", SEVERAL), " y = x"), "E0101"),
    "near misses": (
        lambda: network(
            *numbered(" let name# = #", SEVERAL // 5), *numbered(" t# = relu(nane#)", SEVERAL // 5), " y = x"
        ),
        "E0201",
    ),
    "unknown ops": (lambda: network(*numbered(" t# = rely#(x)", SEVERAL), " y = x"), "E0203"),
    "dims": (
        lambda: iter(
            [
                "trtn 1\nnetwork n {\n input x: f32[D0]\n output y: f32[D0]\n y = x\n",
                *numbered(" dim D# in 1..8", SEVERAL // 20),
                "}",
            ]
        ),
        "E0402",
    ),
    "asserts": (lambda: network(*numbered(" assert N * 7 <= 90#", SEVERAL), " y = x"), "E0107"),
    "hard relations": (lambda: two_dims("!=", SEVERAL // 100), "W0401"),
    "pieces": (plain(f"network n {{ {ONE} a, b = split(x, parts=1000000000) y = a }}"), "E0304"),
    "many pieces": (lambda: network(" a, b = split(x, sizes=[", *lines(MANY // 10, "1, "), "]) y = a"), "E0208"),
    "profiles": (
        lambda: iter([*network(" y = x"), *numbered("profile p# for n { N: min 1, opt 1, max 9 }", SEVERAL // 5)]),
        "E0414",
    ),
    "tensors of a manifest": (
        lambda: iter(
            [
                "trtn 1\nmanifest m {\n",
                *numbered(" tensor t: f32[9999, 9999, 9999] = normal(#, 1.0)", SEVERAL // 5),
                "}",
            ]
        ),
        "E0202",
    ),
    "an inline list": (
        lambda: iter(["trtn 1\nmanifest m {\n tensor t: f32[4] = inline [", *lines(MANY, "1, "), "]\n}"]),
        "E0507",
    ),
    "blank lines": (lambda: iter([*lines(MANY * 5, "\n"), *lines(MANY, "# \n"), "network n { }"]), "E0103"),
}


def written(folder: Path, name: str) -> Path:
    path = folder / f"{name.replace(' ', '_').replace('^', '_')}.trtn"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(CASES[name][0]())
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], set[str]]:
    """The codes that the spec of a name gets."""
    folder = tmp_path_factory.mktemp("hostile")
    if FULL:
        return lambda name: {d["code"] for d in run_check([written(folder, name)])}
    paths = {name: written(folder, name) for name in CASES}
    codes: dict[str, set[str]] = {}
    for d in run_check(list(paths.values())):
        codes.setdefault(Path(d["span"]["file"]).name, set()).add(d["code"])
    return lambda name: codes.get(paths[name].name, set())


@pytest.mark.parametrize("name", CASES)
def test_hostile_specs(name: str, found: Callable[[str], set[str]]) -> None:
    assert CASES[name][1] in found(name)


# files


def code_of(path: Path) -> str:
    return str(run_check([path])[0]["code"])


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for name, data in {"a": b"trtn 1\nnetwork n { \xff }", "b": b"\xff\xfet\0r\0", "c": b"\x80" * 100}.items():
        (tmp_path / name).write_bytes(data)
        assert code_of(tmp_path / name) == "E0106"


def test_a_line_of_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "line.trtn"
    with path.open("wb") as file:
        for _ in range(MEGABYTES):
            file.write(b"a" * 2**20)
    assert code_of(path) == "E0107"


def test_a_sparse_file_of_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "sparse.trtn"
    path.touch()
    try:
        os.truncate(path, 1 << 40)
    except OSError:
        pytest.skip("the file system has no files of that size")
    assert code_of(path) == "E0107"


def test_a_device_without_end(tmp_path: Path) -> None:
    (tmp_path / "zero.trtn").symlink_to("/dev/zero")
    assert code_of(tmp_path / "zero.trtn") == "E0107"


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "loop.trtn").symlink_to(tmp_path / "loop.trtn")
    assert code_of(tmp_path / "loop.trtn") == "E0108"


def chain(folder: Path, length: int) -> None:
    for n in range(length):
        (folder / f"f{n}.trtn").write_text(f'trtn 1\nimport "f{n + 1}.trtn" as a\nimport "f{n + 1}.trtn" as b\n')
    (folder / f"f{length}.trtn").write_text("trtn 1\n")


def test_a_long_chain_of_imports(tmp_path: Path) -> None:
    chain(tmp_path, 3000 if FULL else 300)
    assert code_of(tmp_path / "f0.trtn") == "E0107"


def test_imports_that_double_are_read_once(tmp_path: Path) -> None:
    chain(tmp_path, 40)
    assert not run_check([tmp_path / "f0.trtn"])


def test_imports_of_what_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "zero.trtn").symlink_to("/dev/zero")
    (tmp_path / "folder.trtn").mkdir()
    os.mkfifo(tmp_path / "pipe.trtn")
    imports = "".join(f'import "{n}.trtn" as {n}\n' for n in ("zero", "folder", "pipe", "me"))
    (tmp_path / "me.trtn").write_text(f'trtn 1\n{imports}weights w = "zero.trtn"\n')
    assert [d["code"] for d in run_check([tmp_path / "me.trtn"])] == ["E0209", "E0205", "E0205", "E0206", "E0209"]


# layers with arguments from anywhere

N, M = symbol("N"), symbol("M")
SIZES: list[Any] = [0, 1, 2, 3, 4, 8, 64, N, M, 2 * N, N + 1, N * M, 2**31, 2**40, 2**62]
INTS = [-(2**62), -(2**31), -5, -2, -1, 0, 1, 2, 3, 4, 8, 64, 10**6, 10**9, 2**40, 2**62, 10**30]
FLOATS = [0.0, 1.0, -1.0, 1e308, float("inf"), float("nan"), 0.5, 1e-300]
WORDS = [
    "",
    "none",
    "x",
    "ij,jk->ik",
    "...i->i",
    "i" * 60 + "->i",
    "ii->i",
    "same_upper",
    "linear",
    "cubic",
    "edge",
    "nearest",
]


def any_tensor(pick: random.Random, like: Tensor | None) -> Tensor:
    dtype = (
        like.dtype
        if like is not None and pick.random() < 0.7
        else pick.choice([BY_NAME["f32"], BY_NAME["i64"], pick.choice(ALL)])
    )
    shape = tuple(
        pick.choice(SIZES[:9] if pick.random() < 0.8 else SIZES) for _ in range(pick.choice([0, 1, 1, 2, 3, 4, 4, 5]))
    )
    value = None
    if len(shape) <= 1 and dtype.is_integer and pick.random() < 0.7:
        count = shape[0] if shape else 1
        value = (
            tuple(pick.choice([*SIZES, *INTS]) for _ in range(count))
            if isinstance(count, int) and count <= 64
            else None
        )
    return Tensor("t", dtype, shape, value=value)


def any_attr(pick: random.Random, attr: Attr) -> Any:
    if pick.random() < 0.03:
        return pick.choice([None, "", (), {}, (1,) * 5000, object()])
    pools: dict[str, list[Any]] = {
        "int": [*INTS, *range(-2, 5)],
        "dim": SIZES,
        "float": FLOATS,
        "bool": [True, False],
        "dtype": list(ALL),
    }
    kind = attr.kind.removesuffix("s") if attr.kind.endswith("s") else attr.kind
    pool = pools.get(kind, [*WORDS, *(getattr(attr, "choices", None) or ())])
    return tuple(pick.choices(pool, k=pick.choice([0, 1, 2, 2, 4]))) if attr.kind.endswith("s") else pick.choice(pool)


@pytest.mark.parametrize("op", [op for op in catalogue().values() if not op.regions], ids=str)
def test_inference_takes_any_arguments(op: Op) -> None:
    """It gives types or refuses; it never fails in another way, nor makes lists as long as a number says."""
    pick = random.Random(op.name)
    for _ in range(1000 if FULL else 25):
        count = len(op.spec.inputs)
        if op.spec.inputs and op.spec.inputs[-1].variadic:
            count += pick.choice([-1, 0, 1, 2])
        inputs: list[Tensor | None] = []
        for n in range(count):
            optional = n < len(op.spec.inputs) and op.spec.inputs[n].optional
            inputs.append(None if optional and pick.random() < 0.5 else any_tensor(pick, inputs[0] if inputs else None))
        attrs = {a.name: any_attr(pick, a) for a in op.spec.attrs if a.required or pick.random() < 0.6}
        try:
            inferred = infer_layer(
                op, inputs, attrs, fresh=lambda low, high: symbol("K"), wanted=pick.choice([1, 2, None])
            )
        except InferFailure as failure:
            assert failure.message
        else:
            assert len(inferred.types) < 70_000
