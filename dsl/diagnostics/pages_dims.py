"""Pages of the codes for dims, profiles and targets (E04xx, W04xx)."""

from __future__ import annotations

from trtn.dsl.diagnostics.page import Page, page

__all__ = ["PAGES"]

PAGES: dict[str, Page] = {
    "E0401": page(
        cause="""A dim's range has no value, starts below 0, or goes beyond what a size can be; or its step
            is not above 0. Both ends belong to the range, and the step counts from the lower end.""",
        example="""
            trtn 1
            network net {
              dim N in 8..1
              input  x: f32[N]
              output y: f32[N]
              y = relu(x)
            }
            """,
        cure="Write the lower end first: `dim N in 1..8`.",
    ),
    "E0402": page(
        cause="""The dim is declared, but no input has it in its type. It has no effect, which mostly means
            that an input names another dim by mistake.""",
        example="""
            trtn 1
            network net {
              dim N in 1..8
              dim M in 1..8
              input  x: f32[N]
              output y: f32[N]
              y = relu(x)
            }
            """,
        cure="Use the dim in the type of an input, or take the declaration away.",
    ),
    "E0403": page(
        cause="""The relation of an `assert` is false: for every value that the dims can take, or for the
            values that a block was called with. The message shows both sides.""",
        example="""
            trtn 1
            network net {
              let width = 768
              dim N in 1..8
              assert N * width <= 512, "rows must fit the buffer"
              input  x: f32[N, 768]
              output y: f32[N, 768]
              y = relu(x)
            }
            """,
        cure="Correct the value or the relation. In a block, look at the call in the second mark.",
    ),
    "E0404": page(
        cause="""The `assert` has no dim in it, or it holds for all values that the dims can take anyway: it
            excludes nothing. Mostly the range says it already, or the wrong dim is named.""",
        example="""
            trtn 1
            network net {
              dim N in 1..8
              assert N <= 64
              input  x: f32[N]
              output y: f32[N]
              y = relu(x)
            }
            """,
        cure="Take it away, or name the dim that is meant.",
    ),
    "E0411": page(
        cause="""A profile states min, opt and max of every dim of its network. Nothing is assumed for one
            that is left out.""",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              dim S in 8..512
              input  x: f32[B, S]
              output y: f32[B, S]
              y = relu(x)
            }
            profile small for net {
              B: min 1, opt 1, max 4
            }
            """,
        cure="Add the entry: `S: min 8, opt 64, max 128`.",
    ),
    "E0412": page(
        cause="""The profile has an entry for something that is neither a dim of the network nor an input
            whose values are read as a shape.""",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              input  x: f32[B]
              output y: f32[B]
              y = relu(x)
            }
            profile small for net {
              B: min 1, opt 1, max 4
              S: min 8, opt 64, max 128
            }
            """,
        cure="Correct the name or take the entry away.",
    ),
    "E0413": page(
        cause="""The values of a profile entry are out of order. The engine accepts sizes from min to max
            and is tuned for opt, which lies between them.""",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              input  x: f32[B]
              output y: f32[B]
              y = relu(x)
            }
            profile small for net {
              B: min 1, opt 8, max 4
            }
            """,
        cure="Put opt between min and max: `B: min 1, opt 4, max 8`.",
    ),
    "E0414": page(
        cause="""A value of a profile entry is not one that the dim can take: below or above its range, or
            between two steps.""",
        example="""
            trtn 1
            network net {
              dim S in 8..512 step 8
              input  x: f32[S]
              output y: f32[S]
              y = relu(x)
            }
            profile small for net {
              S: min 8, opt 100, max 128
            }
            """,
        cure="Use a value that the dim can take (the message has the nearest), or widen the dim's range.",
    ),
    "E0415": page(
        cause="""An `assert` of the network is false somewhere between the profile's min and max. Every
            combination of sizes in that box must be served; the message has the corner and the values.""",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              dim S in 8..512
              assert B * S <= 16384, "token budget"
              input  x: f32[B, S]
              output y: f32[B, S]
              y = relu(x)
            }
            profile bulk for net {
              B: min 1, opt 32, max 64
              S: min 8, opt 256, max 512
            }
            """,
        cure="Lower max of one of the dims, split the profile in two, or correct the assert.",
    ),
    "E0416": page(
        cause="""A layer's shapes do not fit somewhere between the profile's min and max. Over the whole ranges of
            the dims that could not be decided, so it is checked at run time, but in the profile it is known to fail.
            The message names the profile, the corner, and the values.""",
        example="""
            trtn 1
            network net {
              dim A in 1..10000000
              dim B in 1..10000000
              input  a: f32[A]
              input  b: f32[B]
              input  c: f32[1 + A * B % 9999991 // 9999990]
              output y: f32[A]
              y = a * reshape(c, shape=[1])
            }
            profile p for net {
              A: min 3, opt 3, max 3
              B: min 3333330, opt 3333330, max 3333330
            }
            """,
        cure="Correct the profile, or say with an `assert` for which dims the network is made.",
    ),
    "E0417": page(
        cause="The profile is for a network that this file does not have.",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              input  x: f32[B]
              output y: f32[B]
              y = relu(x)
            }
            profile small for nett {
              B: min 1, opt 1, max 4
            }
            """,
        cure="Correct the name after `for`. A profile stands in the same file as its network.",
    ),
    "E0418": page(
        cause="""The sizes of a tensor multiply to more than 2^62 elements, for the largest values of the
            dims. No machine has that memory, and the arithmetic on sizes would overflow.""",
        example="""
            trtn 1
            network net {
              dim N in 1..8
              input  x: f32[N]
              output y: f32[2000000000, 2000000000, N]
              y = expand(x, shape=[2000000000, 2000000000, N])
            }
            """,
        cure="Lower the upper end of the dim's range, or assert a bound on the product.",
    ),
    "E0421": page(
        cause="""A target has a field that does not exist, lacks one that it needs, has one twice, or a
            field's value is of the wrong kind. The fields are network, profiles, device, precision,
            workspace, lock and output.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
            }
            target host {
              network   net
              device    cpu
              workspace "4GiB"
            }
            """,
        cure="Correct the field: here `workspace 4GiB`, a size without quotes.",
    ),
    "E0422": page(
        cause="The target names a network, a profile, an op, a device or a dtype that does not exist.",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              input  x: f32[B]
              output y: f32[B]
              y = relu(x)
            }
            profile small for net {
              B: min 1, opt 1, max 4
            }
            target host {
              network  net
              profiles [smal]
              device   cpu
            }
            """,
        cure="Correct the name. Profiles of a target are those that are written `for` its network.",
    ),
    "W0401": page(
        cause="""The check can't prove this relation for all values of the dims, nor that it is always
            false. The engine gets a guard: a run with sizes that break it ends with E0707 in place of
            wrong results.""",
        example="""
            trtn 1
            network net {
              dim N in 1..8
              input  x: f32[N]
              input  long: bool[]
              output y: f32[]
              y = if long {
                yield reduce_sum(slice(x, start=[4]))
              } else {
                yield reduce_sum(x)
              }
            }
            """,
        cure="""Where the dims are always the same, use one dim; where a relation between them is known,
            state it with an `assert`. For sizes that depend on the data the guard is what remains. In a
            branch, an `assert` inside of it says when the branch may run, and is checked when it does.""",
    ),
    "W0402": page(
        cause="""The `assert` relates several dims in a way that their ranges leave no other choice: it
            excludes nothing. A range can't say the same, and so it may be meant for the day that one gets
            wider; or the number in it is wrong.""",
        example="""
            trtn 1
            network net {
              dim B in 1..64
              dim S in 1..128
              assert B * S <= 8192
              input  x: f32[B, S]
              output y: f32[B, S]
              y = relu(x)
            }
            """,
        cure="Correct the number, or take the assert away.",
    ),
}
