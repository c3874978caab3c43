// The graph as SVG: what is visible is drawn anew when something folds; panning and zooming only move it.

const SVG = "http://www.w3.org/2000/svg";
const svg = document.getElementById("graph");
const world = element("g", {}, svg);
const view = { x: 0, y: 0, k: 1 };
const shown = new Map(); // node id -> { node, x, y, w, h, g }
let selected = null;
const LEGEND = 46; // pixels at the bottom that the legend covers

function element(name, attributes, parent, text) {
  const e = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  if (parent) parent.append(e);
  return e;
}

function draw() {
  shown.clear();
  const layout = root.layout || (root.layout = layOut(root));
  const fresh = element("g", {});
  drawInside(root, layout, 0, 0, fresh);
  world.replaceChildren(...fresh.childNodes);
  mark();
}

function drawInside(node, layout, x, y, parent) {
  for (const wire of layout.wires) {
    const ends = [wire.from ? wire.from.id : "", ...wire.targets.map((t) => (t.node ? t.node.id : ""))];
    const path = element("path", { class: "wire", d: wire.d, transform: `translate(${f(x)} ${f(y)})` }, parent);
    path.ends = ends;
  }
  for (const p of layout.placed) drawNode(p, x + p.x, y + p.y, parent);
}

function drawNode({ node, w, h }, x, y, parent) {
  const names = ["node", node.kind];
  if (isView(node)) names.push("view");
  if (isPort(node)) names.push("io");
  if (node.open) names.push("open", node.chain.length % 2 ? "odd" : "even");
  const g = element("g", { class: names.join(" "), transform: `translate(${f(x)} ${f(y)})`, "data-id": node.id, "data-name": node.path }, parent);
  shown.set(node.id, { node, x, y, w, h, g });
  if (!node.open && ["block", "repeat", "part", "body"].includes(node.kind)) {
    for (const d of node.kind === "repeat" ? [8, 4] : [4]) element("rect", { class: "deck", x: d, y: d, width: w, height: h, rx: 7 }, g);
  }
  element("rect", { class: "body", width: w, height: h, rx: 7 }, g);
  if (node.open) {
    element("text", { x: 12, y: 17 }, g, clip(title(node), w - 50, 7.3));
    toggle(node, w - 15, 14, g);
    g.remove(); // its frame lies below the wires of what it holds
    parent.append(g);
    drawInside(node, node.layout, x, y, parent);
    return;
  }
  const room = w - 22 - (node.isLeaf ? 0 : 22);
  if (isView(node)) element("text", { x: 9, y: 15 }, g, clip(title(node), w - 16, 6.4));
  else {
    element("text", { x: 13, y: 17 }, g, clip(title(node), room, 7.3));
    element("text", { class: "sub", x: 13, y: 33 }, g, clip(subtitle(node), w - 22, 6.4));
    const type = typeOf(node);
    if (type) element("text", { class: "sub", x: 13, y: 48 }, g, clip(type, w - 18, 6.4));
    if (isPort(node)) return;
    if (node.steps.length === 1) element("rect", { class: "stripe", x: 0, y: 0, width: 5, height: h, rx: 2.5, style: `--c:${colour(node.steps[0])}` }, g);
    else if (node.steps.length) drawMix(node, w, h, g);
  }
  if (!node.isLeaf) toggle(node, w - 15, 14, g);
}

function drawMix(node, w, h, g) {
  let at = 12;
  const room = w - 24;
  for (const [, count, c] of mix(node.steps)) {
    const width = (room * count) / node.steps.length;
    element("rect", { class: "mix", x: f(at), y: h - 13, width: f(Math.max(width - 1, 0.5)), height: 6, style: `--c:${c}` }, g);
    at += width;
  }
}

function toggle(node, x, y, parent) {
  const g = element("g", { class: "toggle", transform: `translate(${f(x)} ${y})`, "data-toggle": node.id }, parent);
  element("circle", { r: 8 }, g);
  element("path", { d: node.open ? "M-4 0H4" : "M-4 0H4M0 -4V4" }, g);
}

/** Opens or closes a node; what is under `anchor` stays where it is on the screen. */
function setOpen(node, open, anchor = node) {
  if (node.isLeaf || node.open === open) return;
  const before = shown.get(anchor.id);
  node.open = open;
  for (const n of node.chain) n.layout = null;
  draw();
  const after = shown.get(anchor.id);
  if (before && after) {
    view.x += (before.x - after.x + (before.w - after.w) / 2) * view.k;
    view.y += (before.y - after.y) * view.k;
    place();
  }
}

/** Opens what is around a node, so that it is drawn. */
function reveal(node) {
  for (const n of node.chain.slice(1, -1)) {
    n.open = true;
    n.layout = null;
  }
  root.layout = null;
  draw();
}

function mark() {
  const near = new Set();
  for (const path of world.querySelectorAll(".wire")) {
    const on = selected !== null && path.ends.includes(selected.id);
    path.classList.toggle("on", on);
    if (on) path.ends.forEach((id) => near.add(id));
  }
  for (const { node, g } of shown.values()) {
    g.classList.toggle("on", node === selected);
    g.classList.toggle("near", node !== selected && near.has(node.id));
  }
}

// --- the window ---

function place() {
  world.setAttribute("transform", `translate(${f(view.x)} ${f(view.y)}) scale(${view.k})`);
  svg.classList.toggle("far", view.k < 0.42);
}

function fit() {
  const { w, h } = root.layout;
  const box = svg.getBoundingClientRect();
  const room = box.height - LEGEND;
  const k = Math.min(box.width / (w + 40), room / (h + 40), 1.2);
  // A deep network is shown from its top, at a size that can be read.
  view.k = Math.max(k, Math.min(0.8, box.width / (w + 40)));
  view.x = (box.width - w * view.k) / 2;
  view.y = k < view.k ? 20 : (room - h * view.k) / 2;
  place();
}

function centre(node, scale) {
  const spot = shown.get(node.id);
  if (!spot) return;
  const box = svg.getBoundingClientRect();
  if (scale) view.k = Math.max(view.k, scale);
  view.x = box.width / 2 - (spot.x + spot.w / 2) * view.k;
  view.y = box.height / 2 - (spot.y + Math.min(spot.h, box.height / view.k) / 2) * view.k;
  place();
}

function zoom(factor, x, y) {
  const k = Math.min(Math.max(view.k * factor, 0.02), 4);
  view.x = x - ((x - view.x) * k) / view.k;
  view.y = y - ((y - view.y) * k) / view.k;
  view.k = k;
  place();
}
