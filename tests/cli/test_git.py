"""`trtn git`: what git shows and merges once it is installed, in a real repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from trtn.backend.tuner.lock import HEAD
from trtn.backend.tuner.lock_merge import merge_locks

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
KEYS = [f"{n:024x}" for n in range(4)]


def line(key: str, tactic: str) -> str:
    return f"tactic cpu conv {key} reference 1 {tactic} # conv f32[1]"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global.config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    folder = tmp_path / "repository"
    folder.mkdir()
    for arguments in (["init", "-q", "-b", "main"], ["config", "user.name", "x"], ["config", "user.email", "x@y"]):
        git(folder, *arguments)
    run(folder, "trtn", "git", "install")
    return folder


def run(folder: Path, *argv: str, code: int = 0) -> str:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def git(folder: Path, *arguments: str, code: int = 0) -> str:
    return run(folder, "git", *arguments, code=code)


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def model(op: str) -> bytes:
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 4]) for n in "xy")
    graph = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "net", [x], [y])
    return onnx.ModelProto.SerializeToString(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))


def test_models_are_shown_as_text(repository: Path) -> None:
    (repository / "net.onnx").write_bytes(model("Relu"))
    commit(repository, "one")
    (repository / "net.onnx").write_bytes(model("Tanh"))
    shown = git(repository, "diff").splitlines()
    assert "-  y = relu(x)" in shown
    assert "+  y = tanh(x)" in shown


def test_hunks_name_the_block(repository: Path) -> None:
    body = "\n".join(f"  a{n} = relu({f'a{n - 1}' if n else 'x'})" for n in range(8))
    text = f"trtn 1\n\nblock deep(x: T[N]) -> T[N] {{\n{body}\n  return a7\n}}\n"
    (repository / "net.trtn").write_text(text)
    commit(repository, "one")
    (repository / "net.trtn").write_text(text.replace("a7 = relu", "a7 = tanh"))
    assert "@@ block deep(x: T[N]) -> T[N] {" in git(repository, "diff")


def test_locks_are_merged(repository: Path) -> None:
    path = repository / "net.lock"

    def write(*lines: str) -> None:
        path.write_text(HEAD + "".join(f"{each}\n" for each in lines))

    write(line(KEYS[1], "a"))
    commit(repository, "base")
    git(repository, "checkout", "-q", "-b", "side")
    write(line(KEYS[1], "a"), line(KEYS[2], "b"))
    commit(repository, "side")
    git(repository, "checkout", "-q", "main")
    write(line(KEYS[0], "c"), line(KEYS[1], "a"))
    commit(repository, "main")
    git(repository, "merge", "-q", "side")
    assert path.read_text() == HEAD + "".join(
        f"{each}\n" for each in (line(KEYS[0], "c"), line(KEYS[1], "a"), line(KEYS[2], "b"))
    )


def test_a_conflict_waits_for_a_person(repository: Path) -> None:
    """What both sides changed stands between markers, all else is merged; a lock with markers is refused."""
    path = repository / "net.lock"
    ours, theirs = (f"import ops.trtn sha256:{letter * 64}" for letter in "ab")
    kept, added = "manifest w.trtn sha256:00", line(KEYS[2], "t")

    def write(*lines: str) -> None:
        path.write_text(HEAD + "".join(f"{each}\n" for each in lines))

    write("import ops.trtn sha256:00", kept)
    commit(repository, "base")
    git(repository, "checkout", "-q", "-b", "side")
    write(theirs, kept, added)
    commit(repository, "side")
    git(repository, "checkout", "-q", "main")
    write(ours, kept)
    commit(repository, "main")
    git(repository, "merge", "-q", "side", code=1)
    assert git(repository, "diff", "--name-only", "--diff-filter=U") == "net.lock\n"
    conflict = ["<<<<<<< ours", ours, "=======", theirs, ">>>>>>> theirs"]
    assert path.read_text().removeprefix(HEAD).splitlines() == [*conflict, kept, added]
    (repository / "net.trtn").write_text(
        "trtn 1\n\nnetwork n {\n  input x: f32[4]\n  output y: f32[4]\n\n  y = relu(x)\n}\n"
    )
    build = ("trtn", "build", "net.trtn", "--device", "cpu", "-o", "n.engine", "--lock", "net.lock")
    run(repository, *build, "--locked", code=1)
    write(ours, kept, added)
    git(repository, "commit", "-q", "-a", "-m", "merged")
    run(repository, *build)


def test_other_lock_files_are_merged_as_text(repository: Path) -> None:
    path = repository / "poetry.lock"
    path.write_text("a\nb\nc\nd\ne\n")
    commit(repository, "base")
    git(repository, "checkout", "-q", "-b", "side")
    path.write_text("a\nb\nc\nd\nE\n")
    commit(repository, "side")
    git(repository, "checkout", "-q", "main")
    path.write_text("A\nb\nc\nd\ne\n")
    commit(repository, "main")
    git(repository, "merge", "-q", "side")
    assert path.read_text() == "A\nb\nc\nd\nE\n"


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged", "conflicts"),
    [
        ("", "a", "", "a", 0),
        ("a", "a", "b", "b", 0),
        ("a", "b", "a", "b", 0),
        ("a", "", "a", "", 0),
        ("a", "b", "b", "b", 0),
        ("a", "b", "c", "<b|c>", 1),
        ("a", "", "c", "<|c>", 1),
    ],
)
def test_one_problem(base: str, ours: str, theirs: str, merged: str, conflicts: int) -> None:
    texts = [HEAD + (f"{line(KEYS[0], t)}\n" if t else "") for t in (base, ours, theirs)]
    found, count = merge_locks(*texts)
    shown = found.removeprefix(HEAD).replace("<<<<<<< ours\n", "<").replace("=======\n", "|")
    for tactic in "abc":
        shown = shown.replace(f"{line(KEYS[0], tactic)}\n", tactic)
    assert (shown.replace(">>>>>>> theirs\n", ">"), count) == (merged, conflicts)


def test_installing_twice_changes_nothing(repository: Path) -> None:
    before = (repository / ".gitattributes").read_text()
    run(repository, "trtn", "git", "install")
    assert (repository / ".gitattributes").read_text() == before


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    run(tmp_path, sys.executable, "-m", "trtn", "git", "install", code=2)
