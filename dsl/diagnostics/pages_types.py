"""Pages of the codes for types and shapes (E03xx)."""

from __future__ import annotations

from trtn.dsl.diagnostics.page import Page, page

__all__ = ["PAGES"]

PAGES: dict[str, Page] = {
    "E0301": page(
        cause="""There is no dtype of this name, and it is no dtype variable of the block. The dtypes are
            f64 f32 f16 bf16 f8e4m3 f8e5m2 f8e4m3fnuz f8e5m2fnuz f8e8m0 f4e2m1
            i64 i32 i16 i8 i4 i2 u64 u32 u16 u8 u4 u2 bool.""",
        example="""
            trtn 1
            network net {
              input  x: float32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="Write the dtype by its short name: `f32`, `i64`, `bool`.",
    ),
    "E0302": page(
        cause="""The op does not take tensors of this dtype, or takes tensors of one dtype only and gets
            two. Nothing is converted silently.""",
        example="""
            trtn 1
            network net {
              input  a: f32[4]
              input  b: f16[4]
              output y: f32[4]
              y = a + b
            }
            """,
        cure="Convert where it is meant: `a + cast(b, to=f32)`.",
    ),
    "E0303": page(
        cause="The tensor has more or fewer dims than the op takes.",
        example="""
            trtn 1
            network net {
              input  x: f32[8, 8]
              input  k: f32[4, 8, 3, 3]
              output y: f32[1, 4, 6, 6]
              y = conv(x, k)
            }
            """,
        cure="""Add or drop dims of size 1 with `unsqueeze` and `squeeze`, or use `reshape`. Convolution and
            pooling take the batch and the channels first: `f32[N, C, H, W]`.""",
    ),
    "E0304": page(
        cause="""The attribute's value is of the wrong type, outside what the op allows, or does not fit the
            shape of the input: an axis beyond the rank, a list of the wrong length, a word that is not
            one of the choices.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 8]
              output y: f32[4, 8]
              y = softmax(x, axis=2)
            }
            """,
        cure="Use a value that the message allows. Axes count from 0, or from the end with -1.",
    ),
    "E0305": page(
        cause="""The type that is written for the result is not the one that follows from the inputs. The
            written type is a check: it never converts or reshapes anything.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 8]
              output y: f32[8, 4]
              y = relu(x) : f32[8, 4]
            }
            """,
        cure="""Correct the written type or leave it out; where the inferred type is the surprise, look at
            the layers above.""",
    ),
    "E0306": page(
        cause="""A value of one kind stands where another is needed: a tensor for an attribute, a number for
            a tensor, a weight group (`p`) for a weight (`p.fc1.weight`), a string for a dim. Or a list
            can't be a constant: its rows differ in length, a value is out of the dtype's range, or there
            are more than 16 elements.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu("x")
            }
            """,
        cure="""Pass the kind of value that the message names. Positional arguments are tensors, keyword
            arguments are attributes, which are known before anything runs. Long constants go to the
            manifest.""",
    ),
    "E0311": page(
        cause="""The shapes are aligned at their last dims; each pair must be equal or have a 1. A symbolic
            dim only counts as 1 where the text says 1, so that no size changes the meaning of a layer.""",
        example="""
            trtn 1
            network net {
              input  a: f32[4, 3]
              input  b: f32[4]
              output y: f32[4, 3]
              y = a + b
            }
            """,
        cure="Bring the shapes in line: here `a + unsqueeze(b, axes=[1])`.",
    ),
    "E0312": page(
        cause="""The layer needs two dims to be the same: the inner dims of a matrix product, the channels
            of a convolution and of its weight, the other dims of tensors that are joined. They differ for
            every value of the dims, or for the witness values in the note.""",
        example="""
            trtn 1
            network net {
              input  a: f32[4, 768]
              input  b: f32[512, 16]
              output y: f32[4, 16]
              y = matmul(a, b)
            }
            """,
        cure="""Look which side is wrong: often the neighbouring weight is meant, or a tensor must be
            transposed. Use one name for dims that are always the same.""",
    ),
    "E0313": page(
        cause="""The layer needs a relation between dims that does not hold: sizes whose product must stay,
            a size that must be divisible, a window that must fit into the padded input. The note has
            values for which it fails.""",
        example="""
            trtn 1
            network net {
              input  x: f32[1, 3, 4, 4]
              input  k: f32[8, 3, 5, 5]
              output y: f32[1, 8, 1, 1]
              y = conv(x, k)
            }
            """,
        cure="""Correct the sizes, or narrow the dim's range or step to the values for which the relation
            holds.""",
    ),
    "E0314": page(
        cause="""The size of this result depends on the data: how many elements are not zero, how many boxes
            remain. Such a size has a name, so that it can be used further on, and a bound, so that memory
            can be planned.""",
        example="""
            trtn 1
            network net {
              dim N in 1..64
              input  x: f32[N]
              output y: i64[1, K]
              y = nonzero(x)
            }
            """,
        cure="""State the type of the result with the name and the bound: `y = nonzero(x) : i64[1, K in
            0..N]`.""",
    ),
    "E0315": page(
        cause="""Both branches of an `if` yield the same types, and a value that a `repeat`, `loop` or
            `scan` carries has the same type after each round as before it.""",
        example="""
            trtn 1
            network net {
              input  c: bool[]
              input  x: f32[4]
              output y: f32[4]
              y = if c {
                yield relu(x)
              } else {
                yield cast(x, to=f16)
              }
            }
            """,
        cure="Convert or reshape on one side, so that the types are the same.",
    ),
}
