"""The timing cache: shared by processes, and no reader ever minds what lies there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trtn.backend.tuner.cache import FORMAT, Record, TacticId, TimingCache
from trtn.backend.user_cache import cache_folder

KEY = "0" * 24
ID = TacticId("fake", "1.0", "t00")


@pytest.fixture
def cache(tmp_path: Path) -> TimingCache:
    return TimingCache(tmp_path, "a device")


def the_file(folder: Path) -> Path:
    (path,) = folder.rglob(f"{KEY}.json")
    return path


def test_records_come_back(cache: TimingCache, tmp_path: Path) -> None:
    records = {ID: Record(1.5e-6, 100), TacticId("fake", "1.0", "t01"): Record(None, 0, "wrong", 3)}
    cache.add(KEY, records)
    assert TimingCache(tmp_path, "a device").read(KEY) == records
    cache.add(KEY, {ID: Record(1.0e-6)})
    assert cache.read(KEY) == {**records, ID: Record(1.0e-6)}
    assert cache.read("1" * 24) == {}
    assert TimingCache(tmp_path, "another").read(KEY) == {}
    assert TimingCache(None, "a device").read(KEY) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"format": 1}',
        json.dumps({"format": FORMAT - 1, "device": "a device", "problem": KEY, "records": []}),
        json.dumps({"format": FORMAT, "device": "b", "problem": KEY, "records": []}),
        json.dumps({"format": FORMAT, "device": "a device", "problem": KEY, "records": 3}),
        "\x00\xff",
    ],
)
def test_damaged_files_are_not_there(cache: TimingCache, tmp_path: Path, text: str) -> None:
    cache.add(KEY, {ID: Record(1.5e-6)})
    the_file(tmp_path).write_bytes(text.encode("latin-1"))
    assert cache.read(KEY) == {}
    cache.add(KEY, {ID: Record(2.5e-6)})
    assert cache.read(KEY) == {ID: Record(2.5e-6)}


@pytest.mark.parametrize(
    ("field", "value"),
    [("seconds", "fast"), ("seconds", -1.0), ("seconds", 1), ("workspace", None), ("tactic", 3), ("left_at", "no")],
)
def test_records_that_are_none_are_not_there(cache: TimingCache, tmp_path: Path, field: str, value: Any) -> None:
    cache.add(KEY, {ID: Record(1.5e-6)})
    row = json.loads(the_file(tmp_path).read_text())
    row["records"][0][field] = value
    the_file(tmp_path).write_text(json.dumps(row))
    assert cache.read(KEY) == {}


def test_folders_that_can_not_be_written_stop_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TimingCache(tmp_path / "file", "a device")
    with cache.measuring():
        cache.add(KEY, {ID: Record(1.5e-6)})
    assert cache.read(KEY) == {}


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("TRTN_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.delenv("TRTN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "trtn"


MEASURE = """
import sys, time
from pathlib import Path
from trtn.backend.tuner.cache import FORMAT, Record, TacticId, TimingCache

cache = TimingCache(Path(sys.argv[1]), "a device")
identity = TacticId("fake", "1.0", "t00")
print("ready", flush=True)
sys.stdin.readline()
if identity not in cache.read(sys.argv[2]):
    with cache.measuring():
        if identity not in cache.read(sys.argv[2]):
            time.sleep(0.05)
            print("measured", flush=True)
            cache.add(sys.argv[2], {identity: Record(1e-6)})
"""


def test_many_processes_make_one_measurement(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, tmp_path, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for p in processes:
        assert p.stdout is not None
        p.stdout.readline()
    outputs = []
    for p in processes:
        assert p.stdin is not None
        p.stdin.write("go\n")
        p.stdin.flush()
    for p in processes:
        outputs.append(p.communicate(timeout=60)[0])
        assert p.returncode == 0
    assert sum("measured" in text for text in outputs) == 1
