"""The lock file: written sorted, read strictly, and enough to build the same engine again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.backend.harness import network
from trtn.backend.build import build
from trtn.backend.fusion import partition
from trtn.backend.providers import discover
from trtn.backend.providers.reference import ReferenceProvider
from trtn.backend.tuner.lock import HEAD, group_key, read_lock
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network

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


def test_one_line_for_each_distinct_group_sorted(net: Network, path: Path) -> None:
    engine = build(net, device="cpu", lock=path)
    text = path.read_text()
    assert text.startswith(HEAD)
    lines = text.removeprefix(HEAD).splitlines()
    assert lines == sorted(lines)
    assert {line.split()[1] for line in lines} == {group_key(g) for g in engine.groups}
    softmaxes = [g for g in engine.groups if g.kind == "softmax"]
    assert len(softmaxes) == 3
    assert sum(line.startswith("softmax ") for line in lines) == 1
    assert all(line.split()[2:5] == ["reference", ReferenceProvider().version(), "eval"] for line in lines)


def test_a_locked_build_is_the_same_to_the_byte(net: Network, path: Path, tmp_path: Path) -> None:
    build(net, device="cpu", lock=path).save(tmp_path / "a")
    before = path.read_bytes()
    engine = locked(network(TEXT), path)
    engine.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert path.read_bytes() == before
    assert {c.origin for c in engine.choices} == {"lock"}


def test_an_unchanged_lock_is_not_touched(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    before = path.stat()
    build(net, device="cpu", lock=path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_the_key_follows_the_computation_not_the_names(net: Network) -> None:
    keys = [group_key(g) for g in partition(net)]
    renamed = network(TEXT.replace("a = ", "other = ").replace("(a)", "(other)").replace("@ a)", "@ other)"))
    assert [group_key(g) for g in partition(renamed)] == keys
    larger = network(TEXT.replace("f32[N, 4]", "f32[N, 5]"))
    assert not {group_key(g) for g in partition(larger)} & set(keys)


def test_a_miss_lists_the_groups(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    changed = network(TEXT.replace("y = softmax(b)", "y = relu(reduce_sum(b, axes=[1], keepdims=true) + x)"))
    missed = refusal(changed, path, r"no valid entry for \d of \d groups")
    assert any("`y`" in note and "relu" in note for note in missed.notes)
    assert not any("softmax" in note for note in missed.notes)
    assert "--locked" in missed.help


def test_every_line_counts(net: Network, path: Path) -> None:
    build(net, device="cpu", lock=path)
    lines = path.read_text().splitlines(keepends=True)
    for n in range(HEAD.count("\n"), len(lines)):
        path.write_text("".join(lines[:n] + lines[n + 1 :]))
        missed = refusal(net, path, "no valid entry")
        assert any(lines[n].split()[1] in note for note in missed.notes)


@pytest.mark.parametrize("field", [2, 3, 4])
def test_another_provider_version_or_tactic_is_a_miss(net: Network, path: Path, field: int) -> None:
    build(net, device="cpu", lock=path)
    lines = path.read_text().splitlines()
    words = lines[-1].split()
    words[field] = "2.0"
    path.write_text("\n".join([*lines[:-1], " ".join(words)]) + "\n")
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
        (lambda text: text + "<<<<<<< HEAD\n", None, "five fields, this one 2"),
        (lambda text: text + "=======\n", None, "five fields, this one 1"),
        (lambda text: text.replace(" eval ", " ", 1), 3, "five fields, this one 4"),
        (lambda text: text + "softmax xyz reference 1 eval\n", None, "`xyz` is not the digest"),
        (lambda text: text.replace("lock 1", "lock 9"), 1, "not a lock file of this version"),
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
    assert {e.key for e in read_lock(path).values()} == {line.split()[1] for line in body.splitlines()}
    locked(net, path)


def test_the_reference_takes_whatever_no_other_provider_does() -> None:
    assert any(p.is_reference for p in discover())
