"""`save_onnx`: a model's file, and the file beside it that holds large weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from trtn.dsl.convert.export.exporter import DEFAULT_OPSET, write
from trtn.dsl.convert.export.values import raw_buffer
from trtn.dsl.convert.export.weights import StoredTensor
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network
from trtn.dsl.weights.atomic import replacing_all
from trtn.dsl.weights.sources import view

__all__ = ["EXTERNAL_ABOVE", "save_onnx"]

EXTERNAL_ABOVE = 1_500_000_000
"""Bytes of weights above which they go to a file of their own."""

Progress = Callable[[str, int, int], None]


def save_onnx(
    network: Network,
    path: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    external_data: bool | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write the network as an ONNX model's file. Gives the files: the model's, and the weights' where there is one.

    external_data: put weights of 4 KiB and more in `<path>.data` beside it, one after another at multiples of 4 KiB.
    They are read one at a time, so the largest of them bounds the memory. By default where they are over 1.5 GB.
    progress: called with "writing weights", how many bytes are written and how many there are.

    The files take their places when both are done. Raises BuildError: E0805 as `export_onnx`, E0111 where the folder
    can't be written to, and what loading a weight raises.
    """
    target = Path(path)
    data_file = target.with_name(f"{target.name}.data")
    total = sum(t.weight.nbytes for t in network.weights if t.weight is not None)
    beside = total > EXTERNAL_ABOVE if external_data is None else external_data
    written = write(network, opset, external=data_file.name if beside else None)
    try:
        with replacing_all() as new:
            if written.stored:
                _write_tensors(new(data_file), written.stored, progress)
            new(target).write(written.model.SerializeToString())
    except OSError as error:
        message = f"`{target}` can't be written: {error.strerror or error}"
        raise BuildError(message, [Diagnostic("E0111", message)]) from None
    return (target, data_file) if written.stored else (target,)


def _write_tensors(file: BinaryIO, stored: Sequence[StoredTensor], progress: Progress | None) -> None:
    total = stored[-1].offset + stored[-1].length
    for tensor in stored:
        file.seek(tensor.offset)
        file.write(raw_buffer(view(tensor.weight), tensor.weight.dtype).data)
        if progress is not None:
            progress("writing weights", tensor.offset + tensor.length, total)
    file.truncate(total)
