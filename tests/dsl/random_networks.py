"""Random small networks of many ops, with names of all kinds and nested control flow. Each number gives one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from trtn.dsl.builder import Builder
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Network, Tensor, TensorType
from trtn.dsl.ops.base import catalogue

__all__ = ["random_network"]

F32, I64 = BY_NAME["f32"], BY_NAME["i64"]
N = symbol("N")
NAMES = (
    "h", "layer[3].ffn.h", "/stem/Conv_output_0", "step", "none", "f32", "i64", "w", "w.p", "w[0]", "x", "x y", "a`b",
    "a\\b", "日本", "true", "if", "loop", "output", "dim", "assert", "yield", "_", "N", "0", "x[007]", "h_2",
    "h.unused1", "y", "y.then.h", "h.body.a",
)  # fmt: skip

Step = Callable[[Builder, Random, list[Tensor], str], Tensor]


def simple(op: str, **attrs: Any) -> Step:
    def step(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
        declared = catalogue()[op].spec.inputs
        count = len([i for i in declared if not i.optional])
        return b.layer(op, *(random.choice(tensors) for _ in range(count)), name=name, **attrs)[0]

    return step


def scalar(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    value = np.float32(random.choice([0.5, 0.1, -2, 1e-7, 3e8]))
    operands = [random.choice(tensors), b.constant(value, random.choice(["", "", "p"]))]
    random.shuffle(operands)
    return b.layer(random.choice(["add", "sub", "mul", "max"]), *operands, name=name)[0]


def weighted(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    matrix = np.eye(4, dtype=np.float32)[:: random.choice([1, -1])] * random.choice([1, 2])
    weight = b.constant(np.concatenate([matrix, matrix]), random.choice(["", "p", "layers.0/weight", "a[0].b"]))
    wide = b.layer("concat", random.choice(tensors), random.choice(tensors), name=f"{name}.wide", axis=1)[0]
    return b.layer("linear", wide, weight, name=name)[0]


def windowed(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    image = b.layer("reshape", random.choice(tensors), name=f"{name}.image", shape=(N, 1, 2, 2))[0]
    auto = random.choice(["none", "same_upper"])
    pads = 1 if auto == "none" else 0
    pooled = b.layer("max_pool", image, name=f"{name}.pool", kernel=(3, 3), pads=(pads,), auto_pad=auto)[0]
    return b.layer("flatten", pooled, name=name)[0]


def picked(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    values, indices = b.layer("top_k", random.choice(tensors), name=name, k=4, largest=random.random() < 0.5)
    return random.choice([values, b.layer("cast", indices, name=f"{name}.f", to=F32)[0]])


def counted(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    found = b.layer("nonzero", random.choice(tensors), name=name)[0]
    total = b.layer("reduce_sum", found, name=f"{name}.sum")[0]
    number = b.layer("cast", total, name=f"{name}.f", to=F32)[0]
    return b.layer("add", random.choice(tensors), number, name=f"{name}.y")[0]


def listed(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    """A list that one layer reads for its shape and another for its elements, short or too long for the text."""
    count = random.choice([2, 20])
    sizes = b.constant(np.array([*range(2, count), 4, 1]), random.choice(["", "p", "sizes"]))
    last = b.constant(np.array([count - 2]))
    picked = b.layer("gather", sizes, last, name=f"{name}.picked")[0]
    image = b.layer("reshape", random.choice(tensors), name=f"{name}.image", shape=(N, 4, 1))[0]
    padded = b.layer("concat", b.constant(np.array([-1])), picked, name=f"{name}.to", axis=0)[0]
    flat = b.layer("reshape", image, padded, name=f"{name}.flat")[0]
    total = b.layer("cast", b.layer("reduce_sum", sizes, name=f"{name}.sum")[0], name=f"{name}.f", to=F32)[0]
    return b.layer("mul", flat, total, name=name)[0]


def body(b: Builder, random: Random, tensors: list[Tensor], depth: int) -> list[Tensor]:
    inner = list(tensors)
    for _ in range(random.randint(0, 3)):
        inner.append(random.choice(STEPS if depth else STEPS + CONTROL)(b, random, inner, random.choice(NAMES)))
    return inner


def branched(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    most = b.layer("reduce_max", random.choice(tensors), name=f"{name}.most")[0]
    cond = b.layer("less", most, b.constant(np.float32(1)), name=f"{name}.cond")[0]
    graphs = []
    for _ in range(2):
        with b.region([]) as r:
            inner = body(b, random, tensors, 1)
            graphs.append(r.finish([random.choice(inner), random.choice(inner), b.constant(np.float32(1))]))
    return b.layer("if", cond, name=name, regions=graphs)[random.randint(0, 1)]


def looped(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    count = random.randint(1, 3)
    initial = [random.choice(tensors) for _ in range(count)]
    carried = [(random.choice(NAMES), t.type) for t in initial]
    with b.region([(random.choice(["k", "i", "/it"]), TensorType(I64, ())), *carried]) as r:
        inner = body(b, random, [*tensors, *r.inputs[1:]], 1)
        finals = [random.choice(inner) for _ in range(count)]
        most = b.layer("reduce_max", finals[0], name="most")[0]
        on = b.layer("less", most, b.constant(np.float32(1)), name="on")[0]
        graph = r.finish([on, *finals, random.choice(inner)])
    limit = random.choice([None, b.constant(np.int64(2))])
    cond = random.choice([None, b.constant(np.asarray(True))])
    results = b.layer("loop", limit, cond, *initial, name=name, regions=[graph], maximum=2)
    return results[random.randrange(count)]


def scanned(b: Builder, random: Random, tensors: list[Tensor], name: str) -> Tensor:
    start = b.layer("reduce_sum", random.choice(tensors), name=f"{name}.start", axes=(0,))[0]
    with b.region([("s", start.type), ("row", TensorType(F32, (4,)))]) as r:
        s, row = r.inputs
        t = b.layer("add", s, row, name=random.choice(NAMES))[0]
        graph = r.finish([random.choice([s, row, t]), random.choice([s, row, t])])
    attrs = {"carried": 1, "axes": [0], "reverse": [random.random() < 0.5], "out_reverse": [random.random() < 0.5]}
    return b.layer("scan", start, random.choice(tensors), name=name, regions=[graph], **attrs)[1]


STEPS: list[Step] = [
    simple("relu"), simple("neg"), simple("add"), simple("mul"), simple("softmax"), simple("leaky_relu", alpha=0.3),
    simple("clip", min=-1.0), simple("gelu", approximate="tanh"), simple("cumsum", axis=1), simple("softmax", axis=0),
    scalar, weighted, windowed, picked, counted, listed,
]  # fmt: skip
CONTROL: list[Step] = [branched, looped, scanned]


def random_network(seed: int) -> Network:
    random = Random(seed)
    b = Builder(random.choice(["net", "two words", "step"]), dims={"N": Range(1, 8)})
    tensors = [b.input(random.choice(["x", "/x:0", "w", "h"]), F32, (N, 4))]
    for _ in range(random.randint(1, 6)):
        tensors.append(random.choice(STEPS + CONTROL)(b, random, tensors, random.choice(NAMES)))
    outputs = random.sample(["y", "/y:0", "none", "N", "h", "x"], random.randint(1, 3))
    return b.finish([(name, random.choice(tensors)) for name in outputs])
