"""What a provider is: a library or code generator that offers tactics for problems and makes kernels of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol, runtime_checkable

from trtn.backend.binaries import BinaryKey
from trtn.backend.blocking import Blocking
from trtn.backend.devices import Device
from trtn.backend.discovery import find, in_order, scan
from trtn.backend.group import Group
from trtn.backend.problem import ArrayLayout, Problem
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer
from trtn.dsl.records import record

__all__ = [
    "ArrayLayout",
    "ArrayProvider",
    "AssistedProvider",
    "BinaryKey",
    "BulkProvider",
    "Compiled",
    "Device",
    "ElasticProvider",
    "ForesightedProvider",
    "Group",
    "ImageProvider",
    "Launch",
    "NarrowProvider",
    "Prepared",
    "Problem",
    "Provider",
    "Repacking",
    "Tactic",
    "TacticError",
    "binaries_of",
    "discover",
    "find_provider",
    "prepare_all",
    "reference_provider",
]

Launch = Callable[[], None]
"""Runs a bound kernel once. On a GPU it only enqueues, on CuPy's current stream: no allocation, no waiting, so that it
can be recorded into a graph.

One that is nothing but calls of C functions may have them as its attribute `calls`: then they are made in one go with
those of the launches before and after it."""


class ForeignCall(NamedTuple):
    """A C function's address, and its arguments: whole numbers and pointers. It gives an int, 0 for success."""

    address: int
    arguments: tuple[int, ...]
    alone: bool = False
    """Whether the calling thread is to run OpenMP's regions by itself."""
    shared: bool | None = None
    """Whether a crew (`backend.devices.crew`) helps with it: its second argument is the crew's address. False: it may be
    called where there is one. None: not there, as it has threads of its own."""


@record()
class Tactic:
    """One way to run a problem. The name is stable text without blanks, from which the same kernel is made again:
    an engine id with its knobs, the fields of an algorithm, a family with its tile sizes."""

    name: str
    workspace: int = 0
    """Scratch memory in bytes as far as it is known before the tactic is prepared; near ties go to less of it."""
    numerics: str = "exact"
    """How its numbers relate to the reference's: `exact`, `reassociated` (sums in another order), or `reduced` (lower
    precision inside)."""


class TacticError(Exception):
    """A tactic can't be prepared for a problem; the message says why. Another one is taken then."""


class Prepared(Protocol):
    """A tactic made ready for a problem. Equal problems share one, also between contexts and threads: it is immutable
    but for weights that it packs when it is first bound to them (`Device.packed`)."""

    @property
    def workspace(self) -> int:
        """Bytes of scratch memory that a launch needs, 0 for none."""
        ...

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        """The launch for arrays that stay at their addresses: all lookups are done here. `workspace` is a uint8 array
        of the device, aligned to 256 bytes, of `workspace` bytes or more (None where that is 0); launches that come
        one after another share it, so nothing in it lasts."""
        ...


@runtime_checkable
class Compiled(Protocol):
    """A prepared tactic that runs compiled code, whose making is cut short where that is at hand (`Device.binaries`)."""

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        """The code. Asked for where a tactic is going to be run, not for all that are tried."""
        ...


@runtime_checkable
class Repacking(Protocol):
    """A prepared tactic that reads constant inputs in another order than the plain one, and in that alone."""

    @property
    def blockings(self) -> Mapping[int, Blocking]:
        """The order, by the input's number; `str` of it is the form's name that `Device.packed` is asked with. The
        packed array has the input's dtype."""
        ...


def binaries_of(kernels: Iterable[Prepared]) -> dict[BinaryKey, bytes]:
    """The compiled code of kernels that have some."""
    return {key: data for kernel in kernels if isinstance(kernel, Compiled) for key, data in kernel.binaries().items()}


class Provider(Protocol):
    """A module of this package that binds PROVIDER to one of these, and is called as it is, is all that it takes."""

    name: str
    after: frozenset[str]
    devices: frozenset[str]
    """The kinds of devices that it is for: `cpu`, `cuda`."""
    is_reference: bool
    """The one that takes every group, and whose results others are checked against."""

    def unavailable(self, device: str) -> str | None:
        """Why the provider can't be used on this machine and device, or None."""
        ...

    def version(self) -> str:
        """The version of the library behind it and of our own part, without blanks: timings and locks of another one
        don't count."""
        ...

    def refusal(self, group: Group) -> str:
        """Why it never runs a group, whatever the sizes; "" where it may."""
        ...

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        """The ways in which it runs a problem, the best guess first; more of them at a higher effort (0..5). Cheap:
        nothing is compiled here where that can be helped. Empty where it has none."""
        ...

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> Prepared:
        """Make a kernel. Raises TacticError where the tactic does not run this problem."""
        ...


@runtime_checkable
class BulkProvider(Protocol):
    """A provider that is faster at preparing many tactics at once."""

    def prepare_all(
        self, wanted: Sequence[tuple[Problem, Tactic]], device: Device
    ) -> Sequence[Prepared | TacticError]: ...


@runtime_checkable
class ForesightedProvider(Protocol):
    """A provider that can begin with tactics before they are asked for."""

    def announce(self, wanted: Sequence[tuple[Problem, Tactic]], device: Device) -> None:
        """These will probably be prepared soon; what was announced before no longer will."""
        ...


@runtime_checkable
class ElasticProvider(Protocol):
    """A provider with kernels that are there in milliseconds for new sizes."""

    def elastic(self, problem: Problem, chosen: Tactic | None, device: Device) -> Tactic | None:
        """Such a tactic for sizes for which nothing was timed; None where it has none, or none that would come near
        other providers'. `chosen` is the one of its own that was the fastest for sizes near these; None where another
        provider's was."""
        ...


@runtime_checkable
class NarrowProvider(Protocol):
    """A provider for CPUs with kernels over floats of fewer than 32 bits, for which the reference has none."""

    def computes(self, layer: Layer, dtype: DType) -> bool:
        """Whether a layer over such a dtype has a kernel on this machine."""
        ...


@runtime_checkable
class AssistedProvider(Protocol):
    """A provider whose answers depend on another one's being there."""

    def assisted(self) -> Provider:
        """As it is where the other one is there: what a plan for another machine asks."""
        ...


@runtime_checkable
class ArrayProvider(Protocol):
    """A provider for CPUs whose kernels multiply matrices through the array namespace, in threads of their own."""

    by_arrays: bool


@runtime_checkable
class ImageProvider(Protocol):
    """A provider for CPUs whose convolutions want images channels last."""

    channels_last: bool


def prepare_all(
    provider: Provider, wanted: Sequence[tuple[Problem, Tactic]], device: Device
) -> list[Prepared | TacticError]:
    """What `prepare` gives or raises for each of `wanted`."""
    if isinstance(provider, BulkProvider):
        return list(provider.prepare_all(wanted, device))
    results: list[Prepared | TacticError] = []
    for problem, tactic in wanted:
        try:
            results.append(provider.prepare(problem, tactic, device))
        except TacticError as e:
            results.append(e)
    return results


@cache
def discover() -> tuple[Provider, ...]:
    """Every provider of this package, those that the others come `after` first."""
    import trtn.backend.providers as package

    return in_order(scan(package, "PROVIDER"))


@cache
def find_provider(name: str) -> Provider | None:
    """The provider of that name, if there is one; the others' modules, and what those import, are left alone."""
    import trtn.backend.providers as package

    found: Provider | None = find(package, "PROVIDER", name)
    return found


def reference_provider() -> Provider:
    provider = find_provider("reference")
    assert provider is not None
    return provider
