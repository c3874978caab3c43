// Starts the page and listens: mouse, keys, search, buttons.

const root = buildTree();
root.open = true;
const nodes = new Map([...everyNode(root)].map((n) => [n.id, n]));
const stepNodes = new Map([...nodes.values()].filter((n) => n.kind === "step").map((n) => [n.step, n]));
const VISIBLE_AT_FIRST = 36;

/** Opens the largest folded nodes as long as what is seen stays small. */
function openSome() {
  let count = root.children.length;
  for (;;) {
    const folded = [...shownNodes(root)].filter((n) => !n.open && ["block", "part", "repeat"].includes(n.kind) && n.children.length + count <= VISIBLE_AT_FIRST && ((n.parent.kind !== "repeat" && n.kind !== "part") || n === n.parent.children[0]));
    if (!folded.length) return;
    const next = folded.sort((a, b) => b.steps.length - a.steps.length)[0];
    next.open = true;
    count += next.children.length;
  }
}

function* shownNodes(node) {
  for (const c of node.children) {
    yield c;
    if (c.open) yield* shownNodes(c);
  }
}

function choose(node) {
  selected = node === root ? null : node;
  describe(node);
  mark();
  plot();
}

/** Shows a node wherever it is: opens what is around it, selects it, brings it to the middle. */
function show(node) {
  reveal(node);
  choose(node);
  centre(node, 0.8);
}

// --- the graph ---

svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

let drag = null;
svg.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY, moved: false }; });
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
  if (!drag.moved && Math.hypot(dx, dy) < 4) return;
  drag = { x: event.clientX, y: event.clientY, moved: true };
  svg.classList.add("drag");
  view.x += dx;
  view.y += dy;
  place();
});
window.addEventListener("pointerup", () => { window.setTimeout(() => { drag = null; }); svg.classList.remove("drag"); });
svg.addEventListener("click", (event) => {
  if (drag && drag.moved) return;
  const button = event.target.closest("[data-toggle]");
  const hit = event.target.closest("[data-id]");
  if (button) {
    const node = nodes.get(button.dataset.toggle);
    setOpen(node, !node.open);
  } else choose(hit ? nodes.get(hit.dataset.id) : root);
});
svg.addEventListener("dblclick", (event) => {
  const hit = event.target.closest("[data-id]");
  if (hit) setOpen(nodes.get(hit.dataset.id), !nodes.get(hit.dataset.id).open);
});
svg.addEventListener("mousemove", (event) => {
  const hit = event.target.closest("[data-id]");
  const node = hit && !event.buttons ? nodes.get(hit.dataset.id) : null;
  const types = node && node.steps.length === 1 ? plan.groups[node.steps[0]].outputs.map((t) => plan.tensors[t].type).join(", ") : "";
  say(event, node && !node.open ? [node.path || node.label, subtitle(node), types].filter(Boolean).join("\n") : "");
});
svg.addEventListener("mouseleave", (event) => say(event, ""));

panel.addEventListener("click", (event) => {
  const link = event.target.closest("[data-step],[data-id]");
  if (!link) return;
  const node = link.dataset.step === undefined ? nodes.get(link.dataset.id) : stepNodes.get(Number(link.dataset.step));
  if (node === root) choose(root);
  else show(node);
});

// --- search ---

const search = document.getElementById("search");
const found = document.getElementById("found");
const targets = [...nodes.values()].filter((n) => n !== root && !["body", "argument", "result"].includes(n.kind)).map((node) => {
  const ops = node.kind === "layer" || node.isLeaf && node.layer !== undefined ? plan.layers[node.layer].op : node.kind;
  return { node, name: node.path.toLowerCase(), ops };
});
let hits = [];
let active = 0;

function seek() {
  const words = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const rank = (t) => (t.name === words[0] ? 0 : t.ops === words[0] ? 2 : t.name.endsWith(words[0]) ? 1 : t.name.startsWith(words[0]) ? 2 : 3);
  hits = words.length ? targets.filter((t) => words.every((w) => t.name.includes(w) || t.ops.includes(w))).sort((a, b) => rank(a) - rank(b) || a.node.first - b.node.first).slice(0, 40) : [];
  active = 0;
  list();
}

function list() {
  found.hidden = !search.value.trim();
  found.innerHTML = hits.length ? hits.map((t, n) => `<li data-hit="${n}" class="${n === active ? "on" : ""}"><em>${html(t.node.path)}</em><span>${html(t.ops)}</span></li>`).join("") : "<li><span>nothing has this in its name</span></li>";
  const on = found.querySelector(".on");
  if (on) on.scrollIntoView({ block: "nearest" });
}

function take(n) {
  if (!hits[n]) return;
  found.hidden = true;
  search.blur();
  show(hits[n].node);
}

search.addEventListener("input", seek);
search.addEventListener("focus", () => { if (search.value) list(); });
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    active = Math.min(Math.max(active + (event.key === "ArrowDown" ? 1 : -1), 0), Math.max(hits.length - 1, 0));
    list();
    event.preventDefault();
  } else if (event.key === "Enter") take(active);
  else if (event.key === "Escape") { found.hidden = true; search.blur(); }
});
found.addEventListener("mousedown", (event) => {
  const item = event.target.closest("[data-hit]");
  if (item) { event.preventDefault(); take(Number(item.dataset.hit)); }
});
search.addEventListener("blur", () => { found.hidden = true; });

// --- buttons and keys ---

function relay() {
  for (const n of nodes.values()) n.layout = null;
  draw();
}

function press(id, act) { document.getElementById(id).addEventListener("click", act); }
press("fold", () => { for (const n of nodes.values()) n.open = n === root; relay(); fit(); });
press("unfold", () => { for (const n of [...shownNodes(root)]) if (!n.open && !n.isLeaf && n.kind !== "step") n.open = true; relay(); fit(); });
press("fit", fit);
press("theme", () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
window.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select")) return;
  if (event.key === "/") { search.focus(); search.select(); event.preventDefault(); }
  if (event.key === "f") fit();
  if (event.key === "Escape") choose(root);
});
window.addEventListener("resize", plot);

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  plot();
}

function buttons(id, names, current, act) {
  const box = document.getElementById(id);
  const paint = (on) => [...box.children].forEach((b, n) => b.setAttribute("aria-pressed", String(n === on)));
  names.forEach((name, n) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => { paint(n); act(n); });
    box.append(button);
  });
  paint(current);
}

function legend() {
  document.getElementById("legend").innerHTML = [...colourOf].map(([v, c]) => `<span><i class="dot" style="--c:var(--${c})"></i>${html(v)}</span>`).join("");
}

function recolour() {
  chooseColours();
  legend();
  draw();
  describe(selected);
  plot();
  memoryFacts();
}

document.getElementById("network").textContent = plan.network;
document.getElementById("target").textContent = `${plan.device}${plan.target ? ` · ${plan.target}` : ""}`;
const kernels = plan.groups.filter((g) => g.role === "kernel").length;
document.getElementById("facts").innerHTML = `<b>${plan.layers_after}</b> layers in <b>${plan.groups.length}</b> steps, <b>${kernels}</b> kernels · ${html(plan.precision)}${plan.times ? ` · <b>${milliseconds(plan.times.total)}</b>` : ""}`;
const select = document.getElementById("colour");
select.innerHTML = Object.keys(MODES).map((m) => `<option>${m}</option>`).join("");
select.addEventListener("change", () => { mode = select.value; recolour(); });
buttons("profiles", plan.profiles.map((p) => p.name), 0, (n) => { profile = n; recolour(); });
const charts = ["live bytes", "arena", ...(plan.times ? ["time"] : [])];
buttons("modes", charts, 0, (n) => { chart = charts[n]; plot(); memoryFacts(); });
watchMemory((step) => show(stepNodes.get(step)));

openSome();
setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
recolour();
fit();
