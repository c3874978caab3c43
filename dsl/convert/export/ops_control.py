"""If, Scan, Loop: bodies as graphs that read the values around them by name."""

from __future__ import annotations

from onnx import helper

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.values import Value, type_proto
from trtn.dsl.dtypes import BOOL

__all__: list[str] = []


@writes("if")
def _if(s: Site) -> None:
    then, otherwise = (
        s.write_body(g, f"{s.layer.name}/{w}") for g, w in zip(s.layer.regions, ("then", "else"), strict=True)
    )
    s.writer.add("If", [s.x(0).name], s.results, s.results[0], {"then_branch": then, "else_branch": otherwise})


@writes("scan")
def _scan(s: Site) -> None:
    body = s.write_body(s.layer.regions[0], f"{s.layer.name}/body")
    attrs = {
        "body": body,
        "num_scan_inputs": len(s.layer.inputs) - s["carried"],
        "scan_input_axes": list(s["axes"]),
        "scan_input_directions": [int(r) for r in s["reverse"]],
    }
    if s["out_axes"]:
        attrs |= {
            "scan_output_axes": list(s["out_axes"]),
            "scan_output_directions": [int(r) for r in s["out_reverse"]],
        }
    s.writer.add("Scan", _names(s.xs()), s.results, s.results[0], attrs)


@writes("loop")
def _loop(s: Site) -> None:
    """ONNX's body also takes the condition, which is true wherever it runs."""
    inputs = s.xs() + [None] * (2 - len(s.layer.inputs))
    counted = inputs[1] is None
    name = f"{s.layer.name}/body"
    body = s.write_body(s.layer.regions[0], name)
    number, *carried = body.input
    condition = helper.make_value_info(s.writer.names.unique(f"{name}/go"), type_proto(BOOL, ()))
    del body.input[:]
    body.input.extend([number, condition, *carried])
    if counted:
        # Without a first condition the body's is not looked at; ONNX Runtime looks at it all the same.
        body.output[0].name = s.writer.names.unique(f"{name}/on")
        body.node.append(
            helper.make_node("Identity", [condition.name], [body.output[0].name], name=body.output[0].name)
        )
    inputs[0] = _limit(s, inputs[0])
    s.writer.add("Loop", _names(inputs), s.results, s.results[0], {"body": body})


def _limit(s: Site, limit: Value | None) -> Value:
    """How often the body runs at most: as the limit says, and never more than `maximum`."""
    maximum = s.sizes.scalar(s["maximum"])
    if limit is None or s.tensor(0).value == (s["maximum"],):
        return maximum
    if s.rank(0):
        limit = s.emit("Reshape", limit, s.ints([]), part="limit")
    return s.emit("Min", limit, maximum, part="trips")


def _names(values: list[Value | None]) -> list[str]:
    return [v.name if v is not None else "" for v in values]
