"""cuDNN without cuDNN: which groups it takes, how problems are stated as graphs, plans' names, the processes that build
them, and the plans on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backend.harness import network
from trtn.backend.binaries import Binaries, BinaryKey
from trtn.backend.devices import Device
from trtn.backend.devices.cpu import CPU
from trtn.backend.fusion import partition
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.storage import plan_storage
from trtn.backend.problem import Problem
from trtn.backend.providers import TacticError
from trtn.backend.providers.cudnn import plans
from trtn.backend.providers.cudnn.builders import Pool
from trtn.backend.providers.cudnn.graphs import forms_of, graph_of
from trtn.backend.providers.cudnn.library import CudnnError, without_count
from trtn.backend.providers.cudnn.rules import refusal
from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, PlanName, TensorSpec


def problem(kind: str, text: str, folder: Path, weights: str = "") -> Problem:
    """The first problem of a kind, laid out as for a GPU."""
    net = network(f"network n {{ {text} }}", folder, weights)
    groups = partition(net)
    storage = plan_storage(net, groups, plan_orders(groups))
    return next(p for p in plan_problems(net, groups, storage, {}, 16) if p is not None and p.group.kind == kind)


def tensors(spec: GraphSpec) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(t.dims, t.strides) for t in (*spec.tensors, spec.output)]


CONV = (
    "input x: f16[2, 16, 8, 8] output y: f16[2, 32, 8, 8]"
    " a = relu(conv(x, w.k, w.b, pads=1)) y = relu(conv(a, w.l, pads=1) + a)"
)
CONV_WEIGHTS = "tensor k: f16[32, 16, 3, 3] = zeros\ntensor l: f16[32, 32, 3, 3] = zeros\ntensor b: f16[32] = zeros"


def test_a_convolution_with_its_epilogue(tmp_path: Path) -> None:
    found = problem("conv", CONV, tmp_path, CONV_WEIGHTS)
    assert forms_of(found) == ("conv",)
    graph = graph_of(found, "conv")
    assert [n.call for n in graph.spec.nodes] == ["conv_fprop", "add", "relu"]
    assert dict(graph.spec.nodes[0].options) == {
        "pre_padding": (1, 1),
        "post_padding": (1, 1),
        "stride": (1, 1),
        "dilation": (1, 1),
    }
    x, kernel, bias, y = tensors(graph.spec)
    assert kernel == ((32, 16, 3, 3), (144, 1, 48, 16)), "packed with the channels last"
    assert list(graph.packs) == [2]
    assert x[0] == (2, 16, 8, 8)
    assert bias == ((1, 32, 1, 1), (32, 1, 32, 32))
    assert y == ((2, 32, 8, 8), (2048, 1, 256, 32)), "what only convolutions read lies channels last"
    assert graph.spec.nodes[1].operands == (("a", -1), ("b", 3))


def test_one_dimension_is_an_image_too(tmp_path: Path) -> None:
    text = "input x: f16[2, 16, 8] output y: f16[2, 32, 8] y = conv(x, w.k, pads=1)"
    graph = graph_of(problem("conv", text, tmp_path, "tensor k: f16[32, 16, 3] = zeros"), "conv")
    assert [dims for dims, _ in tensors(graph.spec)] == [(2, 16, 1, 8), (32, 16, 1, 3), (2, 32, 1, 8)]
    assert dict(graph.spec.nodes[0].options)["pre_padding"] == (0, 1)


LINEAR = "input x: f16[4, 8, 64] output y: f16[4, 8, 128] y = gelu(linear(x, w.k, w.b))"
LINEAR_WEIGHTS = "tensor k: f16[64, 128] = zeros\ntensor b: f16[128] = zeros"


def test_a_product_in_three_forms(tmp_path: Path) -> None:
    found = problem("gemm", LINEAR, tmp_path, LINEAR_WEIGHTS)
    plain, transposed, conv = (graph_of(found, form) for form in ("matmul", "matmul-t", "conv1x1"))
    assert [n.call for n in plain.spec.nodes] == ["matmul", "add", "gelu"]
    assert tensors(plain.spec) == [
        ((1, 32, 64), (2048, 64, 1)),
        ((1, 64, 128), (8192, 128, 1)),
        ((1, 1, 128), (128, 128, 1)),
        ((1, 32, 128), (4096, 128, 1)),
    ]
    assert not plain.packs
    assert tensors(transposed.spec)[1] == ((1, 64, 128), (8192, 1, 64))
    assert transposed.packs[2] == conv.packs[2], "the packed weight is shared"
    assert tensors(conv.spec)[:2] == [((1, 64, 32, 1), (2048, 1, 64, 64)), ((128, 64, 1, 1), (64, 1, 64, 64))]
    with pytest.raises(TacticError, match="no form"):
        graph_of(found, "conv")


ATTENTION = (
    "input qkv: f16[2, 128, 3, 4, 64] {mask} output y: f16[2, 4, 128, 64]"
    " q, k, v = split(transpose(qkv, perm=[2, 0, 3, 1, 4]), axis=0, parts=3)"
    " y = attention(squeeze(q, axes=[0]), squeeze(k, axes=[0]), squeeze(v, axes=[0]){use})"
)


def test_attention_takes_slices_as_they_lie(tmp_path: Path) -> None:
    found = problem("attention", ATTENTION.format(mask="", use=""), tmp_path)
    graph = graph_of(found, "sdpa")
    assert forms_of(found) == ("sdpa",)
    steps = (128 * 768, 64, 768, 1)
    assert tensors(graph.spec)[:3] == [((2, 4, 128, 64), steps)] * 3
    assert dict(graph.spec.nodes[0].options)["attn_scale"] == 0.125


def test_masks_of_numbers_are_repeated_by_strides(tmp_path: Path) -> None:
    text = ATTENTION.format(mask="input m: f16[2, 1, 1, 128]", use=", m")
    found = problem("attention", text, tmp_path)
    graph = graph_of(found, "sdpa")
    assert tensors(graph.spec)[3] == ((2, 1, 128, 128), (128, 128, 0, 1))
    assert graph.mask is None
    full = graph_of(found, "sdpa-full-mask")
    assert full.mask is not None
    assert tensors(full.spec)[3] == ((2, 1, 128, 128), (16384, 16384, 128, 1))


def test_bool_masks_are_written_out(tmp_path: Path) -> None:
    found = problem("attention", ATTENTION.format(mask="input m: bool[2, 1, 1, 128]", use=", m"), tmp_path)
    with pytest.raises(TacticError, match="mask of bool"):
        graph_of(found, "sdpa")
    assert graph_of(found, "sdpa-full-mask").mask is not None


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("gemm", "input x: f64[4, 64] output y: f64[4, 4] y = matmul(x, transpose(x))", "dtype"),
        ("gemm", "input x: f16[4, 64] output y: f16[4, 4] y = matmul(x, transpose(x))", "not a weight"),
        ("softmax", "input x: f16[4, 64] output y: f16[4, 64] y = softmax(x)", "no cuDNN graph"),
        (
            "attention",
            "input q: f16[1, 2, 8, 12] output y: f16[1, 2, 8, 12] y = attention(q, q, q)",
            "multiples of 8",
        ),
    ],
)
def test_refusals_say_why(tmp_path: Path, kind: str, text: str, words: str) -> None:
    assert words in refusal(problem(kind, text, tmp_path).group)


def test_specs_and_names_are_read_back(tmp_path: Path) -> None:
    found = problem("gemm", LINEAR, tmp_path, LINEAR_WEIGHTS)
    for form in forms_of(found):
        spec = graph_of(found, form).spec
        assert GraphSpec.from_json(spec.to_json()) == spec
    digests = {graph_of(found, form).spec.digest() for form in forms_of(found)}
    assert len(digests) == 3
    name = PlanName(12, (("SPLIT_K", 2), ("TILE_SIZE", 5)))
    assert str(name) == "e12,SPLIT_K=2,TILE_SIZE=5"
    assert PlanName.parse(str(name)) == name
    for text in ("", "12", "e", "e1,x", "e1,x=y", "e1,x=1=2"):
        with pytest.raises(ValueError):
            PlanName.parse(text)


SPEC = GraphSpec(
    (TensorSpec(1, (1,), (1,), "f16"),), (NodeSpec("relu", (("input", 1),)),), TensorSpec(2, (1,), (1,), "f16")
)
WORKER = """
import base64, json, os, sys
for line in sys.stdin:
    graph, name = json.loads(line)
    number = int(name[1:])
    if number == 7:
        print("!it does not build", flush=True)
    elif number == 13:
        os._exit(3)
    else:
        print(base64.b64encode(f"plan {number}".encode()).decode(), flush=True)
"""


def jobs(*numbers: int) -> list[Any]:
    return [(SPEC, PlanName(n)) for n in numbers]


def test_processes_build_plans() -> None:
    wanted = jobs(*range(1, 12))
    pool = Pool(wanted, [sys.executable, "-c", WORKER])
    for job in wanted:
        if job[1].engine == 7:
            with pytest.raises(CudnnError, match="does not build"):
                pool.result(job)
        else:
            assert pool.result(job) == f"plan {job[1].engine}".encode()
    assert pool.result(jobs(99)[0]) is None


def test_a_plan_that_ends_its_process_is_out() -> None:
    """A process that never answered says nothing about its plan."""
    wanted = jobs(1, 13)
    pool = Pool(wanted, [sys.executable, "-c", WORKER], most=1)
    assert pool.result(wanted[0]) == b"plan 1"
    with pytest.raises(CudnnError, match="ended"):
        pool.result(wanted[1])
    broken = Pool(jobs(1, 2), [sys.executable, "-c", "raise SystemExit(1)"])
    assert [broken.result(job) for job in jobs(1, 2)] == [None, None]
    missing = Pool(jobs(1), ["/does/not/exist"])
    assert missing.result(jobs(1)[0]) is None


def test_cancelled_jobs_are_nobodys() -> None:
    pool = Pool(jobs(1, 2), [sys.executable, "-c", "import time; time.sleep(0.3)"], most=1)
    pool.cancel()
    assert pool.result(jobs(2)[0]) is None


def test_written_plans_do_not_depend_on_what_was_built_before() -> None:
    head, tail = b"fe_workspace_sizei\0i\x03gid", b"i\x0cjson_versionSi\x032.0" + bytes(range(200))
    for count in (b"i\x07", b"U\xf0", b"I\x01\x02", b"l\0\1\2\3", b"L" + bytes(8)):
        assert without_count(head + count + tail) == head + b"i\x01" + tail
    for other in (b"", tail, head + b"S", 2 * (head + b"i\x07")):
        assert without_count(other) == other


class FakePlan:
    """A plan whose bytes are the name of what built it."""

    workspace = 100

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def write(self) -> bytes:
        return self.origin.encode()

    def execute(self, pointers: dict[int, int], workspace: int, stream: int) -> None:
        RUNS.append(self.origin)
        if self.origin == "read broken":
            raise RuntimeError("it does not run")


RUNS: list[str] = []


def key_of(spec: GraphSpec, name: PlanName, device: Device) -> BinaryKey:
    return BinaryKey("cudnn-0", device.model, f"{spec.digest()}-{name}")


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> plans.PlanMaker:
    """A maker of plans over a library that builds whatever it is asked for, and reads what does not begin with `bad`."""

    def read(data: bytes, stream: int) -> FakePlan:
        if data.startswith(b"bad"):
            raise CudnnError("not for this GPU")
        return FakePlan(f"read {data.decode()}")

    def build(spec: GraphSpec, name: PlanName, stream: int) -> FakePlan:
        if name.engine == 7:
            raise CudnnError("it does not build")
        return FakePlan("built")

    monkeypatch.setenv("TRTN_CACHE", str(tmp_path))
    monkeypatch.setattr(plans, "_stream", lambda: 0)
    monkeypatch.setattr(plans, "_key", key_of)
    monkeypatch.setattr(plans, "build_plan", build)
    monkeypatch.setattr(plans, "read_plan", read)
    return plans.PlanMaker()


def origin(kernel: plans.CudnnKernel) -> str:
    return kernel._plan.origin  # type: ignore[attr-defined, no-any-return]


def keep(kernel: plans.CudnnKernel) -> None:
    Binaries().keep(kernel.binaries())


def keep_plan(found: Problem, data: bytes) -> None:
    """Let a plan of the tactic `matmul:e1` be in the user's cache."""
    Binaries().keep({key_of(graph_of(found, "matmul").spec, PlanName(1), CPU()): data})


def test_plans_come_from_where_they_are(
    maker: plans.PlanMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the user's cache, from other processes, else from the library; those that are going to run are kept."""
    found = problem("gemm", LINEAR, tmp_path, LINEAR_WEIGHTS)
    kernel = maker.make(found, "matmul:e1", CPU())
    assert origin(kernel) == "built"
    assert kernel.workspace == 256
    assert not list(tmp_path.rglob("*.bin")), "only what runs is kept"
    keep(kernel)
    assert origin(maker.make(found, "matmul:e1", CPU())) == "read built"
    with pytest.raises(TacticError, match="does not build"):
        maker.make(found, "matmul:e7", CPU())
    for name in ("matmul", "matmul:x", "conv:e1", ":e1"):
        with pytest.raises(TacticError):
            maker.make(found, name, CPU())

    monkeypatch.setattr(plans, "FEWEST", 1)
    monkeypatch.setattr(plans, "Pool", lambda jobs: Pool(jobs, [sys.executable, "-c", WORKER]))
    maker.announce([(found, f"conv1x1:e{n}") for n in (2, 3, 7)] + [(found, "nonsense")], CPU())
    pooled = maker.make(found, "conv1x1:e2", CPU())
    assert origin(pooled) == "read plan 2"
    with pytest.raises(TacticError, match="does not build"):
        maker.make(found, "conv1x1:e7", CPU())
    keep(pooled)
    assert origin(maker.make(found, "conv1x1:e2", CPU())) == "read plan 2"
    maker.announce([], CPU())
    assert origin(maker.make(found, "conv1x1:e4", CPU())) == "built"


def test_kept_plans_that_can_not_be_read_are_built(maker: plans.PlanMaker, tmp_path: Path) -> None:
    found = problem("gemm", LINEAR, tmp_path, LINEAR_WEIGHTS)
    keep_plan(found, b"bad")
    assert origin(maker.make(found, "matmul:e1", CPU())) == "built"


def test_a_plan_that_was_read_back_and_does_not_run_is_built_again(maker: plans.PlanMaker, tmp_path: Path) -> None:
    found = problem("gemm", LINEAR, tmp_path, LINEAR_WEIGHTS)
    keep_plan(found, b"broken")
    kernel = maker.make(found, "matmul:e1", CPU())
    RUNS.clear()
    for _ in range(2):
        kernel._execute({}, 0, 0)
    assert RUNS == ["read broken", "built", "built"]
