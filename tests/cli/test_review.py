"""`trtn diff`, `trtn breaking`, `trtn lint` as they are called."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Trtn

LONELY = SPEC.replace("  n = ids + ids", "  lonely = tanh(x)\n  n = cast(ids + ids, to=i64)")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    old, new = tmp_path / "old.trtn", tmp_path / "new.trtn"
    old.write_text(SPEC)
    new.write_text(SPEC.replace("relu(x)", "tanh(x)").replace("opt 2, max 4", "opt 2, max 3"))
    return str(old), str(new)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *arguments], cwd=folder, check=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a committed spec that was edited since; the current folder."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "tiny.trtn").write_text(SPEC)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    (tmp_path / "specs" / "tiny.trtn").write_text(SPEC.replace("opt 2, max 4", "opt 2, max 3"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_diff(trtn: Trtn, files: tuple[str, str]) -> None:
    done = trtn("diff", *files)
    assert done.exit_code == 1
    assert "~ h op: relu -> tanh" in done.stdout
    assert "~ small B: min 1, opt 2, max 4 -> min 1, opt 2, max 3" in done.stdout
    assert trtn("diff", files[0], files[0]).exit_code == 0


def test_diff_for_programs(trtn: Trtn, files: tuple[str, str]) -> None:
    document = json.loads(trtn("diff", *files, "--format", "json").stdout)
    (comparison,) = document["comparisons"]
    assert [c["subject"] for c in comparison["changes"]] == ["layer", "profile"]
    assert "| changed | `h` op | `relu` | `tanh` |" in trtn("diff", *files, "--format", "markdown").stdout


def test_diff_with_a_revision(trtn: Trtn, repository: Path) -> None:
    done = trtn("diff", "HEAD:specs", "specs")
    assert done.exit_code == 1
    assert "min 1, opt 2, max 4 -> min 1, opt 2, max 3" in done.stdout
    assert trtn("diff", "HEAD:specs/tiny.trtn", "HEAD:specs/tiny.trtn").exit_code == 0


def test_diff_of_folders(trtn: Trtn, repository: Path) -> None:
    """Specs without a change share a line; one that is new is all additions."""
    for name in ("a", "b"):
        (repository / "specs" / f"{name}.trtn").write_text(SPEC)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "two")
    (repository / "specs" / "c.trtn").write_text(SPEC.replace("opt 2, max 4", "opt 2, max 3"))
    (repository / "specs" / "tiny.trtn").write_text(SPEC)
    done = trtn("diff", "HEAD:specs", "specs")
    assert done.exit_code == 1
    assert done.stdout.endswith("\n\nno change: specs/a.trtn, specs/b.trtn\n")
    assert "nothing -> specs/c.trtn: " in done.stdout
    assert "\nnetwork\n" not in done.stdout, "its name and doc are no change"
    assert (
        "**no change:** `specs/a.trtn`, `specs/b.trtn`"
        in trtn("diff", "HEAD:specs", "specs", "--format", "markdown").stdout
    )


def test_lines_of_a_revision_bear_its_name(trtn: Trtn, repository: Path) -> None:
    without = SPEC.replace("  h = relu(x)\n", "").replace("y = h + x", "y = x + x")
    (repository / "specs" / "tiny.trtn").write_text(without)
    done = trtn("diff", "HEAD:specs/tiny.trtn", "specs/tiny.trtn")
    assert "- h = relu(x) : f32[B, 4]    HEAD:specs/tiny.trtn:" in done.stdout


@pytest.mark.parametrize("name", ["nowhere:specs/tiny.trtn", "HEAD:specs/none.trtn", "none.trtn"])
def test_diff_with_what_is_not_there(trtn: Trtn, repository: Path, name: str) -> None:
    done = trtn("diff", name, "specs/tiny.trtn")
    assert done.exit_code == 1
    assert "error[" in done.stderr


def test_diff_of_an_engine_and_its_spec(trtn: Trtn, files: tuple[str, str], tmp_path: Path) -> None:
    engine = str(tmp_path / "old.engine")
    assert trtn("build", files[0], "-o", engine, "--device", "cpu").exit_code == 0
    assert trtn("diff", engine, files[0]).exit_code == 0
    done = trtn("diff", engine, files[1])
    assert done.exit_code == 1
    assert "~ small B: min 1, opt 2, max 4 -> min 1, opt 2, max 3" in done.stdout
    assert "~ h op: relu -> tanh" in done.stdout
    assert "~ h op: tanh -> relu" in trtn("diff", files[1], engine).stdout


def test_an_engine_of_a_target_is_what_its_spec_says(trtn: Trtn, tmp_path: Path) -> None:
    """Whatever the passes made of it: here the precision, a folded batch norm, one profile of two. What does not reach
    the engine, as another target's file, is no change of it."""
    manifest = "".join(
        f"  tensor {n}: f32[4] = {g}\n" for n, g in (("s", "normal(1, 0.1)"), ("b", "zeros"), ("v", "ones"))
    )
    manifest += "  tensor k: f32[4, 4, 1, 1] = normal(2, 0.1)\n"
    (tmp_path / "w.weights.trtn").write_text(f"trtn 1\nmanifest w {{\n{manifest}}}\n")
    body = "y = relu(batch_norm(conv(x, w.k), w.s, w.b, w.b, w.v))"
    text = f"""trtn 1
weights w = "w.weights.trtn"
network n {{
  dim N in 1..8
  input x: f32[N, 4, 6, 6]
  output y: f32[N, 4, 6, 6]
  {body}
}}
profile one for n {{
  N: min 1, opt 1, max 1
}}
profile many for n {{
  N: min 1, opt 4, max 8
}}
target host {{
  network n
  profiles [one]
  device cpu
  precision {{ default bf16 }}
  output "n.engine"
}}
"""
    spec = tmp_path / "n.trtn"
    spec.write_text(text)
    assert trtn("build", "n.trtn").exit_code == 0
    assert trtn("diff", "n.engine", "n.trtn").exit_code == 0
    spec.write_text(text.replace('"n.engine"', '"other.engine"'))
    done = trtn("diff", "n.engine", "n.trtn")
    assert (done.exit_code, done.stdout) == (0, "n.engine -> n.trtn: no change\n")
    spec.write_text(text)
    path = tmp_path / "w.weights.trtn"
    path.write_text(path.read_text().replace("normal(1,", "normal(3,"))
    done = trtn("diff", "n.engine", "n.trtn")
    assert done.exit_code == 1
    assert "contents" in done.stdout and "max change" in done.stdout


def test_breaking(trtn: Trtn, repository: Path) -> None:
    done = trtn("breaking", "specs", "--against", "HEAD")
    assert done.exit_code == 1
    assert "error[E0912]: `B` of profile `small` was 1..4, is 1..3" in done.stderr
    assert trtn("breaking", "specs", "--against", "HEAD", "--ignore", "PROFILE_RANGE_NO_SHRINK").exit_code == 0
    assert trtn("breaking", "specs", "--against", "HEAD", "--kind", "numeric").exit_code == 0
    (repository / "specs" / "more.trtn").write_text(SPEC)
    assert "nothing can break" in trtn("breaking", os.path.join("specs", "more.trtn")).stderr


def test_breaking_against_a_file(trtn: Trtn, files: tuple[str, str]) -> None:
    done = trtn("breaking", files[1], "--against-file", files[0], "--format", "json")
    assert {d["code"] for d in json.loads(done.stdout)["diagnostics"]} == {"E0912", "E0913"}


@pytest.mark.parametrize(
    "arguments",
    [["breaking"], ["breaking", "a.trtn", "--ignore", "NONE"], ["breaking", "a.trtn", "--kind", "none"], ["lint"]],
)
def test_wrong_usage(trtn: Trtn, arguments: list[str]) -> None:
    assert trtn(*arguments).exit_code == 2


def test_rules_are_listed(trtn: Trtn) -> None:
    assert "INPUT_SAME_DTYPE" in trtn("breaking", "--rules").stdout
    assert "L0101  unused-name" in trtn("lint", "--rules").stdout


def test_lint(trtn: Trtn, tmp_path: Path) -> None:
    spec = tmp_path / "net.trtn"
    spec.write_text(LONELY)
    done = trtn("lint", str(spec))
    assert done.exit_code == 1
    assert "nothing reads `lonely`" in done.stderr
    assert spec.read_text() == LONELY
    done = trtn("lint", "--fix", str(spec))
    assert done.exit_code == 0, done.stderr
    assert "2 fixes" in done.stderr
    assert "lonely" not in spec.read_text()
    assert "n = ids + ids" in spec.read_text()
    assert trtn("fmt", "--check", str(spec)).exit_code == 0


def test_lint_of_a_spec_with_errors(trtn: Trtn, tmp_path: Path) -> None:
    spec = tmp_path / "net.trtn"
    spec.write_text(LONELY.replace("tanh(x)", "tanh(z)"))
    done = trtn("lint", "--fix", str(spec))
    assert done.exit_code == 1
    assert "E0201" in done.stderr
    assert "lonely" in spec.read_text()
