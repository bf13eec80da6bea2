// A small picture of the whole trace, with the part that the waterfall shows. Dragging over it
// chooses another part.

import { serviceColour } from "./colour.js";
import { el, svg } from "./dom.js";
import { whole } from "./timescale.js";
import { dragged } from "./zoom.js";

const WIDTH = 1000;
const HEIGHT = 48;

export function overview(chosen) {
  const bars = svg("g");
  const before = svg("rect", { class: "shade", y: 0, height: HEIGHT, x: 0 });
  const after = svg("rect", { class: "shade", y: 0, height: HEIGHT });
  const brush = el("div", { class: "brush", hidden: true });
  const element = el("div", { class: "overview", "aria-hidden": "true" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" }, bars, before, after), brush);
  let all = whole(0);

  dragged(element, brush, (a, b) => {
    const span = all.to - all.from;
    chosen({ from: a * span, to: b * span });
  });

  return {
    element,
    show(rows, time) {
      all = whole(time ? time.to - time.from : 0);
      // One path for each colour, however many bars there are.
      const paths = new Map();
      const step = Math.min(HEIGHT / Math.max(rows.length, 1), 8);
      rows.forEach(({ segment, service }, at) => {
        if (segment.start === null) return;
        const x = ((segment.start - time.from) / all.to) * WIDTH;
        const end = segment.inProgress || segment.end === null ? time.to : segment.end;
        const width = Math.max(((end - segment.start) / all.to) * WIDTH, 1);
        const name = segment.outcome === "fault" ? "fault" : serviceColour(service);
        const path = `M${x.toFixed(1)} ${(at * step).toFixed(1)}h${width.toFixed(1)}v${Math.max(step * 0.75, 0.5).toFixed(1)}h${(-width).toFixed(1)}z`;
        paths.set(name, (paths.get(name) ?? "") + path);
      });
      bars.replaceChildren(...[...paths].map(([name, d]) => svg("path", { class: name, d })));
    },
    look(view) {
      const from = (view.from / all.to) * WIDTH;
      const to = (view.to / all.to) * WIDTH;
      before.setAttribute("width", Math.max(from, 0));
      after.setAttribute("x", to);
      after.setAttribute("width", Math.max(WIDTH - to, 0));
    },
  };
}
