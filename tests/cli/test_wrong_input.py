"""Every verb with input of every wrong kind: an exit code that says whose fault it is, a message, no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Trtn

FILES = ("missing", "folder", "empty", "binary", "dangling", "tiny.trtn", "x.npy", "", "a" * 300, "missing/file")
VERBS = (
    ("check", "{}"), ("fmt", "--check", "{}"), ("build", "{}", "-o", "o.engine", "--device", "cpu"),
    ("run", "{}", "--random", "0"), ("bench", "{}", "--iterations", "1"), ("inspect", "{}"),
    ("export", "onnx", "{}", "-o", "o.onnx"), ("import", "onnx", "{}", "-o", "o.trtn"),
    ("verify", "tiny.trtn", "--against", "{}"), ("weights", "verify", "{}"), ("weights", "hash", "{}"),
    ("weights", "list", "{}"), ("run", "tiny.engine", "--random", "0", "--input", "x={}"),
    ("build", "tiny.trtn", "-o", "o.engine", "--device", "cpu", "--locked", "--lock", "{}"),
    ("lock", "tiny.trtn", "--device", "cpu", "--check", "--lock", "{}"), ("lock", "{}", "--device", "cpu", "--lock", "o.lock"),
)  # fmt: skip
FINE = {
    ("check", "tiny.trtn"),
    ("fmt", "tiny.trtn"),
    ("build", "tiny.trtn"),
    ("export", "tiny.trtn"),
    ("lock", "tiny.trtn"),
}
SEARCHED = {("check", "folder"), ("fmt", "folder")}
"""Verbs that look for specs in a folder find none."""


@pytest.fixture
def _files(tmp_path: Path, spec: Path, engine: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "dangling").symlink_to("nowhere")
    np.save(tmp_path / "x.npy", np.ones((2, 3)))


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize("name", FILES)
def test_files_that_are_something_else(trtn: Trtn, name: str) -> None:
    for verb in VERBS:
        if (verb[0], name) in FINE and "--locked" not in verb and "--check" not in verb[2:]:
            continue
        result = trtn(*(word.format(name) for word in verb))
        if (verb[0], name) in SEARCHED:
            assert result.exit_code == 0
            continue
        assert result.exit_code in (1, 2), (verb, result.output)
        assert result.stderr.strip(), verb
        assert not any(words in result.output for words in ("Traceback", "Errno", "Error(")), (verb, result.output)


@pytest.mark.usefixtures("_files")
@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("run tiny.engine --random 0 --profile medium", 1, "no profile `medium`"),
        ("bench tiny.engine --iterations 1 --profile medium", 1, "no profile `medium`"),
        ("build tiny.trtn -o o.engine --profile medium", 1, "no profile `medium`"),
        ("build tiny.trtn -o o.engine --target host", 1, "no target `host`"),
        ("build tiny.trtn -o o.engine --network other", 1, "no network is called `other`"),
        ("build tiny.trtn -o o.engine --device tpu", 1, "tpu"),
        ("build tiny.trtn -o o.engine --device cpu --precision f8", 1, "precision `f8`"),
        ("build tiny.trtn -o o.engine --workspace much", 2, "`much` is not a size"),
        ("build tiny.trtn -o o.engine --device cpu --locked", 1, "needs a lock file"),
        ("build tiny.trtn -o missing/o.engine", 2, "does not exist"),
        ("build tiny.trtn -o folder", 2, "is a folder"),
        ("build tiny.trtn -o ''", 2, "no output file"),
        ("export onnx tiny.trtn -o ''", 2, "empty"),
        ("export onnx tiny.trtn -o folder", 2, "is a folder"),
        ("import onnx binary -o ''", 2, "empty"),
        ("run tiny.engine --random 0 -o out.txt", 2, "must end in .npz or .npy"),
        ("run tiny.engine --random 0 -o out.npy", 2, "one array"),
        ("run tiny.engine --random 0 --shape x=9,4", 1, "`B` is 9"),
        ("run tiny.engine --random 0 --shape x=0,4", 1, "`B` is 0"),
        ("run tiny.engine --random 0 --shape x=99999999999999999999,4", 1, "too large"),
        ("run tiny.engine --random 0 --shape z=1", 1, "no input `z`"),
        ("run tiny.engine --random 0 --input x=x.npy", 1, "f32"),
        ("run tiny.engine", 1, "no feed for inputs `x`"),
        ("explain E9999", 2, "E9999"),
    ],
)
def test_wrong_options(trtn: Trtn, line: str, code: int, words: str) -> None:
    result = trtn(*(word.strip("'") for word in line.split(" ")))
    assert result.exit_code == code, result.output
    assert words in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("_files")
def test_an_engine_that_is_no_engine_on_standard_input(trtn: Trtn, tmp_path: Path) -> None:
    whole = (tmp_path / "tiny.engine").read_bytes()
    for data in (b"", b"junk", whole[:100], whole[:-1]):
        result = trtn("run", "-", "--random", "0", input=data)
        assert result.exit_code == 1 and "error[E07" in result.stderr
    assert trtn("run", "-", "--random", "0", input=whole).exit_code == 0


@pytest.mark.usefixtures("_files")
def test_feeds_that_are_not_finite_are_run(trtn: Trtn, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 4), np.nan, np.float32))
    result = trtn("run", "tiny.engine", "--random", "0", "--input", "x=x.npy", "--format", "json")
    assert result.exit_code == 0 and '"not_finite": 8' in result.stdout
