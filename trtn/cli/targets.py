"""What to build for: the options that say it, and the target of the spec that stands behind them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trtn.cli.failures import usage_error

if TYPE_CHECKING:
    from trtn.dsl.network import Network, Target

__all__ = ["Building", "TargetOption", "file_of", "only_target"]

TargetOption = Annotated[
    str | None,
    typer.Option("--target", metavar="NAME", help="Which target. Default: the network's only one, if it has one."),
]


@dataclass(frozen=True, slots=True)
class Building:
    """How to build. Options win over what the target says."""

    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="The device: `cpu`, `cuda`, `cuda:sm_90`."),
    ] = None
    precision: Annotated[
        str | None, typer.Option("--precision", metavar="DTYPE", help="What float layers compute in: f32, f16, bf16.")
    ] = None
    profile: Annotated[
        list[str] | None,
        typer.Option("--profile", metavar="NAME", help="Serve this profile; may be repeated. Default: all."),
    ] = None
    effort: Annotated[
        int | None,
        typer.Option(
            "--effort",
            min=0,
            max=5,
            metavar="N",
            help="How long to look for the fastest tactics: 0 (nothing is timed) to 5. Default: 3 on a GPU, 0 on a CPU.",
        ),
    ] = None

    def arguments(self, target: Target | None) -> dict[str, Any]:
        """For `build`, `plan_build` and `check_lock`."""
        return {
            "device": self.device or (target.device if target is not None else None),
            "precision": self.precision or (target.precision if target is not None else None),
            "profiles": self.profile or (target.profiles or None if target is not None else None),
            "effort": self.effort,
            "target": target.name if target is not None else "",
        }

    @property
    def written(self) -> str:
        """The options as they stand on a command line, each with a blank in front."""
        given = [("device", self.device), ("precision", self.precision), ("effort", self.effort)]
        given += [("profile", name) for name in self.profile or ()]
        return "".join(f" --{name} {value}" for name, value in given if value is not None)


def file_of(target: Target | None, field: str, spec: str) -> str | None:
    """The path of a target's `lock` or `output`, which lies relative to the spec."""
    path = getattr(target, field, None)
    return os.path.join(os.path.dirname(spec), path) if path else None


def only_target(network: Network, device: str | None) -> Target | None:
    """The target where nobody names one: the only one, those for another device than the wanted one left out."""
    fitting = [
        t
        for t in network.targets
        if device is None or t.device is None or t.device.split(":")[0] == device.split(":")[0]
    ]
    if len(fitting) > 1:
        names = ", ".join(t.name for t in fitting)
        raise usage_error(f"the network has several targets: {names}; say which with `--target`")
    return fitting[0] if fitting else None
