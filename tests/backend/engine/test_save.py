"""Saving: equal input gives equal bytes, and an old engine stays until the new one is complete.
TRTN_FULL_TESTS does all of it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.backend.harness import assert_same, floats, network
from trtn.backend.build import build
from trtn.backend.engine.file import load_engine
from trtn.dsl.errors import EngineError

FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
ROOT = Path(__file__).parents[3]
SPECS = ["lenet", "mobilenet_v2", *(["resnet50", "bert_base", "gpt2_small"] if FULL else [])]
KILLS = 100 if FULL else 4

BUILD = """
import sys
from trtn.backend.build import build
from trtn.dsl.load import load

folder, *names = sys.argv[1:]
for name in names:
    build(load(f"{folder}/{name}.trtn"), device="cpu").save(f"{folder}/{name}.engine")
"""

SAVE = """
import sys
from trtn.backend.engine.file import load_engine

engines = [load_engine(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for engine in engines:
        engine.save(sys.argv[1])
"""


@pytest.mark.parametrize("spec", SPECS)
def test_builds_in_other_folders_and_processes_are_the_same_to_the_byte(spec: str, tmp_path: Path) -> None:
    builds = []
    for folder, seed in (("one", "1"), ("another/place", "2")):
        shutil.copytree(ROOT / "specs", tmp_path / folder)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        builds.append(
            subprocess.Popen([sys.executable, "-c", BUILD, tmp_path / folder, spec], env=environment, cwd=tmp_path)
        )
    assert [b.wait(timeout=300) for b in builds] == [0, 0]
    one, other = tmp_path / "one" / f"{spec}.engine", tmp_path / "another/place" / f"{spec}.engine"
    assert one.stat().st_size > 1000
    compared = subprocess.run(["cmp", one, other], capture_output=True, text=True)
    assert compared.returncode == 0, compared.stdout
    assert str(tmp_path).encode() not in one.read_bytes()[:10_000_000]


def big(folder: Path, name: str, seed: int) -> Path:
    """An engine that takes a while to write."""
    net = network(
        "network n { dim N in 1..8 input x: f32[N, 2048] output y: f32[N, 2048] y = relu(linear(x, w.k)) }",
        folder,
        f"tensor k: f32[2048, 2048] = normal({seed}, 0.02)",
    )
    build(net, device="cpu").save(folder / name)
    return folder / name


def test_a_killed_process_leaves_a_whole_engine(tmp_path: Path) -> None:
    pick = random.Random(5)
    sources = [big(tmp_path, "a.engine", 1), big(tmp_path, "b.engine", 2)]
    allowed = {path.read_bytes() for path in sources}
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "n.engine"
    target.write_bytes(sources[0].read_bytes())
    for number in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE, target, *sources],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pick.random() * 0.15)
        sent = [signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGKILL][number % 4]
        process.send_signal(sent)
        process.communicate(timeout=30)
        assert process.returncode != 0
        assert target.read_bytes() in allowed, sent
        if sent is signal.SIGINT:
            assert [p.name for p in target.parent.iterdir()] == ["n.engine"]
        for rest in target.parent.glob(".*"):  # no program can tidy up after SIGKILL
            rest.unlink()
    load_engine(target)


def test_a_save_over_the_file_that_is_mapped(tmp_path: Path) -> None:
    """The engine reads its weights from the old file, to the end."""
    path = big(tmp_path, "a.engine", 1)
    engine = load_engine(path)
    x = floats(2, 2048)
    expected = engine.run({"x": x})
    engine.save(path)
    big(tmp_path, "a.engine", 2)
    assert_same(engine.run({"x": x}), expected)
    assert not np.array_equal(load_engine(path).run({"x": x})["y"], expected["y"])


@pytest.mark.parametrize("place", ["missing/n.engine", "folder", "\0"])
def test_places_that_can_not_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    engine = build(network("network n { dim N in 1..8 input x: f32[N] output y: f32[N] y = relu(x) }"), device="cpu")
    with pytest.raises(EngineError) as caught:
        engine.save(tmp_path / place)
    assert caught.value.diagnostics[0].code == "E0710"
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
