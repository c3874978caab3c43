"""The road from a network to an engine, as a script: weights, passes, fusion, tactics, plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from trtn.backend.devices import find_device
from trtn.backend.fusion import partition
from trtn.backend.passes import run_passes
from trtn.backend.providers import discover
from trtn.backend.runtime.engine import Engine
from trtn.backend.tuner.lock import read_lock, write_lock
from trtn.backend.tuner.tuner import Tuner
from trtn.dsl.diagnostics import Diagnostic, Sink
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision
from trtn.dsl.version import VERSION

__all__ = ["Progress", "build"]

Progress = Callable[[str, int, int], None]
"""`progress(stage, done, total)`."""


def build(
    network: Network,
    *,
    device: str | None = None,
    precision: str | Precision | None = None,
    profiles: Sequence[str] | None = None,
    lock: str | Path | None = None,
    locked: bool = False,
    workspace: int | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Build an engine.

    network: a checked network (`trtn.load`, `trtn.import_onnx`).
    device: `cpu`, `cuda`, `cuda:sm_90`. Without it, the GPU where CuPy sees one, else the CPU.
    precision: the dtype that float layers compute in (`f32`, `f16`, `bf16`), or a policy; None keeps the network as
    written.
    profiles: the names of the profiles to serve; all by default.
    lock: a lock file; it is read where it exists and written anew. With `locked` it is only read, and a miss is an
    error.
    workspace: the most scratch memory, in bytes, that a step may take.
    progress: called as `progress(stage, done, total)`.
    Raises BuildError.
    """
    report = progress or (lambda stage, done, total: None)
    chosen = find_device(device).name
    network = _with_profiles(network, profiles)
    digest = _digest(network)
    _verify_weights(network, report)
    network = run_passes(
        network, precision=_precision(precision), progress=lambda done, total: report("passes", done, total)
    )
    groups = partition(network)
    network = replace(network, graph=replace(network.graph, layers=tuple(layer for g in groups for layer in g.layers)))
    held = read_lock(lock) if lock is not None and (locked or Path(lock).exists()) else None
    if locked and held is None:
        message = "a locked build needs a lock file"
        raise BuildError(
            message, [Diagnostic("E0708", message, help="name it with `--lock`, or as `lock` in the target")]
        )
    tuner = Tuner(discover(), chosen, held, locked=locked)
    choices = tuner.choose(groups, lambda done, total: report("tactics", done, total))
    if lock is not None and not locked:
        write_lock(lock, tuner.entries.values())
    engine = Engine(network, groups, choices, _provenance(chosen, digest, tuner))
    _check_workspace(engine, workspace)
    return engine


def _with_profiles(network: Network, names: Sequence[str] | None) -> Network:
    if names is None:
        return network
    known = {p.name: p for p in network.profiles}
    for name in names:
        if name not in known:
            message = f"network `{network.name}` has no profile `{name}`"
            raise BuildError(message, [Diagnostic("E0422", message, help=did_you_mean(name, list(known)))])
    return replace(network, profiles=tuple(known[n] for n in names))


def _precision(wanted: str | Precision | None) -> Precision:
    if wanted is None:
        return Precision()
    if isinstance(wanted, Precision):
        return wanted
    dtype: DType | None = BY_NAME.get(wanted)
    if dtype is None or dtype.name not in ("f64", "f32", "f16", "bf16"):
        message = f"precision `{wanted}` is not known"
        raise BuildError(message, [Diagnostic("E0422", message, help="precisions: f32, f16, bf16, f64")])
    return Precision(dtype)


def _digest(network: Network) -> str:
    from trtn.dsl.printer import network_digest

    return network_digest(network)


def _verify_weights(network: Network, report: Progress) -> None:
    """Compare every weight with the hash that its manifest gives."""
    from trtn.dsl.weights.verify import verify_weights

    weights = [t.weight for t in network.weights if t.weight is not None]
    sink = Sink()
    verify_weights(weights, sink, progress=lambda done, total: report("weights", done, total))
    if sink.has_errors:
        raise BuildError(sink.diagnostics[0].message, sink.diagnostics)


def _provenance(device: str, digest: str, tuner: Tuner) -> dict[str, object]:
    import numpy as np

    return {
        "device": device,
        "network": digest,
        "providers": {p.name: p.version() for p in tuner.providers},
        "tools": {"numpy": np.__version__, "trtn": VERSION},
    }


def _check_workspace(engine: Engine, workspace: int | None) -> None:
    if workspace is None:
        return
    for profile in engine.profiles:
        if engine.network.data_dims:
            return
        need = engine.arena(profile.corner("maximum")).nbytes
        if need > workspace:
            message = f"profile `{profile.name}` needs an arena of {need:,} bytes at max; the limit is {workspace:,}"
            raise BuildError(
                message, [Diagnostic("E0709", message, help="raise `workspace`, or lower the profile's max")]
            )
