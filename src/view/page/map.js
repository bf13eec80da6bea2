// The service map: who calls whom, how often, how fast and with what outcome; as a picture and as a
// table.

import { get } from "./api.js";
import { el, setText, showError } from "./dom.js";
import { drawMap, KINDS } from "./map_drawing.js";
import { duration, line, number, plural, rate } from "./format.js";
import { layOut } from "./graph.js";
import { filterParams, noFilter } from "./state.js";

export function mapView(app) {
  const summary = el("p", { class: "summary" });
  const picture = el("div", { class: "map-picture", tabindex: "0", role: "group", "aria-label": "Picture of the service map; the table below says the same" });
  const body = el("tbody");
  const heads = ["Service", "Called by", "Requests", "Rate", "Faults", "Errors", "Throttles", "Mean", "p50", "p90", "p99", "Max"];
  const table = el("table", { class: "numbers" }, el("caption", null, "Services and calls"),
    el("thead", null, el("tr", null, heads.map((head) => el("th", { scope: "col" }, head)))), body);
  const scroll = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Services and calls" }, table);
  const note = el("div", { class: "note", hidden: true });
  const element = el("section", { class: "map", "aria-labelledby": "map-title" },
    el("h1", { id: "map-title", class: "unseen", tabindex: "-1" }, "Service map"), el("div", { class: "bar-top" }, summary), note, picture, scroll);

  let state = null;
  let version = null;
  let drawn = "";

  const loads = app.refresher(
    (signal) => get("/api/services", filterParams(state.filter), signal),
    draw,
    (error) => {
      // Load again after the next event, whatever its version is.
      version = null;
      showError(note, error);
    },
  );

  function draw(answer) {
    version = answer.version;
    const none = answer.nodes.length === 0;
    note.hidden = !none;
    picture.hidden = scroll.hidden = none;
    if (none) note.replaceChildren(el("p", null, "No trace matches the filter, or none has come yet."),
      el("p", null, el("a", { href: app.href({ view: "list", filter: noFilter() }), "data-nav": true }, "Show all traces")));
    setText(summary, `${plural(answer.traces, "trace")} within ${duration(answer.seconds)}`);
    app.services(answer.nodes.filter((node) => node.kind === "service").map((node) => node.name));
    // The same numbers are not drawn again, so that the focus stays where it is.
    const stamp = JSON.stringify([answer.nodes, answer.edges, location.search]);
    if (stamp === drawn) return;
    drawn = stamp;
    if (none) return;
    const focused = picture.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const laid = layOut(answer, picture.clientWidth);
    picture.replaceChildren(drawMap(laid, app));
    body.replaceChildren(...tableRows(laid));
    if (focused) [...picture.querySelectorAll("a")].find((link) => link.dataset.id === focused)?.focus();
  }

  return {
    element,
    show(next, { turned, moved }) {
      state = next;
      if (turned) app.title("Service map");
      if (moved) element.querySelector("h1").focus();
      loads.restart();
    },
    changed(event) {
      if (event.version !== version) loads.refresh();
    },
    stop: () => loads.stop(),
  };
}

function tableRows({ nodes, edges }) {
  const cells = ({ requests, per_minute, faults, errors, throttles, latency }) => [
    number(requests), rate(per_minute),
    ...[[faults, "fault"], [errors, "error"], [throttles, "throttle"]].map(([count, name]) => el("span", { class: count ? `count ${name}` : "muted" }, number(count))),
    ...["mean", "p50", "p90", "p99", "max"].map((name) => (latency ? duration(latency[name]) : "–")),
  ].map((content) => el("td", null, content));
  return nodes.filter((node) => node.kind !== "client").flatMap((node) => [
    el("tr", { class: "service" }, el("th", { scope: "row" }, line(node.name, 60), " ", el("span", { class: "muted" }, KINDS[node.kind] ?? node.kind)), el("td"), ...cells(node)),
    ...edges.filter((edge) => edge.to === node).map((edge) => el("tr", null, el("td"), el("td", { class: "caller" }, edge.from.kind === "client" ? "Clients" : line(edge.from.name, 60)), ...cells(edge))),
  ]);
}
