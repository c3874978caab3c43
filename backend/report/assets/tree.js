// The plan as a tree that folds: repeats and blocks by the paths of names, steps inside them, layers inside steps.

const plan = JSON.parse(document.getElementById("plan").textContent);
const PART_FROM = 44; // a flat level with more children than this is cut into parts
const PART_SIZE = 16;

/** `a.b[2].c` as ["a", "b[2]", "c"]; dots inside of backticks don't count. */
function segments(name) {
  return name.match(/(?:`[^`]*`|[^.`])+/g) || [name];
}

class Node {
  constructor(kind, label, path) {
    this.kind = kind; // root, repeat, block, part, step, layer, input, output; of control flow: body, argument, result
    this.label = label;
    this.path = path;
    this.id = `${kind}:${path}`;
    this.children = [];
    this.steps = [];
    this.edges = []; // those that touch a layer inside
    this.open = false;
    this.parent = null;
    this.chain = [];
  }
  get isLeaf() { return this.children.length === 0; }
  get first() { return this.steps.length ? this.steps[0] : this.kind === "output" ? plan.groups.length : -1; }
  add(child) { this.children.push(child); child.parent = this; return child; }
}

function buildTree() {
  const root = new Node("root", plan.network, "");
  const blocks = new Map([["", root]]);
  const block = (path) => {
    const key = path.join(".");
    if (!blocks.has(key)) blocks.set(key, block(path.slice(0, -1)).add(new Node("block", path[path.length - 1], key)));
    return blocks.get(key);
  };
  const homes = plan.groups.map((group) => {
    const paths = group.layers.map((n) => segments(plan.layers[n].name).slice(0, -1));
    let shared = paths[0];
    for (const p of paths) {
      let n = 0;
      while (n < shared.length && n < p.length && shared[n] === p[n]) n += 1;
      shared = shared.slice(0, n);
    }
    block(shared);
    return shared;
  });
  plan.groups.forEach((group, number) => {
    const named = blocks.get(group.name); // what a block is named after is what it gives
    const home = named && named.kind === "block" ? named : blocks.get(homes[number].join("."));
    const step = home.add(new Node("step", segments(group.name).at(-1), group.name));
    step.step = number;
    if (group.layers.length > 1) for (const n of group.layers) addLayer(step, n, number);
    else {
      step.layer = group.layers[0];
      addBodies(step, step.layer, number);
    }
    step.steps = [number];
  });
  tidy(root);
  plan.inputs.forEach((t) => { root.add(new Node("input", plan.tensors[t].name, plan.tensors[t].name)).tensor = t; });
  plan.outputs.forEach((t) => { root.add(new Node("output", plan.tensors[t].name, plan.tensors[t].name)).tensor = t; });
  connect(root);
  dissolve(root, root);
  arrange(root);
  cutParts(root);
  connect(root);
  arrange(root);
  return root;
}

function addLayer(parent, number, step) {
  const { name } = plan.layers[number];
  const layer = parent.add(new Node("layer", segments(name).at(-1), name));
  layer.id = `layer:${number}`; // names in bodies may be there twice
  layer.layer = number;
  layer.steps = [step];
  addBodies(layer, number, step);
}

/** The bodies of control flow below its node: what each is given, its layers; then the result, which reads what the
    bodies give. */
function addBodies(node, number, step) {
  const { bodies, inputs, name, outputs } = plan.layers[number];
  if (!bodies.length) return;
  const leaf = (parent, kind, label, reads, makes) => {
    const made = parent.add(new Node(kind, label, name));
    made.id = `${kind}:${number}:${parent.label}`;
    Object.assign(made, { layer: number, steps: [step], reads, makes });
  };
  for (const body of bodies) {
    const inside = node.add(new Node("body", body.label, `${name}: ${body.label}`));
    inside.id = `body:${number}:${body.label}`;
    Object.assign(inside, { layer: number, steps: [step] });
    if (body.inputs.length) leaf(inside, "argument", "each turn", inputs, body.inputs);
    for (const n of body.layers) addLayer(inside, n, step);
  }
  const first = bodies.some((b) => b.inputs.length) ? [] : inputs;
  leaf(node, "result", plan.layers[number].op, [...first, ...bodies.flatMap((b) => b.outputs)], outputs);
}

/** Whether a node stands for values that come in or go out. */
function isPort(node) { return ["input", "output", "argument", "result"].includes(node.kind); }

/** Whether a node lies within a step. */
function isInside(node) { return ["layer", "body", "argument", "result"].includes(node.kind); }

/** Takes out blocks of one child, and puts blocks `b[0]`, `b[1]`, .. of one name under a repeat. */
function tidy(node) {
  if (node.kind === "step") return;
  node.children.forEach(tidy);
  node.children = node.children.flatMap((c) => {
    if (c.kind !== "block" || c.children.length !== 1) return [c];
    const only = c.children[0];
    only.label = only.path === c.path ? c.label : `${c.label}.${only.label}`;
    only.parent = node;
    return [only];
  });
  for (const run of runsOf(node)) {
    if (run.length < 3 || run.length === node.children.length) continue;
    const [low, high] = [run[0].number, run.at(-1).number];
    const { match } = run[0];
    const label = `${match[1]}[${low}..${high}]${match[3]}`;
    const repeat = new Node("repeat", label, [node.path, label].filter(Boolean).join("."));
    const inside = new Set(run.map((r) => r.child));
    const at = node.children.findIndex((c) => inside.has(c));
    node.children = node.children.filter((c) => !inside.has(c));
    node.children.splice(at, 0, repeat);
    repeat.parent = node;
    run.forEach((r) => repeat.add(r.child));
  }
}

/** Blocks `b[0]`, `b[1]`, .. of one name that run one after another, with nothing in between. */
function runsOf(node) {
  const spans = new Map(node.children.map((c) => [c, stepsOf(c)]));
  const ordered = [...node.children].sort((a, b) => spans.get(a)[0] - spans.get(b)[0]);
  const runs = [];
  let run = [];
  for (const child of ordered) {
    const match = child.kind === "block" && child.label.match(/^(.*?)\[(\d+)\](.*)$/);
    const last = run.at(-1);
    const goes = match && last && match[1] === last.match[1] && match[3] === last.match[3] && Number(match[2]) === last.number + 1;
    if (!goes) runs.push(run = []);
    if (match) run.push({ child, number: Number(match[2]), match });
  }
  return runs;
}

function stepsOf(node) {
  return node.kind === "step" ? [node.step] : node.children.flatMap(stepsOf).sort((a, b) => a - b);
}

/** Fills in the steps below each node, and its ancestors. */
function settle(node, chain) {
  node.chain = [...chain, node];
  node.edges = [];
  node.children.forEach((c) => settle(c, node.chain));
  if (!isInside(node) && node.kind !== "step") node.steps = [...new Set(node.children.flatMap((c) => c.steps))].sort((a, b) => a - b);
}

/** For each child, those that it reads (`waits`) and those that read it. */
function dependencies(node) {
  const waits = new Map(node.children.map((c) => [c, new Set()]));
  const readers = new Map(node.children.map((c) => [c, new Set()]));
  for (const e of node.edges) {
    const [a, b] = [childWith(node, e.from), childWith(node, e.to)];
    if (!a || !b || a === b) continue;
    waits.get(b).add(a);
    readers.get(a).add(b);
  }
  return { waits, readers };
}

/** Blocks whose steps are strewn among others', so that each reads the other, are no boxes: they give way to what they
    hold, the most strewn first, until what is left runs from top to bottom. */
function dissolve(node, root) {
  for (;;) {
    const core = circular(node).filter((c) => c.kind === "block" || c.kind === "repeat");
    if (!core.length) break;
    const density = (c) => c.steps.length / (c.steps.at(-1) - c.steps[0] + 1);
    const worst = core.reduce((a, b) => (density(b) < density(a) ? b : a));
    node.children = node.children.flatMap((c) => (c === worst ? worst.children : [c]));
    for (const c of worst.children) {
      c.parent = node;
      c.label = `${worst.label}.${c.label}`;
    }
    connect(root);
  }
  node.children.forEach((c) => dissolve(c, root));
}

/** The children that lie on circles, or between two. */
function circular(node) {
  const { waits, readers } = dependencies(node);
  const left = new Set(node.children);
  for (let before = -1; before !== left.size;) {
    before = left.size;
    for (const c of left) {
      if (waits.get(c).size && readers.get(c).size) continue;
      left.delete(c);
      for (const r of readers.get(c)) waits.get(r).delete(c);
      for (const w of waits.get(c)) readers.get(w).delete(c);
    }
  }
  return [...left];
}

/** Puts children behind those that they read, else by when most of their steps run. */
function arrange(node) {
  node.children.forEach(arrange);
  const { waits, readers } = dependencies(node);
  const time = (c) => (c.kind === "input" ? -1 : c.kind === "output" ? Infinity : c.steps[c.steps.length >> 1]);
  const left = new Set([...node.children].sort((a, b) => time(a) - time(b)));
  const ordered = [];
  while (left.size) {
    let next = null;
    for (const c of left) {
      if (next === null || waits.get(c).size < waits.get(next).size) next = c;
      if (waits.get(next).size === 0) break;
    }
    left.delete(next);
    ordered.push(next);
    for (const r of readers.get(next)) waits.get(r).delete(next);
  }
  node.children = ordered;
}

function* everyNode(node) {
  yield node;
  for (const c of node.children) yield* everyNode(c);
}

/** Notes the edges between layers, inputs and outputs at all nodes around their ends. */
function connect(root) {
  settle(root, []);
  const atoms = [...everyNode(root)].filter((n) => n.isLeaf && n !== root);
  const makers = new Map();
  for (const a of atoms) {
    const made = a.kind === "input" ? [a.tensor] : a.kind === "output" ? [] : a.makes || plan.layers[a.layer].outputs;
    made.forEach((t) => makers.set(t, a));
  }
  const edges = [];
  for (const a of atoms) {
    const read = a.kind === "output" ? [a.tensor] : a.kind === "input" ? [] : a.reads || plan.layers[a.layer].inputs;
    for (const t of new Set(read)) {
      const maker = makers.get(t);
      if (maker && maker !== a) edges.push({ from: maker, to: a, tensor: t });
    }
  }
  for (const e of edges) for (const n of new Set([...e.from.chain, ...e.to.chain])) n.edges.push(e);
}

/** The child of `node` that an atom lies in, or null. */
function childWith(node, atom) {
  const depth = node.chain.length;
  return atom.chain[depth - 1] === node ? atom.chain[depth] || null : null;
}

/** Cuts long flat levels into parts where few values cross. */
function cutParts(node) {
  node.children.forEach(cutParts);
  const inner = node.children.filter((c) => c.kind !== "input" && c.kind !== "output");
  if (node.kind === "step" || inner.length <= PART_FROM) return;
  const place = new Map(inner.map((c, n) => [c, n]));
  const reach = new Map(); // the last child that reads what a child makes
  for (const e of node.edges) {
    const [a, b] = [place.get(childWith(node, e.from)), place.get(childWith(node, e.to))];
    if (a !== undefined && b !== undefined && b > a) reach.set(a, Math.max(reach.get(a) || 0, b));
  }
  const crossing = inner.map((_, n) => [...reach].filter(([a, b]) => a <= n && b > n).length);
  const parts = [];
  let start = 0;
  while (inner.length - start > PART_SIZE * 1.5) {
    let best = start + PART_SIZE;
    for (let n = start + 7; n < Math.min(start + 2 * PART_SIZE, inner.length - 4); n += 1) {
      const cost = (m) => crossing[m] * 6 + Math.abs(m - start - PART_SIZE);
      if (cost(n) < cost(best)) best = n;
    }
    parts.push(inner.slice(start, best + 1));
    start = best + 1;
  }
  parts.push(inner.slice(start));
  const outer = node.children.filter((c) => c.kind === "input" || c.kind === "output");
  node.children = [];
  const wrap = (members, number, named = members) => {
    const part = new Node("part", `${named[0].label} … ${named.at(-1).label}`, `${node.path}#${number}`);
    members.forEach((m) => part.add(m));
    return part;
  };
  let made = parts.map((members, n) => wrap(members, n + 1));
  if (made.length > PART_FROM) {
    const size = Math.ceil(made.length / Math.ceil(made.length / PART_SIZE));
    const starts = Array.from({ length: Math.ceil(made.length / size) }, (_, n) => n * size);
    made = starts.map((n) => wrap(made.slice(n, n + size), `${n + 1}..${Math.min(n + size, made.length)}`, parts.slice(n, n + size).flat()));
  }
  [...made, ...outer].forEach((c) => node.add(c));
}
