"""Whether a new version of a spec breaks what relies on the old one: rules, each with a name and a class.

SOURCE: specs that import its blocks. ENGINE: programs that feed its engines, and builds that name its profiles and
targets. NUMERIC: whoever expects the same numbers. A rule is a function from the two versions to what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.network import Network, Target, Tensor
from trtn.dsl.review.allow import is_allowed
from trtn.dsl.review.compare import compare
from trtn.dsl.review.release import Release
from trtn.dsl.syntax import ast

__all__ = ["RULES", "Break", "Kind", "Rule", "breaks"]


T = TypeVar("T")


class Kind(StrEnum):
    SOURCE = "source"
    ENGINE = "engine"
    NUMERIC = "numeric"


CODES = {Kind.SOURCE: "E0911", Kind.ENGINE: "E0912", Kind.NUMERIC: "E0913"}


@dataclass(frozen=True, slots=True)
class Break:
    """What a rule finds: a message, and the key of the place in the new version (see `Release.places`)."""

    message: str
    key: tuple[str, ...]


Check = Callable[[Release, Release], Iterator[Break]]


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    kind: Kind
    check: Check

    @property
    def about(self) -> str:
        return (self.check.__doc__ or "").strip()


RULES: dict[str, Rule] = {}
"""All rules by name, in the order in which they are checked."""


def breaks(
    old: Release, new: Release, *, kinds: Collection[Kind] = tuple(Kind), ignore: Collection[str] = ()
) -> list[Diagnostic]:
    """What a new version breaks, as diagnostics that point into it. Lines of it may allow a rule by name:
    `# trtn: allow(INPUT_SAME_DTYPE)`."""
    found = []
    for rule in RULES.values():
        if rule.kind not in kinds or rule.name in ignore:
            continue
        for broken in rule.check(old, new):
            span = new.place(*broken.key)
            if not is_allowed(rule.name, span):
                notes = (f"{rule.name} ({rule.kind}): {rule.about[0].lower()}{rule.about[1:]}",)
                cure = f"if it is meant: `# trtn: allow({rule.name})` on this line, or `--ignore {rule.name}`"
                found.append(Diagnostic(CODES[rule.kind], broken.message, span, notes=notes, help=cure))
    return found


def _rule(kind: Kind) -> Callable[[Check], Check]:
    def declare(check: Check) -> Check:
        name = check.__name__.strip("_").upper()
        RULES[name] = Rule(name, kind, check)
        return check

    return declare


# --- what importing specs rely on ---


@_rule(Kind.SOURCE)
def block_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """A block that other specs may call stays."""
    for name in old.blocks:
        if name not in new.blocks:
            yield Break(f"block `{name}` is gone", ("block", name))


@_rule(Kind.SOURCE)
def block_same_parameters(old: Release, new: Release) -> Iterator[Break]:
    """Parameters keep their names, kinds and order; new ones have a default."""
    for name, (a, b) in _both(old.blocks, new.blocks):
        before, after = _parameters(old, a.sig), _parameters(new, b.sig)
        for p, text in before.items():
            if after.get(p) != text:
                now = f"is `{after[p]}`" if p in after else "is gone"
                yield Break(f"parameter `{p}` of block `{name}` was `{text}`, {now}", ("block", name))
        needed = {p.name for p in (*b.sig.tensors, *b.sig.attrs) if p.default is None}
        for p in after:
            if p not in before and p in needed:
                yield Break(f"block `{name}` has a new parameter `{p}` without a default", ("block", name))
        order = [p.name for p in a.sig.tensors if p.name in after], [p.name for p in b.sig.tensors if p.name in before]
        if order[0] != order[1]:
            yield Break(
                f"block `{name}` took its tensors as {', '.join(order[0])}, takes {', '.join(order[1])}",
                ("block", name),
            )


@_rule(Kind.SOURCE)
def block_same_results(old: Release, new: Release) -> Iterator[Break]:
    """A block gives as many results, of the same types."""
    for name, (a, b) in _both(old.blocks, new.blocks):
        before, after = ([release.text(r) for r in sig.results] for release, sig in ((old, a.sig), (new, b.sig)))
        if before != after:
            yield Break(f"block `{name}` gave {', '.join(before)}, gives {', '.join(after)}", ("block", name))


# --- what programs and builds rely on ---


@_rule(Kind.ENGINE)
def network_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """A network keeps its name."""
    for name in old.networks:
        if name not in new.networks:
            yield Break(f"network `{name}` is gone", ("network", name))


@_rule(Kind.ENGINE)
def input_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """An input that programs feed stays."""
    yield from _gone("input", old, new)


@_rule(Kind.ENGINE)
def input_no_add(old: Release, new: Release) -> Iterator[Break]:
    """No input is asked for that programs don't feed."""
    for n, (a, b) in _both(old.networks, new.networks):
        known = {t.name for t in a.inputs}
        for t in b.inputs:
            if t.name not in known:
                yield Break(f"input `{t.name}` is new: {t.type}", ("input", n, t.name))


@_rule(Kind.ENGINE)
def output_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """An output that programs read stays."""
    yield from _gone("output", old, new)


@_rule(Kind.ENGINE)
def input_same_dtype(old: Release, new: Release) -> Iterator[Break]:
    """An input keeps its dtype."""
    yield from _differ("input", old, new, lambda t: str(t.dtype))


@_rule(Kind.ENGINE)
def output_same_dtype(old: Release, new: Release) -> Iterator[Break]:
    """An output keeps its dtype."""
    yield from _differ("output", old, new, lambda t: str(t.dtype))


@_rule(Kind.ENGINE)
def input_same_rank(old: Release, new: Release) -> Iterator[Break]:
    """An input keeps its number of axes."""
    yield from _differ("input", old, new, lambda t: f"rank {t.rank}")


@_rule(Kind.ENGINE)
def output_same_rank(old: Release, new: Release) -> Iterator[Break]:
    """An output keeps its number of axes."""
    yield from _differ("output", old, new, lambda t: f"rank {t.rank}")


@_rule(Kind.ENGINE)
def input_same_shape(old: Release, new: Release) -> Iterator[Break]:
    """An input of the same rank keeps its sizes and its dims."""
    yield from _differ("input", old, new, _shape, same_rank=True)


@_rule(Kind.ENGINE)
def output_same_shape(old: Release, new: Release) -> Iterator[Break]:
    """An output of the same rank keeps its sizes and its dims."""
    yield from _differ("output", old, new, _shape, same_rank=True)


@_rule(Kind.ENGINE)
def output_same_order(old: Release, new: Release) -> Iterator[Break]:
    """Outputs that stay keep their order: programs may take them by position."""
    for n, (a, b) in _both(old.networks, new.networks):
        before, after = ([t.name for t in net.outputs] for net in (a, b))
        kept = [x for x in before if x in after], [x for x in after if x in before]
        if kept[0] != kept[1]:
            yield Break(f"the outputs were {', '.join(kept[0])}, are {', '.join(kept[1])}", ("network", n))


@_rule(Kind.ENGINE)
def dim_range_no_shrink(old: Release, new: Release) -> Iterator[Break]:
    """A dim takes every value that it took."""
    for n, (a, b) in _both(old.networks, new.networks):
        for name, (was, now) in _both(a.dims, b.dims):
            wider = now.low <= was.low and now.high >= was.high
            if not wider or (was.low - now.low) % now.step or was.step % now.step:
                yield Break(f"dim `{name}` was {was}, is {now}", ("dim", n, name))


@_rule(Kind.ENGINE)
def assert_no_add(old: Release, new: Release) -> Iterator[Break]:
    """No assert forbids shapes that were fine."""
    for n, (a, b) in _both(old.networks, new.networks):
        known = {str(x.relation) for x in a.asserts}
        for x in b.asserts:
            if str(x.relation) not in known:
                yield Break(f"the assert `{x.relation}` is new", ("network", n))


@_rule(Kind.ENGINE)
def profile_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """A profile keeps its name: contexts and targets ask for it."""
    for n, (a, b) in _both(old.networks, new.networks):
        known = {p.name for p in b.profiles}
        for p in a.profiles:
            if p.name not in known:
                yield Break(f"profile `{p.name}` is gone", ("profile", n, p.name))


@_rule(Kind.ENGINE)
def profile_range_no_shrink(old: Release, new: Release) -> Iterator[Break]:
    """A profile serves every shape that it served."""
    for n, (a, b) in _both(old.networks, new.networks):
        for name, (p, q) in _both({p.name: p for p in a.profiles}, {p.name: p for p in b.profiles}):
            for dim, (was, now) in _both(p.dims, q.dims):
                if now.minimum > was.minimum or now.maximum < was.maximum:
                    text = (
                        f"`{dim}` of profile `{name}` was {was.minimum}..{was.maximum}, is {now.minimum}..{now.maximum}"
                    )
                    yield Break(text, ("profile", n, name, dim))


@_rule(Kind.ENGINE)
def target_no_delete(old: Release, new: Release) -> Iterator[Break]:
    """A target keeps its name: build scripts ask for it."""
    before, after = ({t.name for net in r.networks.values() for t in net.targets} for r in (old, new))
    for name in sorted(before - after):
        yield Break(f"target `{name}` is gone", ("target", name))


@_rule(Kind.ENGINE)
def target_same_device(old: Release, new: Release) -> Iterator[Break]:
    """A target builds for the same device."""
    for name, (a, b) in _both(_targets(old), _targets(new)):
        if a.device != b.device:
            yield Break(f"target `{name}` was for {a.device}, is for {b.device}", ("target", name, "device"))


@_rule(Kind.ENGINE)
def plugin_same_version(old: Release, new: Release) -> Iterator[Break]:
    """A plugin keeps its version and its signature: engines hold the old one's name."""
    for name, (a, b) in _both(old.plugins, new.plugins):
        before, after = (" ".join(release.text(p).split()) for release, p in ((old, a), (new, b)))
        if before != after:
            yield Break(f"plugin `{name}` is declared otherwise", ("plugin", name))


# --- what whoever compares numbers relies on ---


@_rule(Kind.NUMERIC)
def target_same_precision(old: Release, new: Release) -> Iterator[Break]:
    """A target computes in the same dtypes."""
    for name, (a, b) in _both(_targets(old), _targets(new)):
        if a.precision != b.precision:
            yield Break(f"target `{name}` computes in other dtypes", ("target", name, "precision"))


@_rule(Kind.NUMERIC)
def weights_same(old: Release, new: Release) -> Iterator[Break]:
    """Weights keep their contents."""
    for n, (a, b) in _both(old.networks, new.networks):
        changes = [c for c in compare(a, b).of("weight") if c.is_semantic]
        if changes:
            count, first = sum(c.count for c in changes), changes[0].name
            yield Break(f"{count} of the weights of `{n}` changed, `{first}` first", ("network", n))


@_rule(Kind.NUMERIC)
def layers_same(old: Release, new: Release) -> Iterator[Break]:
    """Layers compute the same from the same."""
    for n, (a, b) in _both(old.networks, new.networks):
        changes = [c for c in compare(a, b).of("layer") if c.is_semantic]
        if changes:
            count = len({place for c in changes for place in (c.places or (c.name,))})
            yield Break(f"{count} of the layers of `{n}` changed, `{changes[0].name}` first", ("network", n))


# --- how rules look ---


def _both(old: Mapping[str, T], new: Mapping[str, T]) -> list[tuple[str, tuple[T, T]]]:
    return [(name, (value, new[name])) for name, value in old.items() if name in new]


def _gone(side: str, old: Release, new: Release) -> Iterator[Break]:
    for n, (a, b) in _both(old.networks, new.networks):
        kept = {t.name for t in _side(b, side)}
        for t in _side(a, side):
            if t.name not in kept:
                yield Break(f"{side} `{t.name}` is gone, it was {t.type}", (side, n, t.name))


def _differ(
    side: str, old: Release, new: Release, fact: Callable[[Tensor], str], same_rank: bool = False
) -> Iterator[Break]:
    for n, (a, b) in _both(old.networks, new.networks):
        for name, (t, u) in _both({t.name: t for t in _side(a, side)}, {t.name: t for t in _side(b, side)}):
            if fact(t) != fact(u) and (t.rank == u.rank or not same_rank):
                yield Break(f"{side} `{name}` was {fact(t)}, is {fact(u)}", (side, n, name))


def _side(network: Network, side: str) -> tuple[Tensor, ...]:
    return network.inputs if side == "input" else network.outputs


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _targets(release: Release) -> dict[str, Target]:
    return {t.name: t for net in release.networks.values() for t in net.targets}


def _parameters(release: Release, sig: ast.Sig) -> dict[str, str]:
    return {p.name: (release.text(p.type) if p.type is not None else p.kind or "") for p in (*sig.tensors, *sig.attrs)}
