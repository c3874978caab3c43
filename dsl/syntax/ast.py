"""The syntax tree of a spec and of a manifest. Every node keeps the offsets `start` and `end` of its text."""

from __future__ import annotations

from trtn.dsl.diagnostics import Source, Span
from trtn.dsl.records import entity
from trtn.dsl.syntax.names import split_path, type_words

__all__ = [
    "Annotation", "Assert", "Assign", "Binary", "Block", "BoolLit", "Call", "Carry", "DimDecl", "DimType", "Doc",
    "Expr", "Field", "FloatLit", "If", "Import", "Input", "IntLit", "Kwarg", "Let", "ListLit", "Loop", "Manifest",
    "Module", "NetworkDecl", "Node", "Output", "Param", "Plugin", "PluginWhere", "Precision", "Profile",
    "ProfileEntry", "Ref", "Repeat", "Return", "Scan", "ScanInput", "Sig", "SizeLit", "Statement", "StrLit",
    "Target", "TargetName", "TensorEntry", "TypeExpr", "Unary", "WeightFile", "WeightsDecl", "Yield",
]  # fmt: skip


@entity
class Node:
    start: int
    end: int

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.start}..{self.end}>"


# --- expressions -------------------------------------------------------------------------------------------------


@entity
class IntLit(Node):
    value: int


@entity
class FloatLit(Node):
    value: float
    text: str


@entity
class StrLit(Node):
    value: str


@entity
class BoolLit(Node):
    value: bool


@entity
class SizeLit(Node):
    """`4GiB`: a number of bytes."""

    value: int
    text: str


@entity
class Ref(Node):
    """A path: `x`, `p.fc1.weight`, `w.encoder.layer[i].q`, `layers[0].attn.out`."""

    name: str | None
    """The canonical text, without backticks: what a name is looked up by. None where an index is an expression."""
    spelled: tuple[str | Expr, ...] = ()
    """The parts, where the name does not tell them: there are backticks, or an index is an expression."""
    quoted: tuple[int, ...] = ()
    """The positions of parts that had backticks."""

    @property
    def parts(self) -> tuple[str | Expr, ...]:
        """Names, backticks taken off, and index expressions."""
        if self.spelled or self.name is None:
            return self.spelled
        return tuple(
            IntLit(self.start + start, self.start + end, part) if isinstance(part, int) else part
            for start, end, part, _ in split_path(self.name)
        )

    @property
    def root(self) -> str:
        """The first part, which is always a name."""
        root = self.spelled[0] if self.spelled or self.name is None else self.name.partition(".")[0].partition("[")[0]
        assert isinstance(root, str)
        return root


@entity
class Kwarg(Node):
    name: str
    value: Expr
    name_end: int = 0


@entity
class Call(Node):
    """`conv(x, w.conv1.weight, strides=[2, 2])`. The callee is an op, a block, a plugin or `alias.block`."""

    callee: Ref
    args: tuple[Expr, ...]
    kwargs: tuple[Kwarg, ...]


@entity
class ListLit(Node):
    items: tuple[Expr, ...]


@entity
class Binary(Node):
    """op: + - * / // % @ ** < <= > >= == !="""

    op: str
    left: Expr
    right: Expr


@entity
class Unary(Node):
    """op: -"""

    op: str
    operand: Expr


@entity
class DimType(Node):
    """A dim of a type: an expression, or `K in 0..N`, which names a data-dependent size and bounds it."""

    value: Expr
    low: Expr | None = None
    high: Expr | None = None


@entity
class TypeExpr(Node):
    """`f32[N, 3, 224, 224]`; a scalar is `f32[]`. `dtype` may be a dtype variable in a signature. Also an expression:
    an attribute of type dtype is written as a bare name (a Ref), not as a TypeExpr."""

    dtype: str
    spelled: tuple[DimType, ...] = ()
    """The dims of a type that is not plain."""
    plain: str = ""
    """The text of a plain type: its dims are names and integers, and nodes are made of them when somebody asks."""

    @property
    def dims(self) -> tuple[DimType, ...]:
        return tuple(map(self._dim, type_words(self.plain)[1:])) if self.plain else self.spelled

    def _dim(self, word: tuple[int, int, str]) -> DimType:
        start, end, text = self.start + word[0], self.start + word[1], word[2]
        return DimType(start, end, IntLit(start, end, int(text)) if text.isdigit() else Ref(start, end, text))


Expr = IntLit | FloatLit | StrLit | BoolLit | SizeLit | Ref | Call | ListLit | Binary | Unary

# --- statements --------------------------------------------------------------------------------------------------


@entity
class Annotation(Node):
    """`@precision(f32)`, `@onnx("/encoder/layer.0/MatMul")`, above a statement."""

    name: str
    args: tuple[Expr, ...]


@entity
class TargetName(Node):
    """A name that a statement binds: an identifier, a path with literal indexes (`layers[0].attn.out`), or `_`."""

    name: str
    """Canonical text of the path, without backticks: `layers[0].attn.out`. A backticked name is taken as it stands."""
    quoted: bool = False


@entity
class Assign(Node):
    """`a, b = value : type, type`."""

    targets: tuple[TargetName, ...]
    value: Expr | If | Scan | Loop
    types: tuple[TypeExpr, ...] = ()
    annotations: tuple[Annotation, ...] = ()


@entity
class Carry(Node):
    """`h = h0` in a carry list: the name inside the body and the initial value."""

    name: str
    initial: Expr


@entity
class Repeat(Node):
    """`repeat i in 0..12 carry x, y as layer { .. }`: unrolled when the spec is elaborated."""

    variable: str
    low: Expr
    high: Expr
    carry: tuple[TargetName, ...]
    label: str | None
    body: tuple[Statement, ...]
    annotations: tuple[Annotation, ...] = ()


@entity
class If(Node):
    """`if cond { .. yield a } else { .. yield b }`, the right side of an assignment. cond: bool[]."""

    condition: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@entity
class ScanInput(Node):
    """`x_t = x axis 1 reverse` in an `over` list: a slice's name inside the body, and the tensor it is cut from."""

    name: str
    tensor: Expr
    axis: int = 0
    reverse: bool = False


@entity
class Scan(Node):
    """`scan over x_t = x, m_t = m carry h = h0, c = c0 { h = ..  c = ..  yield h }`. Results: the final carried values
    in order, then each yielded value stacked on axis 0."""

    inputs: tuple[ScanInput, ...]
    carry: tuple[Carry, ...]
    body: tuple[Statement, ...]


@entity
class Loop(Node):
    """`loop i in 0..limit max 64 carry h = h0, go = go0 while go { .. yield y }`. `limit` is a dim expression or an i64[]
    tensor; `max` is required unless limit is an integer literal. `while` names a carried bool[]. `variable` is an i64[]
    tensor inside the body. Results: the final carried values, then each yielded value stacked."""

    variable: str
    limit: Expr
    maximum: Expr | None
    carry: tuple[Carry, ...]
    condition: str | None
    body: tuple[Statement, ...]
    condition_start: int = 0


@entity
class Yield(Node):
    """Last statement of an if, scan or loop body."""

    values: tuple[Expr, ...]


@entity
class Return(Node):
    """Last statement of a block."""

    values: tuple[Expr, ...]


@entity
class Let(Node):
    """`let D = 768`: a compile-time value (integer, float, string, bool, list, dim expression)."""

    name: str
    value: Expr


@entity
class Assert(Node):
    """`assert B * S <= 32768, "token budget"`: a relation over dims and compile-time values."""

    relation: Expr
    message: str | None


Statement = Assign | Repeat | Let | Assert | Yield | Return

# --- declarations ------------------------------------------------------------------------------------------------


@entity
class Import(Node):
    path: str
    alias: str
    path_start: int = 0
    path_end: int = 0


@entity
class WeightsDecl(Node):
    """`weights w = "bert.weights.trtn"`."""

    alias: str
    path: str
    path_start: int = 0
    path_end: int = 0


@entity
class Param(Node):
    """A parameter. Those for tensors (before `*`) have `type`, others a `kind`: weights, int, float, str, bool, dtype,
    ints, floats."""

    name: str
    type: TypeExpr | None
    kind: str | None = None
    default: Expr | None = None


@entity
class Sig(Node):
    """`(x: T[B, S], *, p: weights, act: str = "gelu") -> T[B, S]`; several results as `-> (a: T[..], b: T[..])`."""

    tensors: tuple[Param, ...]
    attrs: tuple[Param, ...]
    results: tuple[TypeExpr, ...]
    result_names: tuple[str, ...] = ()


@entity
class Block(Node):
    name: str
    sig: Sig
    body: tuple[Statement, ...]
    doc: str | None = None
    name_start: int = 0
    name_end: int = 0


@entity
class PluginWhere(Node):
    """`where T in {f16, bf16}`."""

    variable: str
    dtypes: tuple[str, ...]


@entity
class Plugin(Node):
    name: str
    sig: Sig
    where: tuple[PluginWhere, ...] = ()
    fields: tuple[Field, ...] = ()
    name_start: int = 0
    name_end: int = 0


@entity
class Doc(Node):
    text: str


@entity
class DimDecl(Node):
    """`dim S in 8..512 step 8` (both ends included)."""

    name: str
    low: Expr
    high: Expr
    step: Expr | None = None


@entity
class Input(Node):
    name: str
    type: TypeExpr
    name_end: int = 0


@entity
class Output(Node):
    name: str
    type: TypeExpr
    name_end: int = 0


@entity
class NetworkDecl(Node):
    name: str
    members: tuple[Doc | DimDecl | Input | Output | Statement, ...]
    name_start: int = 0
    name_end: int = 0


@entity
class ProfileEntry(Node):
    """`S: min 64, opt 256, max 512`; the name is a dim, or an input whose values are read as a shape (then lists)."""

    name: str
    minimum: Expr
    optimum: Expr
    maximum: Expr
    name_end: int = 0


@entity
class Profile(Node):
    name: str
    network: str
    entries: tuple[ProfileEntry, ...]
    name_start: int = 0
    name_end: int = 0
    network_start: int = 0
    network_end: int = 0


@entity
class Precision(Node):
    """`precision { default f16  keep f32 for [softmax, layer_norm] }`."""

    default: str | None
    keep: tuple[tuple[str, tuple[str, ...]], ...]


@entity
class Field(Node):
    """A field of a target or a plugin: `workspace 4GiB`, `device cuda:sm_90` (a StrLit), `profiles [a, b]`, a name
    (a Ref)."""

    name: str
    value: Expr | Precision
    name_end: int = 0


@entity
class Target(Node):
    name: str
    fields: tuple[Field, ...]
    name_start: int = 0
    name_end: int = 0


# --- manifests ---------------------------------------------------------------------------------------------------


@entity
class WeightFile(Node):
    """`file f0 = "bert.safetensors" size 438MB sha256:5d8b..`; size and digest are optional."""

    name: str
    path: str
    size: SizeLit | IntLit | None = None
    digest: str | None = None
    path_start: int = 0
    path_end: int = 0
    digest_start: int = 0
    digest_end: int = 0


@entity
class TensorEntry(Node):
    """`tensor a.b[0].c: f16[3, 4] = f0["key"] transpose sha256:77aa..` or `= zeros`, `= normal(7, 0.02)`. Either `file` is
    set (with `key`, None meaning the tensor's own name), or `generator` (a name) with `args`."""

    name: str
    type: TypeExpr
    file: str | None = None
    key: str | None = None
    transpose: bool = False
    offset: int | None = None
    generator: str | None = None
    args: tuple[Expr, ...] = ()
    digest: str | None = None
    name_end: int = 0
    source_start: int = 0
    source_end: int = 0
    digest_start: int = 0
    digest_end: int = 0


@entity
class Manifest(Node):
    name: str
    files: tuple[WeightFile, ...]
    tensors: tuple[TensorEntry, ...]


# --- a file ------------------------------------------------------------------------------------------------------


@entity
class Module(Node):
    """A parsed file. Where the text had errors, what could be read of it is here all the same."""

    source: Source
    edition: int
    items: tuple[Import | WeightsDecl | Plugin | Block | NetworkDecl | Profile | Target | Manifest, ...]
    comments: tuple[tuple[int, int], ...] = ()

    def span(self, node: Node) -> Span:
        return Span(self.source, node.start, node.end)
