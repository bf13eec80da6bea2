// Zooms the waterfall: by buttons, keys, wheel and dragging.

import { el, setText } from "./dom.js";
import { duration } from "./format.js";
import { between, pan, whole, zoom } from "./timescale.js";

const STEP = 2;

// `look` draws a part of the time; `chosen` gives the row that has the focus.
export function zoomControls({ marks, grid, look, chosen }) {
  const says = el("span", { class: "seen" });
  const button = (label, name, action) => el("button", { type: "button", "aria-label": name, title: name, onclick: action }, label);
  const reset = button("All", "All: show the whole time", () => set(whole(length)));
  const element = el("span", { class: "zoom", role: "group", "aria-label": "Zoom" },
    button("−", "Zoom out", () => by(STEP, 0.5)), button("+", "Zoom in", () => by(1 / STEP, 0.5)), reset, says);
  const brush = el("div", { class: "brush", hidden: true });
  marks.parentElement.append(brush);

  let length = 0;
  let view = whole(0);
  let time = null;

  function set(next) {
    view = between(next, 0, 1, length);
    const all = isAll();
    reset.disabled = all;
    setText(says, all ? "" : `${duration(view.from)} to ${duration(Math.min(view.to, length))}`);
    look(view);
  }

  function by(factor, at) {
    set(zoom(view, factor, at, length));
  }

  function isAll() {
    const all = whole(length);
    return view.from <= 0 && view.to >= all.to * 0.999999;
  }

  // Zooms to a row, with a little room on both sides.
  function to({ segment }) {
    if (segment.start === null || time === null) return;
    const start = segment.start - time;
    const span = segment.end === null ? length - start : segment.end - segment.start;
    set({ from: start - span * 0.1, to: start + span * 1.1 });
  }

  dragged(marks, brush, (a, b) => set(between(view, a, b, length)));
  marks.addEventListener("dblclick", () => set(whole(length)));
  grid.addEventListener("wheel", (event) => {
    const box = marks.getBoundingClientRect();
    const at = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    if (event.ctrlKey) by(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 120), at);
    else if ((event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) && !isAll()) {
      set(pan(view, (event.deltaX || event.deltaY) / box.width, length));
    } else return;
    event.preventDefault();
  }, { passive: false });

  return {
    element,
    set,
    to,
    isAll,
    // The length of the trace and its start; `all` shows all of it.
    length(next, all, start) {
      length = next;
      time = start;
      set(all ? whole(length) : view);
    },
    // Whether a key was one of these.
    key(event) {
      if (event.ctrlKey || event.metaKey) return false;
      const actions = {
        "+": () => by(1 / STEP, 0.5), "=": () => by(1 / STEP, 0.5), "-": () => by(STEP, 0.5), 0: () => set(whole(length)),
        z: () => chosen() && to(chosen()),
      };
      if (event.shiftKey) {
        actions.ArrowLeft = () => set(pan(view, -0.2, length));
        actions.ArrowRight = () => set(pan(view, 0.2, length));
      }
      if (!Object.hasOwn(actions, event.key)) return false;
      event.preventDefault();
      actions[event.key]();
      return true;
    },
  };
}

// Tells `chosen` which part of the width of `area` (0 to 1) was dragged over; `brush` shows it.
export function dragged(area, brush, chosen) {
  let from = null;

  function at(event) {
    const box = area.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  }

  area.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = at(event);
    area.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  area.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const [a, b] = [from, at(event)].sort((x, y) => x - y);
    const box = area.getBoundingClientRect();
    brush.hidden = (b - a) * box.width < 4;
    const offset = area.offsetLeft - (area.contains(brush) ? area.offsetLeft : 0);
    brush.style.left = `${offset + a * box.width}px`;
    brush.style.width = `${(b - a) * box.width}px`;
  });
  const end = (event) => {
    if (from !== null && event.type === "pointerup" && !brush.hidden) chosen(...[from, at(event)].sort((x, y) => x - y));
    from = null;
    brush.hidden = true;
  };
  area.addEventListener("pointerup", end);
  area.addEventListener("pointercancel", end);
}
