// Over the steps: the bytes alive at each; the arena itself, value by value at its offset; the time of each, where it was
// measured.

const canvas = document.getElementById("memory");
const tip = document.getElementById("tip");
let profile = 0;
let chart = "live bytes";
let hovered = null;

const EDGE = { left: 66, right: 10, top: 8, bottom: 18 };

function plot() {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = w * ratio;
  canvas.height = h * ratio;
  const c = canvas.getContext("2d");
  c.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const paint = (name) => style.getPropertyValue(name.replace(/^var\(|\)$/g, "")).trim();
  const memory = plan.profiles[profile].memory;
  c.font = "11px system-ui, sans-serif";
  c.fillStyle = paint("--soft");
  const isTime = chart === "time";
  if (!memory && !isTime) { c.fillText("The data decides how much memory a run takes.", EDGE.left, h / 2); return; }
  const most = isTime ? Math.max(...plan.times.steps) : memory.arena;
  const top = (isTime ? most || 1 : Math.max(most, 1)) * 1.04;
  const x = (step) => EDGE.left + ((w - EDGE.left - EDGE.right) * step) / plan.groups.length;
  const y = (n) => h - EDGE.bottom - ((h - EDGE.top - EDGE.bottom) * n) / top;
  c.textAlign = "right";
  for (const share of [0, 0.5, 1]) {
    const at = most * share;
    c.fillText(isTime ? milliseconds(at) : bytes(Math.round(at)), EDGE.left - 8, y(at) + 4);
    c.fillStyle = paint("--line");
    c.fillRect(EDGE.left, y(at), w - EDGE.left - EDGE.right, 1);
    c.fillStyle = paint("--soft");
  }
  const bars = (values) => values.forEach((n, s) => {
    c.fillStyle = paint(colour(s));
    c.fillRect(x(s), y(n || 0), Math.max(x(s + 1) - x(s) - (x(1) - x(0) > 3 ? 1 : 0), 0.6), y(0) - y(n || 0));
  });
  if (isTime) bars(plan.times.steps);
  else if (chart === "live bytes") {
    bars(memory.live);
    c.setLineDash([5, 4]);
    c.strokeStyle = paint("--ink");
    c.beginPath();
    c.moveTo(EDGE.left, y(memory.lower_bound));
    c.lineTo(w - EDGE.right, y(memory.lower_bound));
    c.stroke();
    c.setLineDash([]);
  } else {
    plan.buffers.forEach((b, n) => {
      const [left, width] = [x(b.first), x(b.last + 1) - x(b.first)];
      const height = y(memory.offsets[n]) - y(memory.offsets[n] + memory.sizes[n]);
      c.globalAlpha = hovered === n ? 1 : 0.72;
      c.fillStyle = paint(colour(b.first));
      c.fillRect(left, y(memory.offsets[n] + memory.sizes[n]), width, height);
      c.globalAlpha = 1;
      c.strokeStyle = paint("--sheet");
      c.lineWidth = height > 4 && width > 4 ? 1 : 0.3;
      c.strokeRect(left, y(memory.offsets[n] + memory.sizes[n]), width, height);
    });
  }
  if (selected && selected.steps.length) {
    c.fillStyle = paint("--accent");
    c.globalAlpha = 0.22;
    for (const s of selected.steps) c.fillRect(x(s), EDGE.top, Math.max(x(s + 1) - x(s), 2), h - EDGE.top - EDGE.bottom);
    c.globalAlpha = 1;
    for (const s of selected.steps) c.fillRect(x(s), h - EDGE.bottom + 2, Math.max(x(s + 1) - x(s), 2), 3);
  }
  c.fillStyle = paint("--soft");
  c.textAlign = "left";
  c.fillText("step 1", EDGE.left, h - 3);
  c.textAlign = "right";
  c.fillText(`step ${plan.groups.length}`, w - EDGE.right, h - 3);
}

function stepAt(event) {
  const box = canvas.getBoundingClientRect();
  const share = (event.clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
  return share < 0 || share >= 1 ? null : Math.floor(share * plan.groups.length);
}

/** The buffer under the pointer in the arena's picture, or null. */
function bufferAt(event, step) {
  const memory = plan.profiles[profile].memory;
  const box = canvas.getBoundingClientRect();
  const share = (box.bottom - EDGE.bottom - event.clientY) / (box.height - EDGE.top - EDGE.bottom);
  const at = share * Math.max(memory.arena, 1) * 1.04;
  const n = plan.buffers.findIndex((b, i) => b.first <= step && step <= b.last && memory.offsets[i] <= at && at < memory.offsets[i] + memory.sizes[i]);
  return n < 0 ? null : n;
}

function aliveAt(step) {
  const { memory } = plan.profiles[profile];
  if (!memory) return [];
  return plan.buffers
    .map((b, n) => ({ ...b, size: memory.sizes[n] }))
    .filter((b) => b.first <= step && step <= b.last && b.size)
    .sort((a, b) => b.size - a.size);
}

function say(event, text) {
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - box.width - 8)}px`;
  tip.style.top = `${event.clientY + 18 + box.height > window.innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
}

function watchMemory(choose) {
  canvas.addEventListener("mousemove", (event) => {
    const step = stepAt(event);
    const memory = plan.profiles[profile].memory;
    if (step === null || (!memory && chart !== "time")) { say(event, ""); return; }
    const group = plan.groups[step];
    const lines = [`step ${step + 1}  ${group.name}`];
    if (chart === "time") { say(event, [...lines, opsOf(step), timeOf([step]) || "not timed"].join("\n")); return; }
    lines.push(`${bytes(memory.live[step])} alive`);
    const n = chart === "arena" ? bufferAt(event, step) : null;
    if (n !== hovered) { hovered = n; plot(); }
    if (n !== null) {
      const b = plan.buffers[n];
      lines.push("", plan.tensors[b.tensor].name, `${plan.tensors[b.tensor].type}  ${bytes(memory.sizes[n])}`, `steps ${b.first + 1} to ${b.last + 1}, at ${memory.offsets[n]}`);
    } else for (const b of aliveAt(step).slice(0, 5)) lines.push(`${bytes(b.size).padStart(10)}  ${plan.tensors[b.tensor].name}`);
    say(event, lines.join("\n"));
  });
  canvas.addEventListener("mouseleave", (event) => { hovered = null; say(event, ""); plot(); });
  canvas.addEventListener("click", (event) => {
    const step = stepAt(event);
    if (step !== null) choose(step);
  });
}

function memoryFacts() {
  const memory = plan.profiles[profile].memory;
  const text = document.getElementById("memory-facts");
  if (chart === "time") {
    text.textContent = `${milliseconds(plan.times.total)} in all, of engine ${plan.times.engine}: the median of ${plan.times.runs} runs, step by step`;
    return;
  }
  if (!memory) { text.textContent = ""; return; }
  const over = memory.lower_bound ? ((memory.arena - memory.lower_bound) / memory.lower_bound) * 100 : 0;
  text.textContent = `arena ${bytes(memory.arena)} at max, ${over.toFixed(1)} % over the lower bound; peak at step ${memory.peak + 1}`;
}
