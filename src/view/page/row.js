// One row of the waterfall.

import { serviceColour } from "./colour.js";
import { el, setText } from "./dom.js";
import { duration, line, number } from "./format.js";
import { place } from "./timescale.js";

// Deeper levels are not moved in further, or nothing would be left of the names.
const MAX_INDENT = 14;
const KINDS = { segment: "service", aws: "AWS call", remote: "remote call", sql: "query", local: "within the service", unreadable: "unreadable" };

export function makeRow(row, { folded, index, marked }) {
  const { segment } = row;
  const bad = segment.outcome !== "ok";
  const hidden = folded && row.worst !== "ok";
  const name = el("span", { class: "name", role: "gridcell" },
    el("span", { class: "fold", "aria-hidden": "true" }, row.children.length ? (folded ? "▸" : "▾") : ""),
    row.level > MAX_INDENT && el("span", { class: "level", title: `Level ${row.level}` }, number(row.level)),
    el("i", { class: `kind ${segment.kind} ${serviceColour(row.service)}`, title: KINDS[segment.kind] }),
    el("b", null, line(segment.name, 120)),
    folded && el("span", { class: "count" }, `+${number(row.size)}`),
    bad && el("span", { class: `pill small ${segment.outcome}` }, segment.outcome),
    hidden && el("span", { class: `pill small ${row.worst}` }, `${row.worst} inside`),
    segment.inProgress && el("span", { class: "flag running" }, "in progress"),
    el("span", { class: "detail" }, line(segment.detail, 200)));
  name.title = line(`${segment.name} ${segment.detail}`, 1000);
  name.style.setProperty("--indent", Math.min(row.level - 1, MAX_INDENT));
  return el("div", {
    class: "row", role: "row", "aria-level": row.level, "aria-rowindex": index + 2, "aria-selected": String(marked),
    "aria-expanded": row.children.length ? String(!folded) : null,
  }, name, el("span", { class: "track", role: "gridcell" },
    el("i", { class: `bar ${serviceColour(row.service)} ${segment.outcome}${segment.inProgress ? " open" : ""}` }), el("span", { class: "label" })));
}

// Draws the bar for the part of the time that is seen. `last` is the length of the trace, where the
// bar of what has not ended ends.
export function placeRow(node, { segment }, { view, time, last }) {
  const [bar, label] = node.lastElementChild.children;
  const timed = segment.start !== null && time !== null;
  bar.hidden = !timed;
  label.className = "label";
  if (!timed) {
    setText(label, segment.kind === "unreadable" ? "" : "no time");
    label.style.left = "0";
    label.style.right = "";
    return;
  }
  const start = segment.start - time.from;
  const ended = segment.end !== null && !segment.inProgress;
  const left = place(view, start);
  const right = Math.max(left, place(view, ended ? segment.end - time.from : last));
  bar.style.left = `${left}%`;
  bar.style.width = `${right - left}%`;
  setText(label, ended ? duration(segment.end - segment.start) : "running");
  // The duration stands after the bar, before it, or in it: where there is room.
  const outside = right < 0 ? "◂ " : left > 100 ? " ▸" : "";
  const where = outside ? "edge" : right <= 82 ? "after" : left >= 18 ? "before" : "inside";
  if (outside) setText(label, right < 0 ? `◂ ${label.textContent}` : `${label.textContent} ▸`);
  label.classList.add(where);
  const after = outside ? right < 0 : where === "after";
  label.style.left = after ? `${outside ? 0 : right}%` : where === "inside" ? `${Math.max(left, 0)}%` : "";
  label.style.right = after || where === "inside" ? "" : `${outside ? 0 : 100 - left}%`;
}
