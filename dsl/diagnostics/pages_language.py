"""Pages of the codes for text (E01xx) and names (E02xx)."""

from __future__ import annotations

from trtn.dsl.diagnostics.page import Page, page

__all__ = ["PAGES"]

PAGES: dict[str, Page] = {
    "E0101": page(
        cause="""The grammar allows something else at this place. The message lists what it allows. Often
            the mistake is just before: a comma or a colon that is missing, a keyword used as a name.""",
        example="""
            trtn 1
            network net {
              input  x f32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="""Write one of the listed tokens: here `input x: f32[4]`. A name that is a keyword of the
            language goes in backticks.""",
    ),
    "E0102": page(
        cause="""A `(`, `[` or `{` has no partner: the file ends, or another kind of bracket closes, before
            it is closed. The second mark shows the bracket that was opened.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x
            }
            """,
        cure="Close the bracket, or take away the one that is too many.",
    ),
    "E0103": page(
        cause="The first line of a file says which edition of the language it is written in.",
        example="""
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="Put `trtn 1` on the first line.",
    ),
    "E0104": page(
        cause="""The file is written in an edition of the language that is newer than this trtn, or that
            never existed.""",
        example="""
            trtn 99
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="Install a trtn that knows the edition, or write `trtn 1` where the number is a slip.",
    ),
    "E0105": page(
        cause="""No token of the language starts with this character. Look-alikes that come with text from
            elsewhere are common: curved quotes, a long dash for a minus, a no-break space.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x);
            }
            """,
        cure="""Take the character away or write the plain one. There are no semicolons in the language. A
            foreign name with such a character goes in backticks.""",
    ),
    "E0106": page(
        cause="""Specs and manifests are UTF-8 text, and this file is not. Either it has another encoding,
            or it is not text at all: a model or a weight file in the place of a spec.""",
        example="$ trtn check model.onnx",
        cure="""Save the file as UTF-8. For an ONNX model, write the spec with `trtn import onnx model.onnx
            -o model.trtn` and check that.""",
    ),
    "E0107": page(
        cause="""The file, one of its lines, the nesting of its brackets, or the number of imports is larger
            than what somebody reviews. The limits keep a damaged or hostile file from using up all
            memory.""",
        example="""
            $ python -c 'print("trtn 1\\nnetwork n { let x = " + "(" * 5000)' > deep.trtn
            $ trtn check deep.trtn
            """,
        cure="""Split the network into blocks and imports; move long constants to the weight manifest. The
            message names the limit.""",
    ),
    "E0108": page(
        cause="""The file is missing, is a folder, or may not be read by this user. The message has the
            system's reason.""",
        example="$ trtn check modle.trtn",
        cure="""Correct the path or the file's permissions. Paths inside a spec are relative to the folder
            of that spec.""",
    ),
    "E0109": page(
        cause="""A string, or a name in backticks, does not end on the line where it starts. Strings are of
            one line.""",
        example="""
            trtn 1
            network net {
              doc "A small network.
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
            }
            """,
        cure="""Close the string on its line. Inside it, `\\n` stands for a line end, `\\"` for a quote and
            `\\\\` for a backslash.""",
    ),
    "E0110": page(
        cause="""The file is not laid out as `trtn fmt` lays it out. Only `trtn fmt --check` says so: what the
            file means is not concerned.""",
        example="$ trtn fmt --check --format concise model.trtn",
        cure="Run `trtn fmt` on the file. Comments and single blank lines stay.",
    ),
    "E0111": page(
        cause="""The folder is missing or may not be written to, or the disk is full. Files that were there
            before are as they were.""",
        example="$ trtn import onnx model.onnx -o missing/model.trtn",
        cure="Make the folder, or choose another one.",
    ),
    "E0201": page(
        cause="""Nothing of this name is visible here. Tensors and `let` values are visible below the line
            that binds them, in the body where they are bound; a block sees its parameters and what it
            binds itself, not the network that calls it.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              hidden = relu(x)
              y = sigmoid(hiden)
            }
            """,
        cure="Correct the name, bind it above, or pass it to the block as an argument.",
    ),
    "E0202": page(
        cause="""A name is bound once in its scope. Rebinding would make the meaning of a line depend on
            what stands between, so the only way to carry a value on is `repeat .. carry`.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              h = relu(x)
              h = sigmoid(h)
              y = h + x
            }
            """,
        cure="Give the second one a name of its own, or use `repeat i in 0..n carry h { .. }`.",
    ),
    "E0203": page(
        cause="""What is called is no op of the catalogue, no block or plugin of this file, and no block of
            the import that is named. Ops are in snake_case: `max_pool`, not `MaxPool`.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = rleu(x)
            }
            """,
        cure="""Correct the name, or import the file that has the block and call it by the alias:
            `attn.encoder_layer(..)`.""",
    ),
    "E0204": page(
        cause="""The op has no attribute of this name, or the block no such parameter. Positional arguments
            are tensors, keyword arguments are attributes.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = softmax(x, axes=0)
            }
            """,
        cure="Use one of the names that the message lists: here `axis=0`.",
    ),
    "E0205": page(
        cause="""The imported file is missing or has findings of its own, or the block that is called is not
            in it. The path is relative to the folder of the file that imports it.""",
        example="""
            trtn 1
            import "ops/attentoin.trtn" as attn
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = attn.block(x)
            }
            """,
        cure="Correct the path, or see to the findings in the imported file first.",
    ),
    "E0206": page(
        cause="""A file imports itself by way of others, or a block calls itself by way of others. The
            language has no recursion: every network unfolds to a finite list of layers.""",
        example="""
            trtn 1
            block twice(x: f32[N]) -> f32[N] {
              return twice(relu(x))
            }
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = twice(x)
            }
            """,
        cure="""Use `repeat` for a fixed number of times, `loop` or `scan` for one that the data decides;
            move blocks that two files share to a third.""",
    ),
    "E0207": page(
        cause="""The op or block takes another number of tensors than the call passes. Attributes do not
            count: they are passed by keyword.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 4]
              output y: f32[4, 4]
              y = matmul(x)
            }
            """,
        cure="Pass the tensors that the message lists, in that order.",
    ),
    "E0208": page(
        cause="The line binds more or fewer names than the op or block has results.",
        example="""
            trtn 1
            network net {
              input  x: f32[16]
              output y: f32[4]
              y = top_k(x, k=4)
            }
            """,
        cure="Bind all results, with `_` for those that are not needed: `y, _ = top_k(x, k=4)`.",
    ),
    "E0209": page(
        cause="""A file that a spec names lies under the folder of that spec. A path that is absolute,
            climbs out with `..`, or leads out through a symbolic link is refused: a spec from elsewhere
            must not read or write any file that it likes.""",
        example="""
            trtn 1
            import "../../shared/attention.trtn" as attn
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = attn.block(x)
            }
            """,
        cure="""Move the file under the spec's folder, or move the spec up. Where the spec is trusted, allow
            the other folder when it is loaded.""",
    ),
    "E0210": page(
        cause="The network declares an output, and no statement binds that name.",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              h = relu(x)
            }
            """,
        cure="Bind the name (`y = relu(x)`), or take the output away.",
    ),
    "E0211": page(
        cause="""Unfolding `repeat` and nested blocks gives more layers, or goes deeper, than the limit.
            Each level of nesting multiplies: three repeats of 1000 are a thousand million layers.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              h = relu(x)
              repeat i in 0..100000000 carry h {
                h = relu(h)
              }
              y = h + x
            }
            """,
        cure="""Lower the count, or use `loop`, whose body is kept once. Where the size is meant, raise the
            limit that the message names.""",
    ),
    "E0212": page(
        cause="The op or block has an attribute without a default, and the call does not pass it.",
        example="""
            trtn 1
            network net {
              input  x: f32[4, 8]
              output y: f32[8, 8]
              y = concat(x, x)
            }
            """,
        cure="Pass the attribute by keyword: `concat(x, x, axis=0)`.",
    ),
    "E0213": page(
        cause="""The statement is well formed but may not stand here: `yield` outside `if`, `scan` and
            `loop`, `return` outside a block, something after the last `yield` or `return`, a `carry` of a
            name that is not bound.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              y = relu(x)
              return y
            }
            """,
        cure="""Move the statement to where the message says. A network has no `return`: it binds its
            outputs by name.""",
    ),
    "E0214": page(
        cause="""There is no annotation of this name, its arguments do not fit, or it may not stand on this
            statement.""",
        example="""
            trtn 1
            network net {
              input  x: f32[4]
              output y: f32[4]
              @precison(f32)
              y = softmax(x)
            }
            """,
        cure="""Correct the name. `@precision(f32)` fixes the type that a layer computes in; `@onnx("..")`
            records the name of the node that a layer was imported from.""",
    ),
    "E0215": page(
        cause="""The command works on one network. The file has none (it holds blocks, or is a manifest), or
            it has several and the command does not say which.""",
        example="""
            trtn 1
            block act(x: f32[N]) -> f32[N] {
              return relu(x)
            }
            """,
        cure="Name the network on the command line, or the file that has it.",
    ),
}
