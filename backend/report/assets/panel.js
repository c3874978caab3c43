// The panel beside the graph: all that the plan says about what is selected.

const panel = document.getElementById("panel");

function html(text) {
  return String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
}
function code(text) { return `<code>${html(text)}</code>`; }
function table(rows) {
  const cells = (row) => row.map((c, n) => `<td${n === row.length - 1 && row.right ? ' class="right"' : ""}>${c}</td>`).join("");
  return rows.length ? `<table>${rows.map((r) => `<tr>${cells(r)}</tr>`).join("")}</table>` : "";
}
function right(...cells) { cells.right = true; return cells; }
function heading(text) { return `<h3>${html(text)}</h3>`; }
function goTo(step, text) { return `<a data-step="${step}">${html(text ?? plan.groups[step].name)}</a>`; }
function section(title, body) { return body ? heading(title) + body : ""; }

function describe(node) {
  if (!node || node === root) panel.innerHTML = overview();
  else if (node.kind === "input" || node.kind === "output") panel.innerHTML = crumbs(node) + ofTensor(node);
  else if (node.kind === "step" || isInside(node)) panel.innerHTML = crumbs(node) + ofStep(node);
  else panel.innerHTML = crumbs(node) + ofBlock(node);
  panel.scrollTop = 0;
}

function crumbs(node) {
  const up = node.chain.slice(0, -1).map((n) => `<a data-id="${html(n.id)}">${html(n.label)}</a>`);
  return `<div class="crumbs">${up.join(" › ")}</div>`;
}

// --- the network ---

function overview() {
  const doc = plan.doc ? `<p>${html(plan.doc)}</p>` : "";
  const facts = [
    ["device", html(plan.device)],
    ["target", html(plan.target || "none")],
    ["precision", html(plan.precision)],
    ["layers", `${plan.layers_before} in the spec, ${plan.layers_after} after the passes`],
    ["steps", `${plan.groups.length}, ${plan.groups.filter((g) => g.role === "kernel").length} of them kernels`],
    ["effort", plan.effort],
    ["digest", code(plan.digest.slice(0, 23) + "…")],
  ];
  const io = [...plan.inputs.map((t) => ["in", t]), ...plan.outputs.map((t) => ["out", t])].map(([way, t]) => [way, `${code(plan.tensors[t].name)}<br><span class="mono why">${html(plan.tensors[t].type)}</span>`]);
  const providers = plan.libraries.map((l) => [html(l.name), l.version ? html(l.version) : `<span class="why">not on the machine that planned: ${html(l.missing)}</span>`]);
  return `<h2>${html(plan.network)}</h2>${doc}${table(facts)}${section("inputs and outputs", table(io))}${section(mode === "kind" ? "kinds of steps" : mode, mixTable(root.steps))}
    ${timesTable()}${section("tactics", tacticsTable())}${lockTable()}${section("providers", table(providers))}${section("profiles", profileTable())}${section("memory at the peak", peakTable())}
    ${section("most weights", heaviest(root.steps))}${section("why things are apart", reasonsTable())}${against()}`;
}

function mixTable(steps) {
  const found = mix(steps);
  const bar = found.map(([, count, c]) => `<i style="--c:${c};flex:${count}"></i>`).join("");
  return `<div class="meter">${bar}</div>${table(found.map(([v, count, c]) => right(`<i class="dot" style="--c:${c}"></i>${html(v)}`, count)))}`;
}

function share(steps) { return `${(steps.reduce((sum, s) => sum + (plan.times.steps[s] || 0), 0) / plan.times.total * 100).toFixed(1)} %`; }

function timesTable() {
  const { times } = plan;
  if (!times) return "";
  const at = Object.entries(times.sizes).map(([d, n]) => `${d} = ${n}`).join(", ");
  const notes = times.notes.map((n) => `<p class="warn">${html(n)}</p>`).join("");
  return section("slowest steps", `<p>${milliseconds(times.total)} in all, of engine ${html(times.engine)}${at ? ` at ${html(at)}` : ""}: the median of ${times.runs} runs, step by step</p>${notes}${slowest(plan.groups.map((_, s) => s))}`);
}

function slowest(steps) {
  const most = steps.filter((s) => plan.times && plan.times.steps[s]).sort((a, b) => plan.times.steps[b] - plan.times.steps[a]);
  return table(most.slice(0, 10).map((s) => right(goTo(s), `${timeOf([s])}, ${share([s])}`)));
}

function tacticsTable() {
  const words = { lock: "pinned by the lock", timing: "to be timed", default: "by default: nothing is timed", only: "with one taker" };
  return table(Object.entries(words).filter(([by]) => plan.problems[by]).map(([by, text]) => right(text, plan.problems[by])));
}

function lockTable() {
  const { lock } = plan;
  if (!lock) return "";
  if (!lock.exists) return section("lock", `<p>${code(lock.path)} is not there yet; a build writes it.</p>`);
  return section("lock", `${code(lock.path)}${table([right("pinned", lock.pinned), right("stale", lock.stale), right("missing", lock.missing), right("not asked for", lock.unused)])}${lock.changed.map((text) => `<p class="warn">${html(text)}</p>`).join("")}`);
}

function profileTable() {
  const rows = plan.profiles.flatMap((p) => [[`<b>${html(p.name)}</b>`, ""], ...Object.entries(p.dims).map(([d, r]) => [html(d), r.join(" / ")])]);
  return `<p>min / opt / max</p>${table(rows)}`;
}

function peakTable() {
  const { memory } = plan.profiles[profile];
  return memory ? `<p>step ${memory.peak + 1}, ${goTo(memory.peak)}</p>${aliveTable(memory.peak)}` : "";
}

function aliveTable(step) {
  return table(aliveAt(step).slice(0, 12).map((b) => right(goTo(makerOf(b.tensor) ?? b.first, plan.tensors[b.tensor].name), bytes(b.size))));
}

function makerOf(tensor) {
  const s = plan.groups.findIndex((g) => g.outputs.includes(tensor));
  return s < 0 ? null : s;
}

function heaviest(steps) {
  const most = steps.filter((s) => plan.groups[s].weight_bytes).sort((a, b) => plan.groups[b].weight_bytes - plan.groups[a].weight_bytes);
  return table(most.slice(0, 6).map((s) => right(goTo(s), bytes(plan.groups[s].weight_bytes))));
}

function reasonsTable() {
  const counts = new Map();
  for (const a of plan.apart) {
    if (plan.groups[a.first].role === "view" || plan.groups[a.second].role === "view") continue;
    const reason = a.reason.replaceAll(`\`${plan.tensors[a.tensor].name}\``, "the value");
    counts.set(reason, [...(counts.get(reason) || []), a]);
  }
  const most = [...counts].sort((a, b) => b[1].length - a[1].length).slice(0, 8);
  return table(most.map(([reason, list]) => right(`<span class="why" style="white-space:normal">${html(reason)}</span>`, `<a data-step="${list[0].first}">${list.length}</a>`)));
}

function against() {
  const a = plan.against;
  if (!a) return "";
  const sign = { added: "+", removed: "−", changed: "~" };
  const notes = a.notes.map((n) => `<p>${html(n)}</p>`).join("");
  const groups = table(a.groups.slice(0, 60).map((g) => [sign[g.verb], `${code(g.name)}<br><span class="why">${html([g.before, g.after].filter(Boolean).join(" → "))}</span>`]));
  const tactics = table(a.tactics.slice(0, 60).map((t) => [code(t.group), `${html(t.before)} → ${html(t.after || "timed anew")}`]));
  const memory = table(Object.entries(a.memory).map(([p, [x, y]]) => right(html(p), `${bytes(x)} → ${bytes(y)}`)));
  const network = a.network.length ? `<pre style="white-space:pre">${html(a.network.join("\n").trim())}</pre>` : "";
  return section(`against engine ${a.engine}`, `${notes}${network}${groups}${tactics}${memory}`);
}

// --- a block ---

function ofBlock(node) {
  const { memory } = plan.profiles[profile];
  const weights = node.steps.reduce((sum, s) => sum + plan.groups[s].weight_bytes, 0);
  const facts = [["what", html(node.kind === "part" ? "a part of a long list of steps" : node.kind)], ["steps", `${node.steps.length}: ${node.steps[0] + 1} to ${node.steps.at(-1) + 1}`], ["weights", bytes(weights)]];
  if (timeOf(node.steps)) facts.push(["time", `${timeOf(node.steps)}, ${share(node.steps)}`]);
  if (memory) facts.push(["most alive in it", bytes(Math.max(...node.steps.map((s) => memory.live[s])))]);
  const inside = new Set(node.steps);
  const crossing = (way) => {
    const seen = new Map();
    for (const e of node.edges) {
      const [a, b] = [e.from.chain.includes(node), e.to.chain.includes(node)];
      if (way === "in" ? b && !a : a && !b) seen.set(e.tensor, e);
    }
    return table([...seen.keys()].slice(0, 30).map((t) => [`${code(plan.tensors[t].name)}<br><span class="mono">${html(plan.tensors[t].type)}</span>`]));
  };
  const steps = node.steps.slice(0, 80).map((s) => right(goTo(s, short(plan.groups[s].name, node.path)), html(opsOf(s))));
  return `<h2>${html(node.path || node.label)}</h2>${table(facts)}${section("by " + mode, mixTable([...inside]))}${section("reads", crossing("in"))}${section("gives", crossing("out"))}${section("slowest steps", slowest(node.steps))}${section("steps", table(steps))}`;
}

function short(name, path) { return path && name.startsWith(`${path}.`) ? name.slice(path.length + 1) : name; }

// --- a step ---

function ofStep(node) {
  const group = plan.groups[node.steps[0]];
  const number = node.steps[0];
  const chosen = isInside(node) ? node.layer : null;
  const layers = chosen === null || group.layers.includes(chosen) ? group.layers : [...group.layers, chosen];
  const role = { kernel: "a kernel", view: "a view: costs nothing", concat: "a concat: its parts are written in place", late: "op by op, when the data is there" }[group.role];
  const { memory } = plan.profiles[profile];
  const facts = [["step", `${number + 1} of ${plan.groups.length}`], ["kind", `<i class="dot" style="--c:${colour(number)}"></i>${html(group.kind)}`], ["run as", html(role)]];
  if (timeOf([number])) facts.push(["time", `${timeOf([number])}, ${share([number])}`]);
  if (group.weight_bytes) facts.push(["weights", bytes(group.weight_bytes)]);
  if (memory) facts.push(["alive here", `${bytes(memory.live[number])} of ${bytes(memory.lower_bound)}`]);
  return `<h2>${html(node.path)}</h2>${table(facts)}${section("layers", layers.map((n) => ofLayer(n, n === chosen)).join(""))}
    ${section("reads", tensorCards(group.inputs))}${section("gives", tensorCards(group.outputs))}${group.role === "kernel" ? section("providers", providersOf(group)) + section("tactics", decisionsOf(group)) : ""}
    ${section("not fused with what comes before", apartOf(number, "second", "first"))}${section("not fused with what comes after", apartOf(number, "first", "second"))}${section("alive at this step", aliveTable(number))}`;
}

function ofLayer(n, isChosen) {
  const layer = plan.layers[n];
  const bodies = layer.bodies.length ? `<p>${layer.bodies.map((b) => `${b.label}: ${b.layers.length} layers`).join(", ")}</p>` : "";
  const source = layer.source ? `<p>${code(layer.source)}</p>` : "<p>made by a pass</p>";
  const text = layer.text ? `<pre>${html(layer.text)}</pre>` : "";
  const attrs = layer.attrs ? `<p class="mono why">${html(layer.attrs)}</p>` : "";
  return `<div class="card"${isChosen ? ' style="border-color:var(--accent)"' : ""}><b class="mono">${html(layer.op)}</b> <span class="mono why">${html(layer.name)}</span>${attrs}${bodies}${text}${source}</div>`;
}

function tensorCards(numbers) {
  return numbers.map((t) => {
    const { name, type, place, decided_by: by, nbytes } = plan.tensors[t];
    const maker = makerOf(t);
    const label = maker === null ? code(name || "a constant of the text") : goTo(maker, name);
    return `<div class="card">${label}<br>${code(type)} <span class="why">${html(place)}, ${bytes(nbytes)}</span><p>dtype: ${html(by)}</p></div>`;
  }).join("");
}

function providersOf(group) {
  const takers = group.providers.map((p) => [`<b>${html(p)}</b>`, "takes it"]);
  return table([...takers, ...group.refusals.map((r) => [html(r.provider), `<span class="why">${html(r.reason)}</span>`])]);
}

function decisionsOf(group) {
  return group.decisions.map((d, n) => {
    if (!d) return "";
    const at = Object.entries(plan.points[n]).map(([k, v]) => `${k} = ${v}`).join(", ") || "the only sizes";
    const what = d.by === "timing" ? `to be timed: ${group.providers.join(", ")}` : `${d.provider} ${d.tactic}`;
    const stale = d.stale ? `<p class="warn">stale in the lock: ${html(d.stale)}</p>` : "";
    return `<div class="card"><b>${html(at)}</b> <span class="why">${html(DECIDED[d.by])}</span><br>${code(what)}<p class="mono">${html(d.key)}</p>${stale}</div>`;
  }).join("");
}

function apartOf(number, mine, other) {
  return table(plan.apart.filter((a) => a[mine] === number).map((a) => [goTo(a[other]), html(a.reason)]));
}

function ofTensor(node) {
  const t = plan.tensors[node.tensor];
  const facts = [["type", code(t.type)], ["bytes at max", bytes(t.nbytes)], ["dtype", html(t.decided_by)]];
  const readers = node.kind === "input" ? [...new Set(node.edges.flatMap((e) => e.to.steps))].map((s) => [goTo(s), html(opsOf(s))]) : [];
  return `<h2>${html(t.name)}</h2><p>${node.kind} of the network</p>${table(facts)}${section("read by", table(readers))}`;
}
