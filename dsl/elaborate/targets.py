"""Targets: what to build, for which device, in which precision, with which profiles."""

from __future__ import annotations

import re
from typing import Any

from trtn.dsl.diagnostics import Sink, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.elaborate.modules import Unit
from trtn.dsl.network import Network, Precision, Target
from trtn.dsl.ops.base import catalogue, find_op
from trtn.dsl.syntax import ast

__all__ = ["elaborate_target", "target_network"]

FIELDS = ("network", "profiles", "device", "precision", "workspace", "lock", "output")
_DEVICE = re.compile(r"cpu|cuda(:sm_\d+a?)?")


def target_network(decl: ast.Target) -> str | None:
    """The network that a target names, or None."""
    for item in decl.fields:
        if item.name == "network" and isinstance(item.value, ast.Ref):
            return item.value.root
    return None


def elaborate_target(unit: Unit, decl: ast.Target, network: Network, sink: Sink) -> Target | None:
    """The target, where it is for this network (or names none), or None; what is wrong with it is reported."""
    named = target_network(decl)
    if named is not None and named != network.name:
        return None
    name_span = Span(unit.source, decl.name_start, decl.name_end)
    values: dict[str, Any] = {"name": decl.name, "span": name_span}
    good = True
    seen: set[str] = set()
    for item in decl.fields:
        span = Span(unit.source, item.start, item.name_end or item.end)
        if item.name not in FIELDS:
            sink.error(
                "E0421",
                f"a target has no field `{item.name}`",
                span,
                help=did_you_mean(item.name, FIELDS) or f"fields: {', '.join(FIELDS)}",
            )
            good = False
        elif item.name in seen:
            sink.error("E0202", f"`{item.name}` is given twice", span)
            good = False
        elif item.name != "network":
            good &= _field(unit, decl, item, network, values, sink)
        seen.add(item.name)
    if named is None:
        sink.error("E0421", f"target `{decl.name}` names no network", name_span, help=f"add `network {network.name}`")
        good = False
    return Target(**values) if good else None


def _field(unit: Unit, decl: ast.Target, item: ast.Field, network: Network, values: dict[str, Any], sink: Sink) -> bool:
    value = item.value
    span = Span(unit.source, value.start, value.end)
    match item.name, value:
        case "device", ast.StrLit() | ast.Ref():
            device = value.value if isinstance(value, ast.StrLit) else ".".join(str(p) for p in value.parts)
            if not _DEVICE.fullmatch(device):
                sink.error(
                    "E0422",
                    f"no device is called `{device}`",
                    span,
                    help="devices: `cpu`, `cuda`, `cuda:sm_90`",
                )
                return False
            values["device"] = device
        case (("lock" | "output"), ast.StrLit()):
            values[item.name] = value.value
        case "workspace", ast.SizeLit() | ast.IntLit():
            values["workspace"] = value.value
        case "profiles", ast.ListLit():
            return _profiles(unit, value, network, values, sink)
        case "precision", ast.Precision():
            return _precision(value, values, span, sink)
        case "precision", ast.Ref() if value.root in BY_NAME:
            values["precision"] = Precision(BY_NAME[value.root])
        case _:
            kinds = {
                "device": "a device", "lock": "a string", "output": "a string", "workspace": "a size like 4GiB",
                "profiles": "a list of profiles", "precision": "`{ default f16  keep f32 for [softmax] }`",
            }  # fmt: skip
            sink.error("E0421", f"`{item.name}` of target `{decl.name}` is {kinds[item.name]}", span)
            return False
    return True


def _profiles(unit: Unit, value: ast.ListLit, network: Network, values: dict[str, Any], sink: Sink) -> bool:
    names = []
    declared = {p.name for p in unit.profiles if p.network == network.name}
    good = True
    for item in value.items:
        name = item.root if isinstance(item, ast.Ref) else ""
        if name not in declared:
            where = Span(unit.source, item.start, item.end)
            sink.error(
                "E0422",
                f"network `{network.name}` has no profile `{name}`",
                where,
                help=did_you_mean(name, sorted(declared)),
            )
            good = False
        names.append(name)
    values["profiles"] = tuple(names)
    return good


def _precision(value: ast.Precision, values: dict[str, Any], span: Span, sink: Sink) -> bool:
    def dtype(name: str) -> DType | None:
        found = BY_NAME.get(name)
        if found is None or not found.is_float:
            sink.error(
                "E0422",
                f"`{name}` is no float dtype",
                span,
                help=did_you_mean(name, [d for d in BY_NAME if BY_NAME[d].is_float]),
            )
            return None
        return found

    default = dtype(value.default) if value.default is not None else None
    good = value.default is None or default is not None
    keep: dict[str, DType] = {}
    for name, ops in value.keep:
        kept = dtype(name)
        good &= kept is not None
        for op in ops:
            if find_op(op) is None:
                sink.error("E0422", f"no op is called `{op}`", span, help=did_you_mean(op, list(catalogue())))
                good = False
            elif kept is not None:
                keep[op] = kept
    values["precision"] = Precision(default, keep)
    return good
