"""Which groups cuDNN takes, and their kernels. A kernel's plans are built and timed at its first launch for a shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.providers.base import Launch, Tactic
from trtn.backend.providers.cudnn.epilogue import EpilogueStep, epilogue
from trtn.backend.providers.cudnn.graphs import NoPlanError, Runner
from trtn.backend.providers.reference import ReferenceKernel

__all__ = ["PROVIDER", "CudnnProvider"]

_log = logging.getLogger(__name__)

DTYPES = ("f16", "bf16")
"""f32 is left to others: on tensor cores it would be TF32, and without them cuDNN has no fused plans."""


class CudnnProvider:
    """Convolutions and matrix products through cuDNN."""

    name = "cudnn"
    after: frozenset[str] = frozenset({"reference"})
    is_reference = False

    def unavailable(self, device: str) -> str | None:
        if not device.startswith("cuda"):
            return "cuDNN runs on GPUs"
        return _missing()

    def version(self) -> str:
        import cudnn

        return f"{cudnn.backend_version()}-1"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return () if self.refusal(group) else (Tactic("auto", numerics="reassociated"),)

    def refusal(self, group: Group) -> str:
        if group.kind not in ("conv", "gemm", "attention"):
            return f"no cuDNN graph for {group.kind} groups"
        layer = group.layers[0]
        if layer.op.name not in ("conv", "linear", "matmul", "attention"):
            return f"no cuDNN graph for `{layer.op.name}`"
        if len(group.outputs) != 1:
            return "more than one result"
        if layer.op.name == "attention":
            return _attention_refusal(group)
        if any(t.dtype.name not in DTYPES or t.dtype is not group.outputs[0].dtype for t in group.inputs):
            return f"dtypes other than one of {', '.join(DTYPES)}"
        why = _conv_refusal(group) if layer.op.name == "conv" else _gemm_refusal(group)
        return why or ("" if epilogue(group) is not None else "an epilogue that cuDNN's graphs don't have")

    def compile(self, group: Group, tactic: Tactic, device: Device) -> CudnnKernel:
        return CudnnKernel(group, epilogue(group) or [], device)


PROVIDER = CudnnProvider()


@cache
def _missing() -> str | None:
    try:
        import cudnn

        cudnn.backend_version()
    except (ImportError, OSError, RuntimeError) as e:
        return f"cuDNN or its frontend can't be loaded: {e}"
    return None


def _conv_refusal(group: Group) -> str:
    layer = group.layers[0]
    x, weight = layer.inputs[0], layer.inputs[1]
    assert x is not None and weight is not None
    if x.rank not in (3, 4, 5):
        return f"rank {x.rank}"
    if layer.attrs["auto_pad"] != "none":
        return "padding that depends on the shape"
    if layer.attrs["groups"] != 1:
        return "grouped convolution"
    if weight.weight is None:
        return "the kernel is not a weight"
    return ""


def _attention_refusal(group: Group) -> str:
    layer = group.layers[0]
    q, k, v = layer.inputs[:3]
    mask = layer.inputs[3] if len(layer.inputs) > 3 else None
    assert q is not None and k is not None and v is not None
    if len(group.layers) > 1:
        return "more than attention in the group"
    if any(t.rank != 4 for t in (q, k, v)):
        return "ranks other than 4"
    if q.dtype.name not in DTYPES:
        return f"dtypes other than {', '.join(DTYPES)}"
    if mask is not None and (mask.rank != 4 or layer.attrs["causal"]):
        return "a mask of another rank, or beside the causal one"
    if layer.attrs["causal"] and q.shape[2] != k.shape[2]:
        return "causal with more keys than queries"
    sizes = (q.shape[3], v.shape[3])
    if any(not isinstance(d, int) or d % 8 or d > 128 for d in sizes):
        return "head sizes that are not multiples of 8 up to 128"
    return ""


def _gemm_refusal(group: Group) -> str:
    layer = group.layers[0]
    a, b = layer.inputs[0], layer.inputs[1]
    assert a is not None and b is not None
    if b.rank != 2 or b.weight is None:
        return "the right side is not a weight matrix"
    if a.rank < 2:
        return "a vector"
    return ""


class CudnnKernel:
    """A group as a cuDNN graph; graphs are kept by shape."""

    def __init__(self, group: Group, steps: Sequence[EpilogueStep], device: Device) -> None:
        self.group = group
        self.steps = steps
        self.device = device
        self.refused = ""
        self.packed: dict[int, Any] = {}
        """Weights in the layout that cuDNN wants, by the address of the plain ones."""

    def bind(self, sizes: Mapping[str, int]) -> Launch:
        runner: Runner | None = None
        fallback: Launch | None = None

        def launch(inputs: Sequence[Any], outputs: Sequence[Any]) -> Sequence[Any]:
            nonlocal runner, fallback
            if runner is None and fallback is None:
                try:
                    runner = Runner(self.group, self.steps, inputs, outputs[0], self.packed)
                except NoPlanError as e:
                    self.refused = str(e)
                    _log.warning("`%s` falls back to the reference: %s", self.group.name, e)
                    fallback = ReferenceKernel(self.group, self.device.xp).bind(sizes)
            if fallback is not None:
                return fallback(inputs, outputs)
            assert runner is not None
            runner.run()
            return outputs

        return launch
