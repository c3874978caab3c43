"""Pages of the codes for what is beside the spec: weights (E05xx, W05xx), plugins (E06xx), builds and
engines (E07xx), foreign models (E08xx), comparisons (E09xx).
"""

from __future__ import annotations

from trtn.dsl.diagnostics.page import Page, page

__all__ = ["PAGES"]

PAGES: dict[str, Page] = {
    "E0501": page(
        cause="""The spec uses a weight that its manifest does not list, or a group of weights that has no
            such member.""",
        example="""
            ==> model.trtn <==
            trtn 1
            weights w = "model.weights.trtn"
            network net {
              input  x: f32[4, 8]
              output y: f32[4, 2]
              y = matmul(x, w.head.wieght)
            }
            ==> model.weights.trtn <==
            trtn 1
            manifest net {
              tensor head.weight: f32[8, 2] = zeros
            }
            """,
        cure="Correct the path, or add the tensor to the manifest.",
    ),
    "E0502": page(
        cause="""The tensor's bytes are not those that the manifest names: the sha256 over its dtype, shape
            and bytes differs. The weight file was changed, mixed up or damaged.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor bias: f32[2] = f0 sha256:77aa01c277aa01c277aa01c277aa01c277aa01c277aa01c277aa01c277aa01c2
            }
            """,
        cure="""Get the weight file that belongs to this commit. Where the change is meant, write the new
            hash to the manifest.""",
    ),
    "E0503": page(
        cause="""The weight file has the tensor with another dtype or shape than the manifest states. With
            `transpose`, the manifest states the shape after it.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor head.weight: f32[8, 2] = f0["head.weight"]    # the file has f32[2, 8]
            }
            """,
        cure="""State the stored type in the manifest, or add `transpose` where the matrix is stored the
            other way round.""",
    ),
    "E0504": page(
        cause="""A weight file or the manifest itself is missing, may not be read, or is not what its name
            says: an incomplete download, or the pointer of a large-file store in place of the file.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "missing.safetensors"
              tensor head.bias: f32[2] = f0
            }
            """,
        cure="""Fetch the file (with a large-file store: pull it), or correct the path, which is relative to
            the file that names it.""",
    ),
    "E0505": page(
        cause="""The weight file has no tensor under this key. Without a key in brackets the tensor's own
            name is looked up.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor head.bias: f32[2] = f0["classifier.bais"]
            }
            """,
        cure="Correct the key. Names in a file often have a prefix that the manifest leaves out.",
    ),
    "E0506": page(
        cause="""A weight file lies under the folder of its manifest. A path that is absolute, climbs out
            with `..`, or leads out through a symbolic link is refused: a manifest from elsewhere must not
            read any file that it likes.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "../../../etc/passwd"
              tensor head.bias: f32[2] = f0
            }
            """,
        cure="""Move the file under the manifest's folder, or, where the manifest is trusted, allow its
            folder when loading.""",
    ),
    "E0507": page(
        cause="""A weight's values come from a file or from a generator: `zeros`, `ones`, `full(x)`,
            `normal(seed, std)`, `uniform(seed, low, high)` or `inline [..]`. This is none of them, or its
            arguments are of the wrong number or kind.""",
        example="""
            trtn 1
            manifest net {
              tensor head.bias: f32[2] = normal(0.02)
            }
            """,
        cure="""Write the generator with its arguments: `normal(7, 0.02)` for seed and standard deviation.
            `inline` takes as many elements as the shape has.""",
    ),
    "E0508": page(
        cause="""A tensor refers to a `file` entry that the manifest does not have, or an entry is used by
            no tensor.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor head.bias: f32[2] = f1["head.bias"]
            }
            """,
        cure="Correct the entry's name, or take away the entry that nothing uses.",
    ),
    "E0509": page(
        cause="""The file's size or sha256 is not the one that its `file` entry states: another version, or
            damage on the way.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors" size 438MB
              tensor head.bias: f32[2] = f0
            }
            """,
        cure="""Fetch the file again. Where the change is meant, correct the entry; the hashes of the
            tensors tell whether their values have changed.""",
    ),
    "E0510": page(
        cause="""A weight that is read from a file has no `sha256:` in the manifest, and the command asks
            for builds that repeat exactly, which needs every value pinned.""",
        example="$ trtn build model.trtn --locked",
        cure="""Write the hash of each stored tensor to the manifest. Generators need none: their text says
            the values.""",
    ),
    "E0511": page(
        cause="A hash is `sha256:` and 64 hexadecimal digits. This one has more or fewer.",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor head.bias: f32[2] = f0 sha256:77aa
            }
            """,
        cure="Write the whole hash, or take it away and let the hashes be filled in.",
    ),
    "W0501": page(
        cause="""A weight that is read from a file has no `sha256:` in the manifest. A changed file would go
            unnoticed.""",
        example="""
            trtn 1
            manifest net {
              file f0 = "model.safetensors"
              tensor head.bias: f32[2] = f0["head.bias"]
            }
            """,
        cure="Write the hash of the tensor to the manifest, at the end of its line.",
    ),
    "E0601": page(
        cause="""A plugin's declaration states all that the check needs: its signature with types, where its
            dtype variables range, its source and its version. Something of that is missing.""",
        example="""
            trtn 1
            plugin rope(x: T[B, H, S, D], pos: i32[S]) -> T[B, H, S, D] {
              where T in {f16, bf16}
            }
            """,
        cure='Add the fields that the message names: `source "plugins/rope.py"` and `version "1.2.0"`.',
    ),
    "E0602": page(
        cause="""This version checks networks with plugins: their types and shapes follow from the
            declaration. It can't build or run them.""",
        example="$ trtn build model_with_plugin.trtn",
        cure="Write the plugin's computation as a block of ops, or build with a version that runs plugins.",
    ),
    "E0701": page(
        cause="""A layer failed while it was computed: for constants during the build, or while the network
            ran. The message has the layer, its types, and the reason.""",
        example="$ trtn build model.trtn",
        cure="""Look at the values that reach the layer: an index beyond the size, a division of an integer
            by zero, an empty reduction. Where the inputs are right, this is a fault of trtn that is worth
            a report.""",
    ),
    "E0702": page(
        cause="""The device that is asked for is not here: CuPy is not installed or sees no GPU, there is no
            GPU of this number, or the GPU is of another architecture than the target.""",
        example="$ trtn build model.trtn --device cuda",
        cure="""Install the extra for the GPU (`pip install 'trtn[cuda12]'`), check the driver, or use
            `--device cpu`.""",
    ),
    "E0703": page(
        cause="""The file is not an engine, is cut short, or a section's sha256 does not match its bytes.
            Nothing of it is used.""",
        example="$ trtn run truncated.engine --input x=x.npy -o out.npz",
        cure="""Copy the file again, or build it again from its spec; with the lock file the bytes come out
            the same.""",
    ),
    "E0704": page(
        cause="The engine was written by a trtn whose file format this one does not read.",
        example="$ trtn inspect old.engine",
        cure="Build the engine again with this version, or run it with the version that wrote it.",
    ),
    "E0705": page(
        cause="""What is fed is not what the engine takes: an input is missing or unknown, or an array has
            the wrong dtype or rank, or two inputs disagree on a dim that they share.""",
        example="$ trtn run model.engine --input img=x.npy -o out.npz    # the input is named `image`",
        cure="""Feed each input by its name with the type that the message states; `trtn inspect
            model.engine` lists them. Arrays are never converted silently.""",
    ),
    "E0706": page(
        cause="""The sizes of the inputs lie in none of the engine's profiles. The message says for each
            profile which dim is out of which range.""",
        example="$ trtn run model.engine --input x=batch_of_128.npy -o out.npz    # max of B is 64",
        cure="Split or pad the input, or add a profile that has these sizes and build again.",
    ),
    "E0707": page(
        cause="""A relation between sizes that the check could not prove (W0401) is false for the sizes of
            this run. The message has the relation and the values.""",
        example="$ trtn run model.engine --input a=a.npy --input b=b.npy -o out.npz",
        cure="""Feed inputs whose sizes satisfy the relation. State it in the spec with an `assert` to see
            it earlier.""",
    ),
    "E0708": page(
        cause="""A locked build takes each tactic from the lock file and times nothing. The lock has no
            entry for a group of layers: the network, the profile, the device or a library's version has
            changed since it was written.""",
        example="$ trtn build model.trtn --locked",
        cure="""Run `trtn lock` on a machine with the target's device, review the change of the lock file, and
            commit it.""",
    ),
    "E0709": page(
        cause="""The weights, the arena or the workspace do not fit into the memory of the device, or into
            the limit that is set. The message has what was asked for and what is free.""",
        example="$ trtn run model.engine --input x=large.npy -o out.npz",
        cure="""Lower max of the profile, set a smaller `workspace`, use a lower precision, or free memory
            that others hold.""",
    ),
    "E0710": page(
        cause="""The engine's file can't be written: its folder is missing or read-only, the disk is full, or
            there is something of that name that is no regular file. The message has the system's reason.""",
        example="$ trtn build model.trtn -o /dev/null",
        cure="Write to another place. The engine that was there before is as it was.",
    ),
    "E0711": page(
        cause="""The lock states a hash for each file that the spec names: imports (of the text as `trtn fmt` writes
            it), manifests (the root over the hashes of their tensors), plugins (version, and hash of the source's
            bytes). A file is not what was locked, is new, or is no longer named. Layout doesn't count, nor where
            weights are stored.""",
        example="$ trtn build model.trtn --locked    # a tensor's hash in the manifest was changed",
        cure="""See with `git log` what changed the file. Where it is meant, run `trtn lock` and commit the lock
            with it; a pull request then shows both.""",
    ),
    "W0701": page(
        cause="""The lock was written with a library, or a trtn, of another version than the one that is here. A
            tactic's name need not mean the same there, so it is not used: the best one is looked for again.""",
        example="$ trtn build model.trtn    # the lock was written with another cuDNN",
        cure="""Review the changed lock file and commit it, or install the version that the lock names. With
            `--locked` the build fails instead.""",
    ),
    "W0702": page(
        cause="""The lock has tactics that nothing asks for, since the network or its profiles changed, or those of a
            target that the spec no longer has. They do no harm.""",
        example="$ trtn lock model.trtn --check    # after a profile was removed",
        cure="Run `trtn lock`: it leaves them out.",
    ),
    "W0703": page(
        cause="""The engine was built for a GPU that was not there, so nothing could be timed, and no lock said which
            tactics are the fastest. It runs, by the first tactic of each step that the GPU's libraries offer.""",
        example="$ trtn build model.trtn --device cuda:sm_90 -o model.engine    # on a machine without a GPU",
        cure="""Build on the GPU with `--lock FILE` and commit the lock: builds with `--locked` then give the same,
            tuned engine anywhere.""",
    ),
    "E0801": page(
        cause="""The file can't be read as an ONNX model: it is cut short, of another format, or breaks
            ONNX's rules, such as a node that reads a value nobody computes.""",
        example="$ trtn import onnx weights.bin -o model.trtn",
        cure="""Check the file with `onnx.checker`, and export it again where that fails too. External data
            has to lie under the model's folder.""",
    ),
    "E0802": page(
        cause="""The importer has no op for this node: an operator of another domain, a version of an
            operator that it does not know, or an attribute that it can't express. All such nodes are
            listed.""",
        example="$ trtn import onnx model.onnx -o model.trtn    # has a node of the domain com.example",
        cure="""Export the model to standard operators (opset 13 or later), or replace the node before the
            import by others that compute the same.""",
    ),
    "E0803": page(
        cause="""An input or output of the model has a type that the language does not have: a string, a
            complex number, a sequence, a map, or a tensor of unknown rank.""",
        example="$ trtn import onnx sklearn.onnx -o model.trtn    # the output is a sequence of maps",
        cure="""Export the model without that input or output; for classifiers, turn off the exporter's
            ZipMap.""",
    ),
    "E0804": page(
        cause="""The outputs of the spec and of the reference model differ by more than the tolerance, for
            the inputs that were compared. The message has the output and its greatest difference.""",
        example="$ trtn verify model.trtn --against model.onnx",
        cure="""See at which layer the difference starts. Reduced precision differs in its last digits:
            compare with the tolerance that it deserves; other differences are a fault of the import or of
            an edit since.""",
    ),
    "E0805": page(
        cause="""A layer, a dtype or the opset can't be written as an ONNX model: the opset that was asked for has
            no op that does what the layer does, and none that it could be spelled out in.""",
        example="$ trtn export onnx model.trtn -o model.onnx --opset 17",
        cure="""Ask for a newer opset: the message says which one has it. Weights that a model's file can't hold
            go to a file beside it with `--external-data`.""",
    ),
    "E0901": page(
        cause="""`REVISION:path` names a file as it was at a revision of git. There is no repository here, git does
            not know the revision, or the file was not there at that time. A name without a colon, and one of a
            file that exists, is never taken for a revision.""",
        example="""
            $ trtn diff HEAD~1:specs/bert.trtn specs/bert.trtn
            """,
        cure="Check the revision with `git log -- path`; the path is relative to the folder that you are in.",
    ),
    "E0911": page(
        cause="""A block that other specs import is gone, or takes or gives something else than at the revision
            that `trtn breaking` compares with. Specs that call it no longer check, or mean something else.""",
        example="""
            $ trtn breaking --against main specs/
            """,
        cure="Keep the block and add another beside it, or change all callers in the same pull request and allow it.",
    ),
    "E0912": page(
        cause="""An engine built from the new version can't stand for one built from the old: an input, output,
            profile or target is gone or has another type, or a shape that was served is not any more.""",
        example="""
            $ trtn breaking --against v1.4 specs/bert.trtn
            """,
        cure="""Keep what programs use (widening a profile is fine), or tell them and allow the rule on its line:
            `# trtn: allow(PROFILE_RANGE_NO_SHRINK)`.""",
    ),
    "E0913": page(
        cause="""The new version computes other numbers: layers, weights or the precision of a target changed. Often
            that is the point of a change; then the rule is to be allowed, with the measured difference beside it.""",
        example="""
            $ trtn breaking --against main --kind numeric specs/bert.trtn
            """,
        cure="Compare the outputs with `trtn verify`, then allow the rule.",
    ),
}
