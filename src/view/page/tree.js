// The order of the rows: parents before children, siblings by start. Nothing here recurses, since a
// trace may be nested as deep as its sender likes.

import { OUTCOMES } from "./values.js";

// Nodes in the order of the rows. A node has: segment, level (1 for a root), parent (node or null),
// children, service (that of the nearest segment above), size (nodes below it) and worst (the worst
// outcome below it). Each segment becomes one node: one whose parent has not come is a root, and so
// is one of each circle of parents.
export function buildTree(segments) {
  const nodes = new Map(segments.map((segment) => [segment.key, {
    segment, level: 1, parent: null, children: [], service: null, size: 0, worst: "ok",
  }]));
  const ordered = [...nodes.values()].sort((a, b) => startOf(a) - startOf(b) || 0);
  const above = (node) => nodes.get(node.segment.parent) ?? null;
  const roots = [];
  const below = new Map(ordered.map((node) => [node, []]));
  for (const node of ordered) {
    const parent = above(node);
    if (parent && parent !== node) below.get(parent).push(node);
    else roots.push(node);
  }
  const rows = [];
  const seen = new Set();
  // Segments that are not below a root are in a cycle or below one. They follow after the roots.
  for (const root of [...roots, ...ordered]) {
    const stack = [[root, null]];
    while (stack.length) {
      const [node, parent] = stack.pop();
      if (seen.has(node)) continue;
      seen.add(node);
      node.parent = parent;
      node.level = parent ? parent.level + 1 : 1;
      node.service = node.segment.service ?? parent?.service ?? node.segment.name;
      parent?.children.push(node);
      rows.push(node);
      const children = below.get(node);
      for (let at = children.length - 1; at >= 0; at -= 1) stack.push([children[at], node]);
    }
  }
  // From the last row to the first, each node is complete before its parent asks.
  for (let at = rows.length - 1; at >= 0; at -= 1) {
    const { parent, size, worst, segment } = rows[at];
    if (!parent) continue;
    parent.size += size + 1;
    parent.worst = worse(parent.worst, worse(worst, segment.outcome));
  }
  return rows;
}

// The rows that are to be seen when the nodes with the keys in `folded` hide what is below them.
export function visibleRows(rows, folded) {
  const seen = [];
  for (let at = 0; at < rows.length; at += 1) {
    seen.push(rows[at]);
    if (folded.has(rows[at].segment.key)) at += rows[at].size;
  }
  return seen;
}

// From the first start to the last end, or null when nothing says a time.
export function extent(segments) {
  let from = Infinity;
  let to = -Infinity;
  for (const { start, end } of segments) {
    if (start === null) continue;
    from = Math.min(from, start);
    to = Math.max(to, start, end ?? start);
  }
  return from <= to ? { from, to } : null;
}

export function worse(a, b) {
  return OUTCOMES.indexOf(a) >= OUTCOMES.indexOf(b) ? a : b;
}

function startOf(node) {
  return node.segment.start ?? Number.MAX_VALUE;
}
