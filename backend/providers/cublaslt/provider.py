"""Matrix products through cuBLASLt: linear, matmul and convolutions of one place, with their epilogues."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_void_p
from itertools import zip_longest

from trtn.backend.devices import Device
from trtn.backend.group import Group, make_group
from trtn.backend.problem import Problem, make_problem
from trtn.backend.providers.base import Prepared, Provider, Tactic, TacticError, find_provider
from trtn.backend.providers.cublaslt.attention import attention_refusal, attention_tactics, prepare_attention
from trtn.backend.providers.cublaslt.descriptors import AlgoFields, Candidate, Descriptors, Preference
from trtn.backend.providers.cublaslt.epilogue import Cut, cuts
from trtn.backend.providers.cublaslt.formulation import Formulation, formulations
from trtn.backend.providers.cublaslt.gemm import NoGemmError
from trtn.backend.providers.cublaslt.kernel import GemmKernel, Rest
from trtn.backend.providers.cublaslt.library import CublasLt, CublasLtError, library, unavailable
from trtn.backend.providers.cublaslt.products import refusal_of
from trtn.backend.providers.cublaslt.search import search

__all__ = ["PROVIDER", "CublasLtProvider"]

_log = logging.getLogger(__name__)

REVISION = "1"
"""Goes up with every change of what a tactic's name stands for."""
WORKSPACE = 32 << 20
"""Scratch memory that an algorithm may take: what NVIDIA advises for Hopper (cuBLAS documentation, cublasSetWorkspace)."""


class CublasLtProvider:
    """A tactic is named `kn.bias_relu.66.tile20.stages36`: the order of the right side in memory, the epilogue, the
    algorithm's id and those of its fields that are not the default. `tf32.` is in front where f32 is multiplied as
    TF32. After a `+` comes the tactic with which the rest of a group, what no epilogue of cuBLASLt does, is run over
    the result by generated code. `attention.` is followed by the names of its two products, with a `/` between them."""

    name = "cublaslt"
    after: frozenset[str] = frozenset({"reference", "codegen"})
    devices = frozenset({"cuda"})
    is_reference = False

    def __init__(
        self,
        load: Callable[[], CublasLt] = library,
        generated: Callable[[], Provider | None] = lambda: find_provider("codegen"),
        *,
        trusting: bool = False,
    ) -> None:
        """`trusting`: generated code counts as there, whether or not this machine can compile it."""
        self._load = load
        self._find_generated = generated
        self._trusting = trusting

    def assisted(self) -> CublasLtProvider:
        return CublasLtProvider(self._load, self._find_generated, trusting=True)

    def unavailable(self, device: str) -> str | None:
        return unavailable() if device.startswith("cuda") else "cuBLASLt runs on GPUs"

    def version(self) -> str:
        rest = self._generated()
        return f"{self._load().version}-{REVISION}" + (f"+{rest.version()}" if rest is not None else "")

    def refusal(self, group: Group) -> str:
        if group.kind == "attention":
            return attention_refusal(group) or ("" if self._generated() else "there is no generated code")
        reason = refusal_of(group)
        if reason or any(True for _ in self._cuts(group)):
            return reason
        ops = ", ".join(f"`{layer.op.name}`" for layer in group.layers[1:])
        return f"no epilogue of cuBLASLt or generated kernel for what follows: {ops}"

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        if self.refusal(problem.group):
            return ()
        if problem.group.kind == "attention":
            generated = self._generated()
            return attention_tactics(problem, device, effort, self, generated) if generated is not None else ()
        try:
            handle = self._handle(device)
        except CublasLtError as e:
            _log.warning("cuBLASLt can't be used on %s: %s", device.name, e)
            return ()
        for cut, plans in self._plans(problem):
            lists = [self._candidates(plan, handle, effort) for plan in plans]
            turns = [(p, c) for turn in zip_longest(*lists) for p, c in zip(plans, turn, strict=True) if c is not None]
            rest = self._rest_tactic(problem, cut, device)
            if turns and rest is not None:
                return [_tactic(plan, chosen, rest) for plan, chosen in turns]
        return ()

    def elastic(self, problem: Problem, chosen: Tactic | None, device: Device) -> Tactic | None:
        """The library's own guess for these sizes, which beats what is best for others. Attention is several products:
        nothing for whom another way was faster. In f32 another one's may have been allowed to use TF32."""
        if problem.group.kind == "attention" or (chosen is None and problem.outputs[0].dtype.name == "f32"):
            return chosen
        in_tf32 = chosen is not None and chosen.name.startswith("tf32.")
        alike = (t for t in self.tactics(problem, device, 0) if t.name.startswith("tf32.") == in_tf32)
        return next(alike, chosen)

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> Prepared:
        reason = self.refusal(problem.group)
        if reason:
            raise TacticError(reason)
        generated = self._generated()
        if problem.group.kind == "attention" and generated is not None:
            return prepare_attention(problem, tactic, device, self, generated)
        head, _, name = tactic.name.partition("+")
        try:
            plan, fields = self._parse(problem, head)
            handle = self._handle(device)
            chosen = self._described(plan).candidate(handle, fields)
        except (ValueError, CublasLtError) as e:
            raise TacticError(f"{tactic.name}: {e}") from None
        rest = self._rest_kernel(problem, plan.cut, name, device)
        return GemmKernel(self._load(), handle, plan, chosen, device, rest)

    def _handle(self, device: Device) -> c_void_p:
        return self._load().handle(device.xp.cuda.runtime.getDevice())

    def _parse(self, problem: Problem, text: str) -> tuple[Formulation, AlgoFields]:
        """What a tactic's name stands for, up to its rest. Raises ValueError."""
        for _, plans in self._plans(problem):
            for plan in plans:
                if text.startswith(f"{plan.name}."):
                    return plan, AlgoFields.parse(text.removeprefix(f"{plan.name}."))
        raise ValueError("the problem has no such form")

    def _plans(self, problem: Problem) -> Iterator[tuple[Cut, list[Formulation]]]:
        """The cuts of a problem that are products for its layouts."""
        for cut in self._cuts(problem.group):
            try:
                plans = formulations(problem, cut)
            except NoGemmError:
                continue
            yield cut, plans

    def _cuts(self, group: Group) -> Iterator[Cut]:
        """The cuts of a group whose rest somebody can run."""
        for cut in cuts(group):
            provider = self._generated() if cut.rest else None
            if not cut.rest or (provider is not None and not provider.refusal(_rest_group(cut))):
                yield cut

    def _generated(self) -> Provider | None:
        found = self._find_generated()
        is_there = found is not None and (self._trusting or found.unavailable("cuda") is None)
        return found if is_there else None

    def _described(self, plan: Formulation) -> Descriptors:
        described = Descriptors(self._load(), plan.gemm, plan.numbers, plan.cut.fused.mode)
        if plan.bias is not None:
            described.set_bias(plan.bias_alignment)  # nobody reads there: an address as aligned as the real one will be
        return described

    def _candidates(self, plan: Formulation, handle: c_void_p, effort: int) -> list[Candidate]:
        preference = Preference(WORKSPACE, plan.numbers.reductions, plan.alignments)
        return search(self._described(plan), handle, preference, effort)

    def _rest_tactic(self, problem: Problem, cut: Cut, device: Device) -> Tactic | None:
        """The tactic for a cut's rest, its name to be appended; None where there is none for these sizes."""
        if not cut.rest:
            return Tactic("")
        provider = self._generated()
        found = provider.tactics(_rest_problem(problem, cut), device, 0) if provider is not None else ()
        return Tactic(f"+{found[0].name}", found[0].workspace) if found else None

    def _rest_kernel(self, problem: Problem, cut: Cut, name: str, device: Device) -> Rest | None:
        """The kernel for a cut's rest by the tactic `name`. Raises TacticError."""
        provider = self._generated() if cut.rest else None
        if (provider is None) == bool(name):
            raise TacticError(f"`{name}` is not what is left to do")
        if provider is None:
            return None
        rest = _rest_problem(problem, cut)
        kernel = provider.prepare(rest, Tactic(name), device)
        number = {id(t): n for n, t in enumerate(problem.group.inputs)}
        return Rest(kernel, [number.get(id(t)) for t in rest.group.inputs])


PROVIDER = CublasLtProvider()


def _tactic(plan: Formulation, chosen: Candidate, rest: Tactic) -> Tactic:
    """An algorithm for a plan, and what runs the rest, as one tactic."""
    name = f"{plan.name}.{chosen.fields}{rest.name}"
    return Tactic(name, max(chosen.workspace, rest.workspace), "reduced" if plan.numbers.name else "reassociated")


def _rest_group(cut: Cut) -> Group:
    return make_group("pointwise", cut.rest, {id(cut.rest[-1].output)})


def _rest_problem(problem: Problem, cut: Cut) -> Problem:
    """A cut's rest as a problem of its own; the product's result lies where the group's result will."""
    group = _rest_group(cut)
    inputs = [problem.outputs[0] if t is cut.result else problem.layout(t) for t in group.inputs]
    return make_problem(group, problem.sizes, inputs, problem.outputs)
