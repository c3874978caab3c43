"""The engine file: equal input gives equal bytes, and no damage gets through."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtn.backend.engine import canonical_json
from trtn.backend.engine import container as container_module
from trtn.backend.engine.container import Container, Section, read_container, read_from, write_container
from trtn.dsl.diagnostics import CODES
from trtn.dsl.errors import EngineError

HEADER = {"plan": [1, 2.5, None, "naïve \U0001f600"], "io": {"x": "f32[B, 3]"}, "a": True}
PLAN, WEIGHTS = b"some steps", bytes(range(256)) * 20
PREFIX = struct.Struct("<8sIIQQ32s")


def section(name: str, data: bytes) -> Section:
    return Section(name, len(data), lambda: (data[i : i + 1000] for i in range(0, len(data), 1000)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "net.engine"
    write_container(target, HEADER, [section("plan", PLAN), section("empty", b""), section("weights", WEIGHTS)])
    return target


def refusal(source: Path | bytes, code: str = "E0703", *, verify: bool = True) -> str:
    """The message with which `source` is refused."""
    with pytest.raises(EngineError) as caught:
        read_container(source, verify=verify)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert diagnostic.code in CODES
    assert str(source if isinstance(source, Path) else "<bytes>") in diagnostic.message
    return diagnostic.message


def forge(header: Any, tail: bytes = b"", *, raw: bytes | None = None, length: int | None = None) -> bytes:
    """A file whose lengths and header hash are right, whatever its header says."""
    raw = canonical_json.dump(header) if raw is None else raw
    body = raw + bytes(-(64 + len(raw)) % 64) + tail
    length = 64 + len(body) if length is None else length
    return PREFIX.pack(b"TRTNENG\0", 2, 0, len(raw), length, hashlib.sha256(raw).digest()) + body


def row(name: str, offset: int, data: bytes) -> dict[str, object]:
    hashes = [hashlib.sha256(data).hexdigest()] if data else []
    return {"name": name, "nbytes": len(data), "offset": offset, "sha256": hashes}


# round trips


@pytest.mark.parametrize("in_memory", [False, True])
def test_round_trip(path: Path, in_memory: bool) -> None:
    with read_container(path.read_bytes() if in_memory else path) as container:
        assert container.header == HEADER
        assert container.names == ("plan", "empty", "weights")
        assert bytes(container.section("plan")) == PLAN
        assert bytes(container.section("empty")) == b""
        weights = container.section("weights")
        assert weights.readonly
        assert bytes(weights) == WEIGHTS
        with pytest.raises(EngineError, match="has no section `kernels`"):
            container.section("kernels")


def test_equal_input_gives_equal_bytes(path: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.engine"
    pieces = [Section("plan", 10, lambda: [PLAN[:3], memoryview(PLAN)[3:]]), section("empty", b"")]
    write_container(again, dict(reversed(HEADER.items())), [*pieces, section("weights", WEIGHTS)])
    assert again.read_bytes() == path.read_bytes()


def test_sections_are_aligned(path: Path) -> None:
    data = path.read_bytes()
    raw = data[64 : 64 + PREFIX.unpack_from(data)[3]]
    rows = {entry["name"]: entry for entry in json.loads(raw)["sections"]}
    assert rows["plan"]["offset"] % 64 == 0
    assert rows["weights"]["offset"] % 4096 == 0
    assert rows["weights"]["offset"] + rows["weights"]["nbytes"] == len(data)


@pytest.mark.parametrize("sections", [0, 1, 9, 120])
def test_any_number_of_sections(tmp_path: Path, sections: int) -> None:
    """Many sections: the places' digits change the header's length, and that the places."""
    data = [bytes([i]) * (i * 7) for i in range(sections)]
    write_container(tmp_path / "e", {}, [section(f"s{i}", d) for i, d in enumerate(data)])
    with read_container(tmp_path / "e") as container:
        assert container.header == {}
        assert [bytes(container.section(name)) for name in container.names] == data


def test_typed_chunks_are_written_as_bytes(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_container(tmp_path / "e", {}, [Section("weights", array.nbytes, lambda: [array.data])])
    with read_container(tmp_path / "e") as container:
        assert np.array_equal(np.frombuffer(container.section("weights"), np.float32).reshape(3, 4), array)


def test_views_outlive_the_container(path: Path) -> None:
    container = read_container(path)
    array = np.frombuffer(container.section("weights"), np.uint8)
    container.close()
    container.close()
    assert array.tobytes() == WEIGHTS
    with pytest.raises(ValueError, match="is closed"):
        container.section("weights")


def test_an_open_engine_survives_its_replacement(path: Path) -> None:
    with read_container(path) as container:
        write_container(path, {}, [section("weights", b"other")])
        assert bytes(container.section("weights")) == WEIGHTS


def test_a_link_is_written_through(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.engine"
    link.symlink_to(path)
    write_container(link, {"new": 1}, [])
    assert link.is_symlink()
    with read_container(path) as container:
        assert container.header == {"new": 1}


# what the writer refuses


@pytest.mark.parametrize(
    ("header", "sections"),
    [
        ({"x": float("nan")}, []),
        ({"x": object()}, []),
        ({"sections": []}, []),
        ({"x": "\ud800"}, []),
        ({}, [section("a", b"1"), section("a", b"2")]),
        ({}, [section("", b"1")]),
        ({}, [section("a\n", b"1")]),
        ({}, [Section("a", -1, lambda: [])]),
        ({}, [Section("a", 2, lambda: [b"1"])]),
        ({}, [Section("a", 2, lambda: [b"1", b"23"])]),
    ],
)
def test_unreadable_input_is_not_written(path: Path, header: dict[str, object], sections: list[Section]) -> None:
    before = path.read_bytes()
    with pytest.raises((ValueError, TypeError)):
        write_container(path, header, sections)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_too_deep_a_header_is_not_written(tmp_path: Path) -> None:
    deep: list[object] = []
    for _ in range(80):
        deep = [deep]
    with pytest.raises(ValueError, match="nest deeper"):
        write_container(tmp_path / "e", {"x": deep}, [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_interruption_leaves_the_old_file(path: Path, error: type[BaseException]) -> None:
    def chunks() -> Iterator[bytes]:
        yield bytes(100)
        assert path.read_bytes() == before
        raise error

    before = path.read_bytes()
    with pytest.raises(error):
        write_container(path, {}, [Section("weights", 200, chunks)])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(EngineError, match="can't be written: No space left") as caught:
        write_container(path, {}, [section("weights", b"new")])
    assert caught.value.diagnostics[0].code == "E0710"
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no regular file"):
        write_container(tmp_path, {}, [])
    with pytest.raises(EngineError, match="no regular file"):
        write_container("/dev/null", {}, [])
    with pytest.raises(EngineError, match="No such file"):
        write_container(tmp_path / "none" / "e", {}, [])


def test_a_big_section_is_never_in_memory(tmp_path: Path) -> None:
    block, count = bytes(1 << 20), 64
    tracemalloc.start()
    try:
        big = Section("weights", count << 20, lambda: (block for _ in range(count)))
        write_container(tmp_path / "e", {}, [big])
        with read_container(tmp_path / "e") as container:
            assert container.section("weights").nbytes == count << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20


# what the reader refuses


def test_not_a_file(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing", "E0108")
    assert "is a directory" in refusal(tmp_path, "E0108")
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    assert "no regular file" in refusal(fifo, "E0108")
    empty = tmp_path / "empty"
    empty.touch()
    assert "is empty" in refusal(empty)
    with pytest.raises(EngineError, match="null"):
        read_container("a\0b")


def test_foreign_and_short_files() -> None:
    assert "too few" in refusal(b"")
    assert "too few" in refusal(b"TRTNENG\0" + bytes(40))
    assert "is no engine file" in refusal(b"\x7fELF" + bytes(200))


def test_other_versions(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8] = 1
    assert "has format version 1; this trtn reads version 2" in refusal(bytes(data), "E0704")
    data[8:16] = struct.pack("<II", 2, 4)
    assert "flags 0x4" in refusal(bytes(data), "E0704")


def test_cut_and_appended(path: Path) -> None:
    data = path.read_bytes()
    assert "cut short" in refusal(data[:-1])
    assert "cut short" in refusal(data[:80])
    assert "appended to" in refusal(data + b"\0")


def test_a_damaged_section_is_named(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "section `weights` is damaged: sha256 differs" in refusal(path)
    with (
        read_container(path, verify=False) as container,
        pytest.raises(EngineError, match="`weights` is damaged"),
    ):
        container.verify()


def test_damaged_padding(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) - len(WEIGHTS) - 1] = 1
    assert "are not zero" in refusal(bytes(data), verify=False)
    header_end = 64 + PREFIX.unpack_from(data)[3]
    assert header_end % 64, "the header must end within a padded block for this test"
    data = bytearray(path.read_bytes())
    data[header_end] = 1
    assert "are not zero" in refusal(bytes(data), verify=False)


def test_a_damaged_header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[70] ^= 1
    assert "the header's sha256 differs" in refusal(bytes(data))


@pytest.mark.parametrize("claimed", [1 << 20, (256 << 20) + 1, (1 << 64) - 1])
def test_header_length_over_the_file(claimed: int) -> None:
    data = PREFIX.pack(b"TRTNENG\0", 2, 0, claimed, 128, bytes(32)) + bytes(64)
    assert f"a header of {claimed} bytes is too long" in refusal(data)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "brackets do not match"),
        (b"{}x", "not JSON"),
        (b"\xff{}", "not UTF-8"),
        (b'{"sections":[],"x":NaN}', "NaN is no JSON number"),
        (b'{"sections":[],"x":-Infinity}', "-Infinity is no JSON number"),
        (b'{"sections":[],"x":1e999}', "not JSON compliant"),
        (b'{"sections":[],"x":1,"x":2}', "key given twice"),
        (b'{"x":1,"sections":[]}', "canonical"),
        (b'{"sections": []}', "canonical"),
        (b'{"sections":[],"x":"\\ud800"}', "not UTF-8"),
        (b'{"sections":[],"x":' + b"9" * 5000 + b"}", "digits"),
        (b'{"sections":[],"x":' + b"[" * 65 + b"]" * 65 + b"}", "nest deeper"),
        (b"[" * 1_000_000 + b"]" * 1_000_000, "nest deeper"),
        (b'{"sections":[],"x":[' + b"1," * 4_000_001 + b"1]}", "more than 4000000 values"),
        (b'{"x":"' + b'\\"' * 1_000_000, "brackets do not match"),
        (b"[]", "no JSON object"),
        (b"{}", "no list of at most"),
        (b'{"sections":{}}', "no list of at most"),
        (b'{"sections":[1]}', "section 0 has not the fields"),
    ],
)
def test_hostile_headers(raw: bytes, says: str) -> None:
    assert says in refusal(forge(None, raw=raw))


def test_brackets_in_strings_do_not_count(tmp_path: Path) -> None:
    header = {"x": '["' * 1000 + "\\", "y": [{"}]": "[{"}]}
    write_container(tmp_path / "e", header, [])
    with read_container(tmp_path / "e") as container:
        assert container.header == header


# a file with one section of 5 bytes at 256, as far as its header does not say otherwise
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"offset": -256}, "no proper offset"),
        ({"offset": 1 << 70}, "no proper offset"),
        ({"offset": 256.0}, "no proper offset"),
        ({"offset": True}, "no proper offset"),
        ({"offset": 257}, "not aligned"),
        ({"offset": 192}, "overlaps"),
        ({"offset": 0}, "overlaps"),
        ({"offset": 320}, "leaves a gap"),
        ({"nbytes": -1}, "no proper nbytes"),
        ({"nbytes": "5"}, "no proper nbytes"),
        ({"nbytes": 6}, "sections end at 262, the file at 261"),
        ({"nbytes": 4}, "sections end at 260, the file at 261"),
        ({"nbytes": 1 << 62}, "not one sha256 for each block"),
        ({"sha256": ["0" * 63]}, "no proper sha256"),
        ({"sha256": ["G" * 64]}, "no proper sha256"),
        ({"sha256": [0]}, "no proper sha256"),
        ({"sha256": ["0" * 64]}, "section `a` is damaged: sha256 differs"),
        ({"sha256": ["0" * 64] * 2}, "not one sha256 for each block"),
        ({"sha256": "0" * 64}, "not one sha256 for each block"),
        ({"name": ""}, "no proper name"),
        ({"name": "\x1b[2J"}, "no proper name"),
        ({"name": "n" * 256}, "no proper name"),
        ({"name": None}, "no proper name"),
        ({"extra": 1}, "has not the fields"),
    ],
)
def test_hostile_section_rows(change: dict[str, object], says: str) -> None:
    def padded(rows: list[dict[str, object]]) -> dict[str, object]:
        short = canonical_json.dump({"pad": "", "sections": rows})
        return {"pad": "p" * max(0, 192 - len(short)), "sections": rows}

    fine = row("a", 256, b"12345")
    assert read_container(forge(padded([fine]), b"12345")).names == ("a",)
    hostile = forge(padded([{**fine, **change}]), b"12345")
    assert says in refusal(hostile)


def test_sections_over_each_other() -> None:
    def rows(second: dict[str, object]) -> dict[str, object]:
        short = canonical_json.dump({"pad": "", "sections": [row("a", 512, b"1" * 64), second]})
        return {"pad": "p" * (448 - len(short)), "sections": [row("a", 512, b"1" * 64), second]}

    data = b"1" * 64 + b"2"
    assert read_container(forge(rows(row("b", 576, b"2")), data)).names == ("a", "b")
    assert "overlaps" in refusal(forge(rows(row("b", 512, b"1")), data))
    assert "`a` is listed twice" in refusal(forge(rows(row("a", 576, b"2")), data))


def test_too_many_sections() -> None:
    rows = [row(f"{i}", 0, b"") for i in range(4097)]
    assert "at most 4096" in refusal(forge({"sections": rows}))


def test_a_file_that_changes_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(self: object) -> None:
        os.utime(path, ns=(1, 1))

    monkeypatch.setattr(container_module.Container, "verify", touch)
    assert "changed while it was read" in refusal(path)


def _flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _splice(data: bytes, draw: random.Random) -> bytes:
    source, target, size = (draw.randrange(n) for n in (len(data), len(data), 300))
    piece = data[source : source + size]
    return (data[:target] + piece + data[target + len(piece) :])[: len(data)]


def _insert(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.randint(1, 70)) + data[at:]


@pytest.mark.parametrize("damage", [_flip, _cut, _splice, _insert])
def test_random_damage_never_gets_through(path: Path, damage: Callable[[bytes, random.Random], bytes]) -> None:
    data, draw, refused = path.read_bytes(), random.Random(7), 0
    for _ in range(300):
        damaged = damage(data, draw)
        if damaged == data:  # zeros over zeros
            continue
        refused += 1
        with pytest.raises(EngineError):
            read_container(damaged)
    assert refused > 100


@pytest.mark.parametrize("raises", [False, True])
def test_damage_that_shows_while_a_file_is_being_read_outweighs_what_was_made_of_it(
    tmp_path: Path, raises: bool
) -> None:
    """Sections of this size are hashed in another thread."""
    target = tmp_path / "large.engine"
    data = bytes(range(256)) * (3 << 13)
    write_container(target, HEADER, [section("weights", data)])

    def read(container: Container) -> int:
        if raises:
            raise ValueError("made of damaged bytes")
        return len(container.section("weights"))

    if not raises:
        assert read_from(target, read) == len(data)
    else:
        with pytest.raises(ValueError, match="made of"):
            read_from(target, read)
    raw = bytearray(target.read_bytes())
    raw[-1] ^= 1
    target.write_bytes(raw)
    with pytest.raises(EngineError, match="section `weights` is damaged"):
        read_from(target, read)
    if not raises:
        assert read_from(target, read, verify=False) == len(data)


def test_every_block_of_a_section_has_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked by two threads; chunks and blocks end in different places."""
    monkeypatch.setattr(container_module, "_BLOCK", 700)
    monkeypatch.setattr(container_module, "_HASHED_ASIDE", 0)
    target = tmp_path / "e"
    write_container(target, HEADER, [section("plan", PLAN), section("empty", b""), section("weights", WEIGHTS)])
    container = read_container(target)
    blocks = [WEIGHTS[i : i + 700] for i in range(0, len(WEIGHTS), 700)]
    assert container.sha256("weights") == tuple(hashlib.sha256(block).hexdigest() for block in blocks)
    assert (len(container.sha256("plan")), container.sha256("empty")) == (1, ())
    data = target.read_bytes()
    for at in range(len(data) - len(WEIGHTS), len(data), 350):
        target.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert "section `weights` is damaged" in refusal(target)
