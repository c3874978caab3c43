"""From a spec to an engine to outputs: `trtn build`, `run`, `bench`, `inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import SPEC, Trtn


def test_build(trtn: Trtn, spec: Path, tmp_path: Path) -> None:
    result = trtn("build", "tiny.trtn", "-o", "tiny.engine")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("tiny.engine: engine tiny, ")
    assert trtn("inspect", "tiny.engine").exit_code == 0
    first = (tmp_path / "tiny.engine").read_bytes()
    assert trtn("build", "-", "-o", "tiny.engine", "--stdin-filename", "tiny.trtn", "-q", input=SPEC).output == ""
    assert (tmp_path / "tiny.engine").read_bytes() == first


def test_build_for_a_gpu_that_is_not_here(trtn: Trtn, spec: Path) -> None:
    result = trtn("build", "tiny.trtn", "--device", "cuda:sm_90", "-o", "tiny.engine")
    if "W0703" not in result.stderr:
        pytest.skip("there is such a GPU")
    assert result.exit_code == 0
    assert "build it on that device" in result.stderr
    report = json.loads(trtn("inspect", "tiny.engine", "--format", "json").stdout)
    assert report["device"] == "cuda:sm_90"
    assert {s["tactic"] for s in report["steps"]} == {"untuned"}
    result = trtn("run", "tiny.engine", "--random", "0")
    assert result.exit_code == 1
    assert "error[E0702]" in result.stderr
    assert trtn("build", "tiny.trtn", "--device", "cuda:sm_x", "-o", "b.engine").exit_code == 1


def test_build_of_a_bad_spec(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "bad.trtn").write_text(SPEC.replace("relu(x)", "rlu(x)"))
    (tmp_path / "old.engine").write_text("old")
    result = trtn("build", "bad.trtn", "-o", "old.engine")
    assert result.exit_code == 1
    assert "error[E0203]" in result.stderr
    assert (tmp_path / "old.engine").read_text() == "old"


def test_a_target_says_what_to_build(trtn: Trtn, tmp_path: Path) -> None:
    targets = (
        '\ntarget a {\n  network  tiny\n  profiles [large]\n  device   cpu\n  output   "out/a.engine"\n}\n'
        "\ntarget gpu {\n  network tiny\n  device  cuda\n}\n"
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models/t.trtn").write_text(SPEC + targets)
    assert trtn("build", "models/t.trtn", "--target", "a").exit_code == 0
    report = json.loads(trtn("inspect", "models/out/a.engine", "--format", "json").stdout)
    assert [p["name"] for p in report["profiles"]] == ["large"]

    result = trtn("build", "models/t.trtn", "-o", "b.engine")
    assert result.exit_code == 2
    assert "several targets: a, gpu" in result.stderr
    assert (
        trtn("build", "models/t.trtn", "--device", "cpu", "-q", "--profile", "small", "-o", "b.engine").exit_code == 0
    )
    report = json.loads(trtn("inspect", "b.engine", "--format", "json").stdout)
    assert [p["name"] for p in report["profiles"]] == ["small"]

    result = trtn("build", "models/t.trtn", "--target", "gpus")
    assert result.exit_code == 1
    assert "did you mean `gpu`?" in result.stderr


def test_no_output(trtn: Trtn, spec: Path) -> None:
    result = trtn("build", "tiny.trtn")
    assert result.exit_code == 2
    assert "--output" in result.stderr
    assert trtn("build", "tiny.trtn", "-o", "no/such/folder/a.engine").exit_code == 2
    assert trtn("build", "tiny.trtn", "-o", ".").exit_code == 2


def test_several_networks(trtn: Trtn, tmp_path: Path) -> None:
    second = SPEC.split("profile")[0].removeprefix("trtn 1\n").replace("tiny", "other")
    (tmp_path / "two.trtn").write_text(SPEC + second)
    result = trtn("build", "two.trtn", "-o", "a.engine")
    assert result.exit_code == 1
    assert "choose one with --network: `tiny`, `other`" in result.stderr
    assert trtn("build", "two.trtn", "--network", "other", "-o", "a.engine").exit_code == 0
    assert json.loads(trtn("inspect", "a.engine", "--format", "json").stdout)["engine"] == "other"
    assert "E0215" in trtn("build", "two.trtn", "--network", "third", "-o", "a.engine").stderr


@pytest.mark.parametrize(
    ("text", "fits"), [("1KiB", True), ("1 B", True), ("2GB", True), ("many", False), ("-1", False)]
)
def test_workspace(trtn: Trtn, spec: Path, text: str, fits: bool) -> None:
    assert (trtn("build", "tiny.trtn", "-o", "a.engine", "--workspace", text).exit_code == 2) is not fits


# --- run -----------------------------------------------------------------------------------------------------------


def test_run_on_files(trtn: Trtn, engine: Path, tmp_path: Path) -> None:
    x = np.arange(-4, 8, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "feeds.npz", other=np.zeros(1), ids=np.array([1, 2, 3]))
    result = trtn("run", "tiny.engine", "--input", "x=x.npy", "--input", "ids=feeds.npz:ids", "-o", "out.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "out.npz") as out:
        assert sorted(out.files) == ["n", "y"]
        np.testing.assert_array_equal(out["y"], np.maximum(x, 0) + x)
        np.testing.assert_array_equal(out["n"], [2, 4, 6])
    assert "y       f32[3, 4]   -4  3.833   14" in result.stdout
    assert "profile small, outputs in out.npz" in result.stderr


def test_run_on_raw_files(trtn: Trtn, engine: Path, tmp_path: Path) -> None:
    np.full((2, 4), 3.0, np.float32).tofile(tmp_path / "x.bin")
    result = trtn("run", "tiny.engine", "--input", "x=x.bin", "--shape", "x=2,4", "--random", "1", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["outputs"]["y"]["mean"] == 6.0
    result = trtn("run", "tiny.engine", "--input", "x=x.bin", "--shape", "x=3,4", "--random", "1")
    assert "`x.bin` has 32 bytes; `x` of f32 and shape [3, 4] takes 48" in result.stderr
    assert "need a shape" in trtn("run", "tiny.engine", "--input", "x=x.bin", "--random", "1").stderr


def test_run_made_up(trtn: Trtn, engine: Path) -> None:
    def means(*arguments: str) -> list[float]:
        document = json.loads(trtn("run", "tiny.engine", *arguments, "--format", "json").stdout)
        assert document["inputs"]["ids"]["shape"] == document["inputs"]["x"]["shape"][:1]
        return [document["outputs"][name]["mean"] for name in ("y", "n")]

    assert means("--random", "1") == means("--random", "1") != means("--random", "2")
    assert means("--random", "2", "--input", "x=random:1")[0] == means("--random", "1")[0]
    assert trtn("run", "tiny.engine", "--random", "1", "--shape", "x=7x4").exit_code == 0


def test_run_lists_all_missing_inputs(trtn: Trtn, engine: Path) -> None:
    result = trtn("run", "tiny.engine")
    assert result.exit_code == 1
    assert "no feed for inputs `x` (f32[B, 4]), `ids` (i64[B])" in result.stderr
    assert "--random SEED" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "idz=random"], "did you mean `ids`?"),
        (["--shape", "y=1"], "has no input `y`"),
        (["--shape", "x=9,4"], "`B` is 9"),
        (["--shape", "x=4,4", "--profile", "lage"], "no profile `lage`"),
        (["--shape", "x=1,4", "--profile", "large"], "E0706"),
        (["--shape", "x=4"], "rank 1"),
        (["--shape", "x=1000000000,1000000000"], "too large to be made up"),
        (["--input", "x=no.npy"], "No such file"),
        (["--input", "x=text.npy"], "can't be read"),
        (["--input", "x=text.npz"], "can't be read"),
        (["--input", "x=objects.npy"], "can't be read"),
        (["--input", "x=f64.npy"], "float64"),
        (["--input", "x=two.npz:c"], "it has `a`, `b`"),
    ],
)
def test_feeds_that_do_not_fit(trtn: Trtn, engine: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    for name in ("text.npy", "text.npz"):
        (tmp_path / name).write_text("no array")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "f64.npy", np.zeros((2, 4)))
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    result = trtn("run", "tiny.engine", "--random", "0", *arguments)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--input", "x"],
        ["--input", "x=random", "--input", "x=random"],
        ["--shape", "x=a,b"],
        ["--shape", "x=-1,4"],
        ["--random", "0", "-o", "out.txt"],
        ["--random", "0", "-o", "out.npy"],
        ["--random", "0", "-o", "no/such/out.npz"],
    ],
    ids=" ".join,
)
def test_wrong_usage(trtn: Trtn, engine: Path, arguments: list[str]) -> None:
    assert trtn("run", "tiny.engine", *arguments).exit_code == 2


@pytest.mark.parametrize("verb", [["run", "--random", "0"], ["bench"], ["inspect"]], ids=lambda v: v[0])
def test_damaged_engines(trtn: Trtn, engine: Path, tmp_path: Path, verb: list[str]) -> None:
    data = bytearray(engine.read_bytes())
    (tmp_path / "cut.engine").write_bytes(data[:1000])
    (tmp_path / "other.engine").write_text("this is no engine")
    for name in ("cut.engine", "other.engine", "none.engine"):
        result = trtn(*verb, name)
        assert result.exit_code == 1, name
        assert result.stderr.startswith("error[E0")
        document = json.loads(trtn(*verb, name, "--format", "json").stdout)
        assert document["valid"] is False


# --- bench, inspect ------------------------------------------------------------------------------------------------


def test_bench(trtn: Trtn, engine: Path) -> None:
    arguments = ["--iterations", "10", "--threads", "2", "--warmup", "1", "--shape", "x=4,4"]
    document = json.loads(trtn("bench", "tiny.engine", *arguments, "--format", "json").stdout)
    assert (document["format_version"], document["iterations"], document["contexts"]) == ("1.0", 20, 2)
    assert document["inputs"] == {"x": [4, 4], "ids": [4]}
    latency = document["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert document["throughput_per_s"] > 0

    result = trtn("bench", "tiny.engine", "--duration", "0.05", "--profile", "large")
    assert result.exit_code == 0
    first, *_, memory = result.stdout.splitlines()
    assert first == "tiny on cpu, profile large: x [4, 4], ids [4]"
    assert memory.startswith("  memory ")


def test_bench_reports_what_goes_wrong_in_a_thread(trtn: Trtn, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtn.backend.runtime import Context
    from trtn.dsl.errors import EngineError

    run = Context.run
    calls = iter(range(100))

    def fail_later(self: Context, feeds: object) -> object:
        if next(calls) > 5:
            raise EngineError("out of luck")
        return run(self, feeds)  # type: ignore[arg-type]

    monkeypatch.setattr(Context, "run", fail_later)
    result = trtn("bench", "tiny.engine", "--threads", "3", "--iterations", "5")
    assert result.exit_code == 1
    assert "out of luck" in result.stderr


def test_percentiles() -> None:
    from trtn.cli.bench import _statistics

    values = [float(n) for n in range(1, 201)]
    found = _statistics(values)
    assert (found["p50"], found["p90"], found["p99"]) == (100, 180, 198)
    assert _statistics([7.0])["p99"] == 7


def test_compiled_kernels(trtn: Trtn, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.backend.engine.damage import KERNELS, forge, forge_kernels
    from trtn.backend.engine.container import read_container
    from trtn.backend.runtime import Engine

    header = forge_kernels(read_container(engine).header)
    forge(tmp_path / "fast.engine", header, b"", b"".join(KERNELS.values()))
    report = json.loads(trtn("inspect", "fast.engine", "--format", "json").stdout)
    assert report["trusted"] is False
    assert [(k["library"], k["target"], k["count"], k["bytes"]) for k in report["kernels"]] == [
        ("cudnn-91900-1.32.0", "NVIDIA H200, 132 SMs", 1, 200),
        ("nvrtc-13.0", "sm_90", 1, 200),
    ]
    text = trtn("inspect", "fast.engine").stdout
    assert "compiled kernels (not used, as the file is not trusted)\n" in text
    assert "  nvrtc-13.0          for sm_90" in text

    seen: list[bool] = []
    run = Engine.create_context
    monkeypatch.setattr(Engine, "create_context", lambda self, *a: seen.append(self.trusted) or run(self, *a))
    for option in ([], ["--trusted"], ["--untrusted"]):
        assert trtn("run", "fast.engine", "--random", "0", *option).exit_code == 0
        assert trtn("bench", "fast.engine", "--iterations", "1", *option).exit_code == 0
    assert seen == [False, False, True, True, False, False]


def test_inspect(trtn: Trtn, engine: Path) -> None:
    report = json.loads(trtn("inspect", "tiny.engine", "--format", "json").stdout)
    assert report["format_version"] == "1.0"
    assert report["inputs"][0] == {"name": "x", "dtype": "f32", "shape": ["B", 4]}
    assert report["profiles"][0]["dims"] == {"B": [1, 2, 4]}
    assert report["profiles"][0]["memory"].keys() == {"arena", "lower_bound"}
    assert report["weights"] == {"tensors": 0, "bytes": 0, "by_dtype": {}}
    steps = report["steps"]
    assert {s["name"] for s in steps} >= {"y", "n"}
    assert all(s["source"] and s["source"][0].startswith("tiny.trtn:") for s in steps)
    assert all(s["provider"] and s["tactic"] for s in steps)

    text = trtn("inspect", "tiny.engine").stdout
    assert text.startswith("engine tiny for cpu: Two layers, to try the command line on.\n")
    assert "  x    f32[B, 4]\n" in text
    assert "  large    B      2    4    8\n" in text
    assert "\nsteps (" not in trtn("inspect", "tiny.engine", "--no-steps").stdout
