// The rows of a trace as a tree grid. Only the rows in sight are elements, so that ten thousand cost
// no more than fifty.

import { el, setText } from "./dom.js";
import { number } from "./format.js";
import { makeRow, placeRow } from "./row.js";
import { overview } from "./overview.js";
import { tickText, ticks, whole, place } from "./timescale.js";
import { zoomControls } from "./zoom.js";
import { visibleRows } from "./tree.js";

// On a narrow screen a row has its bar below its name.
const NARROW = matchMedia("(max-width: 720px)");
const SPARE = 8;

export function waterfall({ choose, close }) {
  const marks = el("div", { class: "marks", role: "columnheader", "aria-label": "Time" });
  const body = el("div", { class: "rows", role: "rowgroup" });
  const grid = el("div", { class: "grid", role: "treegrid", "aria-label": "Waterfall of the trace", "aria-describedby": "keys", tabindex: "-1" },
    el("div", { class: "axis", role: "rowgroup" }, el("div", { role: "row" },
      el("div", { class: "names", role: "columnheader" }, "Segment"), marks)), body);
  const map = overview((part) => controls.set(part));
  const controls = zoomControls({ marks, grid, look, chosen: () => rows.find((row) => row.segment.key === active) });
  const fold = el("button", { type: "button", onclick: foldAll }, "Fold all");
  const omitted = el("span", { class: "muted" });
  const element = el("div", { class: "waterfall" },
    el("div", { class: "tools" }, controls.element, fold, omitted,
      el("details", { class: "keys" }, el("summary", null, "Keys"), el("p", { id: "keys" },
        "Up and down: go from row to row. Right and left: unfold and fold. Enter: details. Escape: close them. " +
        "Plus and minus: zoom. Z: zoom to the row. 0: all. Shift with left and right: move in time. " +
        "Mouse: drag over the axis or the overview, Ctrl and wheel over a bar, double click on a row."))),
    map.element, grid);

  let rows = [];
  let shown = [];
  let time = null;
  let view = whole(0);
  let active = "";
  let marked = "";
  let height = 0;
  const folded = new Set();
  const made = new Map();

  // Draws what is in sight. `fresh` makes all rows anew.
  function draw(fresh) {
    const focused = fresh && body.contains(document.activeElement);
    if (fresh) {
      for (const row of made.values()) row.remove();
      made.clear();
      body.style.height = `${shown.length * height}px`;
      grid.setAttribute("aria-rowcount", shown.length + 1);
    }
    const from = Math.max(0, Math.floor(grid.scrollTop / height) - SPARE);
    const to = Math.min(shown.length, Math.ceil((grid.scrollTop + grid.clientHeight) / height) + SPARE);
    const wanted = new Set(shown.slice(from, to));
    // The row that has the focus stays, or the focus would be lost.
    const current = shown[indexOf(active)];
    if (current) wanted.add(current);
    for (const [row, node] of made) {
      if (wanted.has(row)) continue;
      node.remove();
      made.delete(row);
    }
    const bars = { view, time, last: time ? time.to - time.from : 0 };
    for (let at = from; at < to; at += 1) if (!made.has(shown[at])) add(at, bars);
    if (current && !made.has(current)) add(indexOf(active), bars);
    if (focused) focus();
  }

  function add(at, bars) {
    const row = shown[at];
    const node = makeRow(row, { folded: folded.has(row.segment.key), index: at, marked: row.segment.key === marked });
    node.style.transform = `translateY(${at * height}px)`;
    node.tabIndex = row.segment.key === active ? 0 : -1;
    placeRow(node, row, bars);
    made.set(row, node);
    // The order of the elements is the order in which they are read aloud.
    const next = [...body.children].find((other) => other.ariaRowIndex > at + 2) ?? null;
    body.insertBefore(node, next);
  }

  // Draws bars and axis of another part of the time.
  function look(next) {
    view = next;
    const room = Math.max(2, Math.floor(marks.clientWidth / 70));
    const { step, marks: times } = ticks(view, room);
    marks.replaceChildren(...times.map((at) => {
      const left = place(view, at);
      // At the right end there is room for the line alone.
      const room = ((100 - left) / 100) * marks.clientWidth > 56;
      const mark = el("span", { class: "tick" }, room && el("span", null, tickText(at, step)));
      mark.style.left = `${left}%`;
      return mark;
    }));
    // The lines of the marks go through all rows.
    const width = marks.clientWidth / (view.to - view.from);
    grid.style.setProperty("--step", `${step * width}px`);
    grid.style.setProperty("--first", `${((times[0] ?? 0) - view.from) * width}px`);
    map.look(view, time);
    const bars = { view, time, last: time ? time.to - time.from : 0 };
    for (const [row, node] of made) placeRow(node, row, bars);
  }

  function refold() {
    shown = visibleRows(rows, folded);
    if (indexOf(active) < 0) active = shown[0]?.segment.key ?? "";
    const some = rows.some((row) => row.children.length);
    fold.hidden = !some;
    setText(fold, folded.size ? "Unfold all" : "Fold all");
    const hidden = rows.length - shown.length;
    setText(omitted, hidden ? `${number(hidden)} folded` : "");
    draw(true);
  }

  function foldAll() {
    if (folded.size) folded.clear();
    else for (const row of rows) if (row.children.length && row.level > 1) folded.add(row.segment.key);
    refold();
  }

  function toggle(row, shut) {
    if (!row.children.length) return;
    if (shut ?? !folded.has(row.segment.key)) folded.add(row.segment.key);
    else folded.delete(row.segment.key);
    refold();
  }

  function indexOf(key) {
    return shown.findIndex((row) => row.segment.key === key);
  }

  // Makes the row at `index` the one that has the focus.
  function go(index) {
    const row = shown[Math.min(Math.max(index, 0), shown.length - 1)];
    if (!row) return;
    const before = made.get(shown[indexOf(active)]);
    if (before) before.tabIndex = -1;
    active = row.segment.key;
    focus();
    // While details are open they are those of the row with the focus.
    if (marked) choose(active);
  }

  function focus() {
    const at = indexOf(active);
    if (at < 0) return;
    const top = at * height;
    const room = grid.clientHeight - grid.firstElementChild.offsetHeight - height;
    if (top < grid.scrollTop) grid.scrollTop = top;
    if (top > grid.scrollTop + room) grid.scrollTop = top - room;
    draw(false);
    const node = made.get(shown[at]);
    node.tabIndex = 0;
    node.focus({ preventScroll: true });
  }

  function mark(key) {
    marked = key;
    if (key && key !== active && indexOf(key) >= 0) {
      const before = made.get(shown[indexOf(active)]);
      if (before) before.tabIndex = -1;
      active = key;
    }
    for (const [row, node] of made) {
      node.ariaSelected = String(row.segment.key === key);
      if (row.segment.key === active) node.tabIndex = 0;
    }
  }

  grid.addEventListener("keydown", (event) => {
    const at = indexOf(active);
    const row = shown[at];
    if (!row || event.altKey || controls.key(event)) return;
    const page = Math.max(1, Math.floor(grid.clientHeight / height) - 2);
    const actions = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      PageDown: () => go(at + page),
      PageUp: () => go(at - page),
      Home: () => go(0),
      End: () => go(shown.length - 1),
      ArrowRight: () => (folded.has(row.segment.key) ? toggle(row, false) : row.children.length && go(at + 1)),
      ArrowLeft: () => (row.children.length && !folded.has(row.segment.key) ? toggle(row, true) : row.parent && go(shown.indexOf(row.parent))),
      Enter: () => choose(active),
      " ": () => choose(active),
      "*": foldAll,
    };
    if (!actions[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    actions[event.key]();
  });

  const rowAt = (event) => [...made].find(([, node]) => node.contains(event.target))?.[0];
  body.addEventListener("click", (event) => {
    const row = rowAt(event);
    if (!row) return;
    const before = made.get(shown[indexOf(active)]);
    if (before) before.tabIndex = -1;
    active = row.segment.key;
    focus();
    if (event.target.closest(".fold")) toggle(row);
    else if (active !== marked) choose(active);
  });
  body.addEventListener("dblclick", (event) => {
    if (rowAt(event) && !event.target.closest(".fold")) controls.to(rowAt(event));
  });
  grid.addEventListener("scroll", () => draw(false), { passive: true });

  function measure() {
    const next = NARROW.matches ? 50 : 28;
    const other = next !== height;
    height = next;
    element.style.setProperty("--row", `${height}px`);
    draw(other);
    look(view);
  }

  const resized = new ResizeObserver(measure);
  resized.observe(grid);

  return {
    element,
    show(next, extent, segment) {
      const all = time === null || controls.isAll();
      rows = next;
      time = extent;
      marked = segment;
      if (!active) active = segment;
      map.show(rows, time);
      controls.length(time ? time.to - time.from : 0, all, time?.from ?? null);
      refold();
      if (all && segment && rows.length && !document.activeElement?.closest(".grid")) reveal(segment);
      look(view);
    },
    mark,
    focus,
    reset() {
      folded.clear();
      time = null;
      active = marked = "";
      grid.scrollTop = 0;
    },
    stop: () => resized.disconnect(),
  };

  // Brings a row into sight without taking the focus.
  function reveal(key) {
    const at = indexOf(key);
    if (at * height > grid.scrollTop + grid.clientHeight - 2 * height) grid.scrollTop = at * height - grid.clientHeight / 2;
  }
}
