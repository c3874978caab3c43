"""Random small specs as text, for the checker's properties: most layers fit, some miss by one.

The writer keeps an account of the shapes to make layers that fit or nearly do. It decides nothing: whether a spec is
right is for the checker to say and for NumPy to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as cartesian
from typing import TypeVar

from hypothesis import strategies as st

from trtn.dsl.dims import Dim, Range, ceildiv, dim_max, dim_min, evaluate, product, symbol

__all__ = ["specs"]

T = TypeVar("T")
Shape = tuple[Dim, ...]
Env = dict[str, int]

MOST_POINTS = 40
MOST_ELEMENTS = 4096
BLOCKS = """
block join(x: T[A, B], y: T[A, C]) -> T[A, B + C] {
  return concat(x, y, axis=1)
}

block merge(x: T[A, B, C]) -> T[A, B * C] {
  return reshape(x, shape=[A, B * C])
}

block square(x: T[A, A]) -> T[A, A] {
  return x @ x
}

block window(x: T[A, B], *, k: int) -> T[A, B - k + 1] {
  first = slice(x, start=[0], end=[B - k + 1], axes=[1])
  last = slice(x, start=[k - 1], axes=[1])
  return first * last
}

block weave(x: T[A, 2 * B], y: T[A, B]) -> T[A, 3 * B] {
  both = join(x, y) : T[A, 3 * B]
  return both
}
"""


@st.composite
def specs(draw: st.DrawFn, *, profiles: bool = True) -> str:
    """The text of a spec with one network `m` of 1 to 3 dims and 1 to 6 layers, and up to two profiles."""
    writer = Writer(draw)
    for _ in range(writer.number(1, 6)):
        writer.layer()
    return writer.text(profiles)


class Writer:
    """A spec under construction."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.dims = self._dims()
        self.points = [dict(zip(self.dims, values, strict=True)) for values in cartesian(*self.dims.values())]
        self.asserts = self._asserts()
        self.inputs: list[str] = []
        self.statements: list[str] = []
        self.known: dict[str, Shape] = {}
        """Shape of each float tensor at hand, in the order of definition."""
        self.fresh_input(tuple(symbol(n) for n in self.dims))

    def text(self, profiles: bool) -> str:
        name, shape = list(self.known.items())[-1]
        lines = [f"dim {n} in {r}" for n, r in self.dims.items()]
        lines += [f"assert {a}" for a in self.asserts]
        lines += [*self.inputs, f"output y: f32[{show(self.stated(shape))}]", *self.statements, f"y = relu({name})"]
        network = ["network m {", *(f"  {line}" for line in lines), "}"]
        boxes = [self._profile(n) for n in range(self.number(0, 2))] if profiles else []
        return "\n".join(["trtn 1", BLOCKS, *network, *boxes, ""])

    # --- choices ---

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def chance(self, one_in: int) -> bool:
        return self.number(1, one_in) == one_in

    def pick(self, items: Sequence[T]) -> T:
        return items[self.number(0, len(items) - 1)]

    def holds_everywhere(self, dim: Dim, least: int) -> bool:
        return all(evaluate(dim, env) >= least for env in self.points)

    # --- dims, asserts, profiles ---

    def _dims(self) -> dict[str, Range]:
        dims: dict[str, Range] = {}
        room = MOST_POINTS
        for name in ("N", "M", "K")[: self.number(1, 3)]:
            count, step, low = self.number(1, min(room, 8)), self.pick((1, 1, 2, 3, 4)), self.pick((1, 1, 2, 3, 4, 0))
            room //= count
            dims[name] = Range(low, low + (count - 1) * step, step)
        return dims

    def _asserts(self) -> list[str]:
        """Up to two asserts, each of which excludes some points and leaves some."""
        found: list[str] = []
        for _ in range(self.pick((0, 0, 1, 1, 2))):
            left, op = self.expression(), self.pick(("<=", "<=", ">=", "==", "!=", "<"))
            right = self.pick((self.number(1, 12), self.expression()))
            if op == "==" and self.chance(2):
                left, right = left % 2, 0
            kept = [env for env in self.points if COMPARE[op](evaluate(left, env), evaluate(right, env))]
            if 0 < len(kept) < len(self.points):
                self.points = kept
                found.append(f"{left} {op} {right}")
        return found

    def _profile(self, number: int) -> str:
        rows = []
        for name, values in self.dims.items():
            low, opt, high = sorted(self.pick(list(values)) for _ in range(3))
            rows.append(f"  {name}: min {low}, opt {opt}, max {high}")
        return "\n".join([f"profile p{number} for m {{", *rows, "}"])

    def expression(self) -> Dim:
        """A dim, or something made of dims that grows with them."""
        a, b = symbol(self.pick(list(self.dims))), symbol(self.pick(list(self.dims)))
        n = self.number(1, 4)
        plain, rounded = (a, a, a, a + n, 2 * a, a + b, a * b), (a // 2, ceildiv(a, 2), a + b // 2)
        return self.pick((*plain, *rounded, dim_max(a, n), dim_min(a, n + 1)))

    def size(self) -> Dim:
        """The size of a new axis: at least 1 wherever the network is defined."""
        dim = self.pick((self.number(1, 4), self.expression()))
        return dim if self.holds_everywhere(dim, 1) else 2

    def noise(self, dim: Dim) -> Dim:
        """The dim, or in one case of twenty one that differs."""
        return self.pick((dim + 1, self.size(), 2 * dim, 1)) if self.chance(20) else dim

    def stated(self, shape: Shape) -> Shape:
        return tuple(map(self.noise, shape))

    # --- tensors ---

    def fresh_input(self, shape: Shape, dtype: str = "f32") -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(f"input {name}: {dtype}[{show(shape)}]")
        if dtype == "f32":
            self.known[name] = shape
        return name

    def tensor(self, rank: int | None = None) -> tuple[str, Shape]:
        """A tensor at hand (the latest ones rather than others), of the given rank; a new input where none is."""
        fitting = [(n, s) for n, s in self.known.items() if (s if rank is None else len(s) == rank)]
        if not fitting or self.chance(8):
            shape = tuple(self.size() for _ in range(rank or self.number(1, 3)))
            return self.fresh_input(shape), shape
        return self.pick(fitting[-2:])

    def bind(self, expression: str, shape: Shape) -> None:
        self.bind_all(expression, [shape])

    def bind_all(self, expression: str, shapes: Sequence[Shape]) -> None:
        names = [f"t{len(self.known) + n}" for n in range(len(shapes))]
        stated = "" if self.chance(2) else " : " + ", ".join(f"f32[{show(self.stated(s))}]" for s in shapes)
        self.statements.append(f"{', '.join(names)} = {expression}{stated}")
        for name, shape in zip(names, shapes, strict=True):
            if all(evaluate(product(shape), env) <= MOST_ELEMENTS for env in self.points):
                self.known[name] = shape

    # --- layers ---

    def layer(self) -> None:
        self.pick(LAYERS)(self)

    def pointwise(self) -> None:
        name, shape = self.tensor()
        op = self.pick(("+", "*", "-"))
        other = tuple(1 if self.chance(5) else self.noise(d) for d in shape)[self.pick((0, 0, 0, 1)) :]
        self.bind(f"{name} {op} {self.fresh_input(other)}", shape)

    def same(self) -> None:
        """Two tensors that are at hand, which fit by luck."""
        (a, shape), (b, _) = self.tensor(), self.tensor()
        self.bind(f"{a} + {b}", shape)

    def matmul(self) -> None:
        name, shape = self.tensor(self.number(2, 3))
        columns = self.size()
        other = self.fresh_input((self.noise(shape[-1]), columns))
        self.bind(f"{name} @ {other}", (*shape[:-1], columns))

    def concat(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        added = self.size()
        other = tuple(added if n == axis else self.noise(d) for n, d in enumerate(shape))
        self.bind(f"concat({name}, {self.fresh_input(other)}, axis={axis})", replaced(shape, axis, shape[axis] + added))

    def reshape(self) -> None:
        name, shape = self.tensor()
        total = product(shape)
        split = self.pick((2, 2, 3, shape[0]))
        sizes: list[Dim]
        sizes = self.pick(([total], [*shape, 1], [total, 1], [split, total // split], list(reversed(shape))))
        sizes = [self.noise(d) for d in sizes]
        written: list[Dim] = list(sizes)
        if self.chance(3):
            written[self.number(0, len(written) - 1)] = -1
        self.bind(f"reshape({name}, shape=[{show(written)}])", tuple(sizes))

    def slice(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        d = shape[axis]
        cuts: list[tuple[Dim | None, Dim | None, Dim]] = [
            (1, None, d - 1), (0, d - 1, d - 1), (None, -1, d - 1), (1, d, d - 1), (-1, None, 1), (-3, -1, 2),
            (d - 2, d, 2), (d // 2, None, d - d // 2), (0, d // 2, d // 2), (None, 3, dim_min(d, 3)),
            (self.size(), d, d), (0, self.size(), d),
        ]  # fmt: skip
        start, end, length = self.pick(cuts)
        step = self.pick((1, 1, 1, 2, 3))
        given = [f"{n}=[{v}]" for n, v in (("start", start), ("end", end)) if v is not None]
        if step > 1:
            given.append(f"step=[{step}]")
        self.bind(f"slice({', '.join([name, *given])}, axes=[{axis}])", replaced(shape, axis, ceildiv(length, step)))

    def reverse(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        step = self.pick((1, 2))
        start = self.pick(("", "start=[-1], ", f"start=[{shape[axis] - 1}], "))
        length = ceildiv(shape[axis], step)
        self.bind(f"slice({name}, {start}step=[{-step}], axes=[{axis}])", replaced(shape, axis, length))

    def conv(self) -> None:
        name, shape = self.tensor(3)
        out, kernel = self.number(1, 3), self.pick((1, 2, 3, symbol(self.pick(list(self.dims)))))
        stride, pad, dilation = self.pick((1, 1, 2, 3)), self.pick((0, 0, 1, 2)), self.pick((1, 1, 2))
        weight = self.fresh_input((out, self.noise(shape[1]), kernel))
        same = self.chance(4)
        how = 'auto_pad="same_upper"' if same else f"pads=[{pad}]"
        length = ceildiv(shape[2], stride) if same else (shape[2] + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        self.bind(f"conv({name}, {weight}, strides=[{stride}], dilations=[{dilation}], {how})", (shape[0], out, length))

    def pool(self) -> None:
        name, shape = self.tensor(3)
        kernel, stride, pad = self.number(1, 3), self.pick((1, 2, 3)), self.number(0, 1)
        up = self.chance(3)
        room = shape[2] + 2 * pad - kernel
        length = dim_min(ceildiv(room, stride) + 1, ceildiv(shape[2] + pad, stride)) if up else room // stride + 1
        how = f"kernel=[{kernel}], strides=[{stride}], pads=[{pad}], ceil_mode={str(up).lower()}"
        self.bind(f"{self.pick(('max_pool', 'avg_pool'))}({name}, {how})", (*shape[:2], length))

    def transpose(self) -> None:
        name, shape = self.tensor()
        axes = list(range(len(shape)))
        perm = [axes.pop(self.number(0, len(axes) - 1)) for _ in shape]
        self.bind(f"transpose({name}, perm=[{show(perm)}])", tuple(shape[p] for p in perm))

    def pad(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        before, after = self.pick((0, 1, 2, -1, self.size())), self.pick((0, 1, -2, shape[axis] - 1))
        mode = self.pick(("constant", "constant", "edge", "wrap"))
        how = f'pads=[{before}, {after}], axes=[{axis}], mode="{mode}"'
        self.bind(f"pad({name}, {how})", replaced(shape, axis, shape[axis] + before + after))

    def expand(self) -> None:
        name, shape = self.tensor()
        grown = self.size()
        axis = self.number(0, len(shape))
        result = (*shape[:axis], grown, *shape[axis:])
        sizes = [1 if self.chance(4) and n != axis else self.noise(d) for n, d in enumerate(result)]
        self.bind(f"expand(unsqueeze({name}, axes=[{axis}]), shape=[{show(sizes)}])", result)

    def split(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        d = shape[axis]
        first, second = self.pick(((1, d - 1), (d // 2, d - d // 2), (2, d - 2), (self.size(), self.size())))
        how = f"sizes=[{first}, {second}]"
        if self.chance(3):
            first, second, how = ceildiv(d, 2), d - ceildiv(d, 2), "parts=2"
        shapes = [replaced(shape, axis, first), replaced(shape, axis, second)]
        self.bind_all(f"split({name}, axis={axis}, {how})", shapes)

    def gather(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        if self.chance(3):
            picks = [self.pick((0, 0, -1, 1, 2, -3)) for _ in range(self.number(1, 3))]
            self.bind(f"gather({name}, {picks}, axis={axis})", replaced(shape, axis, len(picks)))
        elif self.holds_everywhere(shape[axis], 1):  # the indices that are fed are all 0
            many = self.size()
            self.bind(f"gather({name}, {self.fresh_input((many,), 'i64')}, axis={axis})", replaced(shape, axis, many))

    def tile(self) -> None:
        name, shape = self.tensor()
        times = [self.pick((1, 1, 2, symbol(self.pick(list(self.dims))))) for _ in shape]
        self.bind(f"tile({name}, times=[{show(times)}])", tuple(d * t for d, t in zip(shape, times, strict=True)))

    def reduce(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        op = self.pick(("reduce_sum", "reduce_max", "reduce_mean", "softmax", "cumsum"))
        if op in ("softmax", "cumsum"):
            self.bind(f"{op}({name}, axis={axis})", shape)
        else:
            self.bind(f"{op}({name}, axes=[{axis}], keepdims=true)", replaced(shape, axis, 1))

    def best(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        k = self.pick((1, 2, shape[axis], self.size()))
        self.statements.append(f"t{len(self.known)}, _ = top_k({name}, k={k}, axis={axis})")
        self.known[f"t{len(self.known)}"] = replaced(shape, axis, k)

    def fill(self) -> None:
        _, shape = self.tensor()
        sizes = tuple(self.pick((d, d, d - 1)) for d in shape)
        self.bind(f"fill(shape=[{show(sizes)}], value=0.5)", sizes)

    def block(self) -> None:
        kind = self.pick(("join", "merge", "square", "window", "weave"))
        if kind == "merge":
            name, shape = self.tensor(3)
            self.bind(f"merge({name})", (shape[0], shape[1] * shape[2]))
            return
        name, shape = self.tensor(2)
        if kind == "square":
            self.bind(f"square({self.fresh_input((shape[0], self.noise(shape[0])))})", (shape[0], shape[0]))
        elif kind == "window":
            k = self.number(1, 3)
            self.bind(f"window({name}, k={k})", (shape[0], shape[1] - k + 1))
        elif kind == "join":
            added = self.size()
            self.bind(f"join({name}, {self.fresh_input((self.noise(shape[0]), added))})", (shape[0], shape[1] + added))
        else:
            wide = self.fresh_input((self.noise(shape[0]), self.noise(2 * shape[1])))
            self.bind(f"weave({wide}, {name})", (shape[0], 3 * shape[1]))

    def repeat(self) -> None:
        name, shape = self.tensor()
        rounds = self.number(0, 3)
        n = len(self.known)
        self.statements += [f"t{n} = relu({name})", f"repeat i in 0..{rounds} carry t{n} {{"]
        if self.chance(2):
            self.statements.append(f"  t{n} = concat(t{n}, {name}, axis=0)")
            shape = replaced(shape, 0, shape[0] * (rounds + 1))
        else:
            self.statements.append(f"  t{n} = pad(t{n}, pads=[i - 1, 1], axes=[0])")
            shape = replaced(shape, 0, shape[0] + sum(range(rounds)))
        self.statements.append("}")
        self.known[f"t{n}"] = shape

    def branch(self) -> None:
        name, shape = self.tensor()
        other = self.fresh_input(self.stated(shape))
        condition = self.fresh_input((), "bool")
        self.bind(f"if {condition} {{ yield {name} * 2 }} else {{ yield relu({other}) }}", shape)

    def scan(self) -> None:
        name, shape = self.tensor()
        axis = self.number(0, len(shape) - 1)
        rest = (*shape[:axis], *shape[axis + 1 :])
        state = self.fresh_input(self.stated(rest))
        body = "{ h = h + part yield h }"
        self.bind_all(f"scan over part = {name} axis {axis} carry h = {state} {body}", [rest, (shape[axis], *rest)])


LAYERS = (
    Writer.pointwise, Writer.same, Writer.matmul, Writer.concat, Writer.reshape, Writer.reshape, Writer.slice,
    Writer.slice, Writer.reverse, Writer.conv, Writer.pool, Writer.transpose, Writer.pad, Writer.expand, Writer.split,
    Writer.gather, Writer.tile, Writer.reduce, Writer.best, Writer.fill, Writer.block, Writer.block, Writer.repeat,
    Writer.branch, Writer.scan,
)  # fmt: skip
COMPARE = {
    "==": int.__eq__, "!=": int.__ne__, "<=": int.__le__, "<": int.__lt__, ">=": int.__ge__, ">": int.__gt__,
}  # fmt: skip


def show(values: Sequence[Dim]) -> str:
    return ", ".join(map(str, values))


def replaced(shape: Shape, axis: int, size: Dim) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])
