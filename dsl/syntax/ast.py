"""The syntax tree of a spec and of a manifest. Every node keeps the offsets `start` and `end` of its text."""

from __future__ import annotations

from dataclasses import dataclass, field

from trtn.dsl.diagnostics import Source, Span

__all__ = [
    "Annotation", "Assert", "Assign", "Binary", "Block", "BoolLit", "Call", "Carry", "DimDecl", "DimType", "Doc",
    "Expr", "Field", "FloatLit", "If", "Import", "Input", "IntLit", "Kwarg", "Let", "ListLit", "Loop", "Manifest",
    "Module", "NetworkDecl", "Node", "Output", "Param", "Plugin", "PluginWhere", "Precision", "Profile",
    "ProfileEntry", "Ref", "Repeat", "Return", "Scan", "ScanInput", "Sig", "SizeLit", "Statement", "StrLit",
    "Target", "TargetName", "TensorEntry", "TypeExpr", "Unary", "WeightFile", "WeightsDecl", "Yield",
]  # fmt: skip


@dataclass(slots=True)
class Node:
    start: int
    end: int


# --- expressions -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class IntLit(Node):
    value: int


@dataclass(slots=True)
class FloatLit(Node):
    value: float
    text: str


@dataclass(slots=True)
class StrLit(Node):
    value: str


@dataclass(slots=True)
class BoolLit(Node):
    value: bool


@dataclass(slots=True)
class SizeLit(Node):
    """`4GiB`: a number of bytes."""

    value: int
    text: str


@dataclass(slots=True)
class Ref(Node):
    """A path: `x`, `p.fc1.weight`, `w.encoder.layer[i].q`, `layers[0].attn.out`. A part is a name or an index
    expression.

    Backticks are already taken off the names; `quoted` holds the positions of parts that had them.
    """

    parts: tuple[str | Expr, ...]
    quoted: tuple[int, ...] = ()


@dataclass(slots=True)
class Kwarg(Node):
    name: str
    value: Expr
    name_end: int = 0


@dataclass(slots=True)
class Call(Node):
    """`conv(x, w.conv1.weight, strides=[2, 2])`. The callee is an op, a block, a plugin or `alias.block`."""

    callee: Ref
    args: tuple[Expr, ...]
    kwargs: tuple[Kwarg, ...]


@dataclass(slots=True)
class ListLit(Node):
    items: tuple[Expr, ...]


@dataclass(slots=True)
class Binary(Node):
    """op: + - * / // % @ ** < <= > >= == !="""

    op: str
    left: Expr
    right: Expr


@dataclass(slots=True)
class Unary(Node):
    """op: -"""

    op: str
    operand: Expr


@dataclass(slots=True)
class DimType(Node):
    """A dim of a type: an expression, or `K in 0..N`, which names a data-dependent size and bounds it."""

    value: Expr
    low: Expr | None = None
    high: Expr | None = None


@dataclass(slots=True)
class TypeExpr(Node):
    """`f32[N, 3, 224, 224]`; a scalar is `f32[]`. `dtype` may be a dtype variable in a signature. Also an expression:
    an attribute of type dtype is written as a bare name (a Ref), not as a TypeExpr."""

    dtype: str
    dims: tuple[DimType, ...]


Expr = IntLit | FloatLit | StrLit | BoolLit | SizeLit | Ref | Call | ListLit | Binary | Unary

# --- statements --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Annotation(Node):
    """`@precision(f32)`, `@onnx("/encoder/layer.0/MatMul")`, above a statement."""

    name: str
    args: tuple[Expr, ...]


@dataclass(slots=True)
class TargetName(Node):
    """A name that a statement binds: an identifier, a path with literal indexes (`layers[0].attn.out`), or `_`."""

    name: str
    """Canonical text of the path, without backticks: `layers[0].attn.out`. A backticked name is taken as it stands."""
    quoted: bool = False


@dataclass(slots=True)
class Assign(Node):
    """`a, b = value : type, type`."""

    targets: tuple[TargetName, ...]
    value: Expr | If | Scan | Loop
    types: tuple[TypeExpr, ...] = ()
    annotations: tuple[Annotation, ...] = ()


@dataclass(slots=True)
class Carry(Node):
    """`h = h0` in a carry list: the name inside the body and the initial value."""

    name: str
    initial: Expr


@dataclass(slots=True)
class Repeat(Node):
    """`repeat i in 0..12 carry x, y as layer { .. }`: unrolled when the spec is elaborated."""

    variable: str
    low: Expr
    high: Expr
    carry: tuple[TargetName, ...]
    label: str | None
    body: tuple[Statement, ...]
    annotations: tuple[Annotation, ...] = ()


@dataclass(slots=True)
class If(Node):
    """`if cond { .. yield a } else { .. yield b }`, the right side of an assignment. cond: bool[]."""

    condition: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(slots=True)
class ScanInput(Node):
    """`x_t = x axis 1 reverse` in an `over` list: the name of a slice inside the body, and the tensor it is cut
    from.
    """

    name: str
    tensor: Expr
    axis: int = 0
    reverse: bool = False


@dataclass(slots=True)
class Scan(Node):
    """`scan over x_t = x, m_t = m carry h = h0, c = c0 { h = ..  c = ..  yield h }`.

    Results: the final carried values in order, then each yielded value stacked on axis 0.
    """

    inputs: tuple[ScanInput, ...]
    carry: tuple[Carry, ...]
    body: tuple[Statement, ...]


@dataclass(slots=True)
class Loop(Node):
    """`loop i in 0..limit max 64 carry h = h0, go = go0 while go { .. yield y }`.

    `limit` is a dim expression or an i64[] tensor; `max` is required unless limit is an integer literal. `while`
    names a carried bool[]. `variable` is an i64[] tensor inside the body. Results: the final carried values, then
    each yielded value stacked.
    """

    variable: str
    limit: Expr
    maximum: Expr | None
    carry: tuple[Carry, ...]
    condition: str | None
    body: tuple[Statement, ...]
    condition_start: int = 0


@dataclass(slots=True)
class Yield(Node):
    """Last statement of an if, scan or loop body."""

    values: tuple[Expr, ...]


@dataclass(slots=True)
class Return(Node):
    """Last statement of a block."""

    values: tuple[Expr, ...]


@dataclass(slots=True)
class Let(Node):
    """`let D = 768`: a compile-time value (integer, float, string, bool, list, dim expression)."""

    name: str
    value: Expr


@dataclass(slots=True)
class Assert(Node):
    """`assert B * S <= 32768, "token budget"`: a relation over dims and compile-time values."""

    relation: Expr
    message: str | None


Statement = Assign | Repeat | Let | Assert | Yield | Return

# --- declarations ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Import(Node):
    path: str
    alias: str
    path_start: int = 0
    path_end: int = 0


@dataclass(slots=True)
class WeightsDecl(Node):
    """`weights w = "bert.weights.trtn"`."""

    alias: str
    path: str
    path_start: int = 0
    path_end: int = 0


@dataclass(slots=True)
class Param(Node):
    """A parameter. Tensor parameters (before `*`) have `type`; the others a `kind`: weights, int, float, str, bool,
    dtype, ints, floats.
    """

    name: str
    type: TypeExpr | None
    kind: str | None = None
    default: Expr | None = None


@dataclass(slots=True)
class Sig(Node):
    """`(x: T[B, S, D], *, p: weights, act: str = "gelu") -> T[B, S, D]`; several results as `-> (a: T[..], b:
    T[..])`.
    """

    tensors: tuple[Param, ...]
    attrs: tuple[Param, ...]
    results: tuple[TypeExpr, ...]
    result_names: tuple[str, ...] = ()


@dataclass(slots=True)
class Block(Node):
    name: str
    sig: Sig
    body: tuple[Statement, ...]
    doc: str | None = None
    name_start: int = 0
    name_end: int = 0


@dataclass(slots=True)
class PluginWhere(Node):
    """`where T in {f16, bf16}`."""

    variable: str
    dtypes: tuple[str, ...]


@dataclass(slots=True)
class Plugin(Node):
    name: str
    sig: Sig
    where: tuple[PluginWhere, ...] = ()
    fields: tuple[Field, ...] = ()
    name_start: int = 0
    name_end: int = 0


@dataclass(slots=True)
class Doc(Node):
    text: str


@dataclass(slots=True)
class DimDecl(Node):
    """`dim S in 8..512 step 8` (both ends included)."""

    name: str
    low: Expr
    high: Expr
    step: Expr | None = None


@dataclass(slots=True)
class Input(Node):
    name: str
    type: TypeExpr
    name_end: int = 0


@dataclass(slots=True)
class Output(Node):
    name: str
    type: TypeExpr
    name_end: int = 0


@dataclass(slots=True)
class NetworkDecl(Node):
    name: str
    members: tuple[Doc | DimDecl | Input | Output | Statement, ...]
    name_start: int = 0
    name_end: int = 0


@dataclass(slots=True)
class ProfileEntry(Node):
    """`S: min 64, opt 256, max 512`; the name is a dim, or an input whose values are read as a shape (then lists)."""

    name: str
    minimum: Expr
    optimum: Expr
    maximum: Expr
    name_end: int = 0


@dataclass(slots=True)
class Profile(Node):
    name: str
    network: str
    entries: tuple[ProfileEntry, ...]
    name_start: int = 0
    name_end: int = 0
    network_start: int = 0
    network_end: int = 0


@dataclass(slots=True)
class Precision(Node):
    """`precision { default f16  keep f32 for [softmax, layer_norm] }`."""

    default: str | None
    keep: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class Field(Node):
    """A field of a target or a plugin: `workspace 4GiB`, `device cuda:sm_90`, `profiles [a, b]`, `lock "x.lock"`.

    A device is a StrLit with the text `cuda:sm_90`, a bare name a Ref.
    """

    name: str
    value: Expr | Precision
    name_end: int = 0


@dataclass(slots=True)
class Target(Node):
    name: str
    fields: tuple[Field, ...]
    name_start: int = 0
    name_end: int = 0


# --- manifests ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
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


@dataclass(slots=True)
class TensorEntry(Node):
    """`tensor a.b[0].c: f16[768, 3072] = f0["key"] transpose sha256:77aa..` or `= zeros`, `= normal(7, 0.02)`, `=
    inline [1, 2]`.

    Either `file` is set (with `key`, None meaning the tensor's own name), or `generator` (a name) with `args`.
    """

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


@dataclass(slots=True)
class Manifest(Node):
    name: str
    files: tuple[WeightFile, ...]
    tensors: tuple[TensorEntry, ...]


# --- a file ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Module(Node):
    """A parsed file. Where the text had errors, the declarations and statements that could be read are here all the
    same.
    """

    source: Source
    edition: int
    items: tuple[Import | WeightsDecl | Plugin | Block | NetworkDecl | Profile | Target | Manifest, ...]
    comments: tuple[tuple[int, int], ...] = field(default=())

    def span(self, node: Node) -> Span:
        return Span(self.source, node.start, node.end)
