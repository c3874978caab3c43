"""The page of a plan: one file that needs nothing else; in a real browser, where there is one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.harness import network
from tests.backend.report.browser import Browser, find_chromium
from trtn.backend.report import plan_build
from trtn.backend.report.page import page
from trtn.backend.runtime.profiler import StepProfile
from trtn.dsl.load import load
from trtn.dsl.network import Network

SPECS = Path(__file__).parents[3] / "specs"
ALL = sorted(p.stem for p in SPECS.glob("*.trtn") if not p.stem.endswith(".weights"))
DEEP = 1500
SPEC = """
block ffn(x: T[B, 8], *, p: weights) -> T[B, 8] {
  h = relu(linear(x, p.a))
  return linear(h, p.b)
}
block stage(x: T[B, 8], *, p: weights) -> T[B, 8] {
  f = ffn(x, p=p)
  s = softmax(f, axis=1)
  return s + x
}
network net {
  doc "</script><script>throw 1</script><b>&amp;"
  dim B in 1..8
  input x: f32[B, 8]
  output y: f32[B, 8]
  repeat i in 0..6 carry x as stage {
    x = stage(x, p=w.stage[i])
  }
  y = tanh(x)
}
profile small for net {
  B: min 1, opt 2, max 4
}
profile large for net {
  B: min 1, opt 8, max 8
}
"""
WEIGHTS = "\n".join(f"tensor stage[{i}].{n}: f32[8, 8] = normal({i}, 0.1)" for i in range(6) for n in "ab")


def text_of(net: Network, tmp_path: Path) -> Path:
    path = tmp_path / "plan.html"
    path.write_text(page(plan_build(net, device="cuda:sm_90", precision="f16")), encoding="utf-8")
    return path


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    return text_of(network(SPEC, tmp_path, WEIGHTS), tmp_path)


def test_the_file_names_no_other(blocks: Path) -> None:
    text = blocks.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    addresses = set(re.findall(r"https?://[^\"'\s)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a language
    assert not re.search(r"<(link|img|iframe)|\ssrc=|@import|url\(", text)
    assert "{{" not in re.sub(r"<script type.*?</script>", "", text, flags=re.S)


def test_what_the_spec_says_is_data(blocks: Path) -> None:
    text = blocks.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="plan">(.*?)</script>', text, re.S)
    assert data is not None
    assert json.loads(data[1])["doc"] == "</script><script>throw 1</script><b>&amp;"
    assert len(re.findall("<script", text)) == 2


# --- in a browser ---


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("there is no Chromium here")
    with Browser(executable, tmp_path_factory.mktemp("browser")) as running:
        yield running


def drawn(browser: Browser) -> dict[str, list[float]]:
    """The nodes that are drawn, by id: left, top, right, bottom in the graph."""
    found: dict[str, list[float]] = browser.value(
        "Object.fromEntries([...shown].map(([id, s]) => [id, [s.x, s.y, s.x + s.w, s.y + s.h]]))"
    )
    return found


def test_the_graph_is_drawn_and_folds(browser: Browser, blocks: Path) -> None:
    browser.open(blocks)
    assert browser.value("document.querySelectorAll('#graph .wire').length") > 3
    at_first = drawn(browser)
    assert "input:x" in at_first and "output:y" in at_first
    browser.click("#fold")
    folded = drawn(browser)
    repeat = next(i for i in folded if i.startswith("repeat:"))
    assert len(folded) < len(at_first)
    browser.click(f"[data-toggle='{repeat}']")
    unfolded = drawn(browser)
    inside = set(unfolded) - set(folded)
    assert len(inside) == 6
    box = unfolded[repeat]
    for name in inside:
        left, top, right, bottom = unfolded[name]
        assert box[0] <= left and box[1] <= top and right <= box[2] and bottom <= box[3]
    browser.click(f"[data-toggle='{repeat}']")
    assert drawn(browser).keys() == folded.keys()
    assert browser.problems == []


def test_a_layer_is_found(browser: Browser, blocks: Path) -> None:
    browser.open(blocks)
    browser.click("#fold")
    browser.key("/", 191)
    assert browser.value("document.activeElement.id") == "search"
    browser.click("#search")
    browser.type("stage[4] softmax")
    assert browser.value("document.querySelectorAll('#found [data-hit]').length") == 1
    browser.key("Enter", 13)
    chosen = browser.value("document.querySelector('.node.on').dataset.name")
    assert "stage[4]" in chosen
    middle = browser.value(
        "(() => { const n = document.querySelector('.node.on').getBoundingClientRect(), g = svg.getBoundingClientRect();"
        " return [n.x + n.width / 2 - g.x - g.width / 2, n.y + n.height / 2 - g.y - g.height / 2]; })()"
    )
    assert max(map(abs, middle)) < 2
    panel = browser.value("document.getElementById('panel').innerText")
    for text in ("s = softmax(f, axis=1)", "dtype:", "to be timed", "NOT FUSED WITH WHAT COMES BEFORE", "cudnn"):
        assert text.lower() in panel.lower()
    assert browser.problems == []


def test_memory_leads_to_the_graph(browser: Browser, blocks: Path) -> None:
    browser.open(blocks)
    before = browser.value("canvas.toDataURL()")
    browser.click("#memory")
    step = browser.value("selected.steps[0]")
    assert abs(step - browser.value("plan.groups.length") / 2) <= 2
    assert browser.value("canvas.toDataURL()") != before
    browser.click("#modes button:last-child")
    browser.click("#profiles button:last-child")
    assert "at max" in browser.value("document.getElementById('memory-facts').innerText")
    for theme in ("dark", "light"):
        browser.dark(theme == "dark")
        browser.open(blocks)
        assert browser.value("document.documentElement.dataset.theme") == theme
    assert browser.problems == []


def test_nothing_overlaps_and_each_colour_is_there(browser: Browser, blocks: Path) -> None:
    browser.open(blocks)
    browser.value("for (const n of nodes.values()) n.open = !n.isLeaf; relay()")
    overlapping = browser.value(
        "[...nodes.values()].filter((n) => n.open).flatMap((n) => n.layout.placed.flatMap((a, i) => n.layout.placed"
        ".slice(i + 1).filter((b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h)))"
        ".length"
    )
    assert overlapping == 0
    for colour in browser.value("Object.keys(MODES)"):
        browser.value(f"mode = {json.dumps(colour)}; recolour()")
        assert browser.value("document.querySelectorAll('#legend span').length") >= 1
        assert browser.value(
            "[...colourOf.values()].every((c) => getComputedStyle(document.documentElement).getPropertyValue('--' + c))"
        )
    assert browser.problems == []


def test_a_deep_flat_network_can_be_read(browser: Browser, tmp_path: Path) -> None:
    layers = [f"  s{n} = softmax({f's{n - 1}' if n else 'x'}, axis=1)" for n in range(DEEP)]
    head = ["network deep {", "  dim B in 1..8", "  input x: f32[B, 8]", "  output y: f32[B, 8]"]
    net = network("\n".join([*head, *layers, f"  y = relu(s{DEEP - 1})", "}"]), tmp_path)
    browser.open(text_of(net, tmp_path))
    assert browser.value("plan.groups.length") >= DEEP
    assert len(drawn(browser)) < 60
    browser.value(f"show(nodes.get('step:s{DEEP - 7}'))")
    assert browser.value("document.querySelector('.node.on').dataset.name") == f"s{DEEP - 7}"
    assert len(drawn(browser)) < 150
    assert browser.problems == []


CONTROL = """
network accumulate {
  dim N in 1..8
  input x: f32[5, N, 8]
  input quick: bool[]
  output y: f32[N, 8]
  start = reduce_sum(x, axes=[0], keepdims=false)
  total, sums = scan over row = x carry state = start {
    z = softmax(row * 0.5, axis=1)
    state = tanh(state + z)
    yield relu(state)
  }
  best = if quick {
    yield relu(total)
  } else {
    e = softmax(reduce_sum(sums, axes=[0], keepdims=false), axis=1)
    yield tanh(e)
  }
  y = softmax(best, axis=1)
}"""


def test_bodies_of_control_flow_are_drawn(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "control.html"
    path.write_text(page(plan_build(network(CONTROL, tmp_path), device="cpu")), encoding="utf-8")
    browser.open(path)
    before = drawn(browser)
    assert not [i for i in before if i.startswith(("body:", "layer:"))]
    for step in ("total", "best"):
        browser.value(f"setOpen([...stepNodes.values()].find((n) => plan.layers[n.layer]?.name === '{step}'), true)")
    labels = sorted(i.split(":")[-1] for i in drawn(browser) if i.startswith("body:"))
    assert labels == ["body", "else", "then"]
    for body in [i for i in drawn(browser) if i.startswith("body:")]:
        browser.value(f"fit(); centre(nodes.get('{body}'), 1)")
        browser.click(f"[data-toggle='{body}']")
    inside = browser.value(
        "Object.fromEntries([...shown.values()].filter((s) => s.node.kind === 'body').map((s) => [s.node.label,"
        " s.node.children.map((c) => c.kind === 'layer' ? plan.layers[c.layer].op : c.kind)]))"
    )
    assert inside == {
        "body": ["argument", "mul", "softmax", "add", "tanh", "relu"],
        "then": ["relu"],
        "else": ["reduce_sum", "softmax", "tanh"],
    }
    wires = browser.value("nodes.get([...nodes.keys()].find((k) => k.endsWith(':body'))).layout.wires.length")
    assert wires >= 6, "what is read from outside, each turn's values, each layer's result"
    browser.value("search.value = 'tanh'; seek(); take(0)")
    panel = browser.value("document.getElementById('panel').innerText")
    assert "state = tanh(state + z)" in panel and "body: 5 layers" in panel
    assert browser.problems == []


def test_times_are_shown(browser: Browser, tmp_path: Path) -> None:
    net = network(SPEC, tmp_path, WEIGHTS)
    steps = {g.name: 0.5 for g in plan_build(net, device="cpu").groups} | {"y": 3.0, "gone": 1.0}
    profile = StepProfile("net", "sha256:0", "cpu", {"B": 2}, 7, sum(steps.values()), steps)
    path = tmp_path / "times.html"
    path.write_text(page(plan_build(net, device="cpu", profile=profile)), encoding="utf-8")
    browser.open(path)
    panel = browser.value("document.getElementById('panel').innerText")
    assert f"{profile.total:.3g}" in browser.value("document.getElementById('facts').innerText")
    for text in ("at B = 2", "7 runs", "another network", "1 of its steps are not in the plan", "3.00 ms"):
        assert text in panel
    browser.value("mode = 'time'; recolour()")
    assert "over 10 %" in browser.value("document.getElementById('legend').innerText")
    before = browser.value("canvas.toDataURL()")
    browser.click("#modes button:last-child")
    assert browser.value("canvas.toDataURL()") != before
    browser.value("show([...nodes.values()].find((n) => n.label.startsWith('stage[4]')))")
    assert "ms" in browser.value("document.querySelector('#panel table').innerText")
    assert browser.problems == []


@pytest.mark.parametrize("name", ALL if os.environ.get("TRTN_FULL_TESTS") else ["lenet"])
def test_specs(browser: Browser, tmp_path: Path, name: str) -> None:
    """Each spec's graph is drawn; a block is folded and unfolded, a layer found. All take half a minute."""
    browser.open(text_of(load(SPECS / f"{name}.trtn"), tmp_path))
    assert browser.value("document.querySelectorAll('#graph .node').length") > 5
    assert browser.value("document.querySelectorAll('#graph .wire').length") > 5
    browser.click("#fold")
    folded = drawn(browser)
    browser.click("#unfold")
    if any(not i.startswith(("step:", "input:", "output:")) for i in folded):
        assert len(drawn(browser)) > len(folded)
    last = browser.value("plan.layers[plan.groups.at(-1).layers.at(-1)].name")
    browser.value("search.focus()")
    browser.type(last)
    browser.key("Enter", 13)
    assert browser.value("document.querySelector('.node.on').dataset.name") == last
    assert browser.problems == []


def test_the_page_asks_for_nothing(browser: Browser, blocks: Path) -> None:
    browser.requests.clear()
    browser.open(blocks)
    browser.click("#fit")
    assert browser.requests == [blocks.resolve().as_uri()]


def test_blocks_that_are_no_pieces_give_way(browser: Browser, tmp_path: Path) -> None:
    """`left` and `right` read one another in turns: neither can be drawn as a box."""
    text = """
network turns {
  dim B in 1..8
  input x: f32[B, 8]
  output y: f32[B, 8]
  left.a = softmax(x, axis=1)
  right.a = relu(left.a)
  left.b = softmax(right.a, axis=1)
  right.b = relu(left.b)
  y = softmax(right.b, axis=1)
}"""
    browser.open(text_of(network(text, tmp_path), tmp_path))
    tops = [drawn(browser)[f"step:{name}"][1] for name in ("left.a", "right.a", "left.b", "right.b", "y")]
    assert tops == sorted(set(tops))
    assert browser.problems == []
