// What a step looks like: texts, and colours by what the user wants to see.

const KINDS = {
  conv: "blue", stem: "blue", depthwise: "blue", gemm: "teal", attention: "violet", normalisation: "amber", softmax: "orange", reduction: "cyan",
  pointwise: "green", pooling: "pink", recurrent: "violet", region: "red", plugin: "red", reference: "red", copy: "slate", view: "mist",
};
const PALETTE = ["blue", "amber", "teal", "red", "violet", "green", "pink", "orange", "cyan", "slate"];
const DECIDED = { lock: "from the lock", timing: "to be timed", default: "by default", only: "one taker", view: "no kernel" };

const MODES = {
  kind: (s) => plan.groups[s].kind,
  dtype: (s) => { const t = plan.groups[s].outputs[0]; return t === undefined ? "none" : plan.tensors[t].dtype; },
  provider: (s) => (decision(s) ? decision(s).provider : "none"),
  decision: (s) => (decision(s) ? DECIDED[decision(s).by] : "no kernel"),
  memory: (s) => heat(s),
  ...(plan.times ? { time: (s) => pace(s) } : {}),
};
let mode = "kind";
const colourOf = new Map();

function decision(step) { return plan.groups[step].decisions.find((d) => d) || null; }

/** How much is alive at a step, against the peak. */
function heat(step) {
  const memory = plan.profiles[profile].memory;
  if (!memory || !memory.lower_bound) return "none";
  const share = memory.live[step] / memory.lower_bound;
  return share > 0.8 ? "over 80 %" : share > 0.5 ? "50 to 80 %" : share > 0.2 ? "20 to 50 %" : "under 20 %";
}

/** How much of the whole time a step takes. */
function pace(step) {
  const ms = plan.times.steps[step];
  if (ms === null) return "not timed";
  const share = ms / plan.times.total;
  return share > 0.1 ? "over 10 %" : share > 0.03 ? "3 to 10 %" : share > 0.01 ? "1 to 3 %" : "under 1 %";
}
const PACE = { "over 10 %": "red", "3 to 10 %": "orange", "1 to 3 %": "amber", "under 1 %": "teal", "not timed": "mist" };

/** The time of steps in milliseconds, as text; "" where none was timed. */
function timeOf(steps) {
  if (!plan.times || steps.every((s) => plan.times.steps[s] === null)) return "";
  return milliseconds(steps.reduce((sum, s) => sum + (plan.times.steps[s] || 0), 0));
}

function milliseconds(ms) { return ms === 0 ? "0" : ms < 1 ? `${(ms * 1000).toPrecision(3)} µs` : `${ms.toPrecision(3)} ms`; }

const HEAT = { "over 80 %": "red", "50 to 80 %": "orange", "20 to 50 %": "amber", "under 20 %": "teal", none: "mist" };

function chooseColours() {
  colourOf.clear();
  const fixed = { kind: KINDS, memory: HEAT, time: PACE }[mode] || { none: "mist", "no kernel": "mist" };
  const order = (v) => (mode === "kind" ? 0 : Object.keys(fixed).indexOf(v));
  const values = [...new Set(plan.groups.map((_, s) => MODES[mode](s)))].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1));
  const rest = PALETTE.filter((c) => mode !== "kind" || !values.some((v) => fixed[v] === c));
  let next = 0;
  for (const v of values) colourOf.set(v, fixed[v] || rest[next++ % rest.length] || "slate");
}

function colour(step) { return `var(--${colourOf.get(MODES[mode](step))})`; }

/** [value, count, colour] for the steps of a node, the most frequent first. */
function mix(steps) {
  const counts = new Map();
  for (const s of steps) counts.set(MODES[mode](s), (counts.get(MODES[mode](s)) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]).map(([value, count]) => [value, count, `var(--${colourOf.get(value)})`]);
}

function isView(node) { return node.kind === "step" && node.isLeaf && plan.groups[node.step].role === "view"; }

function opsOf(step) {
  const ops = [];
  for (const n of plan.groups[step].layers) {
    const { op } = plan.layers[n];
    if (ops.length && ops.at(-1)[0] === op) ops.at(-1)[1] += 1;
    else ops.push([op, 1]);
  }
  return ops.map(([op, count]) => (count > 1 ? `${op}×${count}` : op)).join(" + ");
}

function title(node) {
  if (isView(node)) return `${opsOf(node.step)}  ${node.label}`;
  return node.label;
}

function subtitle(node) {
  if (node.kind === "input" || node.kind === "output") return plan.tensors[node.tensor].type;
  if (node.kind === "step") return [opsOf(node.step), timeOf(node.steps)].filter(Boolean).join(" · ");
  if (node.kind === "layer") return plan.layers[node.layer].op;
  if (node.kind === "body") return `${plan.layers[node.layer].bodies.find((b) => b.label === node.label).layers.length} layers`;
  if (node.kind === "argument") return `${node.makes.length} values`;
  if (node.kind === "result") return node.makes.length > 1 ? `${node.makes.length} results` : plan.tensors[node.makes[0]].type;
  const counts = new Map();
  for (const s of node.steps) if (plan.groups[s].role !== "view") counts.set(plan.groups[s].kind, (counts.get(plan.groups[s].kind) || 0) + 1);
  const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([k, c]) => `${c} ${k}`);
  return [most.length ? `${node.steps.length} steps: ${most.join(", ")}` : `${node.steps.length} views`, timeOf(node.steps)].filter(Boolean).join(" · ");
}

/** What a step or a layer gives; "" for what has several steps. */
function typeOf(node) {
  if (node.kind !== "step" && node.kind !== "layer") return "";
  const made = node.kind === "layer" ? plan.layers[node.layer].outputs : plan.groups[node.step].outputs;
  return made.length > 1 ? `${made.length} results` : made.length ? plan.tensors[made[0]].type : "";
}

function clip(text, width, per) {
  const room = Math.floor(width / per);
  return text.length > room ? `${text.slice(0, Math.max(room - 1, 1))}…` : text;
}

function bytes(n) {
  if (n === null || n === undefined) return "depends on the data";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let u = 0;
  while (n >= 1024 && u < 4) { n /= 1024; u += 1; }
  return u ? `${n.toFixed(1)} ${units[u]}` : `${n} B`;
}
