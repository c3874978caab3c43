"""`trtn weights`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Trtn

MANIFEST = """\
trtn 1

manifest m {
  file f0 = "a.npz"
  tensor k: f32[3, 4] = f0["k"]
  tensor z: f32[4] = zeros
}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", k=np.ones((3, 4), np.float32))
    path = tmp_path / "m.trtn"
    path.write_text(MANIFEST)
    return path


def test_hash_and_verify(trtn: Trtn, manifest: Path) -> None:
    assert trtn("weights", "hash", "--check", "m.trtn").exit_code == 1
    assert manifest.read_text() == MANIFEST
    result = trtn("weights", "hash", "m.trtn")
    assert (result.exit_code, result.stderr) == (0, "m.trtn: 1 line changed\n")
    assert 'f0["k"] sha256:' in manifest.read_text()
    assert trtn("weights", "hash", "--check", "m.trtn").exit_code == 0
    result = trtn("weights", "verify", "--require-hashes", "m.trtn")
    assert (result.exit_code, result.stderr) == (0, "m.trtn: 2 tensors (64 B) as stated\n")


def test_verify_finds_what_differs(trtn: Trtn, manifest: Path, tmp_path: Path) -> None:
    trtn("weights", "hash", "m.trtn")
    np.savez(tmp_path / "a.npz", k=np.zeros((3, 4), np.float32))
    result = trtn("weights", "verify", "m.trtn")
    assert result.exit_code == 1
    assert "error[E0502]" in result.stderr


def test_hashes_can_be_required(trtn: Trtn, manifest: Path) -> None:
    result = trtn("weights", "verify", "m.trtn")
    assert result.exit_code == 0
    assert "warning[W0501]" in result.stderr
    assert trtn("weights", "verify", "--require-hashes", "m.trtn").exit_code == 1


def test_hash_leaves_a_manifest_alone_that_it_cannot_read(trtn: Trtn, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "a.npz").unlink()
    result = trtn("weights", "hash", "m.trtn")
    assert result.exit_code == 1
    assert "a.npz" in result.stderr
    assert manifest.read_text() == MANIFEST


def test_list(trtn: Trtn, manifest: Path) -> None:
    lines = trtn("weights", "list", "m.trtn").stdout.splitlines()
    assert lines[0].split() == ["tensor", "type", "size", "source", "hash"]
    assert lines[1].split() == ["k", "f32[3,", "4]", "48", "B", 'a.npz["k"]', "missing"]
    assert lines[-1] == "2 tensors, 64 B"
    document = json.loads(trtn("weights", "list", "m.trtn", "--format", "json").stdout)
    assert document["tensors"][0]["shape"] == [3, 4]
    assert document["tensors"][1]["state"] == "generated"


def test_bad_manifests(trtn: Trtn, manifest: Path) -> None:
    for verb in ("hash", "verify", "list"):
        assert trtn("weights", verb, "none.trtn").exit_code == 1
        assert trtn("weights", verb, "-").exit_code == 2
    manifest.write_text("trtn 1\n\nmanifest m {\n  tensor k: f31[3] = zeros\n}\n")
    for verb in ("hash", "verify", "list"):
        result = trtn("weights", verb, "m.trtn")
        assert result.exit_code == 1
        assert "E0301" in result.stderr
