"""What an expression or a statement is elaborated in: the file, the network under construction, names, the path so
far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtn.dsl.builder import Builder
from trtn.dsl.diagnostics import Label, Sink, Span
from trtn.dsl.dtypes import DType
from trtn.dsl.elaborate.values import Scope
from trtn.dsl.network import Tensor
from trtn.dsl.ops.infer import InferFailure
from trtn.dsl.syntax.ast import Node

if TYPE_CHECKING:
    from trtn.dsl.elaborate.modules import Unit

__all__ = ["EXPANSION_LIMIT", "NESTING_LIMIT", "Context", "ExpansionLimit", "Shared"]

EXPANSION_LIMIT = 100_000
"""How many statements the blocks and repeats of a network may expand to."""
FINDINGS_LIMIT = 10_000
"""After how many findings the rest of a network is left alone."""
ADVICE_LIMIT = 100
"""For how many findings a near name is looked for: it takes a look at every name there is."""
NESTING_LIMIT = 64
"""How deep blocks may call blocks."""


class ExpansionLimit(Exception):
    """The network grew over the limit; reported already."""


@dataclass(slots=True)
class Shared:
    """What all contexts of one network share."""

    builder: Builder
    sink: Sink
    limit: int = EXPANSION_LIMIT
    expanded: int = 0
    failures: int = 0
    """How often something could not be done, reported once or not."""
    reported: set[tuple[str, str, int, int]] = field(default_factory=set)
    weights: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    missing_groups: set[tuple[int, str]] = field(default_factory=set)
    """Groups of weights that are not there, and that a finding is about: a table's id, a path."""
    named_dims: set[str] = field(default_factory=set)
    """The data-dependent dims that the text has named."""


@dataclass(slots=True)
class Context:
    """Where elaboration stands. `prefix` and `suffix` make a name's path: `layer[3].` + `h`, or `x` + `[3]`."""

    unit: Unit
    shared: Shared
    scope: Scope
    prefix: str = ""
    suffix: str = ""
    stack: tuple[str, ...] = ()
    precision: DType | None = None
    source: str = ""
    unrolled: bool = False
    """Whether this is a round of a `repeat`."""

    @property
    def builder(self) -> Builder:
        return self.shared.builder

    def path(self, name: str) -> str:
        return f"{self.prefix}{name}{self.suffix}"

    def dim_path(self, name: str) -> str:
        """The dim that a data-dependent size is called by: each expansion of the text has its own."""
        return self.path(name) if self.stack or self.unrolled else name

    def within(self, scope: Scope | None = None, *, prefix: str | None = None, suffix: str | None = None) -> Context:
        # Several a statement: the constructor takes a sixth of the time of `replace`.
        return Context(
            self.unit,
            self.shared,
            scope or self.scope,
            self.prefix if prefix is None else prefix,
            self.suffix if suffix is None else suffix,
            self.stack,
            self.precision,
            self.source,
            self.unrolled,
        )

    def span(self, node: Node) -> Span:
        return Span(self.unit.source, node.start, node.end)

    def advice(self, near: Callable[[], str]) -> str:
        """What `near` says; nothing where there are so many findings that nobody reads the advice."""
        return near() if len(self.shared.reported) < ADVICE_LIMIT else ""

    def pace(self, statement: Node) -> None:
        """Stop where there are more findings than anybody reads."""
        if len(self.shared.reported) >= FINDINGS_LIMIT:
            message = f"more than {FINDINGS_LIMIT} findings; the network is not checked from here on"
            self.error("E0107", message, self.span(statement))
            raise ExpansionLimit

    def count(self, statement: Node) -> None:
        """Count a statement that an expansion made."""
        self.pace(statement)
        self.shared.expanded += 1
        if self.shared.expanded > self.shared.limit:
            self.error(
                "E0211",
                f"the network expands to more than {self.shared.limit} statements",
                self.span(statement),
                help="raise the limit with `--max-expansion`",
            )
            raise ExpansionLimit

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        labels: Sequence[Label] = (),
        notes: Sequence[str] = (),
        help: str = "",  # noqa: A002 - the word that every compiler prints
    ) -> None:
        """Report once for a place, however often it is expanded."""
        self.shared.failures += 1
        key = (code, span.source.path, span.start, span.end)
        if key in self.shared.reported:
            return
        self.shared.reported.add(key)
        where = self.path("").strip(".")
        if where and self.stack:
            notes = (*notes, f"in `{where}`, expanded from {' > '.join(f'`{s}`' for s in self.stack)}")
        self.shared.sink.error(code, message, span, labels=tuple(labels), notes=tuple(notes), help=help)

    def refuse(
        self,
        failure: InferFailure,
        span: Span,
        inputs: Sequence[tuple[Span, Tensor | None]],
        attrs: Mapping[str, Span],
    ) -> None:
        """Report a layer that can't be right, pointing at the parts of the call that are to blame."""
        if failure.attr is not None and failure.attr in attrs:
            span = attrs[failure.attr]
        elif len(failure.inputs) == 1 and failure.inputs[0] < len(inputs):
            span = inputs[failure.inputs[0]][0]
        labels = [
            Label(inputs[n][0], type_label(inputs[n][1]))
            for n in failure.inputs
            if len(failure.inputs) > 1 and n < len(inputs) and inputs[n][1] is not None
        ]
        self.error(failure.code, failure.message, span, labels=labels, notes=failure.notes, help=failure.cure)


def type_label(tensor: Tensor | None) -> str:
    """A tensor's type for the margin, with the manifest's line where it is a weight."""
    if tensor is None:
        return ""
    weight = tensor.weight
    if weight is not None and weight.span is not None:
        return f"{tensor.type}, {weight.span.source.path}:{weight.span.line}"
    return str(tensor.type)
