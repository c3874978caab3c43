"""What a pass is, and the driver that orders, repeats, bounds, traces and checks passes. A pass does none of
that itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Protocol

from trtn.backend.discovery import in_order, scan
from trtn.backend.passes.precision import PrecisionPass
from trtn.backend.passes.rules import verify as check_rules
from trtn.backend.passes.widening import CpuPrecisionPass, WideningPass
from trtn.dsl.network import Network, Precision

__all__ = ["Pass", "Progress", "Trace", "discover", "run_passes"]

Trace = Callable[[str, int, Network], None]
"""`trace(name of the pass, round, its result)`, called after each pass that changed something."""

Progress = Callable[[int, int], None]
"""`progress(passes done, passes in all)`, during the first round."""

_log = logging.getLogger(__name__)


class Pass(Protocol):
    """A module of this package that binds PASS to one of these is all that it takes.

    `run` gives a new network, or None where there was nothing to do. It may leave work that its own edits
    made: passes run again until none of them finds anything. Networks are immutable; the one that comes in
    stays as it is.
    """

    name: str
    after: frozenset[str]

    def run(self, network: Network) -> Network | None: ...


@cache
def discover(device: str = "cpu") -> tuple[Pass, ...]:
    """Every pass of this package that needs no parameters, in order; for a GPU those of `gpu` among them."""
    import trtn.backend.passes as package
    import trtn.backend.passes.gpu as gpu

    return in_order([*scan(package, "PASS"), *(scan(gpu, "PASS") if device.startswith("cuda") else ())])


def run_passes(
    network: Network,
    passes: Iterable[Pass] | None = None,
    *,
    precision: Precision | None = None,
    device: str | None = None,
    progress: Progress | None = None,
    trace: Trace | None = None,
    max_rounds: int = 8,
    verify: bool = False,
) -> Network:
    """The network after all passes (by default those that `discover` finds), repeated until nothing changes.

    With `precision`, its policy is written into the network once that point is reached, and the passes run
    again over what it made. With `device`, what only that device needs comes last, when dtypes are final: on a
    CPU what it has no narrow kernels for stays in f32 or becomes so, on a GPU the passes that only pay there join
    in. With `verify`, the IR's rules are checked after every change; a breach raises BrokenNetwork, which names
    pass and round.
    """
    ordered = in_order(discover() if passes is None else passes)
    network = _repeat(network, ordered, progress, trace, max_rounds, verify)
    if precision is not None:
        policy = CpuPrecisionPass if device == "cpu" else PrecisionPass
        ordered = in_order((*ordered, policy.of(precision)))
        network = _repeat(network, ordered, None, trace, max_rounds, verify)
    if passes is None and device == "cpu":
        network = _repeat(network, in_order((*discover(), WideningPass())), None, trace, max_rounds, verify)
    if passes is None and device is not None and discover(device) != discover():
        more = [p for p in discover(device) if p not in discover()]
        network = _repeat(network, in_order((*ordered, *more)), None, trace, max_rounds, verify)
    return network


def _repeat(
    network: Network,
    ordered: Sequence[Pass],
    progress: Progress | None,
    trace: Trace | None,
    max_rounds: int,
    verify: bool,
) -> Network:
    for number in range(1, max_rounds + 1):
        before = network
        for done, step in enumerate(ordered, 1):
            result = step.run(network)
            if progress is not None and number == 1:
                progress(done, len(ordered))
            if result is None:
                continue
            network = result
            _log.debug("round %d, %s: %d layers", number, step.name, len(network.layers))
            if verify:
                check_rules(network, f"after pass `{step.name}` in round {number}")
            if trace is not None:
                trace(step.name, number, network)
        if network is before:
            return network
    _log.warning("passes over `%s` still find work after %d rounds", network.name, max_rounds)
    return network
