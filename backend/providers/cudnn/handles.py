"""cuDNN handles, one a stream and thread: a handle is not for two threads at once."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["handle_of"]

_local = threading.local()


def handle_of(stream: int) -> Any:
    """The handle whose work goes to a stream, given by its address."""
    import cudnn

    handles: dict[int, Any] = _local.__dict__.setdefault("handles", {})
    if stream not in handles:
        handle = cudnn.create_handle()
        cudnn.set_stream(handle=handle, stream=stream)
        handles[stream] = handle
    return handles[stream]
