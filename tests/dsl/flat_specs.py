"""Bodies of networks in the form that the printer gives them. The first line is the type of the output `y`."""

from __future__ import annotations

__all__ = ["FLAT", "flat_spec"]

HEADER = """\
trtn 1

network net {
  dim N in 1..8
  input x: f32[N, 4]
  input i: i64[N]
  input h: f16[N, 4]
  input c: bool[]
  input n: i64[]
  output y: %s

"""


def flat_spec(result: str, body: str) -> str:
    """A spec with the inputs x, i, h, c, n and the output y of the type `result`."""
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    return f"{HEADER % result}{lines}}}\n"


FLAT: dict[str, str] = {
    "infix": """f32[N, 4]
t = x * 0.5
u = 1.0 - t
v = -u
y = v / x
""",
    "infix takes the other operand's dtype": """f16[N, 4]
t = h * -0.5
y = t ** 2.0
""",
    "another dtype in a call": """f16[N, 4]
y = pow(h, 2)
""",
    "a call where operators don't fit": """f32[N, 4]
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = -x
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb = mul(
  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,
  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,
)
y = relu(bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb)
""",
    "comparison": """bool[N]
y = i >= 3
""",
    "matrix product": """f32[N, N]
t = transpose(x)
y = x @ t
""",
    "constants are not computed": """f32[]
y = sqrt(constant(2.0, dtype=f32))
""",
    "constants of an open dtype": """f16[]
y = max(constant(2.0, dtype=f16), 3.0)
""",
    "lists": """f32[N, 4]
y = add(x, constant([1.0, 2.5, -0.0, inf], dtype=f32))
""",
    "nested lists": """f32[N, 2]
y = linear(x, constant([[1.0, 0.1], [2.0, 0.0], [0.0, 1e-5], [3.0, 1e16]], dtype=f32))
""",
    "attributes": """f32[N, 4]
y = clip(x, min=-1.0, max=nan)
""",
    "attribute list of one number": """f32[N, 4, 2, 2]
t = reshape(x, shape=[N, 4, 1, 1])
y = max_pool(t, kernel=2, pads=1)
""",
    "attribute lists": """f32[N, 4, 1, 1]
t = reshape(x, shape=[N, 2, 2, 1])
u = transpose(t, perm=[0, 2, 1, 3])
v = reshape(u, shape=[N, 4, 1, 1])
y = avg_pool(v, kernel=[2, 3], strides=[2, 1], pads=[1, 1, 0, 1], count_include_pad=true)
""",
    "what the op fills in": """f32[N, 2]
_, y = split(x, axis=1)
""",
    "uneven pieces": """f32[N, 1]
_, y = split(x, axis=1, sizes=[3, 1])
""",
    "dtypes": """i64[N, 4]
y = cast(x, to=i64)
""",
    "words": """f32[N, 4]
y = gelu(x, approximate="tanh")
""",
    "dims": """i64[3]
y = dims(values=[N, 2 * N + 1, N // 2])
""",
    "dim attributes": """f32[N // 2, 8]
t = tile(x, times=[1, 2])
y = slice(t, start=[0], end=[N // 2])
""",
    "absent inputs": """f32[N, 4]
t = fill(shape=[4], value=0.5)
y = layer_norm(x, none, t)
""",
    "several results": """f32[N, 2]
y, _ = top_k(x, k=2)
""",
    "sizes of the data": """i64[2, K]
t = relu(x)
y = nonzero(t) : i64[2, K in 0..4 * N]
assert K <= 16, "few"
""",
    "precision": """f32[N, 4]
@precision(f16)
t = relu(x)
y = exp(t)
""",
    "if": """f32[N, 4]
y = if c {
  t = -x
  yield t
} else {
  yield x
}
""",
    "if of a constant": """f32[N, 4]
y = if constant(true, dtype=bool) {
  t = -x
  yield t
} else {
  yield x
}
""",
    "several values": """f32[N, 4]
_, y = if c {
  yield 1.0, x
} else {
  u = x * 2.0
  yield 2.0, u
}
""",
    "scan": """f32[N]
_, y = scan over r = x reverse carry s = 0.0 {
  t = reduce_sum(r)
  s = s + t
  yield s
}
""",
    "scan along another axis": """f32[4, N]
y = scan over r = x axis 1 {
  t = r + 1.0
  yield t
}
""",
    "loop": """f32[N, 4]
y = loop k in 0..3 carry a = x {
  a = a * 2.0
}
""",
    "loop while": """f32[N, 4]
y, _ = loop k in 0..n max 9 carry a = x, go = true while go {
  a = a * 2.0
  t = reduce_max(a)
  go = t < 9.0
}
""",
    "loop of unknown length": """i64[K]
_, y = loop k in 0..n max 9 carry a = x {
  a = -a
  yield k
} : f32[N, 4], i64[K in 0..9]
""",
    "carried values change places": """f32[N, 4]
u = x + 1.0
y, _ = loop k in 0..3 carry a = x, b = u {
  a_old = a
  b_old = b
  a = b_old
  b = a_old
}
""",
    "carried constants": """f32[N, 4]
y, _ = loop k in 0..3 carry a = x, b = constant(2, dtype=i32) {
  a = a * 2.0
  b = constant(3, dtype=i32)
}
""",
    "nested": """f32[N, 4]
y = loop k in 0..3 carry a = x {
  a = if c {
    t = a * 2.0
    yield t
  } else {
    yield a
  }
}
""",
    "sizes of the data in a body": """f32[N, 4]
y = loop k in 0..3 carry a = x {
  z = nonzero(a) : i64[2, K in 0..4 * N]
  s = reduce_sum(z)
  t = cast(s, to=f32)
  a = a + t
}
""",
    "an index is never broken": """f32[N, 4]
layer[3].ffn.h, _, _ = loop k in 0..3 carry aaaaaaaaaaaaaaaaaaaaaa = x, bbbbbbbbbbbbbbbbbbbbbb = x, go = true while go {
  aaaaaaaaaaaaaaaaaaaaaa = -aaaaaaaaaaaaaaaaaaaaaa
  go = false
}
y = relu(layer[3].ffn.h)
""",
}
