"""The networks that GPUs are measured with: modules of torchvision and transformers, and their ONNX files.

Weights are random, from one seed: two processes make the same module.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = ["CASES", "Case", "exported", "exporting", "make_module", "plain_module"]

EXPORTERS = 4
"""Processes that export at a time."""
PATIENCE = 240
"""Seconds that a case waits for its ONNX file at most."""
SHRINKING = ("mobilenet_v2", "efficientnet_b0")
"""Values shrink there from layer to layer with the statistics that batch norms start with, in MobileNetV2 until f16 has
only zeros: these networks get statistics of random images."""
SETTLING = 8
"""How many images."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network by its library's name, at a batch and (text) a sequence length, built in a precision."""

    model: str
    batch: int
    length: int = 0
    precision: str = "f16"

    @property
    def network(self) -> str:
        """What the precision has no part in."""
        return f"{self.model}-{self.batch}x{self.length}" if self.length else f"{self.model}-b{self.batch}"

    @property
    def name(self) -> str:
        return self.network if self.precision == "f16" else f"{self.network}-{self.precision}"

    @property
    def is_transformer(self) -> bool:
        return bool(self.length) or "vit" in self.model


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
        Case("resnet50", 8, precision="f32"),
        Case("resnet50", 8, precision="bf16"),
        Case("bert_base", 8, 128, precision="f32"),
        Case("bert_base", 8, 128, precision="bf16"),
    )
}


def make_module(case: Case) -> tuple[Any, list[Any]]:
    """A module in f32 with random weights, and inputs for it, on the host."""
    import torch

    torch.manual_seed(0)
    if not case.length:
        import torchvision

        module = getattr(torchvision.models, case.model)(weights=None)
        _fill_zeros(module)
        if case.model in SHRINKING:
            _settle(module)
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


def _fill_zeros(module: Any) -> None:
    """Random values for matrices that a library starts at zero, as the last layer of torchvision's vision transformers:
    a result of nothing but zeros has no relative error."""
    import torch

    for parameter in module.parameters():
        if parameter.dim() > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)


def _settle(module: Any) -> None:
    """Give batch norms the statistics that a few random images have there."""
    import torch

    module.eval()
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # what was seen last, alone
        norm.train()
    with torch.no_grad():
        module(torch.randn(SETTLING, 3, 224, 224))
    for norm in norms:
        norm.eval()


@contextmanager
def exporting(names: Iterable[str], folder: Path) -> Iterator[None]:
    """Meanwhile the ONNX files of cases are made in the folder, in processes of their own, since it takes torch up to
    half a minute each. `exported` waits for one."""
    cases = {CASES[name].network: CASES[name] for name in names}
    with get_context("spawn").Pool(EXPORTERS) as pool:  # which ends what still runs when it is left
        for case in cases.values():
            pool.apply_async(_export, (case, folder))
        yield


def exported(case: Case, folder: Path) -> Path:
    """The ONNX file of a case, once it is there. Raises RuntimeError where its export failed, TimeoutError."""
    path = folder / f"{case.network}.onnx"
    end = time.monotonic() + PATIENCE
    while not path.exists():
        if path.with_suffix(".error").exists():
            raise RuntimeError(f"it was not exported: {path.with_suffix('.error').read_text()}")
        if time.monotonic() > end:
            raise TimeoutError("it was not exported in time")
        time.sleep(0.1)
    return path


def _export(case: Case, folder: Path) -> None:
    """torch's current exporter, at the inputs' shapes."""
    import torch

    torch.set_num_threads(2)
    path = folder / f"{case.network}.onnx"
    unfinished = path.with_suffix(".part")
    try:
        module, inputs = make_module(case)
        torch.onnx.export(
            module, tuple(inputs), str(unfinished), dynamo=True, optimize=True, external_data=False, verbose=False
        )
        unfinished.rename(path)
    except Exception as error:  # whatever it is, it becomes the case's failure
        path.with_suffix(".error").write_text(f"{type(error).__name__}: {error}".splitlines()[0])
