"""cuDNN graphs for given arrays: built, timed and run. Strides are those of the arrays, so any layout is taken as it
lies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from trtn.backend.evaluate import bind_layers
from trtn.backend.group import Group
from trtn.backend.providers.cudnn.epilogue import EpilogueStep

__all__ = ["NoPlanError", "Runner"]

WORKSPACE_LIMIT = 256 << 20
PLAN_LIMIT = 16
"""How many plans of a graph are timed; cuDNN lists the promising ones first."""
REPEATS = 5
TOLERANCE = {"float16": 5e-3, "bfloat16": 4e-2}
"""Relative L2 error to the reference in f32: ten times the rounding of inputs and result (2^-11, 2^-8)."""
SLOW = 3.0
"""A plan that takes this many times the best's time at its first run is not timed further."""


class NoPlanError(RuntimeError):
    """No plan of cuDNN's runs a group; the message has each one's reason."""


class Handles:
    """A cuDNN handle and scratch memory a stream. Scratch that a recorded graph may use is never given back."""

    def __init__(self) -> None:
        self._handles: dict[int, Any] = {}
        self._scratch: dict[int, list[Any]] = {}

    def handle(self, stream: int) -> Any:
        import cudnn

        if stream not in self._handles:
            handle = cudnn.create_handle()
            cudnn.set_stream(handle=handle, stream=stream)
            self._handles[stream] = handle
        return self._handles[stream]

    def scratch(self, stream: int, nbytes: int) -> int:
        import cupy

        held = self._scratch.setdefault(stream, [])
        if not held or held[-1].nbytes < nbytes:
            memory = cupy.cuda.alloc(max(nbytes, 1 << 20))
            held.append(cupy.ndarray((max(nbytes, 1 << 20),), cupy.uint8, memory))
        return int(held[-1].data.ptr)


HANDLES = Handles()


class Runner:
    """One graph over fixed arrays, with the plan that was the fastest of those listed."""

    def __init__(
        self, group: Group, steps: Sequence[EpilogueStep], inputs: Sequence[Any], output: Any, packed: dict[int, Any]
    ) -> None:
        import cupy

        self.stream = cupy.cuda.get_current_stream().ptr
        arrays = {id(t): a for t, a in zip(group.inputs, inputs, strict=True)}
        self.pointers: dict[int, int] = {}
        self.kept: list[Any] = []
        self.copies: list[tuple[Any, Any]] = []
        self.masks: list[tuple[Any, Any]] = []
        builders = {"conv": self._conv, "attention": self._attention}
        graph = builders.get(group.layers[0].op.name, self._gemm)(group, steps, arrays, output, packed)
        self.graph, self.plan, self.workspace = self._choose(graph, output, _expected(group, inputs, output))

    def run(self) -> None:
        for target, source in self.copies:
            target[...] = source
        for target, mask in self.masks:
            _additive(mask, target)
        scratch = HANDLES.scratch(self.stream, self.workspace)
        self.graph.execute_plan_at_index(self.pointers, scratch, self.plan, HANDLES.handle(self.stream))

    # --- graphs ---

    def _new(self, dtype: Any) -> Any:
        import cudnn

        kind = _data_type(dtype)
        real = cudnn.data_type.FLOAT
        return cudnn.pygraph(
            io_data_type=kind, intermediate_data_type=real, compute_data_type=real, handle=HANDLES.handle(self.stream)
        )

    def _tensor(self, graph: Any, array: Any, shape: Sequence[int], strides: Sequence[int]) -> Any:
        uid = len(self.pointers) + 1
        self.pointers[uid] = int(array.data.ptr)
        self.kept.append(array)
        return graph.tensor(
            name=f"t{uid}", uid=uid, dim=list(shape), stride=list(strides), data_type=_data_type(array.dtype)
        )

    def _conv(
        self, group: Group, steps: Sequence[EpilogueStep], arrays: dict[int, Any], output: Any, packed: dict[int, Any]
    ) -> Any:
        layer = group.layers[0]
        x, weight = (arrays[id(t)] for t in layer.inputs[:2])
        kernel = _pack(weight, packed)
        spatial = max(2, x.ndim - 2)
        graph = self._new(x.dtype)
        attrs = layer.attrs
        count = x.ndim - 2
        lead = [0] * (spatial - count)
        ones = [1] * (spatial - count)
        y = graph.conv_fprop(
            image=self._tensor(graph, x, *_image(x, spatial)),
            weight=self._tensor(graph, kernel, *_image(kernel, spatial)),
            pre_padding=[*lead, *attrs["pads"][:count]],
            post_padding=[*lead, *attrs["pads"][count:]],
            stride=[*ones, *attrs["strides"]],
            dilation=[*ones, *attrs["dilations"]],
        )
        shape, strides = _image(output, spatial)
        channel = (1, shape[1], *[1] * spatial)
        return self._finish(graph, y, steps, arrays, output, (shape, strides), channel, spatial)

    def _gemm(
        self, group: Group, steps: Sequence[EpilogueStep], arrays: dict[int, Any], output: Any, packed: dict[int, Any]
    ) -> Any:
        layer = group.layers[0]
        a, b = (arrays[id(t)] for t in layer.inputs[:2])
        k, n = b.shape
        rows = a.size // k
        graph = self._new(a.dtype)
        flat = self._dense(a)
        y = graph.matmul(
            A=self._tensor(graph, flat, (1, rows, k), (rows * k, k, 1)),
            B=self._tensor(graph, b, (1, k, n), (k * n, *_steps(b))),
        )
        return self._finish(graph, y, steps, arrays, output, ((1, rows, n), (rows * n, n, 1)), (1, 1, n), 0)

    def _attention(
        self,
        group: Group,
        steps: Sequence[EpilogueStep],
        arrays: dict[int, Any],
        output: Any,
        packed: dict[int, Any],
    ) -> Any:
        layer = group.layers[0]
        q, k, v = (arrays[id(t)] for t in layer.inputs[:3])
        mask = arrays[id(layer.inputs[3])] if len(layer.inputs) > 3 and layer.inputs[3] is not None else None
        graph = self._new(q.dtype)
        scale = layer.attrs["scale"]
        options: dict[str, Any] = {"attn_scale": q.shape[3] ** -0.5 if scale is None else scale}
        if mask is not None:
            options["bias"] = self._mask(graph, mask, (q.shape[0], 1, q.shape[2], k.shape[2]), q.dtype)
        result, _ = graph.sdpa(
            q=self._tensor(graph, q, q.shape, _steps(q)),
            k=self._tensor(graph, k, k.shape, _steps(k)),
            v=self._tensor(graph, v, v.shape, _steps(v)),
            generate_stats=False,
            use_causal_mask=bool(layer.attrs["causal"]),
            **options,
        )
        self._give(result, output, output.shape, _steps(output))
        return graph

    def _mask(self, graph: Any, mask: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        """The mask as a bias of one head. A bool mask becomes 0 where it keeps and the lowest number where it does
        not, in each run.

        A query that may look at no key then gets the mean of all values, where the reference gives zeros.
        """
        import cupy

        heads = max(1, mask.shape[1])
        shape = (shape[0], heads, *shape[2:])
        dense = cupy.empty(shape, dtype)
        wide = cupy.broadcast_to(mask, shape)
        (self.masks if mask.dtype == bool else self.copies).append((dense, wide))
        _additive(wide, dense) if mask.dtype == bool else dense.__setitem__(..., wide)
        return self._tensor(graph, dense, shape, _steps(dense))

    def _finish(
        self,
        graph: Any,
        y: Any,
        steps: Sequence[EpilogueStep],
        arrays: dict[int, Any],
        output: Any,
        result: tuple[Sequence[int], Sequence[int]],
        channel: Sequence[int],
        spatial: int,
    ) -> Any:
        for step in steps:
            if step.operand is None:
                y = getattr(graph, step.node)(input=y, **dict(step.args))
                continue
            other = arrays[id(step.operand)]
            if step.node == "bias":
                strides = [channel[1] if spatial else channel[2]] * len(channel)
                strides[1 if spatial else 2] = 1
                y = graph.add(a=y, b=self._tensor(graph, other, channel, strides))
            else:
                place = _image(other, spatial) if spatial else result
                other = other if spatial else self._dense(other)
                y = graph.add(a=y, b=self._tensor(graph, other, *place))
        self._give(y, output, *result)
        return graph

    def _give(self, y: Any, output: Any, shape: Sequence[int], strides: Sequence[int]) -> None:
        """Let a node's result be the output array."""
        uid = len(self.pointers) + 1
        self.pointers[uid] = int(output.data.ptr)
        self.kept.append(output)
        y.set_output(True).set_data_type(_data_type(output.dtype)).set_uid(uid)
        y.set_dim(list(shape)).set_stride(list(strides))

    def _dense(self, array: Any) -> Any:
        """The array, or a dense one that each run copies it to."""
        import cupy

        if array.flags.c_contiguous:
            return array
        dense = cupy.ascontiguousarray(array)
        self.copies.append((dense, array))
        return dense

    # --- plans ---

    def _choose(self, graph: Any, output: Any, expected: Any) -> tuple[Any, int, int]:
        import cudnn
        import cupy

        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
            graph.check_support()
        except (RuntimeError, cudnn.cudnnGraphNotSupportedError) as e:
            raise NoPlanError(str(e).splitlines()[0][:300]) from None
        handle = HANDLES.handle(self.stream)
        stream = cupy.cuda.get_current_stream()
        best: tuple[float, int, int] | None = None
        refused: list[str] = []
        for index in range(min(PLAN_LIMIT, graph.get_execution_plan_count())):
            try:
                graph.build_plan_at_index(index)
                nbytes = graph.get_workspace_size_plan_at_index(index)
                if nbytes > WORKSPACE_LIMIT:
                    continue
                scratch = HANDLES.scratch(self.stream, nbytes)
                output[:1] = float("nan")  # what an earlier plan has left must not pass for this one's result
                graph.execute_plan_at_index(self.pointers, scratch, index, handle)
                distance = _distance(output[:1], expected)
                if distance > TOLERANCE[output.dtype.name]:
                    refused.append(f"plan {index}: differs from the reference by {distance:.1e}")
                    continue
                first = _time(
                    stream, lambda i=index, s=scratch: graph.execute_plan_at_index(self.pointers, s, i, handle), 1
                )
                if best is not None and first > SLOW * best[0]:
                    continue
                seconds = _time(
                    stream, lambda i=index, s=scratch: graph.execute_plan_at_index(self.pointers, s, i, handle), REPEATS
                )
            except (RuntimeError, cudnn.cudnnGraphNotSupportedError) as e:
                refused.append(f"plan {index}: {str(e).splitlines()[0][:200]}")  # a plan that is listed need not build
                continue
            if best is None or seconds < best[0]:
                best = (seconds, index, nbytes)
        if best is None:
            raise NoPlanError("; ".join(refused) or "cuDNN lists no plan")
        return graph, best[1], best[2]


def _expected(group: Group, inputs: Sequence[Any], output: Any) -> Any:
    """The reference's result for the first row of the batch, in f32: what a plan must agree with before its time
    counts."""
    import cupy

    table = {}
    for t, array in zip(group.inputs, inputs, strict=True):
        part = array[:1] if t.weight is None and array.ndim and array.shape[0] == output.shape[0] else array
        table[id(t)] = part.astype(cupy.float32) if t.dtype.is_float else part
    bind_layers(group.layers, group.outputs, {}, cupy)(table, {})
    return table[id(group.outputs[0])].astype(cupy.float32)


def _distance(found: Any, expected: Any) -> float:
    """||found - expected|| / ||expected||; infinite where the result is not finite."""
    import cupy

    error = cupy.linalg.norm((found.astype(cupy.float32) - expected).ravel())
    norm = cupy.linalg.norm(expected.ravel())
    ratio = float(error / cupy.maximum(norm, 1e-20))
    return ratio if ratio == ratio else float("inf")


@cache
def _mask_kernel() -> Any:
    import cupy

    return cupy.ElementwiseKernel("bool keep", "T bias", "bias = keep ? T(0) : T(-60000)", "trtn_mask")


def _additive(mask: Any, bias: Any) -> None:
    """A mask of what to keep as a number to be added: 0, or one near the lowest of f16."""
    _mask_kernel()(mask, bias)


def _time(stream: Any, run: Any, repeats: int) -> float:
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record(stream)
    for _ in range(repeats):
        run()
    end.record(stream)
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) / repeats


def _data_type(dtype: Any) -> Any:
    import cudnn

    names = {"float16": "HALF", "bfloat16": "BFLOAT16"}
    return getattr(cudnn.data_type, names[dtype.name])


def _steps(array: Any) -> list[int]:
    return [s // array.itemsize for s in array.strides]


def _image(array: Any, spatial: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Dims and strides of [N, C, *spatial], with leading spatial dims of 1 put in where there are fewer."""
    extra = spatial - (array.ndim - 2)
    steps = _steps(array)
    wide = max(s * n for s, n in zip(steps, array.shape, strict=True)) if array.size else 1
    shape = (*array.shape[:2], *[1] * extra, *array.shape[2:])
    return shape, (*steps[:2], *[wide] * extra, *steps[2:])


def _pack(weight: Any, packed: dict[int, Any]) -> Any:
    """[K, C, *kernel] with the channels last in memory."""
    import cupy

    key = int(weight.data.ptr)
    if key not in packed:
        last = cupy.ascontiguousarray(cupy.moveaxis(weight, 1, -1))
        packed[key] = cupy.moveaxis(last, -1, 1)
    return packed[key]
