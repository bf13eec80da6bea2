// Where the nodes of the service map stand: in columns, callers left of whom they call, and within
// a column so that few lines cross. Takes and gives plain data.

export const CARD = { width: 192, height: 90 };
const GAP = { least: 56, most: 130, y: 24 };
const MARGIN = 20;
// Room for the lines that go round below.
export const BELOW = 56;
const SWEEPS = 6;

// `room` is the width that there is; more is taken where it does not suffice. Gives { nodes, edges,
// width, height }: the nodes of the answer with x, y and column, from left to right, and its edges
// with nodes for from and to, and back (whether they lead to the left, or to where they start).
export function layOut(answer, room) {
  const nodes = new Map(answer.nodes.map((node) => [node.id, { ...node, column: 0, out: [], in: [] }]));
  const edges = [];
  for (const edge of answer.edges) {
    const [from, to] = [nodes.get(edge.from), nodes.get(edge.to)];
    if (!from || !to) continue;
    const line = { ...edge, from, to, back: from === to };
    edges.push(line);
    if (from === to) continue;
    from.out.push(line);
    to.in.push(line);
  }
  markCircles([...nodes.values()]);
  setColumns([...nodes.values()]);
  const columns = [];
  for (const node of nodes.values()) (columns[node.column] ??= []).push(node);
  const used = columns.filter(Boolean);
  order(used);
  const { width, height } = place(used, room);
  const below = edges.some((edge) => edge.back) ? BELOW - MARGIN : 0;
  return { width, height: height + below, nodes: used.flat(), edges };
}

// Marks the edges that close a circle; the columns are found without them.
function markCircles(nodes) {
  const state = new Map();
  const roots = [...nodes].sort((a, b) => a.in.length - b.in.length || (b.kind === "client") - (a.kind === "client"));
  for (const root of roots) {
    const stack = [[root, 0]];
    if (!state.has(root)) state.set(root, "open");
    else continue;
    while (stack.length) {
      const top = stack.at(-1);
      const edge = top[0].out[top[1]];
      top[1] += 1;
      if (!edge) {
        state.set(top[0], "done");
        stack.pop();
      } else if (state.get(edge.to) === "open") {
        edge.back = true;
      } else if (!state.has(edge.to)) {
        state.set(edge.to, "open");
        stack.push([edge.to, 0]);
      }
    }
  }
}

// The column of a node is the length of the longest way to it.
function setColumns(nodes) {
  const waits = new Map(nodes.map((node) => [node, node.in.filter((edge) => !edge.back).length]));
  const ready = nodes.filter((node) => waits.get(node) === 0);
  while (ready.length) {
    const node = ready.pop();
    for (const { to, back } of node.out) {
      if (back) continue;
      to.column = Math.max(to.column, node.column + 1);
      waits.set(to, waits.get(to) - 1);
      if (waits.get(to) === 0) ready.push(to);
    }
  }
}

// Sorts each column by the middle of its neighbours, to and fro. The names decide where nothing
// else does, so that the map of the same services always looks the same.
function order(columns) {
  for (const column of columns) column.sort((a, b) => (a.id < b.id ? -1 : 1));
  const number = () => columns.forEach((column) => column.forEach((node, at) => (node.at = at - column.length / 2)));
  number();
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const right = sweep % 2 === 0;
    for (const column of right ? columns : [...columns].reverse()) {
      const middle = new Map(column.map((node) => {
        const near = right ? node.in.map((edge) => edge.from.at) : node.out.map((edge) => edge.to.at);
        return [node, near.length ? near.reduce((sum, at) => sum + at, 0) / near.length : node.at];
      }));
      column.sort((a, b) => middle.get(a) - middle.get(b));
      column.forEach((node, at) => (node.at = at - column.length / 2));
    }
  }
}

function place(columns, room) {
  const fit = (room - 2 * MARGIN - columns.length * CARD.width) / Math.max(columns.length - 1, 1);
  const gap = Math.min(Math.max(fit, GAP.least), GAP.most);
  const tallest = Math.max(1, ...columns.map((column) => column.length));
  const height = tallest * (CARD.height + GAP.y) - GAP.y + 2 * MARGIN;
  columns.forEach((column, index) => {
    const own = column.length * (CARD.height + GAP.y) - GAP.y;
    column.forEach((node, at) => {
      node.x = MARGIN + index * (CARD.width + gap);
      node.y = (height - own) / 2 + at * (CARD.height + GAP.y);
    });
  });
  return { width: 2 * MARGIN + columns.length * (CARD.width + gap) - gap, height };
}
