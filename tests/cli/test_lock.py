"""`trtn lock` and locked builds: what is written, what is stale, why, and what to run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Trtn
from trtn.backend.tuner.lock import HEAD, read_lock

BLOCK = """\
trtn 1

# What all networks share.
block double(x: T[N, D]) -> T[N, D] {
  return x + x
}
"""
MANIFEST = """\
trtn 1

manifest w {
  tensor scale: f32[4] = ones
}
"""
SPEC = """\
trtn 1

import "ops/double.trtn" as ops
weights w = "w.weights.trtn"

plugin rope(x: T[N, D]) -> T[N, D] {
  where   T in {f16, f32}
  source  "ops/rope.py"
  version "1.2.0"
}

network net {
  dim N in 1..8

  input x: f32[N, 4]
  output y: f32[N, 4]

  y = softmax(ops.double(x) * w.scale)
}

profile small for net {
  N: min 1, opt 2, max 4
}

target host {
  network  net
  profiles [small]
  device   cpu
  lock     "net.lock"
  output   "net.engine"
}

target h200 {
  network  net
  profiles [small]
  device   cuda:sm_90
  lock     "net.lock"
  output   "net.gpu.engine"
}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTN_CACHE", "off")
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops/double.trtn").write_text(BLOCK)
    (tmp_path / "ops/rope.py").write_text("def rope(x):\n    return x\n")
    (tmp_path / "w.weights.trtn").write_text(MANIFEST)
    (tmp_path / "net.trtn").write_text(SPEC)
    return tmp_path


def lines(folder: Path) -> list[str]:
    return (folder / "net.lock").read_text().removeprefix(HEAD).splitlines()


def checked(trtn: Trtn, *arguments: str) -> list[dict[str, Any]]:
    """What `trtn lock --check` finds about the target of this machine."""
    result = trtn("lock", "net.trtn", "--target", "host", "--check", "--format", "json", *arguments)
    found: list[dict[str, Any]] = json.loads(result.stdout)["diagnostics"]
    assert result.exit_code == (1 if found else 0)
    return found


def test_a_fact_a_line(trtn: Trtn, folder: Path) -> None:
    result = trtn("lock", "net.trtn")
    assert result.exit_code == 0, result.stderr
    assert "target h200: its tactics stay as they are" in result.stderr
    written = lines(folder)
    assert written == sorted(written)
    assert f"import ops/double.trtn sha256:{hashlib.sha256(BLOCK.encode()).hexdigest()}" in written
    rope = hashlib.sha256((folder / "ops/rope.py").read_bytes()).hexdigest()
    assert f"plugin rope 1.2.0 sha256:{rope}" in written
    assert [line.split()[1] for line in written if line.startswith("manifest ")] == ["w.weights.trtn"]
    assert {line.split()[1] for line in written if line.startswith(("tactic", "target", "version"))} == {"host"}
    assert checked(trtn) == []
    assert "net.lock: as it was" in trtn("lock", "net.trtn").stderr


def test_it_is_what_a_build_writes(trtn: Trtn, folder: Path) -> None:
    assert trtn("lock", "net.trtn", "--target", "host").exit_code == 0
    written = (folder / "net.lock").read_bytes()
    assert trtn("build", "net.trtn", "--target", "host").exit_code == 0
    assert (folder / "net.lock").read_bytes() == written
    built = (folder / "net.engine").read_bytes()
    assert trtn("build", "net.trtn", "--target", "host", "--locked").exit_code == 0
    assert (folder / "net.engine").read_bytes() == built


EDITS = {
    "an import": ("ops/double.trtn", BLOCK.replace("x + x", "x * x"), "import `ops/double.trtn` differs"),
    "a manifest": ("w.weights.trtn", MANIFEST.replace("ones", "zeros"), "manifest `w.weights.trtn` differs"),
    "a plugin's source": ("ops/rope.py", "def rope(x):\n    return -x\n", "plugin `rope` differs"),
    "a plugin's version": ("net.trtn", SPEC.replace("1.2.0", "1.3.0"), "plugin `rope` differs"),
    "an import gone": (
        "net.trtn",
        SPEC.replace('import "ops/double.trtn" as ops\n', "").replace("ops.double(x)", "(x + x)"),
        "the lock has import `ops/double.trtn`, which the spec does not name",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_locked_build_is_of_the_files_that_were_locked(trtn: Trtn, folder: Path, edit: str) -> None:
    path, text, words = EDITS[edit]
    trtn("lock", "net.trtn")
    (folder / path).write_text(text)
    for verb in ("build", "plan"):
        result = trtn(verb, "net.trtn", "--target", "host", "--locked")
        assert result.exit_code == 1
        assert "error[E0711]" in result.stderr and words in result.stderr
    assert not (folder / "net.engine").exists()
    assert words in trtn("plan", "net.trtn", "--target", "host").stdout
    (finding,) = [d for d in checked(trtn) if d["code"] == "E0711"]
    assert words in finding["message"]
    assert finding["help"] == "run `trtn lock net.trtn --target host`, and commit the lock"
    assert trtn("lock", "net.trtn").exit_code == 0
    assert checked(trtn) == []


def test_a_new_import_is_not_in_the_lock(trtn: Trtn, folder: Path) -> None:
    trtn("lock", "net.trtn")
    (folder / "other.trtn").write_text(BLOCK)
    (folder / "net.trtn").write_text(SPEC.replace("weights w", 'import "other.trtn" as other\nweights w'))
    result = trtn("build", "net.trtn", "--target", "host", "--locked")
    assert "import `other.trtn` is not in the lock" in result.stderr


def test_layout_does_not_count(trtn: Trtn, folder: Path) -> None:
    trtn("lock", "net.trtn")
    (folder / "ops/double.trtn").write_text(BLOCK.replace("x + x", "x  +  x").replace("\n\n", "\n\n\n"))
    (folder / "w.weights.trtn").write_text(MANIFEST.replace(": f32", ":   f32") + "# a remark\n")
    assert checked(trtn) == []


def test_nor_does_the_folder_that_one_is_in(trtn: Trtn, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trtn("lock", "net.trtn")
    monkeypatch.chdir(folder.parent)
    assert trtn("lock", f"{folder.name}/net.trtn", "--target", "host", "--check").exit_code == 0


def test_what_is_stale_is_said_in_place(trtn: Trtn, folder: Path) -> None:
    trtn("lock", "net.trtn")
    path = folder / "net.lock"
    good = path.read_text()
    tactic = next(line for line in lines(folder) if line.startswith("tactic "))
    key = tactic.split()[3]
    path.write_text(good.replace(tactic + "\n", "").replace("version host trtn ", "version host trtn 0.0."))
    missing, version = checked(trtn)
    assert missing["code"] == "E0708" and key in str(missing)
    assert version["code"] == "W0701" and "trtn 0.0." in version["message"]
    other = tactic.replace(key, "0" * len(key))
    path.write_text(good + f"{other}\ntarget gone cuda:sm_80\n{tactic.replace(' host ', ' gone ')}\n")
    unused, gone = checked(trtn)
    assert (unused["code"], gone["code"]) == ("W0702", "W0702")
    assert "1 tactic of `host`" in unused["message"]
    assert "target `gone`" in gone["message"]
    assert path.read_text().splitlines()[gone["span"]["line"] - 1] == "target gone cuda:sm_80"
    trtn("lock", "net.trtn")
    assert path.read_text() == good


def test_a_target_keeps_what_is_locked_for_another(trtn: Trtn, folder: Path) -> None:
    trtn("lock", "net.trtn")
    gpu = ["target h200 cuda:sm_90", "version h200 cudnn 9.1-2", f"tactic h200 softmax {'a' * 24} codegen 1 rows # s"]
    (folder / "net.lock").write_text(HEAD + "\n".join([*lines(folder), *gpu]) + "\n")
    assert trtn("build", "net.trtn", "--target", "host").exit_code == 0
    assert trtn("lock", "net.trtn").exit_code == 0
    assert set(gpu) <= set(lines(folder))


def test_a_device_that_is_not_here_can_be_checked_and_not_locked(trtn: Trtn, folder: Path) -> None:
    trtn("lock", "net.trtn")
    result = trtn("lock", "net.trtn", "--check")
    assert result.exit_code == 1
    assert "error[E0708]: the lock has no tactics of `h200`, which asks for " in result.stderr
    assert "run `trtn lock net.trtn --target h200` on a machine with cuda:sm_90" in result.stderr
    assert "warning" not in result.stderr
    before = lines(folder)
    assert trtn("lock", "net.trtn", "--target", "h200").exit_code == 1
    assert lines(folder) == before


def test_wrong_usage(trtn: Trtn, spec: Path, folder: Path) -> None:
    assert trtn("lock", "tiny.trtn").exit_code == 2, "no target names a lock"
    assert trtn("lock", "net.trtn", "--target", "h100").exit_code == 1
    missing = trtn("lock", "tiny.trtn", "--device", "cpu", "--effort", "0", "--lock", "t.lock", "--check")
    assert missing.exit_code == 1
    assert "run `trtn lock tiny.trtn --lock t.lock --device cpu --effort 0`" in missing.stderr
    assert trtn("lock", "tiny.trtn", "--device", "cpu", "--lock", "t.lock").exit_code == 0
    assert read_lock(folder / "t.lock").sections.keys() == {"cpu"}


def test_odd_names(trtn: Trtn, folder: Path) -> None:
    (folder / "ops/double.trtn").rename(folder / "ops/a # b%20.trtn")
    (folder / "net.trtn").write_text(SPEC.replace("ops/double.trtn", "ops/a # b%20.trtn"))
    trtn("lock", "net.trtn")
    assert any(line.startswith("import ops/a%20%23%20b%2520.trtn sha256:") for line in lines(folder))
    assert checked(trtn) == []
