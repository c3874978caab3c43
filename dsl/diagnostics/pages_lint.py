"""Pages of the lint's codes (L....): specs that are correct and could be better."""

from __future__ import annotations

from trtn.dsl.diagnostics.page import Page, page

__all__ = ["PAGES"]

PAGES: dict[str, Page] = {
    "L0101": page(
        cause="""A value is computed and nothing reads it. A build drops such layers; a reader wonders what they are
            for.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              h = tanh(x)
              y = relu(x)
            }
            """,
        cure="Remove the statement (`trtn lint --fix` does), or use the value.",
    ),
    "L0102": page(
        cause="A block has a parameter that its body never reads: callers pass something that has no effect.",
        example="""
            trtn 1
            block act(x: T[N], *, slope: float) -> T[N] {
              return relu(x)
            }
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = act(x, slope=0.1)
            }
            """,
        cure="Take the parameter out, here and where the block is called.",
    ),
    "L0103": page(
        cause="An import or a weight manifest is named and never used.",
        example="""
            trtn 1
            weights w = "net.weights.trtn"
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="Remove the line (`trtn lint --fix` does).",
    ),
    "L0104": page(
        cause="A file that has networks has a block that none of them calls.",
        example="""
            trtn 1
            block act(x: T[N]) -> T[N] {
              return relu(x)
            }
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = tanh(x)
            }
            """,
        cure="Remove the block, or move it to a file that others import.",
    ),
    "L0105": page(
        cause="""A value or parameter has the name of a block, an import or a manifest of the file. The language keeps
            the two apart; a reader has to think.""",
        example="""
            trtn 1
            block act(x: T[N]) -> T[N] {
              return relu(x)
            }
            network net {
              input  x: f32[4]
              output y: f32[4]
              act = act(x)
              y = tanh(act)
            }
            """,
        cure="Rename the value.",
    ),
    "L0106": page(
        cause="""A manifest has tensors that no network of the file reads. They are hashed, shipped and reviewed for
            nothing. A manifest that several specs share may say so on its line: `# trtn: allow(L0106)`.""",
        example="""
            trtn 1
            weights w = "net.weights.trtn"
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = x * w.scale
            }
            """,
        cure="Take the tensors out of the manifest.",
    ),
    "L0111": page(
        cause="A cast to the dtype that the value has, or back to it after a cast that lost nothing.",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(cast(x, to=f32))
            }
            """,
        cure="Take the cast out (`trtn lint --fix` does where it is a cast to the same dtype).",
    ),
    "L0112": page(
        cause="A transpose that leaves every axis where it is, alone or together with the one before it.",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 8]
              output y: f32[4, 8]
              y = transpose(transpose(x, perm=[1, 0]), perm=[1, 0])
            }
            """,
        cure="Take both out.",
    ),
    "L0113": page(
        cause="A reshape to the shape that the value has.",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 8]
              output y: f32[4, 8]
              y = relu(reshape(x, shape=[4, 8]))
            }
            """,
        cure="Take it out (`trtn lint --fix` does).",
    ),
    "L0121": page(
        cause="""A profile is tuned at its opt, and at its min and max. Where these are far apart, what is fast at one of
            them is slow at most of the shapes between.""",
        example="""
            trtn 1
            network net {
              dim N in 1..4096
              input  x: f32[N, 8]
              output y: f32[N, 8]
              y = relu(x)
            }
            profile all for net {
              N: min 1, opt 32, max 4096
            }
            """,
        cure="Split it into several profiles; an engine holds as many as it needs, and a context picks by the shape.",
    ),
    "L0122": page(
        cause="A size is written as a number where the same scope has given that number a name.",
        example="""
            trtn 1
            network net {
              let D = 768
              input  x: f32[4, D]
              output y: f32[4, D]
              y = relu(x) : f32[4, 768]
            }
            """,
        cure="Write the name (`trtn lint --fix` does).",
    ),
    "L0131": page(
        cause="""A target computes softmax, a normalisation, a sum or an exponential in 16 bits and says nothing of it. In
            f16 sums overflow above 65,504, and in either dtype long sums lose most of their bits.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 512]
              output y: f32[4, 512]
              y = softmax(x)
            }
            target gpu {
              network net
              precision { default f16 }
            }
            """,
        cure="""Keep the ops in f32 (`keep f32 for [softmax]`), or measure that it does not matter and allow the rule:
            `# trtn: allow(L0131)`.""",
    ),
    "L0132": page(
        cause="""The spec itself computes softmax, a normalisation, a sum or an exponential over values of 16 bits. In f16
            sums overflow above 65,504, and in either dtype long sums lose most of their bits.""",
        example="""
            trtn 1
            network net {
              input  x: f16[4, 512]
              output y: f16[4, 512]
              y = softmax(x)
            }
            """,
        cure="Write `@precision(f32)` above the statement; `@precision(f16)` says that it is meant.",
    ),
}
