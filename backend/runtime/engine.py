"""An engine: a plan with its weights, immutable, shared by any number of contexts and threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trtn.backend.devices import Device, find_device
from trtn.backend.group import Group
from trtn.backend.plan.arena import Arena
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.storage import StoragePlan, plan_storage
from trtn.backend.providers import Kernel, Tactic, find_provider
from trtn.backend.runtime.context import Context
from trtn.backend.runtime.io import IOTensor, describe_io, refuse
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError, EngineError
from trtn.dsl.network import Network, Profile, ProfileRange, Tensor

__all__ = ["Choice", "Engine"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The tactic that runs a group, and how it was decided: `only`, `lock`, `measured`, `cache`."""

    provider: str
    tactic: str
    origin: str = "only"


class Engine:
    """Built by `trtn.build` or read by `trtn.load_engine`. `run` may be called from any thread."""

    def __init__(
        self,
        network: Network,
        groups: Sequence[Group],
        choices: Sequence[Choice],
        provenance: Mapping[str, Any],
    ) -> None:
        self.network = network
        self.groups = tuple(groups)
        self.choices = tuple(choices)
        self.provenance = dict(provenance)
        orders = plan_orders(self.groups) if self.device != "cpu" else {}
        self.storage: StoragePlan = plan_storage(network, self.groups, orders)
        self._idle: list[Context] = []
        self._lock = threading.Lock()

    # --- what it is ---

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def device(self) -> str:
        return str(self.provenance.get("device", "cpu"))

    @cached_property
    def hardware(self) -> Device:
        """The device that it runs on. Raises EngineError where this machine doesn't have it."""
        try:
            return find_device(self.device)
        except BuildError as e:
            raise EngineError(str(e), e.diagnostics) from None

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """The shapes that it serves. Where the spec has no profile, there is one over the dims' whole ranges."""
        if self.network.profiles:
            return self.network.profiles
        return (Profile("default", {n: ProfileRange(r.low, r.low, r.high) for n, r in self.network.dims.items()}),)

    @cached_property
    def inputs(self) -> tuple[IOTensor, ...]:
        return tuple(describe_io(t, self.profiles) for t in self.network.inputs)

    @cached_property
    def outputs(self) -> tuple[IOTensor, ...]:
        return tuple(describe_io(t, self.profiles) for t in self.network.outputs)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The constant tensors of the plan, each once."""
        return self.network.weights

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The groups' kernels, made by their providers when first needed."""
        kernels = []
        for group, choice in zip(self.groups, self.choices, strict=True):
            provider = find_provider(choice.provider)
            if provider is None or provider.unavailable(self.device) is not None:
                why = provider.unavailable(self.device) if provider is not None else "this version does not have it"
                message = f"group `{group.name}` needs provider `{choice.provider}`: {why}"
                raise EngineError(message, [Diagnostic("E0702", message)])
            if all(t.name != choice.tactic for t in provider.tactics(group)):
                message = f"provider `{choice.provider}` has no tactic `{choice.tactic}` for group `{group.name}`"
                raise EngineError(message, [Diagnostic("E0703", message)])
            kernels.append(provider.compile(group, Tactic(choice.tactic), self.hardware))
        return tuple(kernels)

    @cached_property
    def weight_arrays(self) -> dict[int, Any]:
        """The weights as read-only arrays by tensor id; of a loaded engine they are mapped, not copied."""
        return {id(t): self.hardware.upload(_load(t)) for t in self.weights}

    def weight_array(self, tensor: Tensor) -> Any:
        """One weight's values as a NumPy array; read anew where the engine has not run yet, so that saving never holds
        them all."""
        loaded = self.__dict__.get("weight_arrays") if self.device == "cpu" else None
        return _load(tensor) if loaded is None else loaded[id(tensor)]

    def arena(self, sizes: Mapping[str, int]) -> Arena:
        """The arena's offsets, size and lower bound for given values of the dims."""
        return self.storage.layout(sizes)

    # --- what it does ---

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name for feeds by name (NumPy in, NumPy out). Raises ShapeError for feeds that don't fit."""
        with self._lock:
            context = self._idle.pop() if self._idle else None
        context = context or self.create_context()
        try:
            return context.run(feeds)
        finally:
            with self._lock:
                self._idle.append(context)

    def create_context(self, profile: str | None = None, stream: Any = None) -> Context:
        """A context of its own memory. `profile` holds it to one profile; without it, shapes decide. `stream` is for
        GPUs."""
        if profile is not None and all(p.name != profile for p in self.profiles):
            raise refuse(
                "E0706",
                f"the engine has no profile `{profile}`",
                cure=f"it has {', '.join(f'`{p.name}`' for p in self.profiles)}",
            )
        if self.device == "cpu":
            return Context(self, profile)
        from trtn.backend.runtime.cuda import CudaContext

        return CudaContext(self, profile, stream)

    def save(self, path: str | Path) -> None:
        """Write the engine file. An existing file is replaced only when the new one is complete. Raises EngineError."""
        from trtn.backend.engine.file import save_engine

        save_engine(self, path)

    def __repr__(self) -> str:
        return f"<engine {self.name}: {len(self.groups)} steps on {self.device}>"


def _load(tensor: Tensor) -> Any:
    assert tensor.weight is not None
    return tensor.weight.load()
