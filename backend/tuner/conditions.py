"""Under which conditions tactics are timed on a device: what times are good for is part of the key they are kept by."""

from __future__ import annotations

from trtn.backend.devices import Device
from trtn.backend.problem import Problem
from trtn.backend.tuner.bench import Bench, BenchMaker, CpuBench
from trtn.dsl.network import Network

__all__ = ["conditions"]

COLD = 2
"""A network's weights are cold in each layer where they take more than a `COLD`-th of the L2 cache."""


def conditions(device: Device, network: Network) -> tuple[str, BenchMaker]:
    """What times of a network on a device are kept under, and the maker of benches."""
    if device.name == "cpu":
        return device.model, CpuBench
    cache = int(device.xp.cuda.Device().attributes["L2CacheSize"])
    weights = sum(t.weight.nbytes for t in network.weights if t.weight is not None)
    is_cold = weights > cache // COLD
    stream = device.xp.cuda.Stream(non_blocking=True)

    def make(problem: Problem, device: Device) -> Bench:
        from trtn.backend.tuner.gpu_bench import GpuBench

        return GpuBench(problem, device, stream, 2 * cache if is_cold else 0)

    return f"{device.model}, weights {'cold' if is_cold else 'warm'}", make
