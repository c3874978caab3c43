"""Which groups oneDNN takes, and the programs that run them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from trtn.backend.devices import Device
from trtn.backend.devices.openmp import one_thread
from trtn.backend.discovery import later
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.onednn import library
from trtn.backend.providers.onednn.library import OneDnnError
from trtn.backend.providers.onednn.program import Program, Unfit
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer

__all__ = ["PROVIDER", "TACTICS", "OneDnnProvider"]

_log = logging.getLogger(__name__)

REVISION = 2
"""Goes up with every change of what a tactic's name stands for."""
DTYPES = ("bf16", "f32")
"""What the programs are tested for, on a CPU that has instructions for it."""
ONE_RESULT = ("attention", "conv", "gemm")

SMALL = 1 << 16
"""Bytes of a problem that fewer calls are guessed to help more than better kernels."""
_later = partial(later, __package__)


def _plan_pointwise(program: Program) -> None:
    from trtn.backend.providers.onednn.copies import is_cast, plan_cast
    from trtn.backend.providers.onednn.pointwise import plan_pointwise

    (plan_cast if is_cast(program.problem.group) else plan_pointwise)(program)


def _plan_single(program: Program) -> None:
    plans = {"resize": _later("resampling", "plan_resampling"), "einsum": _later("einsum", "plan_einsum")}
    plans.get(program.problem.group.layers[0].op.name, _later("integers", "plan_integers"))(program)


TACTICS: Mapping[str, Mapping[str, Callable[[Program], None]]] = {
    "attention": {"products": _later("attention", "plan_attention")},
    "conv": {"direct": _later("conv", "plan_conv")},
    "copy": {"parts": _later("copies", "plan_copy")},
    "gemm": {
        "inner_product": _later("gemm", "plan_inner_product"),
        "matmul": _later("gemm", "plan_matmul"),
        "pixels": _later("gemm", "plan_pixels"),
    },
    "normalisation": {"rows": _later("rows", "plan_normalisation")},
    "pointwise": {"chains": _plan_pointwise},
    "pooling": {"windows": _later("pooling", "plan_pooling")},
    "recurrent": {"cells": _later("recurrent", "plan_recurrent")},
    "reduction": {
        "few": _later("reduction", "plan_reduction_of_few"),
        "axes": _later("reduction", "plan_reduction"),
        "windows": _later("reduction", "plan_reduction_by_windows"),
    },
    "reference": {"primitive": _plan_single},
    "softmax": {"rows": _later("rows", "plan_softmax")},
}
"""What writes the program of each tactic, by kind of group; the best guess first."""
_OPS = {
    "copy": ("concat", "pad"),
    "normalisation": ("layer_norm", "lrn"),
    "pooling": ("avg_pool", "global_avg_pool", "global_max_pool", "max_pool"),
    "recurrent": ("gru", "lstm", "rnn"),
    "reduction": ("reduce_max", "reduce_mean", "reduce_min", "reduce_sum"),
    "reference": ("conv_integer", "einsum", "matmul_integer", "resize"),
    "softmax": ("log_softmax", "softmax"),
}


NARROW = frozenset(
    [
        *("attention", "conv", "deconv", "layer_norm", "linear", "log_softmax", "matmul", "softmax"),
        *("avg_pool", "global_avg_pool", "global_max_pool", "max_pool"),
        *("add", "div", "max", "min", "mul", "sub"),
        *("abs", "clip", "elu", "gelu", "hard_sigmoid", "hard_swish", "leaky_relu", "mish", "neg", "relu", "sigmoid"),
        *("silu", "swish", "tanh"),
    ]
)
"""Ops that are computed in bf16 where the CPU has instructions for it. f16 has kernels on a few CPUs only."""
MOVERS = frozenset({"cast", "concat", "pad"})
"""Ops that leave elements as they are, or round them."""


class OneDnnProvider:
    """Kernels of oneDNN for x86-64 CPUs."""

    name = "onednn"
    after: frozenset[str] = frozenset({"blockwise", "reference"})
    devices = frozenset({"cpu"})
    is_reference = False
    channels_last = True

    def unavailable(self, device: str) -> str | None:
        return library.unavailable() if device == "cpu" else "oneDNN is driven on CPUs only"

    def version(self) -> str:
        return f"{library.version()}-{REVISION}"

    def refusal(self, group: Group) -> str:
        if group.kind not in TACTICS:
            return f"no primitive for {group.kind} groups"
        ops = _OPS.get(group.kind)
        if ops is not None and group.layers[-1].op.name not in ops:
            return f"no primitive for `{group.layers[-1].op.name}`"
        if group.kind in ONE_RESULT and len(group.outputs) != 1:
            return "more than one result"
        dtype = group.outputs[0].dtype.name
        if dtype not in DTYPES and not (group.kind == "reference" and dtype == "i32"):
            return f"{dtype}: kernels are for {', '.join(DTYPES)}"
        if dtype == "bf16" and not library.has_bf16():
            return "this CPU has no instructions for bf16"
        if dtype == "bf16" and (wide := {layer.op.name for layer in group.layers} - NARROW - MOVERS):
            return f"kernels of `{min(wide)}` are for f32"
        return ""

    def computes(self, layer: Layer, dtype: DType) -> bool:
        return dtype.name == "bf16" and layer.op.name in NARROW and library.has_bf16()

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        """Those that can be prepared: whether a primitive has a kernel for a problem, only making it tells. The library
        keeps what it has compiled, so that it is not compiled again by `prepare`."""
        found: list[tuple[Program, Tactic]] = []
        for name in () if self.refusal(problem.group) else TACTICS[problem.group.kind]:
            tactic = Tactic(name, numerics="reassociated")
            try:
                program = self.prepare(problem, tactic, device)
            except TacticError as e:
                _log.debug("%s %s: %s", problem, name, e)
            else:
                found.append((program, replace(tactic, workspace=program.workspace)))
        found.sort(key=lambda pair: not pair[0].is_favourite)
        layouts = (*problem.inputs, *problem.outputs)
        if sum(each.nbytes for each in layouts if not each.constant) <= SMALL:
            found.sort(key=lambda pair: len(pair[0]))
        return [tactic for _, tactic in found]

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> Program:
        write = TACTICS.get(problem.group.kind, {}).get(tactic.name)
        if write is None:
            raise TacticError(f"oneDNN has no tactic `{tactic.name}` for {problem.group.kind} groups")
        program = Program(problem, device)
        try:
            with one_thread() if program.alone else nullcontext():
                write(program)
        except (OneDnnError, Unfit) as e:
            raise TacticError(str(e)) from None
        return program


PROVIDER = OneDnnProvider()
