"""The tuner on a GPU: times in graphs, plans from other processes and from disk, locks, shapes in the box."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtn
from tests.gpu.test_context import assert_close, make_feeds
from trtn.backend.devices import find_device
from trtn.backend.runtime import Engine
from trtn.dsl.network import Network

SPECS = Path(__file__).parent.parent.parent / "specs"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def net() -> Network:
    return trtn.load(SPECS / "lenet.trtn")


def f16(net: Network, **options: Any) -> Engine:
    return trtn.build(net, device="cuda", precision="f16", **options)


def test_two_builds_with_one_cache_are_the_same_to_the_byte(net: Network, tmp_path: Path) -> None:
    first, second = f16(net), f16(net)
    first.save(tmp_path / "a")
    second.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    origins = {c.origin for c in second.choices}
    assert "measured" not in origins
    assert "cache" in origins


def test_a_locked_build_times_nothing(net: Network, tmp_path: Path, cache: Path) -> None:
    first = f16(net, lock=tmp_path / "n.lock")
    first.save(tmp_path / "a")
    for path in cache.rglob("*.json"):
        path.unlink()
    second = f16(net, lock=tmp_path / "n.lock", locked=True)
    second.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not list(cache.rglob("*.json"))


def test_shapes_in_the_box_run_without_a_build(net: Network) -> None:
    reference = trtn.build(net, device="cpu")
    engine = f16(net)
    context = engine.create_context()
    for n in (1, 3, 8, 17, 64):
        feeds = make_feeds(net, {"N": n}, n)
        assert_close(context.run(feeds), reference.run(feeds), 5e-3)


def test_warm_shapes_run_at_once(net: Network) -> None:
    context = f16(net).create_context()
    shapes = [{"image": (n, 1, 28, 28)} for n in (1, 4, 16)]
    context.warm(shapes)
    recordings = dict(context._recordings)
    assert len(recordings) == 3
    for n in (16, 1, 4):
        context.run(make_feeds(net, {"N": n}))
    assert dict(context._recordings) == recordings


def test_plans_are_kept_on_disk(tmp_path: Path, cache: Path) -> None:
    """A damaged one is built again."""
    net = trtn.load(SPECS / "resnet50.trtn")
    feeds = make_feeds(net, {"N": 1})
    path = tmp_path / "n.engine"
    engine = f16(net, effort=0)
    engine.save(path)
    expected = engine.run(feeds)
    plans = sorted(cache.rglob("*.plan"))
    for plan in plans[::2]:
        plan.write_bytes(plan.read_bytes()[:-5] + b"wrong")
    assert_close(trtn.load_engine(path).run(feeds), expected, 1e-2)


def test_misaligned_buffers_are_refused(net: Network) -> None:
    import cupy

    context = f16(net).create_context()
    memory = cupy.empty(28 * 28 + 1, cupy.float32)
    with pytest.raises(trtn.ShapeError, match="multiple of 16"):
        context.bind({"image": memory[1:].reshape(1, 1, 28, 28)})


def test_plans_read_back_do_what_built_ones_do() -> None:
    import cupy

    from trtn.backend.providers.cudnn.library import build_plan, list_plans, read_plan
    from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, TensorSpec

    device = find_device("cuda")
    spec = GraphSpec(
        (
            TensorSpec(1, (1, 64, 128), (64 * 128, 128, 1), "f16"),
            TensorSpec(2, (1, 128, 256), (128 * 256, 256, 1), "f16"),
        ),
        (NodeSpec("matmul", (("A", 1), ("B", 2))), NodeSpec("gelu", (("input", -1),))),
        TensorSpec(3, (1, 64, 256), (64 * 256, 256, 1), "f16"),
    )
    assert GraphSpec.from_json(spec.to_json()) == spec
    rng = np.random.default_rng(0)
    a, b = (device.upload(rng.standard_normal(s).astype(np.float16)) for s in ((64, 128), (128, 256)))
    stream = cupy.cuda.get_current_stream().ptr
    built = build_plan(spec, list_plans(spec, stream)[0], stream)
    read = read_plan(built.write(), stream)
    results = []
    for plan in (built, read):
        y = cupy.full((64, 256), cupy.nan, cupy.float16)
        scratch = device.arena(max(plan.workspace, 256))
        plan.execute({1: a.data.ptr, 2: b.data.ptr, 3: y.data.ptr}, scratch.data.ptr, stream)
        results.append(y.get())
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).all()


def test_plans_built_by_other_processes(caplog: pytest.LogCaptureFixture) -> None:
    from trtn.backend.providers.cudnn.builders import Pool
    from trtn.backend.providers.cudnn.library import list_plans
    from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, TensorSpec

    spec = GraphSpec(
        (
            TensorSpec(1, (1, 64, 128), (64 * 128, 128, 1), "f16"),
            TensorSpec(2, (1, 128, 256), (128 * 256, 256, 1), "f16"),
        ),
        (NodeSpec("matmul", (("A", 1), ("B", 2))),),
        TensorSpec(3, (1, 64, 256), (64 * 256, 256, 1), "f16"),
    )
    names = list_plans(spec, 0)[:3]
    with caplog.at_level(logging.WARNING):
        pool = Pool([(spec, name) for name in names])
        found = [pool.result((spec, name)) for name in names]
    assert all(found)
    assert not caplog.records
