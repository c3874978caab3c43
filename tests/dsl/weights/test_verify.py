"""Weights against their hashes, and manifests whose hashes are filled in."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.dsl.weights.helpers import codes, load, source
from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.errors import BuildError
from trtn.dsl.weights.hashing import combine, digest
from trtn.dsl.weights.listing import hash_manifest, list_manifest
from trtn.dsl.weights.verify import root_digest, verify_manifest, verify_weights

A = np.arange(6, dtype="f4").reshape(2, 3)
B = np.ones(4, "i8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.savez(tmp_path / "x.npz", a=A, b=B)
    return tmp_path


def verified(folder: Path, body: str, **options: bool) -> Sink:
    sink = Sink()
    verify_manifest(source(folder, body), sink, **options)
    return sink


def test_all_is_well(folder: Path) -> None:
    size = (folder / "x.npz").stat().st_size
    whole = hashlib.sha256((folder / "x.npz").read_bytes()).hexdigest()
    body = f"""file f0 = "x.npz" size {size} sha256:{whole}
    tensor a: f32[2, 3] = f0 {digest(A)}
    tensor t: f32[3, 2] = f0["a"] transpose {digest(A.T)}
    tensor b: i64[4] = f0 {digest(B).upper().replace("SHA", "sha")}
    tensor z: f32[2] = zeros
    tensor n: f32[2] = ones {digest(np.ones(2, "f4"))}"""
    assert not verified(folder, body).diagnostics


def test_hash_differs(folder: Path) -> None:
    wrong = digest(B)
    sink = verified(folder, f'file f0 = "x.npz"\ntensor a: f32[2, 3] = f0 {wrong}\ntensor n: f32[1] = ones {wrong}')
    first, second = sink.diagnostics
    assert first.code == second.code == "E0502"
    assert first.message == f"`a` hashes to {digest(A)[:15]}.., the manifest says {wrong[:15]}.."
    assert first.span is not None and first.span.text == wrong
    assert first.labels[0].span.text == '"x.npz"'


def test_no_hash(folder: Path) -> None:
    body = 'file f0 = "x.npz"\ntensor a: f32[2, 3] = f0\ntensor z: f32[2] = zeros'
    sink = verified(folder, body)
    assert codes(sink) == ["W0501"] and not sink.has_errors
    assert codes(verified(folder, body, require_hashes=True)) == ["E0510"]
    assert codes(verified(folder, body.replace("2, 3", "3, 2"))) == ["E0503"]


def test_files(folder: Path) -> None:
    good = digest(A)
    tensor = f"tensor a: f32[2, 3] = f0 {good}"
    assert codes(verified(folder, f'file f0 = "x.npz" sha256:{"0" * 64}\n{tensor}')) == ["E0509"]
    assert codes(verified(folder, f'file f0 = "x.npz" size 3\n{tensor}')) == ["E0509"]
    (folder / "bad.npz").write_bytes(b"no")
    for name in ("bad.npz", "gone.npz"):
        # One finding for the file, however many tensors were to come from it.
        body = f'file f0 = "{name}"\n{tensor}\ntensor b: i64[4] = f0\ntensor z: f32[1] = zeros'
        sink = verified(folder, body)
        assert codes(sink) == ["E0504"]
        assert sink.diagnostics[0].span is not None and sink.diagnostics[0].span.text == f'"{name}"'


def test_progress_counts_bytes(folder: Path) -> None:
    table = load(folder, f'file f0 = "x.npz"\ntensor a: f32[2, 3] = f0 {digest(A)}\ntensor b: i64[4] = f0 {digest(B)}')
    seen: list[tuple[int, int]] = []
    verify_weights(table.values(), Sink(), lambda done, total: seen.append((done, total)))
    assert seen == [(24, 56), (56, 56)]


def test_root_digest(folder: Path) -> None:
    lines = ['file f0 = "x.npz"', f"tensor a: f32[2, 3] = f0 {digest(A)}", "tensor b: i64[4] = f0"]
    table = load(folder, "\n".join(lines))
    root = root_digest(table.values())
    assert root == combine([("a", digest(A)), ("b", digest(B))])
    assert root_digest(load(folder, "\n".join([lines[0], lines[2], lines[1]])).values()) == root
    generated = load(
        folder, f"tensor a: f32[2, 3] = inline [[0, 1, 2], [3, 4, 5]]\ntensor b: i64[4] = ones {digest(B)}"
    )
    assert root_digest(generated.values()) == root
    with pytest.raises(BuildError):
        root_digest(load(folder, 'file f0 = "gone.npz"\ntensor b: i64[4] = f0').values())


def test_hashes_are_filled_in_and_all_else_stays(folder: Path) -> None:
    old = "sha256:" + "0" * 64
    body = f"""  file f0 = "x.npz" size 3   {old} # the file
  tensor  a :f32[ 2,3 ]= f0   # no hash
  tensor t: f32[3, 2] = f0["a"] transpose
  tensor b: i64[4] = f0 {old}

  tensor z: f32[2] = zeros # needs none
  tensor o: f32[2] = ones sha256:12"""
    given = source(folder, body)
    sink = Sink()
    text = hash_manifest(given, sink)
    assert not sink.diagnostics  # of the malformed hash neither: it is replaced
    octets = (folder / "x.npz").read_bytes()
    expected = (
        given.text.replace("size 3 ", f"size {len(octets)} ")
        .replace(old, "sha256:" + hashlib.sha256(octets).hexdigest(), 1)
        .replace(old, digest(B))
        .replace("= f0   #", f"= f0 {digest(A)}   #")
        .replace("transpose", f"transpose {digest(A.T)}")
        .replace("sha256:12", digest(np.ones(2, "f4")))
    )
    assert text == expected
    again = Sink()
    assert hash_manifest(Source(given.path, text), again) == text and not again.diagnostics
    verify_manifest(Source(given.path, text), again)
    assert not again.diagnostics


def test_lines_that_cannot_be_hashed_stay(folder: Path) -> None:
    given = source(
        folder, 'file f0 = "x.npz"\nfile f1 = "gone.npz" size 4\ntensor c: f32[1] = f0\ntensor d: f32[1] = f1'
    )
    sink = Sink()
    assert hash_manifest(given, sink) == given.text
    assert sorted(set(codes(sink))) == ["E0504", "E0505"]


def test_rows(tmp_path: Path) -> None:
    hashed = digest(A)
    sink = Sink()
    body = f"""file f0 = "gone.safetensors"
    tensor a: f16[2, 3] = f0["k"] transpose {hashed}
    tensor b: i64[4] = f0
    tensor n: f32[3] = normal(7, 0.02)"""
    rows = list_manifest(source(tmp_path, body), sink)
    assert not sink.diagnostics
    assert [(r.name, str(r.dtype), r.shape, r.nbytes, r.source, r.digest, r.state) for r in rows] == [
        ("a", "f16", (2, 3), 12, 'gone.safetensors["k"] transpose', hashed, "stated"),
        ("b", "i64", (4,), 32, "gone.safetensors", None, "missing"),
        ("n", "f32", (3,), 12, "normal(7, 0.02)", None, "generated"),
    ]
