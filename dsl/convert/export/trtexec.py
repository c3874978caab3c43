"""`trtexec_command`: how TensorRT's own tool builds the exported model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from trtn.dsl.dims import evaluate
from trtn.dsl.network import Network, Profile, ProfileRange

__all__ = ["trtexec_command"]


def trtexec_command(network: Network, path: str, *, profile: str | None = None) -> str:
    """The command line that builds the model at `path`: with the shapes of a profile where there are open dims.

    profile: its name, by default the network's first; without profiles the dims' ranges are taken, for the fastest
    engine at their upper ends. Raises KeyError where the network has no profile of that name.
    """
    words = ["trtexec", f"--onnx={path}"]
    chosen = _profile(network, profile)
    for option, which in (("minShapes", "minimum"), ("optShapes", "optimum"), ("maxShapes", "maximum")):
        shapes = list(_shapes(network, chosen, which))
        if shapes:
            words.append(f"--{option}={','.join(shapes)}")
    stem = path.removesuffix(".onnx")
    words.append(f"--saveEngine={stem}.plan" if profile is None else f"--saveEngine={stem}.{profile}.plan")
    return shlex.join(words)


def _profile(network: Network, name: str | None) -> Profile:
    if name is not None:
        return {p.name: p for p in network.profiles}[name]
    if network.profiles:
        return network.profiles[0]
    return Profile("", {n: ProfileRange(r.low, r.last, r.last) for n, r in network.dims.items()})


def _shapes(network: Network, profile: Profile, which: str) -> Sequence[str]:
    """`name:1x3x224x224` for each input with open dims; of one that is read as a shape, its elements."""
    sizes: Mapping[str, int] = profile.corner(which)
    found = []
    for t in network.inputs:
        name = f"'{t.name}'" if set(t.name) & set(":,'*") else t.name
        if t.name in profile.values:
            elements: Sequence[int] = [getattr(r, which) for r in profile.values[t.name]]
        elif all(isinstance(d, int) for d in t.shape):
            continue
        else:
            elements = [evaluate(d, sizes) for d in t.shape]
        found.append(f"{name}:{'x'.join(map(str, elements))}")
    return found
