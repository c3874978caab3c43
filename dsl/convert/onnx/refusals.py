"""Why ops that no network of this language has are refused: by name, and not as something that is merely missing."""

from __future__ import annotations

__all__ = ["why_refused"]

_TEXT = "text is not supported; tokenise before the network"
_TRAINING = "training is not supported"
_OPS = {
    "StringConcat": _TEXT, "StringNormalizer": _TEXT, "StringSplit": _TEXT, "RegexFullMatch": _TEXT,
    "ImageDecoder": "image files are not supported; decode before the network",
}  # fmt: skip
_DOMAINS = {
    "ai.onnx.preview.training": _TRAINING,
    "ai.onnx.training": _TRAINING,
    "ai.onnx.ml": "classical models (ai.onnx.ml) are not supported",
}


def why_refused(op: str, domain: str) -> str | None:
    """The reason, or None where the op is simply not known."""
    return _DOMAINS.get(domain) if domain else _OPS.get(op)
