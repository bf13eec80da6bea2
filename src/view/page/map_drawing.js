// The picture of the service map: cards for the services over the lines of their calls.

import { serviceColour } from "./colour.js";
import { el, svg } from "./dom.js";
import { duration, line, number, percent, plural, rate } from "./format.js";
import { BELOW, CARD } from "./graph.js";
import { noFilter } from "./state.js";

export const KINDS = { client: "Clients", service: "Service", aws: "AWS", sql: "Database", remote: "Remote" };
const RING = 15;

// Draws what graph.js laid out.
export function drawMap({ nodes, edges, width, height }, app) {
  const most = Math.max(1, ...edges.map((edge) => edge.requests));
  const element = el("div", { class: "canvas" },
    svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      svg("defs", null, ["ok", "error", "throttle", "fault"].map((outcome) =>
        svg("marker", { id: `tip-${outcome}`, class: `tip ${outcome}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse", orient: "auto" },
          svg("path", { d: "M0 0L8 4L0 8z" })))),
      edges.map((edge) => drawEdge(edge, most))),
    nodes.map((node) => drawNode(node, app)));
  element.style.width = `${width}px`;
  element.style.height = `${height}px`;
  return element;
}

function drawEdge(edge, most) {
  const { from, to } = edge;
  const [x1, y1] = [from.x + CARD.width, from.y + CARD.height / 2];
  const [x2, y2] = [to.x - 2, to.y + CARD.height / 2];
  const bend = Math.max(30, Math.abs(x2 - x1) / 2);
  const outcome = worst(edge);
  // The label stands where lines from one card have parted.
  const at = (a, b, c, e, t) => a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t ** 2 * (1 - t) + e * t ** 3;
  let d = `M${x1} ${y1}C${x1 + bend} ${y1},${x2 - bend} ${y2},${x2} ${y2}`;
  let [x, y] = [at(x1, x1 + bend, x2 - bend, x2, 0.6), at(y1, y1, y2, y2, 0.6)];
  if (edge.back) {
    // What leads to the left, or to itself, goes round below the cards.
    const [a, b] = [from.x + CARD.width / 2 + 24, to.x + CARD.width / 2 - 24];
    const [c, e] = [from.y + CARD.height, to.y + CARD.height + 1];
    const low = Math.max(c, e) + BELOW;
    d = `M${a} ${c}C${a} ${low},${b} ${low},${b} ${e}`;
    [x, y] = [(a + b) / 2, at(c, low, low, e, 0.5)];
  }
  return svg("g", { class: `edge ${outcome}` },
    svg("path", { d, "stroke-width": 1 + (2.5 * Math.log2(1 + edge.requests)) / Math.log2(1 + most), "marker-end": `url(#tip-${outcome})` }),
    svg("text", { x, y: y - 6, "text-anchor": "middle" }, rate(edge.per_minute)),
    svg("title", null, `${line(from.name, 100)} calls ${line(to.name, 100)}: ${sentence(edge)}`));
}

function drawNode(node, app) {
  const filter = { ...noFilter(), ...(node.kind === "service" ? { service: node.name } : { text: node.name }) };
  const link = node.kind === "client" ? {} : {
    href: app.href({ view: "list", filter }), "data-nav": true, "data-id": node.id, title: `${line(node.name, 200)}: ${sentence(node)}`,
  };
  const card = el(node.kind === "client" ? "div" : "a", { class: `node ${node.kind} ${node.kind === "service" ? serviceColour(node.name) : ""}`, ...link },
    el("span", { class: "share" }, ring(node), el("b", { class: worst(node) }, percent(node.faults + node.errors + node.throttles, node.requests))),
    el("span", { class: "words" },
      el("b", null, line(node.name, 60)),
      el("span", null, `${KINDS[node.kind] ?? line(node.kind, 20)}, ${rate(node.per_minute)}`),
      node.latency && [["p50", node.latency.p50], ["p99", node.latency.p99]].map(([name, time]) => el("span", null, `${name} ${duration(time)}`))));
  Object.assign(card.style, { left: `${node.x}px`, top: `${node.y}px`, width: `${CARD.width}px`, height: `${CARD.height}px` });
  return card;
}

// A ring whose parts are the shares of the outcomes.
function ring(node) {
  const round = 2 * Math.PI * RING;
  const parts = [["fault", node.faults], ["throttle", node.throttles], ["error", node.errors]];
  let from = 0;
  const arcs = parts.filter(([, count]) => count > 0 && node.requests > 0).map(([name, count]) => {
    const share = Math.max(count / node.requests, 0.03) * round;
    const arc = svg("circle", { class: name, cx: 19, cy: 19, r: RING, "stroke-dasharray": `${share} ${round - share}`, "stroke-dashoffset": -from });
    from += share;
    return arc;
  });
  return svg("svg", { class: "ring", width: 38, height: 38, "aria-hidden": "true" },
    svg("g", { transform: "rotate(-90 19 19)" }, svg("circle", { class: "all", cx: 19, cy: 19, r: RING }), arcs));
}

function worst({ faults, throttles, errors }) {
  return faults ? "fault" : throttles ? "throttle" : errors ? "error" : "ok";
}

// The numbers of a node or an edge in words.
function sentence({ requests, per_minute, faults, errors, throttles, latency }) {
  const bad = [[faults, "fault"], [errors, "error"], [throttles, "throttle"]].filter(([count]) => count).map(([count, word]) => plural(count, word));
  const times = latency ? `, half within ${duration(latency.p50)}, 99% within ${duration(latency.p99)}` : "";
  return `${plural(requests, "request")}, ${rate(per_minute)}, ${bad.join(", ") || "no failures"}${times}`;
}
