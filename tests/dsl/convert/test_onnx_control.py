"""If, Loop, Scan: regions, scopes, and conditions that the dims decide."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import GraphProto, ModelProto

from tests.dsl.convert.models import BOOL, INT64, Array, check, codes, graph, model, node, ops, refused, value
from tests.interpreter import evaluate_network
from trtn.dsl.convert.onnx import import_onnx
from trtn.dsl.dims import Range

RNG = np.random.default_rng(5)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def branch(op: str, source: str, name: str) -> GraphProto:
    return graph([node(op, [source], [name])], [], [value(name, None)], name=name)


def test_if_on_data() -> None:
    cond = value("c", [], BOOL)
    proto = model(
        [node("If", ["c"], ["y"], then_branch=branch("Neg", "x", "t"), else_branch=branch("Relu", "x", "e"))],
        [cond, value("x", ["N", 2])],
        ["y"],
    )
    for truth in (True, False):
        network = check(proto, {"c": np.asarray(truth), "x": floats(3, 2)})
    assert ops(network) == ["if", "neg", "relu"]


def nested(depth: int) -> ModelProto:
    """Each branch reads values of all the graphs around it."""
    inner = graph(
        [
            node("Add", ["x", "v0"], ["s0"]),
            *(node("Add", [f"s{n}", f"v{n + 1}"], [f"s{n + 1}"]) for n in range(depth - 1)),
        ],
        [],
        [value(f"s{depth - 1}")],
        name="inner",
    )
    body = inner
    for n in reversed(range(depth)):
        other = graph([node("Neg", ["x"], [f"e{n}"])], [], [value(f"e{n}")], name=f"else{n}")
        nodes = [node("If", [f"c{n}"], [f"r{n}"], f"if{n}", then_branch=body, else_branch=other)]
        body = (
            graph([node("Relu", ["x"], [f"v{n - 1}"]), *nodes], [], [value(f"r{n}")], name=f"level{n}")
            if n
            else graph(nodes, [], [value("r0")])
        )
    return model(
        [node("Exp", ["x"], [f"v{depth - 1}"]), *body.node],
        [value("x", [2]), *(value(f"c{n}", [], BOOL) for n in range(depth))],
        ["r0"],
    )


def test_names_of_outer_graphs_four_deep() -> None:
    proto = nested(4)
    for off in (None, 0, 3):
        feeds = {f"c{n}": np.asarray(n != off) for n in range(4)}
        check(proto, {"x": floats(2), **feeds})


def by_rank(dim: str | int) -> ModelProto:
    """What torch makes of `x.squeeze(1)` where the size is not known: branches of different ranks."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "at"], ["n"]),
        node("Equal", ["n", "one"], ["c"]),
        node(
            "If",
            ["c"],
            ["h"],
            "choice",
            then_branch=graph([node("Squeeze", ["x", "at"], ["t"])], [], [value("t")]),
            else_branch=branch("Identity", "x", "e"),
        ),
        node("Relu", ["h"], ["y"]),
    ]
    rank = 2 if dim != "two" else 1
    return model(
        nodes,
        [value("x", ["N", "K" if dim == "two" or dim == "K" else dim])],
        [value("y", ["a", "b"][:rank])],
        {"at": np.asarray([1]), "one": np.asarray([1])},
    )


def test_if_that_the_dims_decide_leaves_one_branch() -> None:
    proto = by_rank(3)
    network = import_onnx(proto)  # ONNX Runtime itself refuses it: it infers both branches
    assert ops(network) == ["relu"] and str(network.outputs[0].type) == "f32[N, 3]"


def test_if_that_the_dims_leave_open_is_imported_for_the_declared_rank() -> None:
    network = check(by_rank("two"), {"x": floats(4, 1)})
    assert ops(network) == ["squeeze", "relu"] and network.inputs[0].shape[1] == 1
    network = check(by_rank("K"), {"x": floats(4, 3)})
    assert ops(network) == ["relu"] and network.dims["K"] == Range(2, 4096)


def rates() -> ModelProto:
    """Two branches on data, each of which only takes one length: both must import, neither may bind the other."""

    def side(length: int, name: str) -> GraphProto:
        nodes = [
            node("Shape", ["x"], [f"{name}s"]),
            node("Gather", [f"{name}s", "at"], [f"{name}n"]),
            node("Div", [f"{name}n", f"len{length}"], [f"{name}q"]),
            node("Equal", [f"{name}q", "one"], [f"{name}c"]),
            node("Slice", ["x", "zero", "upto", "at"], [f"{name}x"]),
            node(
                "If",
                [f"{name}c"],
                [f"{name}h"],
                f"{name}choice",
                then_branch=graph(
                    [node("ReduceSum", [f"{name}x", "at"], [f"{name}_t"], keepdims=0)], [], [value(f"{name}_t")]
                ),
                else_branch=branch("Identity", f"{name}x", f"{name}e"),
            ),
            node("Gemm", [f"{name}h2", "w"], [f"{name}y"]),
        ]
        nodes.insert(6, node("Unsqueeze", [f"{name}h", "zero"], [f"{name}h2"]))
        return graph(nodes, [], [value(f"{name}y")], name=name)

    weights = {
        "at": np.asarray([1]),
        "one": np.asarray([1]),
        "zero": np.asarray([0]),
        "upto": np.asarray([4]),
        "len8": np.asarray([8]),
        "len32": np.asarray([32]),
        "w": floats(1, 2),
    }
    return model(
        [node("If", ["c"], ["y"], then_branch=side(8, "a"), else_branch=side(32, "b"))],
        [value("c", [], BOOL), value("x", [1, "S"])],
        ["y"],
        weights,
    )


def test_what_a_branch_demands_is_guarded_where_it_runs() -> None:
    proto = rates()
    network = import_onnx(proto)
    assert network.asserts == network.guards == ()
    assert all(body.guards for body in network.layers[0].regions)
    for truth, length in ((True, 8), (True, 15), (False, 32), (False, 40)):
        check(proto, {"c": np.asarray(truth), "x": floats(1, length)})
    with pytest.raises(AssertionError, match="does not hold"):
        evaluate_network(network, {"c": np.asarray(True), "x": floats(1, 32)})


def test_an_open_dim_that_a_branch_squeezes_is_held_to_one_where_it_runs() -> None:
    nodes = [
        node("Slice", ["x", "zero", "upto", "at", "eight"], ["cut"]),
        node("Shape", ["cut"], ["s"]),
        node("Gather", ["s", "at"], ["n"]),
        node("Equal", ["n", "one"], ["is_one"]),
        node(
            "If",
            ["is_one"],
            ["h"],
            "choice",
            then_branch=graph([node("Squeeze", ["cut", "at"], ["t"])], [], [value("t")]),
            else_branch=branch("Identity", "cut", "e"),
        ),
        node("Gemm", ["h", "w"], ["left"]),
    ]
    weights = {
        "at": np.asarray([1]),
        "one": np.asarray([1]),
        "eight": np.asarray([8]),
        "zero": np.asarray([0]),
        "w": floats(3, 2),
    }
    weights["upto"] = np.asarray([2**62])
    left = graph(nodes, [], [value("left")], name="left")
    right = graph(
        [node("ReduceSum", ["x", "at"], ["summed"], keepdims=0), node("Gemm", ["summed", "w"], ["right"])],
        [],
        [value("right")],
        name="right",
    )
    proto = model(
        [node("If", ["c"], ["y"], then_branch=left, else_branch=right)],
        [value("c", [], BOOL), value("x", [2, "S", 3])],
        ["y"],
        weights,
    )
    network = import_onnx(proto, dims={"S": Range(8, 4096, 8)})
    assert network.guards == () and network.asserts == () and "gather" in ops(network)
    for truth, length in ((True, 8), (False, 8), (False, 24)):
        feeds = {"c": np.asarray(truth), "x": floats(2, length, 3)}
        y = evaluate_network(network, feeds)["y"]
        wanted = feeds["x"][:, 0] if truth else feeds["x"].sum(axis=1)
        np.testing.assert_allclose(y, wanted @ weights["w"], rtol=1e-4)
    for length in (16, 24, 4096):
        with pytest.raises(IndexError):
            evaluate_network(network, {"c": np.asarray(True), "x": floats(2, length, 3)})


def loop_model(*, cond: bool, limit: int | None, stop: bool) -> ModelProto:
    """h = h + x, yielding h; with `stop`, until its first element is 3 or more."""
    goes_on = node("Less", ["first", "three"], ["go"]) if stop else node("Identity", ["c_in"], ["go"])
    nodes = [
        node("Add", ["h_in", "x"], ["h_out"]),
        node("Gather", ["h_out", "zero"], ["first"]),
        goes_on,
        node("Identity", ["h_out"], ["y"]),
    ]
    body = graph(
        nodes,
        [value("i", [], INT64), value("c_in", [], BOOL), value("h_in", [2])],
        [value("go", [], BOOL), value("h_out", [2]), value("y", [2])],
        name="body",
    )
    weights = {"h0": np.zeros(2, np.float32), "zero": np.asarray(0), "three": np.float32(3)}
    if limit is not None:
        weights["limit"] = np.asarray(limit)
    if cond:
        weights["true"] = np.asarray(True)
    names = ["limit" if limit is not None else "", "true" if cond else "", "h0"]
    return model([node("Loop", names, ["h", "ys"], "again", body=body)], [value("x", [2])], ["h", "ys"], weights)


@pytest.mark.parametrize(
    ("cond", "limit", "stop"), [(True, 4, False), (False, 4, False), (True, 9, True), (True, None, True)]
)
def test_loop(cond: bool, limit: int | None, stop: bool) -> None:
    network = check(loop_model(cond=cond, limit=limit, stop=stop), {"x": np.asarray([1, -1], np.float32)})
    assert ops(network)[0] == "loop"
    if not stop:
        assert str(network.outputs[1].type) == "f32[4, 2]"


def test_scan() -> None:
    body = graph(
        [node("Mul", ["a_t", "b_t"], ["p"]), node("Add", ["h", "p"], ["h2"]), node("Identity", ["h2"], ["y"])],
        [value("h", [2]), value("a_t", [2]), value("b_t", [2])],
        [value("h2", [2]), value("y", [2])],
        name="body",
    )
    attrs = {
        "num_scan_inputs": 2,
        "scan_input_axes": [0, 1],
        "scan_input_directions": [0, 1],
        "scan_output_axes": [1],
        "scan_output_directions": [1],
    }
    proto = model(
        [node("Scan", ["h0", "a", "b"], ["hn", "ys"], body=body, **attrs)],
        [value("h0", [2]), value("a", ["S", 2]), value("b", [2, "S"])],
        ["hn", "ys"],
    )
    network = check(proto, {"h0": floats(2), "a": floats(5, 2), "b": floats(2, 5)})
    assert ops(network)[0] == "scan" and str(network.outputs[1].type) == "f32[2, S]"


def test_bodies_with_unsupported_nodes_report_those() -> None:
    proto = model(
        [
            node(
                "If",
                ["c"],
                ["y"],
                "outer",
                then_branch=branch("ImageDecoder", "x", "t"),
                else_branch=branch("Relu", "x", "e"),
            )
        ],
        [value("c", [], BOOL), value("x", [2])],
        ["y"],
    )
    error = refused(proto)
    assert codes(error) == ["E0802"] and error.diagnostics[0].message.startswith("ImageDecoder")
