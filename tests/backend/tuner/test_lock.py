"""The lock file: written sorted, read strictly, and enough to build the same engine again."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.backend.harness import network
from trtn.backend import build as builder
from trtn.backend.fusion import partition
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.providers import discover
from trtn.backend.providers.reference import ReferenceProvider
from trtn.backend.runtime import Engine
from trtn.backend.runtime.engine import storage_on
from trtn.backend.tuner.lock import HEAD, read_lock
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network
from trtn.dsl.version import VERSION

build = partial(builder.build, providers=())
"""With the reference's tactics, which are the same on every machine."""
TEXT = """
network n {
  dim N in 1..8
  input x: f32[N, 4]
  output y: f32[N, 4]
  a = softmax(x)
  b = softmax(tanh(a) @ transpose(a) @ a)
  y = softmax(b)
}
"""


@pytest.fixture
def net() -> Network:
    return network(TEXT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "n.lock"


def locked(net: Network, path: Path | None) -> Any:
    return build(net, device="cpu", lock=path, locked=True)


def refusal(net: Network, path: Path | None, words: str) -> Any:
    with pytest.raises(BuildError, match=words) as caught:
        locked(net, path)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0708"
    return diagnostic


def keys_of(net: Network, sizes: dict[str, int]) -> list[str]:
    """The keys of the problems of a network as it is."""
    groups = partition(net)
    problems = plan_problems(net, groups, storage_on("cpu", net, groups, ()), sizes, 1)
    return [p.key for p in problems if p is not None]


def keys(engine: Engine) -> set[str]:
    """The keys of an engine's problems at all of its tuned points."""
    found = set()
    for point in engine.points:
        problems = plan_problems(engine.network, engine.groups, engine.storage, point.sizes, 1)
        found |= {p.key for p in problems if p is not None}
    return found


def test_one_line_for_each_distinct_problem_sorted(net: Network, path: Path) -> None:
    engine = build(net, device="cpu", lock=path)
    text = path.read_text()
    assert text.startswith(HEAD)
    lines = text.removeprefix(HEAD).splitlines()
    assert lines == sorted(lines)
    assert lines[-3:] == [
        "target cpu cpu",
        f"version cpu reference {ReferenceProvider().version()}",
        f"version cpu trtn {VERSION}",
    ]
    tactics = [line.split() for line in lines[:-3]]
    assert {fields[3] for fields in tactics} == keys(engine)
    assert sum(g.kind == "softmax" for g in engine.groups) == 3
    assert sum(fields[2] == "softmax" for fields in tactics) == 1
    assert all(fields[:2] == ["tactic", "cpu"] for fields in tactics)
    assert all(fields[4:7] == ["reference", ReferenceProvider().version(), "eval"] for fields in tactics)


def test_a_locked_build_is_the_same_to_the_byte(net: Network, path: Path, tmp_path: Path) -> None:
    build(net, device="cpu", lock=path).save(tmp_path / "a")
    before = path.read_bytes()
    engine = locked(network(TEXT), path)
    engine.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert path.read_bytes() == before
    assert {c.origin for c, g in zip(engine.choices, engine.groups, strict=True) if g.kind != "view"} == {"lock"}


def test_an_engine_says_which_lock_it_was_built_with(net: Network, path: Path) -> None:
    """By the digest that `sha256sum` gives; the same for the build that wrote the lock and for one held to it."""
    engines = [build(net, device="cpu", lock=path), locked(net, path)]
    expected = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert [e.provenance["lock"] for e in engines] == [expected, expected]
    assert "lock" not in build(net, device="cpu").provenance


def test_an_unchanged_lock_is_not_touched(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    before = path.stat()
    build(net, device="cpu", lock=path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_key_follows_the_computation_not_the_names(net: Network) -> None:
    keys = keys_of(net, {"N": 4})
    renamed = network(TEXT.replace("a = ", "other = ").replace("(a)", "(other)").replace("@ a)", "@ other)"))
    assert keys_of(renamed, {"N": 4}) == keys
    fixed = network(TEXT.replace("dim N in 1..8", "").replace("[N, 4]", "[4, 4]"))
    assert keys_of(fixed, {}) == keys, "sizes count, not whether they are named"
    larger = network(TEXT.replace("f32[N, 4]", "f32[N, 5]"))
    assert not {*keys_of(larger, {"N": 4}), *keys_of(net, {"N": 3})} & set(keys)


def test_a_miss_lists_the_problems(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    changed = network(TEXT.replace("y = softmax(b)", "y = relu(reduce_sum(b, axes=[1], keepdims=true) + x)"))
    missed = refusal(changed, path, r"no valid entry for \d of \d problems")
    assert any("`y`" in note and "relu" in note for note in missed.notes)
    assert not any("softmax" in note for note in missed.notes)
    assert "--locked" in missed.help


def test_every_tactic_counts(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    lines = path.read_text().splitlines(keepends=True)
    tactics = [n for n, line in enumerate(lines) if line.startswith("tactic ")]
    assert tactics
    for n in tactics:
        path.write_text("".join(lines[:n] + lines[n + 1 :]))
        missed = refusal(net, path, "no valid entry")
        assert any(lines[n].split()[3] in note for note in missed.notes)


def test_a_miss_lists_the_problems_of_all_points(path: Path) -> None:
    wide = network(TEXT.replace("1..8", "1..64") + "profile p for n { N: min 1, opt 8, max 64 }")
    build(wide, device="cpu", lock=path)
    lines = path.read_text().splitlines(keepends=True)
    tactics = [line for line in lines if line.startswith("tactic ")]
    path.write_text("".join(line for line in lines if line not in tactics))
    missed = refusal(wide, path, f"no valid entry for {len(tactics)} of {len(tactics)} problems")
    assert len(missed.notes) == len(tactics)


@pytest.mark.parametrize("field", [1, 4, 5, 6])
def test_another_target_provider_version_or_tactic_is_a_miss(net: Network, path: Path, field: int) -> None:
    build(net, device="cpu", lock=path)
    lines = path.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("tactic "))
    words = lines[at].split()
    words[field] = "2.0"
    lines[at] = " ".join(words)
    path.write_text("\n".join(lines) + "\n")
    refusal(net, path, "no valid entry for")


def test_without_locked_a_miss_is_decided_anew(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    good = path.read_text()
    path.write_text(good.replace(" eval ", " other "))
    build(net, device="cpu", lock=path)
    assert path.read_text() == good


def test_no_lock_to_be_locked_to(net: Network, path: Path) -> None:
    refusal(net, None, "needs a lock file")
    refusal(net, path, "can't be read")


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda text: "<<<<<<< HEAD\n" + text, 1, "not a lock file"),
        (lambda text: text + "<<<<<<< HEAD\n", None, "`<<<<<<<` is not a kind of fact"),
        (lambda text: text + "=======\n", None, "`=======` is not a kind of fact"),
        (lambda text: text.replace(" eval ", " ", 1), 3, "`tactic` has 7 fields, this one 6"),
        (lambda text: text + "manifest w.trtn\n", None, "`manifest` has 3 fields, this one 2"),
        (lambda text: text + "tactic cpu softmax xyz reference 1 eval\n", None, "`xyz` is not the key"),
        (lambda text: text.replace("lock 3", "lock 9"), 1, "not a lock file of this version"),
        (lambda text: "", 1, "not a lock file"),
    ],
)
@pytest.mark.parametrize("strictly", [True, False])
def test_malformed_locks_name_the_line(
    net: Network, path: Path, change: Any, line: int | None, words: str, strictly: bool
) -> None:
    build(net, device="cpu", lock=path)
    text = change(path.read_text())
    path.write_text(text)
    with pytest.raises(BuildError, match=words) as caught:
        build(net, device="cpu", lock=path, locked=strictly)
    assert f"{path}:{line or text.count(chr(10))}: " in str(caught.value)
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["folder", "binary", "nul\0"])
def test_locks_that_can_not_be_read_or_written(net: Network, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for strictly in (True, False):
        with pytest.raises(BuildError, match="can't be"):
            build(net, device="cpu", lock=tmp_path / name, locked=strictly)


def test_both_sides_of_a_merge_and_comments_are_read(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    text = path.read_text()
    body = text.removeprefix(HEAD)
    path.write_text(HEAD + body + "\n# a remark\n" + body)
    tactics = [line.split() for line in body.splitlines() if line.startswith("tactic ")]
    assert read_lock(path).section("cpu").entries.keys() == {fields[3] for fields in tactics}
    locked(net, path)


def test_the_reference_takes_whatever_no_other_provider_does() -> None:
    assert any(p.is_reference for p in discover())
