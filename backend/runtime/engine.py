"""An engine: a plan with its weights, immutable, shared by any number of contexts and threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device, find_device
from trtn.backend.group import Group
from trtn.backend.plan.arena import Arena
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.points import likely_sizes
from trtn.backend.plan.storage import StoragePlan, plan_storage
from trtn.backend.providers import ArrayProvider, ImageProvider, find_provider, reference_provider
from trtn.backend.runtime.context import Context
from trtn.backend.runtime.io import IOTensor, describe_io, refuse
from trtn.backend.runtime.kernels import Kernels
from trtn.backend.runtime.weights import Weights
from trtn.backend.tuner.choice import UNTUNED, Choice, TunedPoint
from trtn.dsl.diagnostics import Diagnostic, Severity
from trtn.dsl.errors import BuildError, EngineError
from trtn.dsl.network import Network, Profile, ProfileRange, Tensor

__all__ = ["Engine", "default_profile", "storage_on", "untuned_warning"]

NONE: Mapping[BinaryKey, memoryview] = MappingProxyType({})
MULTIPLYING = ("attention", "conv", "gemm", "recurrent", "reference", "region")
"""The kinds of groups whose evaluation by the array namespace multiplies matrices."""


class Engine:
    """Built by `trtn.build` or read by `trtn.load_engine`. `run` may be called from any thread."""

    def __init__(
        self,
        network: Network,
        groups: Sequence[Group],
        points: Sequence[TunedPoint],
        provenance: Mapping[str, Any],
        *,
        hardware: Device | None = None,
        threads: int | None = None,
        compiled: Mapping[BinaryKey, memoryview] = NONE,
        trusted: bool = False,
    ) -> None:
        self.network = network
        self.groups = tuple(groups)
        self.points = tuple(points)
        """The tuned points: each group's choice for the sizes that were tuned for."""
        self.provenance = dict(provenance)
        chosen = sorted({c.provider for p in self.points for c in p.choices})  # those have to be imported anyway
        providers = [*chosen, *_names(self.provenance.get("providers"))]
        self.storage = storage_on(self.device, network, self.groups, providers)
        self._hardware = hardware
        self._threads = threads
        self.compiled = compiled
        """Compiled kernels that its file has."""
        self.trusted = trusted
        """Whether these are used."""
        self._others: dict[int, Engine] = {}
        """This engine for other numbers of threads: kernels are made for one."""
        self.kernels = Kernels(self)
        self.weight_arrays = Weights(self)
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
        """The device that it runs on, the builder's where it was just built. Raises EngineError where this machine
        doesn't have it."""
        if self._hardware is not None:
            return self._hardware
        try:
            device = find_device(self.device, self._threads)
        except BuildError as e:
            raise _not_here(self, e) from None
        if self.trusted:
            device.binaries.hold(self.compiled)
        return device

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """The shapes that it serves. Where the spec has no profile, there is one over the dims' whole ranges."""
        if self.network.profiles:
            return self.network.profiles
        return (default_profile(self.network),)

    @cached_property
    def inputs(self) -> tuple[IOTensor, ...]:
        return tuple(describe_io(t, self.profiles) for t in self.network.inputs)

    @cached_property
    def outputs(self) -> tuple[IOTensor, ...]:
        return tuple(describe_io(t, self.profiles) for t in self.network.outputs)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Each group's choice at the first tuned point, the optimum of the first profile."""
        return self.points[0].choices

    @property
    def untuned(self) -> int:
        """How many steps run by the first tactic that there is, since the device was not there when they were
        planned."""
        return sum(any(p.choices[n].tactic == UNTUNED for p in self.points) for n in range(len(self.groups)))

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The constant tensors of the plan, each once."""
        return self.network.weights

    @cached_property
    def steps_by(self) -> Mapping[str, bool]:
        """What its steps are run by, as `Device.running` asks: kernels of libraries, or the array namespace where it
        multiplies matrices."""
        chosen = {(g.kind, c.provider) for p in self.points for g, c in zip(self.groups, p.choices, strict=True)}
        reference = reference_provider().name
        # Asking a provider loads its library, and with it the pool that `Device.running` has to find.
        others = [p for p in map(find_provider, {name for _, name in chosen} - {reference}) if p is not None]
        return {
            "compiled": any(p.unavailable(self.device) is None for p in others),
            "arrays": any(isinstance(p, ArrayProvider) for p in others)
            or any(name == reference and kind in MULTIPLYING for kind, name in chosen),
        }

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

    def create_context(self, profile: str | None = None, stream: Any = None, threads: int | None = None) -> Context:
        """A context of its own memory. `profile` holds it to one profile; without it, shapes decide. `stream` is for
        GPUs, `threads`, the number of threads that a run takes where it is not to be the engine's, for CPUs."""
        if profile is not None and all(p.name != profile for p in self.profiles):
            raise refuse(
                "E0706",
                f"the engine has no profile `{profile}`",
                cure=f"it has {', '.join(f'`{p.name}`' for p in self.profiles)}",
            )
        if self.device == "cpu":
            return Context(self if threads is None else self._with_threads(threads), profile)
        from trtn.backend.runtime.cuda import CudaContext

        return CudaContext(self, profile, stream)

    def _with_threads(self, threads: int) -> Engine:
        with self._lock:
            if threads not in self._others:
                device = find_device("cpu", threads)
                if self.trusted:
                    device.binaries.hold(self.compiled)
                self._others[threads] = Engine(self.network, self.groups, self.points, self.provenance, hardware=device)
            return self._others[threads]

    def save(self, path: str | Path, *, kernels: bool = False) -> None:
        """Write the engine file. An existing file is replaced only when the new one is complete.

        kernels: whether compiled kernels go into it, so that whoever trusts the file need not compile them.
        Some libraries don't compile the same code to the same bytes.
        Raises EngineError.
        """
        from trtn.backend.engine.writing import save_engine

        save_engine(self, path, kernels=kernels)

    def __repr__(self) -> str:
        return f"<engine {self.name}: {len(self.groups)} steps on {self.device}>"


def _not_here(engine: Engine, error: BuildError) -> EngineError:
    """Why an engine does not run on this machine, and what to do."""
    from trtn.backend.devices.cuda import unavailable

    if engine.device == "cpu" or unavailable() is not None:
        return EngineError(str(error), error.diagnostics)
    here = find_device("cuda").name
    message = f"engine `{engine.name}` is for {engine.device}, the GPU here is {here}"
    cure = f"build it from its spec for this GPU: `trtn build SPEC --device {here}`"
    return EngineError(message, [Diagnostic("E0702", message, help=cure)])


def storage_on(device: str, network: Network, groups: Sequence[Group], providers: Iterable[str]) -> StoragePlan:
    """Where values live on a device: a pure function, which an engine file can't get wrong. On a CPU images are
    channels last where one of the providers, given by name, has convolutions for that; the reference has no use for
    it."""
    used = device != "cpu" or any(isinstance(find_provider(name), ImageProvider) for name in providers)
    return plan_storage(network, groups, plan_orders(groups) if used else {})


def untuned_warning(engine: Engine) -> Diagnostic:
    """What is to be said of an engine that was planned without its device."""
    return Diagnostic(
        "W0703",
        f"{engine.untuned} of {len(engine.groups)} steps of engine `{engine.name}` are not tuned for {engine.device}",
        severity=Severity.WARNING,
        help="build it on that device, or anywhere with a lock that was written there (`trtn build --lock`)",
    )


def default_profile(network: Network) -> Profile:
    """All that the dims may be; best at what they probably are."""
    likely = likely_sizes(network)
    return Profile("default", {n: ProfileRange(r.low, likely[n], r.high) for n, r in network.dims.items()})


def _names(providers: object) -> list[str]:
    """The providers that an engine was built with, as its provenance says."""
    return [str(name) for name in providers] if isinstance(providers, Mapping) else []
