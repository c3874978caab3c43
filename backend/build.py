"""The road from a network to an engine, as a script: weights, passes, fusion, tactics, plan."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from trtn.backend.devices import Device, find_device
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.passes import run_passes
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.points import tuned_points
from trtn.backend.problem import Problem
from trtn.backend.providers import Provider, discover
from trtn.backend.runtime.engine import Engine, default_profile, storage_on, untuned_warning
from trtn.backend.tuner.ahead import AheadTuner
from trtn.backend.tuner.cache import TimingCache
from trtn.backend.tuner.choice import TunedPoint
from trtn.backend.tuner.conditions import conditions
from trtn.backend.tuner.effort import EFFORTS, default_effort
from trtn.backend.tuner.lock import Lock, Section, lock_digest, lock_error, read_lock, write_lock
from trtn.backend.tuner.lock_check import require_dependencies
from trtn.backend.tuner.tuner import Tuner
from trtn.backend.user_cache import cache_folder
from trtn.dsl.diagnostics import Diagnostic, Sink
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision
from trtn.dsl.version import VERSION

__all__ = ["Progress", "build", "policy_of", "tuning_effort", "with_profiles"]

_log = logging.getLogger(__name__)

ARCHITECTURE = re.compile(r"cuda:sm_\d+[a-z]?")
CORNER_EFFORT = 2
"""The effort for min and max of profiles, at most."""
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
    target: str | None = None,
    workspace: int | None = None,
    effort: int | None = None,
    tf32: bool = False,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    diagnose: Callable[[Diagnostic], None] | None = None,
) -> Engine:
    """Build an engine.

    network: a checked network (`trtn.load`, `trtn.import_onnx`).
    device: `cpu`, `cuda`, `cuda:sm_90`. Without it, the GPU where CuPy sees one, else the CPU. For an architecture that
    is not here nothing is timed: the engine has the lock's tactics; those that it lacks stay open until it runs.
    precision: the dtype that float layers compute in (`f32`, `f16`, `bf16`), or a policy; None keeps the network as
    written.
    profiles: the names of the profiles to serve; all by default.
    lock: a lock file; it is read where it exists and written anew. With `locked` it is only read, and a miss is an
    error, as is an import, manifest or plugin that differs from what the lock states.
    target: the name under which the lock keeps the tactics; the device's by default.
    workspace: the most memory, in bytes, that a step may take for itself, and that the arena of the values between
    steps may take at max of each profile. Weights, inputs and outputs don't count.
    effort: how long to look for the fastest tactics, 0 (nothing is timed) to 5 (everything is); 3 on a GPU, 0 on a
    CPU without it.
    tf32: whether f32 products may be computed in TF32 (10 bits of mantissa) on tensor cores.
    providers: the names of the providers that may run groups beside the reference; all that are here by default. Without any
        the CPU computes in the dtypes that the network is written in, however slow.
    threads: how many threads a run on the CPU takes; TRTN_NUM_THREADS without it, else what its libraries take.
    progress: called as `progress(stage, done, total)`.
    diagnose: called with each warning; without it they are logged.
    Raises BuildError.
    """
    report = progress or (lambda stage, done, total: None)
    chosen, name = _device(device, threads)
    network = with_profiles(network, profiles)
    digest = _digest(network)
    _verify_weights(network, report)
    network = run_passes(
        network,
        precision=policy_of(precision),
        # The reference alone rounds where the network says so: it is what others are compared with.
        device=None if name == "cpu" and providers is not None and not providers else name,
        progress=lambda done, total: report("passes", done, total),
    )
    groups = partition(network, device=name)
    network = replace(network, graph=replace(network.graph, layers=tuple(layer for g in groups for layer in g.layers)))
    held = _held(network, lock, locked)
    section = target or name
    entries, level = held.section(section).entries, tuning_effort(effort, name)
    tuner: Tuner | AheadTuner
    if chosen is None:
        tuner = AheadTuner(_providers(providers), name, entries, locked=locked)
        points = _tune(tuner, network, groups, report, locked)
    else:
        kept_under, bench = conditions(chosen, network)
        tuner = Tuner(
            _providers(providers),
            chosen,
            bench,
            cache=TimingCache(cache_folder(), kept_under),
            lock=entries,
            effort=level,
            locked=locked,
            workspace=workspace,
            reduced=tf32,
            checked=chosen.name != "cpu",
        )
        with chosen.running(compiled=True, arrays=True):
            points = _tune(tuner, network, groups, report, locked)
        if lock is not None and not locked:
            versions = {"trtn": VERSION, **tuner.versions}
            held = held.with_section(section, Section(name, versions, tuner.entries))
            write_lock(lock, held.with_dependencies(network.dependencies))
    engine = Engine(network, groups, points, _provenance(name, digest, tuner.versions, lock), hardware=chosen)
    engine.kernels.adopt(tuner.prepared)
    if chosen is not None and engine.device != "cpu" and level:
        engine.kernels.foresee()
    _check_workspace(engine, workspace)
    for warning in (*tuner.warnings, *([untuned_warning(engine)] if engine.untuned else [])):
        (diagnose or _log_warning)(warning)
    return engine


def _device(wanted: str | None, threads: int | None) -> tuple[Device | None, str]:
    """The device and its name; no device where a GPU is named by its architecture that is not here."""
    try:
        found = find_device(wanted, threads)
    except BuildError:
        if wanted is None or not ARCHITECTURE.fullmatch(wanted):
            raise
        return None, wanted
    return found, found.name


def _held(network: Network, lock: str | Path | None, locked: bool) -> Lock:
    """The lock as it is. Raises BuildError where `locked` and it is missing, or states other files than the spec's."""
    if not locked:
        return read_lock(lock) if lock is not None and Path(lock).exists() else Lock()
    if lock is None:
        raise lock_error("a locked build needs a lock file", "name it with `--lock`, or as `lock` in the target")
    held = read_lock(lock)
    require_dependencies(held, network.dependencies)
    return held


def _providers(wanted: Sequence[str] | None) -> Sequence[Provider]:
    found = discover()
    if wanted is None:
        return found
    names = [p.name for p in found]
    for name in wanted:
        if name not in names:
            message = f"no provider is called `{name}`"
            raise BuildError(message, [Diagnostic("E0422", message, help=did_you_mean(name, names))])
    return [p for p in found if p.is_reference or p.name in wanted]


def _tune(
    tuner: Tuner | AheadTuner, network: Network, groups: Sequence[Group], report: Progress, locked: bool
) -> list[TunedPoint]:
    """The choices at each tuned point, with less effort at the corners of profiles. Corners that no address space has
    room for are left out: nothing runs there. Where `locked`, nothing is timed, and what the lock misses is said of all
    points at once."""
    device = tuner.device
    storage = storage_on(device.name, network, groups, tuner.versions)
    optima, corners = tuned_points(network.profiles)
    optima = optima or [default_profile(network).corner("optimum")]
    points: list[TunedPoint] = []
    stages = [("tactics", optima, tuner.effort), ("tactics for min and max", corners, min(tuner.effort, CORNER_EFFORT))]
    if locked:
        stages = [("tactics", [*optima, *corners], tuner.effort)]
    for stage, wanted, level in stages:
        planned: list[tuple[Mapping[str, int], Sequence[Problem | None]]] = []
        for sizes in wanted:
            try:
                planned.append((sizes, plan_problems(network, groups, storage, sizes, device.alignment)))
            except MemoryError as e:
                if sizes in optima:
                    message = f"there is no room for the arrays at {dict(sizes)}: {e}"
                    raise BuildError(message, [Diagnostic("E0709", message)]) from None
        progress = partial(report, stage)
        choices = iter(tuner.choose([p for _, problems in planned for p in problems], progress, level))
        points += [TunedPoint(sizes, tuple(islice(choices, len(problems)))) for sizes, problems in planned]
    return points


def tuning_effort(wanted: int | None, device: str) -> int:
    if wanted is None:
        return default_effort(device)
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 0 <= wanted < len(EFFORTS):
        message = f"effort `{wanted}` is not one of 0 to {len(EFFORTS) - 1}"
        raise BuildError(message, [Diagnostic("E0422", message)])
    return wanted


def _log_warning(warning: Diagnostic) -> None:
    _log.warning("%s", warning)


def with_profiles(network: Network, names: Sequence[str] | None) -> Network:
    if names is None:
        return network
    known = {p.name: p for p in network.profiles}
    for name in names:
        if name not in known:
            message = f"network `{network.name}` has no profile `{name}`"
            raise BuildError(message, [Diagnostic("E0422", message, help=did_you_mean(name, list(known)))])
    return replace(network, profiles=tuple(known[n] for n in names))


def policy_of(wanted: str | Precision | None) -> Precision:
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


def _provenance(device: str, digest: str, versions: Mapping[str, str], lock: str | Path | None) -> dict[str, object]:
    import numpy as np

    found: dict[str, object] = {
        "device": device,
        "network": digest,
        "providers": dict(versions),
        "tools": {"numpy": np.__version__, "trtn": VERSION},
    }
    if lock is not None and Path(lock).exists():
        found["lock"] = lock_digest(lock)
    return found


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
