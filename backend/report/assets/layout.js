// Layered layout (Sugiyama) of the children of one open node. Open children are laid out first and count as boxes, so
// folding or unfolding a node lays out again only those around it.

const GAP_X = 22;
const GAP_Y = 34;
const HEAD = 26;
const PAD = 14;
const SWEEPS = 8;

function sizeOf(node) {
  if (node.open) {
    const inner = node.layout || (node.layout = layOut(node));
    return [inner.w, inner.h];
  }
  if (isPort(node)) return [Math.min(Math.max(7.3 * node.label.length, 6.5 * subtitle(node).length, 64) + 28, 250), 40];
  const longest = Math.max(title(node).length * 7.3, subtitle(node).length * 6.4, typeOf(node).length * 6.4);
  const width = Math.min(Math.max(longest + 26, 90), 250);
  return [isView(node) ? Math.min(width, 190) : width + (node.isLeaf ? 0 : 16), isView(node) ? 22 : 56];
}

function layOut(node) {
  const items = node.children.map((child, n) => {
    const [w, h] = sizeOf(child);
    return { child, w, h, order: n, rank: 0, up: [], down: [], x: 0 };
  });
  const at = new Map(items.map((i) => [i.child, i]));
  const port = (order) => ({ child: null, w: 1, h: 1, order, rank: 0, up: [], down: [], x: 0 });
  const entry = port(-1);
  const exit = port(items.length);
  const tensors = new Map(); // source -> target -> tensors
  const isRoot = node.kind === "root";
  for (const e of node.edges) {
    const from = at.get(childWith(node, e.from)) || entry;
    const to = at.get(childWith(node, e.to)) || exit;
    if (from === to || (isRoot && (from === entry || to === exit))) continue;
    if (from === entry && to === exit) continue;
    if (!tensors.has(from)) tensors.set(from, new Map());
    const targets = tensors.get(from);
    targets.set(to, [...(targets.get(to) || []), e.tensor]);
  }
  const all = [...(tensors.has(entry) ? [entry] : []), ...items];
  if ([...tensors.values()].some((t) => t.has(exit))) all.push(exit);
  rankAll(all, tensors);
  const { ranks, chains } = withDummies(all, tensors);
  orderRanks(ranks);
  placeX(ranks);
  return measure(node, items, ranks, chains);
}

/** The longest path from the top; what reads nothing sits right above its first reader. */
function rankAll(all, tensors) {
  const forward = [...tensors].flatMap(([from, targets]) => [...targets.keys()].map((to) => [from, to]));
  forward.sort((a, b) => a[0].order - b[0].order);
  for (const [from, to] of forward) to.rank = Math.max(to.rank, from.rank + 1);
  const hasSource = new Set(forward.map(([, to]) => to));
  const nearest = new Map();
  for (const [from, to] of forward) if (!hasSource.has(from)) nearest.set(from, Math.min(nearest.get(from) ?? Infinity, to.rank));
  for (const [from, rank] of nearest) if (from.child) from.rank = rank - 1;
  const last = Math.max(0, ...all.map((i) => i.rank));
  for (const i of all) if (!i.child && i.order > 0) i.rank = Math.max(i.rank, last + (all.some((o) => o !== i && o.rank === last) ? 1 : 0));
}

/** Ranks with places kept free for edges that pass through. One chain serves all readers of what a node makes. */
function withDummies(all, tensors) {
  const count = Math.max(0, ...all.map((i) => i.rank)) + 1;
  const ranks = Array.from({ length: count }, () => []);
  for (const i of all) ranks[i.rank].push(i);
  const chains = [];
  for (const [from, targets] of tensors) {
    const links = [];
    const stops = new Map([[from.rank, from]]);
    for (const to of [...targets.keys()].sort((a, b) => a.rank - b.rank)) {
      for (let r = from.rank + 1; r < to.rank; r += 1) {
        if (stops.has(r)) continue;
        const dummy = { child: null, dummy: true, w: 8, h: 0, order: from.order, rank: r, up: [], down: [], x: 0 };
        stops.set(r, dummy);
        ranks[r].push(dummy);
        links.push(link(stops.get(r - 1), dummy));
      }
      links.push(link(stops.get(to.rank - 1), to));
    }
    chains.push({ from, links, targets });
  }
  for (const rank of ranks) rank.sort((a, b) => a.order - b.order);
  return { ranks, chains };
}

function link(a, b) {
  a.down.push(b);
  b.up.push(a);
  return [a, b];
}

/** Fewer crossings: each item goes to the mean place of its neighbours above, then below, several times. */
function orderRanks(ranks) {
  const number = () => ranks.forEach((rank) => rank.forEach((i, n) => { i.place = (n + 0.5) / rank.length; }));
  number();
  for (let s = 0; s < SWEEPS; s += 1) {
    const side = s % 2 ? "down" : "up";
    for (const rank of s % 2 ? [...ranks].reverse() : ranks) {
      for (const i of rank) i.wish = i[side].length ? i[side].reduce((sum, o) => sum + o.place, 0) / i[side].length : i.place;
      rank.sort((a, b) => a.wish - b.wish || a.order - b.order);
      rank.forEach((i, n) => { i.place = (n + 0.5) / rank.length; });
    }
  }
}

/** Centres: as near to the neighbours' as the order and the widths allow (least squares: pooled adjacent violators). */
function placeX(ranks) {
  for (const rank of ranks) {
    let x = 0;
    for (const i of rank) { i.x = x + i.w / 2; x += i.w + GAP_X; }
    rank.forEach((i) => { i.x -= x / 2; });
  }
  for (let s = 0; s < 2 * SWEEPS; s += 1) {
    const down = s % 2 === 0;
    for (const rank of down ? ranks : [...ranks].reverse()) {
      const near = (i) => (s >= 2 * SWEEPS - 2 ? [...i.up, ...i.down] : down ? i.up : i.down);
      const weight = (i, o) => (i.dummy && o.dummy ? 8 : i.dummy || o.dummy ? 0.5 : 4);
      pool(rank, rank.map((i) => {
        const others = near(i);
        if (!others.length) return [i.x, 0.2];
        const total = others.reduce((sum, o) => sum + weight(i, o), 0);
        return [others.reduce((sum, o) => sum + o.x * weight(i, o), 0) / total, total];
      }));
    }
  }
}

function pool(rank, wishes) {
  const blocks = [];
  let shift = 0;
  rank.forEach((item, n) => {
    if (n) shift += (rank[n - 1].w + item.w) / 2 + (rank[n - 1].dummy && item.dummy ? GAP_X / 2 : GAP_X);
    let block = { wish: wishes[n][0] - shift, weight: wishes[n][1], items: [[item, shift]] };
    while (blocks.length && blocks.at(-1).wish > block.wish) {
      const before = blocks.pop();
      const weight = before.weight + block.weight;
      block = { wish: (before.wish * before.weight + block.wish * block.weight) / weight, weight, items: [...before.items, ...block.items] };
    }
    blocks.push(block);
  });
  for (const block of blocks) for (const [item, offset] of block.items) item.x = block.wish + offset;
}

function measure(node, items, ranks, chains) {
  const drawn = ranks.flat().filter((i) => i.child || i.dummy);
  const left = Math.min(...drawn.map((i) => i.x - i.w / 2));
  const right = Math.max(...drawn.map((i) => i.x + i.w / 2));
  const isRoot = node.kind === "root";
  const width = Math.max(right - left + 2 * PAD, isRoot ? 0 : 60 + 8 * title(node).length);
  const shift = -left + (width - (right - left)) / 2;
  let y = isRoot ? PAD : HEAD + 6;
  let gap = 0;
  ranks.forEach((rank, number) => {
    const height = Math.max(...rank.map((i) => i.h), 0);
    for (const i of rank) {
      i.x += shift;
      i.top = i.child ? y + (height - i.h) / 2 : y;
      i.bottom = i.child ? i.top + i.h : y + (i.dummy ? height : 0);
      if (!i.child && !i.dummy) i.top = i.bottom = i.order < 0 ? HEAD - 4 : y + height;
    }
    const crowd = rank.reduce((most, i) => Math.max(most, ...i.down.map((o) => Math.abs(o.x - i.x))), 0);
    const next = ranks[number + 1];
    gap = next && !next.some((i) => i.child) ? GAP_Y / 2 : GAP_Y + Math.min(crowd / 14, 36);
    y += height + gap;
  });
  const height = y - gap + PAD;
  for (const i of ranks.flat()) {
    if (i.child || i.dummy) continue;
    i.x = width / 2; // where the wires outside begin and end
    if (i.order >= 0) i.top = i.bottom = height;
  }
  const wires = chains.map((c) => ({
    from: c.from.child,
    targets: [...c.targets].map(([to, list]) => ({ node: to.child, tensors: list })),
    d: c.links.map(curve).join(""),
  }));
  return { w: width, h: height, wires, placed: items.map((i) => ({ node: i.child, x: i.x - i.w / 2, y: i.top, w: i.w, h: i.h })) };
}

function curve([a, b]) {
  const middle = (a.bottom + b.top) / 2;
  const through = b.dummy ? `L${f(b.x)} ${f(b.bottom)}` : "";
  return `M${f(a.x)} ${f(a.bottom)}C${f(a.x)} ${f(middle)} ${f(b.x)} ${f(middle)} ${f(b.x)} ${f(b.top)}${through}`;
}

function f(n) { return Math.round(n * 10) / 10; }
