from __future__ import annotations

import io
from pathlib import Path

import pytest

from trtn.dsl.diagnostics import Sink
from trtn.dsl.syntax import read_source, reading


def _read(path: Path | str) -> tuple[str | None, list[str]]:
    sink = Sink()
    source = read_source(path, sink)
    return (None if source is None else source.text), [f"{d.code} {d.message}" for d in sink.diagnostics]


def test_plain_and_with_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.trtn"
    file.write_bytes("trtn 1 # ü\n".encode())
    assert _read(file) == ("trtn 1 # ü\n", [])
    file.write_bytes(b"\xef\xbb\xbftrtn 1\n")
    assert _read(file) == ("trtn 1\n", [])


def test_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "a.trtn"
    file.write_bytes(b"trtn 1\n# \xff\n")
    text, found = _read(file)
    assert text is None
    assert found == [f"E0106 `{file}` is not UTF-8: byte 0xff at offset 9, line 2"]


@pytest.mark.parametrize("name", ["missing.trtn", ".", "nul\0.trtn"])
def test_unreadable(tmp_path: Path, name: str) -> None:
    text, found = _read(f"{tmp_path}/{name}")
    assert text is None
    assert [f[:5] for f in found] == ["E0108"]


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILE_SIZE_LIMIT", 100)
    monkeypatch.setattr(reading, "LINE_LENGTH_LIMIT", 10)
    file = tmp_path / "a.trtn"
    for content, message in [
        (b"x" * 10, ""),
        (b"x" * 10 + b"\n" + b"y" * 10, ""),
        (b"x\ny\n" + b"x" * 11, "line 3 of"),
        (b"\n" * 101, "larger than 100 bytes"),
    ]:
        file.write_bytes(content)
        text, found = _read(file)
        assert (text is None) == bool(message)
        assert message in "".join(found)


def test_endless_device_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILE_SIZE_LIMIT", 1000)
    assert "larger than" in _read("/dev/zero")[1][0]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"trtn 1\n")))
    sink = Sink()
    source = read_source("-", sink)
    assert source is not None
    assert (source.path, source.text) == ("-", "trtn 1\n")
