"""Names in the text. Loading calls a tensor by the name that is written for it, with the path of its body in front."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from trtn.dsl.dims import symbols
from trtn.dsl.network import Network, Tensor
from trtn.dsl.printer.literals import DimWriter
from trtn.dsl.syntax.names import is_plain_name, quote_name

__all__ = ["Names", "Scope"]

_MARK = re.compile(r"\.(?:then|else|body)\.")
_ROOT = re.compile(r"[.\[]")


@dataclass(slots=True)
class Scope:
    """The names of one body. `prefix` is what loading puts in front of them: `y.then.`; "" at the top."""

    prefix: str = ""
    outer: Scope | None = None
    taken: set[str] = field(default_factory=set)
    texts: dict[int, str] = field(default_factory=dict)

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def is_taken(self, name: str) -> bool:
        return any(name in scope.taken for scope in self.chain())

    def text(self, tensor: Tensor) -> str | None:
        """How a tensor is written here; None for one that no statement has made."""
        return next((scope.texts[id(tensor)] for scope in self.chain() if id(tensor) in scope.texts), None)


class Names:
    """Gives tensors their names in the text.

    `paths` holds the names that the loaded network's tensors will have: a second one would get another.
    """

    def __init__(self, network: Network) -> None:
        ports = [t.name for t in network.inputs]
        self.inputs = frozenset(ports)
        self.outputs = frozenset(t.name for t in network.outputs)
        self.paths: set[str] = set(ports)
        self._entered: set[str] = set()
        self.dims = DimWriter(_renamed_dims(network, {*ports, *self.outputs}))
        self.top = Scope(taken={self.dims.plain(n) for n in (*network.dims, *network.data_dims)})

    def weights_alias(self) -> str:
        """A name for the manifest that hides no tensor, known once all of them have their names."""
        roots = {_ROOT.split(name, maxsplit=1)[0] for name in self._entered} | self.top.taken
        return next(alias for alias in _aliases() if alias not in roots)

    # --- binding: first a name is chosen, then, below the statement, it is visible ---

    def choose(self, scope: Scope, tensor: Tensor, *, plain: bool = False) -> str:
        """A name for a tensor made in `scope`: its own where that is free. `plain`: it must be an identifier."""
        return self.fresh(scope, _wanted(scope, tensor, plain))

    def fresh(self, scope: Scope, wanted: str) -> str:
        """A free name, `wanted` or with a number behind it. It is reserved."""
        name = self._free(scope, wanted)
        self.paths.add(scope.prefix + name)
        return name

    def rebind(self, scope: Scope, name: str) -> str:
        """Note that the loader makes one more tensor of this name (a carried one, one called `_`) and numbers it."""
        self._unique(scope.prefix + name)
        return name

    def output(self, scope: Scope, tensor: Tensor) -> str:
        """An output's own name; where an input has the same, one until the tensor is bound to it at the very end."""
        if tensor.name in self.inputs:
            return self.fresh(scope, f"{tensor.name}.out")
        self.paths.add(tensor.name)
        return tensor.name

    def enter(self, scope: Scope, tensor: Tensor, name: str) -> None:
        """From here on the tensor is written so."""
        self._entered.add(name)
        scope.taken.add(name)
        scope.texts[id(tensor)] = quote_name(name)

    def _free(self, scope: Scope, wanted: str) -> str:
        name, number = wanted, 2
        while scope.is_taken(name) or scope.prefix + name in self.paths or scope.prefix + name in self.outputs:
            name = f"{wanted}_{number}"
            number += 1
        return name

    def _unique(self, path: str) -> None:
        candidate, number = path, 2
        while candidate in self.paths:
            candidate = f"{path}_{number}"
            number += 1
        self.paths.add(candidate)


def _wanted(scope: Scope, tensor: Tensor, plain: bool) -> str:
    """A tensor's own name, seen from its body. A name that comes from another body's loses that body's path."""
    name = tensor.name
    if scope.prefix:
        name = name.removeprefix(scope.prefix) if name.startswith(scope.prefix) else _inside(name)
    return _identifier(name) if plain else name or "t"


def _identifier(name: str) -> str:
    """The last part of a name as an identifier."""
    if is_plain_name(name):
        return name
    last = re.split(r"[./:]", name.rstrip("./:"))[-1]
    word = re.sub(r"\W+", "_", last, flags=re.ASCII).strip("_") or "t"
    return word if is_plain_name(word) else f"t{word}"


def _inside(path: str) -> str:
    """A name without the path of the body that it is in."""
    return _MARK.split(path)[-1]


def _aliases() -> Iterator[str]:
    yield "w"
    yield "weights"
    number = 2
    while True:
        yield f"w{number}"
        number += 1


def _renamed_dims(network: Network, ports: set[str]) -> Mapping[str, str]:
    """New names for the dims that an input or output is called by: they keep theirs."""
    renamed: dict[str, str] = {}
    names = {*network.dims, *network.data_dims, *_used(network.inputs)}
    for name in sorted(names & ports):
        new, number = f"{name}_dim", 2
        while new in names or new in ports or new in renamed.values():
            new, number = f"{name}_dim{number}", number + 1
        renamed[name] = new
    return renamed


def _used(tensors: Sequence[Tensor]) -> set[str]:
    return {s for t in tensors for d in t.shape for s in symbols(d)}
