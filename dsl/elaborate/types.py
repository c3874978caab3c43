"""Written types: evaluated, matched against a block's pattern, compared with what was inferred."""

from __future__ import annotations

from trtn.dsl.builder import PendingGuard
from trtn.dsl.diagnostics import Label, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dims import Dim, Expr, Relation, symbol
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.expressions import as_dim
from trtn.dsl.elaborate.values import POISON, Bound, Poison
from trtn.dsl.network import Shape, Tensor, TensorType
from trtn.dsl.ops.infer import Requirement
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.names import type_words

__all__ = [
    "DIM_LIMIT",
    "RANK_LIMIT",
    "bind_names",
    "bind_type",
    "check_type",
    "data_dim_names",
    "declare_data_dims",
    "demand_size",
    "type_of",
]

DIM_LIMIT = 2**31 - 1
"""The largest size that a dim may be declared with."""
RANK_LIMIT = 16


def dtype_of(ctx: Context, expr: ast.TypeExpr) -> DType | Poison:
    """A dtype by its name, or what a dtype variable stands for."""
    if expr.dtype in BY_NAME:
        return BY_NAME[expr.dtype]
    bound = ctx.scope.find(expr.dtype)
    if bound is not None and isinstance(bound.value, DType):
        return bound.value
    span = Span(ctx.unit.source, expr.start, expr.start + len(expr.dtype))
    ctx.error("E0301", f"no dtype is called `{expr.dtype}`", span, help=did_you_mean(expr.dtype, list(BY_NAME)))
    return POISON


def type_of(ctx: Context, expr: ast.TypeExpr) -> TensorType | Poison:
    """A written type with its dims evaluated. A dim `K in a..b` stands for the dim K, declared before."""
    dtype = dtype_of(ctx, expr)
    plain = _plain_shape(ctx, expr.plain)
    if plain is not None and not isinstance(dtype, Poison):
        return TensorType(dtype, plain)
    if len(expr.dims) > RANK_LIMIT:
        ctx.error("E0303", f"a tensor of rank {len(expr.dims)}; at most {RANK_LIMIT} is possible", ctx.span(expr))
        return POISON
    shape: list[Dim] = []
    for d in expr.dims:
        value = as_dim(ctx, d.value)
        if isinstance(value, Poison):
            return POISON
        if isinstance(value, int) and not 0 <= value <= DIM_LIMIT:
            ctx.error("E0401", f"a dim of {value}; dims lie in 0..{DIM_LIMIT}", ctx.span(d))
            return POISON
        shape.append(value)
    return POISON if isinstance(dtype, Poison) else TensorType(dtype, tuple(shape))


def _plain_shape(ctx: Context, text: str) -> Shape | None:
    """The shape that a plain type's text says, without a node for each dim; None where something may be wrong."""
    shape: list[Dim] = []
    for _, _, word in type_words(text)[1:]:
        if word.isdigit():
            shape.append(int(word))
            continue
        bound = ctx.scope.find(word)
        if bound is None or type(bound.value) not in (int, Expr):
            return None
        shape.append(bound.value)  # type: ignore[arg-type]
    good = len(shape) <= RANK_LIMIT and all(type(d) is not int or 0 <= d <= DIM_LIMIT for d in shape)
    return tuple(shape) if text and good else None


def data_dim_names(types: tuple[ast.TypeExpr, ...]) -> list[str]:
    """The names that `K in a..b` dims of a statement's types give to data-dependent sizes, in order, each once."""
    names: list[str] = []
    for t in types:
        for d in t.spelled:
            if d.low is not None and isinstance(d.value, ast.Ref) and d.value.root not in names:
                names.append(d.value.root)
    return names


def declare_data_dims(ctx: Context, types: tuple[ast.TypeExpr, ...]) -> bool:
    """Bring the names of `K in a..b` dims into scope, with their stated bounds."""
    good = True
    for t in types:
        for d in t.spelled:
            if d.low is None or d.high is None:
                continue
            low, high = as_dim(ctx, d.low), as_dim(ctx, d.high)
            if isinstance(low, Poison) or isinstance(high, Poison):
                good = False
                continue
            if not isinstance(d.value, ast.Ref) or d.value.name != d.value.root:
                ctx.error("E0306", "only a new name can be bounded with `in`", ctx.span(d))
                good = False
                continue
            name = d.value.root
            earlier = ctx.scope.find(name)
            if earlier is not None:
                labels = [Label(earlier.span, "first here")] if earlier.span is not None else []
                ctx.error("E0202", f"`{name}` is defined twice", ctx.span(d), labels=labels)
                good = False
                continue
            if not demand_size(ctx, name, high - low, f"`{name}` in {low}..{high}: no such range", ctx.span(d)):
                good = False
                continue
            path = ctx.dim_path(name)
            ctx.shared.named_dims.add(path)
            ctx.builder.data_dim(path, low, high)
            ctx.scope.around_regions().names[name] = Bound(symbol(path), ctx.span(d))
    return good


def bind_names(inner: Context, pattern: ast.TypeExpr, tensor: Tensor) -> None:
    """Bind the names that stand alone in a block's pattern and are new: a dtype variable, dims."""
    if pattern.dtype not in BY_NAME and inner.scope.find(pattern.dtype) is None:
        inner.scope.names[pattern.dtype] = Bound(tensor.dtype, inner.span(pattern))
    for d, actual in zip(pattern.dims, tensor.shape, strict=False):
        match d.value:
            case ast.Ref(name=str() as bare, root=root) if bare == root and inner.scope.find(bare) is None:
                inner.scope.names[bare] = Bound(actual, inner.span(d))


def bind_type(
    ctx: Context, inner: Context, pattern: ast.TypeExpr, tensor: Tensor, where: Span, what: str, *, block: str = ""
) -> bool:
    """Match a tensor against a block's pattern: new names are bound to its dtype and dims, known ones must agree.

    block: the path of the expansion that counts on the match.
    """
    bind_names(inner, pattern, tensor)
    name = pattern.dtype
    label = [Label(inner.span(pattern), "declared here")]
    if name in BY_NAME:
        if BY_NAME[name] is not tensor.dtype:
            ctx.error("E0302", f"{what} is {name}, not {tensor.dtype}", where, labels=label)
            return False
    else:
        bound = inner.scope.find(name)
        if bound is not None and bound.value is not tensor.dtype:
            ctx.error(
                "E0302",
                f"{what}: dtype variable `{name}` is {bound.value}, not {tensor.dtype}",
                where,
                labels=label,
            )
            return False
    if len(pattern.dims) != len(tensor.shape):
        ctx.error(
            "E0303",
            f"{what} has rank {len(pattern.dims)}, not {len(tensor.shape)} ({tensor.type})",
            where,
            labels=label,
        )
        return False
    good = True
    for d, actual in zip(pattern.dims, tensor.shape, strict=True):
        expected = as_dim(inner, d.value)
        if isinstance(expected, Poison):
            return False
        message = f"{what}: dim `{inner.span(d).text}` is {expected}, not {actual}"
        if isinstance(expected, int) and isinstance(actual, int):
            if expected != actual:
                ctx.error("E0312", message, where, labels=label)
                good = False
        elif expected != actual:
            requirement = Requirement(Relation("==", expected, actual), message, "E0312", inputs=(0,))
            layer = block or inner.path("").rstrip(".")
            ctx.builder.requirements.append(PendingGuard(requirement, layer, where, (label[0].span,), block))
    return good


def check_type(ctx: Context, expected: TensorType, tensor: Tensor, where: Span, what: str) -> bool:
    """Compare a stated type with the inferred one. Dims that are not plainly equal are left to the checker."""
    found = tensor.type
    if expected.dtype is not found.dtype or len(expected.shape) != len(found.shape):
        ctx.error("E0305", f"{what} is {found}, not {expected}", where)
        return False
    if expected.shape == found.shape:
        return True
    for n, (a, b) in enumerate(zip(expected.shape, found.shape, strict=True)):
        if a == b:
            continue
        message = f"{what} is {found}, not {expected}: dim {n} is {b}, not {a}"
        if isinstance(a, int) and isinstance(b, int):
            ctx.error("E0305", message, where)
            return False
        requirement = Requirement(Relation("==", a, b), message, "E0305")
        ctx.builder.requirements.append(PendingGuard(requirement, tensor.name, where))
    return True


def demand_size(ctx: Context, name: str, dim: Dim, message: str, where: Span) -> bool:
    """Demand that a dim of what is called `name` is not negative. False where it plainly is."""
    if isinstance(dim, int):
        if dim < 0:
            ctx.error("E0401", message, where)
        return dim >= 0
    ctx.builder.requirements.append(PendingGuard(Requirement(Relation(">=", dim, 0), message, "E0401"), name, where))
    return True
