"""`python -m bench.gpu [CASE..]`: networks of torchvision and transformers on a GPU, trtn against torch.compile.

python -m bench.gpu --list
python -m bench.gpu resnet50-b1 bert_base-1x128 --out build/bench
python -m bench.gpu --no-peer resnet50-b1            # ours alone

Each network is made by its library with random weights, exported to ONNX by torch, imported and built in f16 as it comes.
The peer is the same module in f16 through `torch.compile(mode="max-autotune")` with freezing and CUDA graphs, CNNs in
channels_last; for transformers also a plain module of the same sizes with `scaled_dot_product_attention` and no mask,
and the faster of the two counts. Both sides run in one process on the same inputs, one after the other, warm.

Two times are taken of each: `back` is the time of one run when many are enqueued and then waited for once, `single` the
median of runs that are waited for one by one. Errors are relative L2 to the module in f32 without TF32.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.facts import load_average
from bench.harness import Failure, isolated
from bench.report import section_text
from bench.results import Column, Table, read_result, write_result

__all__ = ["CASES", "Case", "main", "measure"]

SECONDS = 0.5
"""How long each side is run for a figure, at least."""
WARM_SECONDS = 0.3
"""Clocks and caches settle first: large networks run up to 10 % faster in the first launches after idling."""
MAX_RUNS = 2000


@dataclass(frozen=True, slots=True)
class Case:
    """A network by its library's name, at a batch and (text) a sequence length."""

    model: str
    batch: int
    length: int = 0

    @property
    def name(self) -> str:
        return f"{self.model}-{self.batch}x{self.length}" if self.length else f"{self.model}-b{self.batch}"


CASES = {
    c.name: c
    for c in (
        Case("resnet50", 1),
        Case("resnet50", 8),
        Case("resnet50", 128),
        Case("mobilenet_v2", 1),
        Case("mobilenet_v2", 128),
        Case("efficientnet_b0", 1),
        Case("bert_base", 1, 128),
        Case("bert_base", 8, 128),
        Case("bert_base", 32, 384),
        Case("vit_b_16", 1),
        Case("vit_b_16", 32),
        Case("gpt2", 1, 512),
    )
}


def measure(name: str, peer: bool, effort: int) -> dict[str, Any]:
    """Both sides of one case; times in seconds. For a process of its own."""
    import torch

    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    case = CASES[name]
    torch.manual_seed(0)
    module, inputs = make_module(case)
    row: dict[str, Any] = {"name": name}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(module, inputs, path)
        reference = module.cuda()(*(x.cuda() for x in inputs)).double()
        run, result, facts = ours(path, inputs, effort)
        row |= facts | {"error": distance(result(), reference)} | times("", run)
    half = module.half()
    arrays = [x.cuda().half() if x.is_floating_point() else x.cuda() for x in inputs]
    row["torch_error"] = distance(half(*arrays), reference)
    if peer:
        found = [compiled(half, arrays, images=not case.length and "vit" not in case.model)]
        if case.length or "vit" in case.model:
            found.append(compiled(plain_module(case).half().cuda(), arrays, images=False))
        row |= min(found, key=lambda f: f["peer_back"])
        row |= {"ratio": row["peer_back"] / row["back"], "ratio_single": row["peer_single"] / row["single"]}
    return row


def make_module(case: Case) -> tuple[Any, list[Any]]:
    """A module in f32 with random weights, and inputs for it, on the host."""
    import torch

    if not case.length:
        import torchvision

        module = getattr(torchvision.models, case.model)(weights=None)
        return module.eval(), [torch.randn(case.batch, 3, 224, 224)]
    import transformers

    if case.model == "bert_base":
        inner = transformers.BertModel(transformers.BertConfig(attn_implementation="sdpa"), add_pooling_layer=False)
    else:
        inner = transformers.GPT2Model(transformers.GPT2Config(attn_implementation="sdpa", use_cache=False))

    class LastHidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, ids: Any) -> Any:
            return self.inner(input_ids=ids).last_hidden_state

    return LastHidden().eval(), [torch.randint(0, 30000, (case.batch, case.length))]


def plain_module(case: Case) -> Any:
    """A transformer of the case's sizes written with `scaled_dot_product_attention`, on embedded inputs, unmasked or
    causal: the peer without the library's overhead. Its embedding costs less than the real one's, not more."""
    import torch
    from torch import nn
    from torch.nn.functional import gelu, scaled_dot_product_attention

    causal, first = case.model == "gpt2", case.model != "bert_base"

    class Layer(nn.Module):
        def __init__(self, width: int = 768, heads: int = 12) -> None:
            super().__init__()
            self.heads = heads
            self.packed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def attend(self, x: Any) -> Any:
            b, s, d = x.shape
            q, k, v = self.packed(x).view(b, s, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
            y = scaled_dot_product_attention(q, k, v, is_causal=causal)
            return self.out(y.transpose(1, 2).reshape(b, s, d))

        def feed(self, x: Any) -> Any:
            return self.down(gelu(self.up(x), approximate="tanh" if causal else "none"))

        def forward(self, x: Any) -> Any:
            if first:
                x = x + self.attend(self.norm1(x))
                return x + self.feed(self.norm2(x))
            x = self.norm1(x + self.attend(x))
            return self.norm2(x + self.feed(x))

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if case.length:
                self.embed: Any = nn.Embedding(50257 if causal else 30522, 768)
            else:
                self.embed = nn.Conv2d(3, 768, 16, 16)
            self.layers = nn.Sequential(*(Layer() for _ in range(12)))

        def forward(self, x: Any) -> Any:
            x = self.embed(x)
            return self.layers(x if case.length else nn.functional.pad(x.flatten(2).transpose(1, 2), (0, 0, 1, 0)))

    torch.manual_seed(0)
    return Plain().eval()


def export(module: Any, inputs: list[Any], path: Path) -> None:
    """torch's current exporter, at the inputs' shapes."""
    import torch

    torch.onnx.export(module, tuple(inputs), str(path), dynamo=True, optimize=True, external_data=False)


def ours(path: Path, inputs: list[Any], effort: int) -> tuple[Callable[[], None], Callable[[], Any], dict[str, Any]]:
    """A run enqueued, the result, and what the build was like."""
    import time

    import cupy
    import torch

    import trtn

    network = trtn.import_onnx(str(path))
    started = time.perf_counter()
    engine = trtn.build(network, device="cuda", precision="f16", effort=effort)
    built = time.perf_counter() - started
    context = engine.create_context()
    feeds = {t.name: cupy.asarray(x.numpy().astype(t.dtype.numpy)) for t, x in zip(network.inputs, inputs, strict=True)}
    started = time.perf_counter()
    outputs = context.run(feeds)
    first = time.perf_counter() - started
    buffers = {name: cupy.empty_like(a) for name, a in outputs.items()}
    context.bind({**feeds, **buffers})
    stream = cupy.cuda.Stream(non_blocking=True)
    torch.cuda.set_stream(torch.cuda.ExternalStream(stream.ptr))  # whose events take the times

    def result() -> Any:
        context.execute_async(stream)
        stream.synchronize()
        return torch.from_dlpack(buffers[network.outputs[0].name])

    return (
        lambda: context.execute_async(stream),
        result,
        {"steps": len(engine.groups), "build": built, "first": first, "memory": context.memory},
    )


def compiled(module: Any, arrays: list[Any], images: bool) -> dict[str, Any]:
    """The peer's times."""
    import time

    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    torch._dynamo.reset()
    if images:
        module = module.to(memory_format=torch.channels_last)
        arrays = [x.contiguous(memory_format=torch.channels_last) for x in arrays]
    torch.cuda.set_stream(torch.cuda.default_stream())
    fast = torch.compile(module, mode="max-autotune")
    started = time.perf_counter()
    fast(*arrays)
    torch.cuda.synchronize()
    return {"peer_build": time.perf_counter() - started, **times("peer_", lambda: fast(*arrays))}


def times(prefix: str, run: Callable[[], object]) -> dict[str, float]:
    """Back-to-back and single times of an enqueued run on torch's current stream, in seconds."""
    import time

    import torch

    def timed(count: int) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(count):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / count / 1e3

    once = statistics.median(timed(1) for _ in range(5))
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_SECONDS:
        timed(5)
    count = max(10, min(MAX_RUNS, int(SECONDS / once)))
    back = statistics.median(timed(max(10, count // 3)) for _ in range(3))
    single = statistics.median(timed(1) for _ in range(min(count, 300)))
    return {f"{prefix}back": back, f"{prefix}single": single}


def distance(found: Any, reference: Any) -> float:
    """||found - reference|| / ||reference||."""
    return float((found.to(reference.device).double() - reference).norm() / reference.norm())


COLUMNS = (
    Column("name", "case"),
    Column("back", "trtn, back to back", "ms"),
    Column("peer_back", "torch.compile, back to back", "ms"),
    Column("ratio", "ratio", "ratio"),
    Column("single", "trtn, single", "ms"),
    Column("peer_single", "torch.compile, single", "ms"),
    Column("ratio_single", "ratio, single", "ratio"),
    Column("error", "error"),
    Column("torch_error", "torch f16's error"),
    Column("steps", "steps", "count"),
    Column("build", "build", "s"),
    Column("first", "first run", "s"),
    Column("peer_build", "torch.compile's build", "s"),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m bench.gpu", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="which; all without any")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--no-peer", action="store_true", help="measure trtn alone")
    parser.add_argument("--effort", type=int, default=3, help="of the tuner, 0 to 5")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of the JSON result")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        print("\n".join(CASES))
        return 0
    if unknown := [c for c in chosen.cases if c not in CASES]:
        parser.error(f"no case is called {', '.join(unknown)}; see --list")
    before = load_average()
    table = Table("f16 on a GPU, against torch.compile", COLUMNS)
    for name in chosen.cases or CASES:
        try:
            found = isolated(measure, name=name, peer=not chosen.no_peer, effort=chosen.effort, blas_threads=16)
            row = found.value
            table.rows.append({**row, "error": f"{row['error']:.1e}", "torch_error": f"{row['torch_error']:.1e}"})
            shown = {
                k: round(v * 1e3, 4) for k, v in row.items() if k in ("back", "single", "peer_back", "peer_single")
            }
            print(
                name,
                shown,
                f"ratio {row.get('ratio', 0):.3f}",
                f"error {row['error']:.1e}",
                file=sys.stderr,
                flush=True,
            )
        except Failure as failure:
            table.failures[name] = str(failure)
            print(name, failure, file=sys.stderr, flush=True)
        ratios = [r["ratio"] for r in table.rows if "ratio" in r]
        table.notes = [f"Geometric mean of the ratios: {statistics.geometric_mean(ratios):.2f}."] if ratios else []
        path = write_result(chosen.out, "gpu", [table], before)  # after each case: a run that is cut keeps what it has
    print(section_text(*read_result(path)))
    return 1 if table.failures else 0


if __name__ == "__main__":
    from bench.gpu import main as start  # whose functions other processes find by this module's name

    sys.exit(start())
