"""Specs of any length that look like those the ONNX importer writes: flat, typed here and there, weights by path.

    write_spec(Path("/tmp/generated"), 10_000)      # generated.trtn and generated.weights.trtn

A text tower (attention, spelled out) and an image tower (bottlenecks of convolutions, a pool and a resize now and
then) grow side by side over the dims `B`, `S`, `H` and `W`. Every weight is a line of the manifest, stored in a file
with a hash; the file itself does not exist, because checking reads no weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

__all__ = ["GeneratedSpec", "write_spec"]

_WIDTH = 256
_HEADS = 8
_CHANNELS = 64
_TEXT = f"f32[B, S, {_WIDTH}]"
_IMAGE = f"f32[B, {_CHANNELS}, 8 * H, 8 * W]"


@dataclass(frozen=True, slots=True)
class GeneratedSpec:
    """The spec's file, and how much there is in it and in its manifest. Sizes are in bytes."""

    path: Path
    statements: int
    tensors: int
    text_bytes: int
    manifest_bytes: int


def write_spec(folder: Path, statements: int) -> GeneratedSpec:
    """Write a spec of exactly `statements` assignments (at least 3), and its manifest."""
    body, weights = _body(statements)
    text, manifest = _HEADER + body + _FOOTER, _manifest(weights)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "generated.trtn"
    path.write_text(text)
    (folder / "generated.weights.trtn").write_text(manifest)
    return GeneratedSpec(path, statements, len(weights), len(text.encode()), len(manifest.encode()))


_HEADER = f"""\
trtn 1

# A text tower and an image tower, as long as wanted.

weights w = "generated.weights.trtn"

network generated {{
  doc "A long network: made to measure how long checking takes."
  dim B in 1..32
  dim S in 8..512 step 8
  dim H in 4..64
  dim W in 4..64
  let D = {_WIDTH}
  assert B * S <= 8192, "token budget"
  input  tokens: {_TEXT}
  input  mask:   bool[B, S]
  input  image:  {_IMAGE}
  output text:     {_TEXT}
  output features: {_IMAGE}

  keep = unsqueeze(mask, axes=[1, 2]) : bool[B, 1, 1, S]
"""
_FOOTER = """\
}

profile online for generated {
  B: min 1, opt 1,   max 4
  S: min 8, opt 128, max 512
  H: min 4, opt 28,  max 32
  W: min 4, opt 28,  max 32
}

profile bulk for generated {
  B: min 8,  opt 16,  max 32
  S: min 64, opt 128, max 256
  H: min 28, opt 28,  max 28
  W: min 28, opt 28,  max 28
}
"""
_FIXED = 3
"""Statements that are there at any length: the mask, and one for each output."""


def _body(statements: int) -> tuple[str, dict[str, str]]:
    """The towers, part by part while they fit, then single statements; and the weights' types by name."""
    room = statements - _FIXED
    lines: list[str] = []
    weights: dict[str, str] = {}
    ends = {"tokens": "tokens", "image": "image"}
    for tower, at, make in _plan():
        part = make(at, ends[tower])
        if len(part.statements) > room:
            break
        room -= len(part.statements)
        lines += ["", f"  # {part.about}", *(f"  {s}" for s in part.statements)]
        weights |= part.weights
        ends[tower] = f"{at}.out"
    for number in range(room):
        lines.append(f"  rest[{number}] = tanh({ends['tokens']})")
        ends["tokens"] = f"rest[{number}]"
    lines += ["", f"  text = identity({ends['tokens']})", f"  features = identity({ends['image']})", ""]
    return "\n".join(lines), weights


def _manifest(weights: dict[str, str]) -> str:
    lines = ["trtn 1\n\nmanifest generated {\n", '  file f0 = "generated.safetensors" size 4GB\n']
    for name, type_ in weights.items():
        digest = hashlib.sha256(name.encode()).hexdigest()
        lines.append(f'  tensor {name}: {type_} = f0["model.{name}"] sha256:{digest}\n')
    return "".join([*lines, "}\n"])


@dataclass(slots=True)
class _Part:
    """A run of statements below the path `at`. The last one binds `at.out`."""

    at: str
    about: str
    statements: list[str] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)

    def say(self, name: str, value: str, type_: str = "") -> str:
        """Bind `at.name`; gives the whole name."""
        self.statements.append(f"{self.at}.{name} = {value}" + (f" : {type_}" if type_ else ""))
        return f"{self.at}.{name}"

    def weight(self, name: str, *shape: int) -> str:
        self.weights[f"{self.at}.{name}"] = f"f32[{', '.join(map(str, shape))}]"
        return f"w.{self.at}.{name}"

    def linear(self, name: str, x: str, inputs: int, outputs: int, type_: str = "") -> str:
        weight, bias = self.weight(f"{name}.weight", inputs, outputs), self.weight(f"{name}.bias", outputs)
        return self.say(name, f"linear({x}, {weight}, {bias})", type_)

    def layer_norm(self, name: str, x: str) -> str:
        scale, bias = self.weight(f"{name}.weight", _WIDTH), self.weight(f"{name}.bias", _WIDTH)
        return self.say(name, f"layer_norm({x}, {scale}, {bias}, eps=1e-12)")

    def heads(self, name: str, x: str) -> str:
        """A projection, and its columns dealt out to the heads."""
        whole = self.linear(name, x, _WIDTH, _WIDTH, _TEXT)
        split = f"reshape({whole}, shape=[B, S, {_HEADS}, D // {_HEADS}])"
        return self.say(f"{name}_heads", f"transpose({split}, perm=[0, 2, 1, 3])")

    def conv_bn(self, number: int, x: str, size: int, more: str = "") -> str:
        kernel = self.weight(f"conv{number}.weight", _CHANNELS, _CHANNELS, size, size)
        y = self.say(f"conv{number}", f"conv({x}, {kernel}{more})", _IMAGE if size > 1 else "")
        rows = [self.weight(f"bn{number}.{p}", _CHANNELS) for p in ("weight", "bias", "running_mean", "running_var")]
        return self.say(f"bn{number}", f"batch_norm({y}, {', '.join(rows)})")


def _encoder_layer(at: str, x: str) -> _Part:
    part = _Part(at, f"{at}: self-attention, then the feed-forward part")
    n = part.layer_norm("ln1", x)
    q, k, v = (part.heads(f"attn.{name}", n) for name in "qkv")
    keys = f"transpose({k}, perm=[0, 1, 3, 2])"
    scores = part.say("attn.scores", f"matmul({q}, {keys})", f"f32[B, {_HEADS}, S, S]")
    scaled = part.say("attn.scaled", f"{scores} * {(_WIDTH // _HEADS) ** -0.5:.6f}")
    masked = part.say("attn.masked", f"where(keep, {scaled}, -10000.0)")
    weights = part.say("attn.weights", f"softmax({masked}, axis=-1)")
    part.statements[-1] = f'@onnx("/{at}/attn/Softmax")\n  {part.statements[-1]}'
    context = part.say("attn.context", f"{weights} @ {v}")
    merged = part.say("attn.merged", f"reshape(transpose({context}, perm=[0, 2, 1, 3]), shape=[B, S, D])")
    residual = part.say("sum", f"{x} + {part.linear('attn.out', merged, _WIDTH, _WIDTH)}")
    wide = part.linear("ffn.fc1", part.layer_norm("ln2", residual), _WIDTH, 4 * _WIDTH, f"f32[B, S, {4 * _WIDTH}]")
    narrow = part.linear("ffn.fc2", part.say("ffn.act", f'gelu({wide}, approximate="tanh")'), 4 * _WIDTH, _WIDTH)
    part.say("out", f"{residual} + {narrow}")
    return part


def _bottleneck(at: str, x: str) -> _Part:
    part = _Part(at, f"{at}: bottleneck")
    a = part.say("relu1", f"relu({part.conv_bn(1, x, 1)})")
    b = part.say("relu2", f"relu({part.conv_bn(2, a, 3, ', strides=1, pads=1, dilations=1')})")
    part.say("out", f"relu({part.say('sum', f'{part.conv_bn(3, b, 1)} + {x}')})")
    return part


def _pyramid(at: str, x: str) -> _Part:
    part = _Part(at, f"{at}: half the size and back")
    half = part.say("down", f"max_pool({x}, kernel=[3, 3], strides=2, pads=1)")
    sizes = f"sizes=[B, {_CHANNELS}, 8 * H, 8 * W]"
    up = part.say("up", f'resize({half}, {sizes}, mode="linear")', _IMAGE)
    part.say("out", f"max({x}, {up})")
    return part


def _plan() -> Iterator[tuple[str, str, Callable[[str, str], _Part]]]:
    """Without end: the tower that grows, the path of its next part, what makes that."""
    for n in count():
        yield "tokens", f"encoder.layer[{n}]", _encoder_layer
        yield "image", f"backbone.block[{2 * n}]", _bottleneck
        yield "image", f"backbone.block[{2 * n + 1}]", _bottleneck
        if n % 4 == 3:
            yield "image", f"backbone.level[{n // 4}]", _pyramid
