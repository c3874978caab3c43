"""Compiled code: of a trusted engine, of the user's cache folder, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtn.backend.binaries import Binaries, BinaryKey

A, B = (BinaryKey("nvrtc-13.0", "sm_90", digit * 64) for digit in "ab")


def test_what_is_kept_is_found_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    assert Binaries().find(A) is None
    Binaries().keep({A: b"data"})
    assert Binaries().find(A) == b"data"
    assert Binaries().find(B) is None
    (path,) = tmp_path.rglob("*.bin")
    path.write_bytes(path.read_bytes()[:-1])
    assert Binaries().find(A) is None
    Binaries().keep({A: b"more"})
    assert Binaries().find(A) == b"more"


def test_every_part_of_a_key_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    Binaries().keep({A: b"data"})
    for other in (
        BinaryKey("nvrtc-13.1", A.target, A.digest),
        BinaryKey(A.library, "sm_100", A.digest),
        BinaryKey(A.library, A.target, B.digest),
    ):
        assert Binaries().find(other) is None


def test_without_a_folder_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTN_CACHE", "off")
    Binaries().keep({A: b"data"})
    assert Binaries().find(A) is None


def test_an_engine_s_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    Binaries().keep({A: b"of the folder", B: b"of the folder"})
    binaries = Binaries()
    binaries.hold({A: memoryview(b"of the engine")})
    assert (binaries.find(A), binaries.find(B)) == (b"of the engine", b"of the folder")


def test_an_engine_s_stay_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who trusts one file does not trust what it calls another engine's kernel."""
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    binaries = Binaries()
    binaries.hold({A: memoryview(b"of the engine")})
    binaries.keep({A: b"of the engine", B: b"compiled here"})
    assert (Binaries().find(A), Binaries().find(B)) == (None, b"compiled here")


def test_a_folder_that_can_not_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "file"))
    Binaries().keep({A: b"data"})
    assert Binaries().find(A) is None
