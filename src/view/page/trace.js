// One trace: what it is, its waterfall, and the details of the chosen segment. Documents that come
// later join it; what is folded, zoomed or chosen stays so.

import { get } from "./api.js";
import { serviceColour } from "./colour.js";
import { copyButton, el, setText, showError } from "./dom.js";
import { details } from "./details.js";
import { clock, day, duration, iso, line, number, plural } from "./format.js";
import { flagsOf } from "./list.js";
import { readDocuments } from "./model.js";
import { buildTree, extent } from "./tree.js";
import { list, text } from "./values.js";
import { waterfall } from "./waterfall.js";

// Browsers refuse an address that changes more often than a few times a second.
const ADDRESS_MS = 250;

export function traceView(app) {
  const back = el("a", { "data-nav": true }, "← Traces");
  const title = el("h1", { tabindex: "-1" }, "Trace");
  const facts = el("div", { class: "facts" });
  const legend = el("ul", { class: "legend", "aria-label": "Services" });
  const note = el("div", { class: "note", hidden: true });
  const pane = el("aside", { class: "details", hidden: true, "aria-label": "Details of the segment", tabindex: "-1" });
  const fall = waterfall({ choose, close });
  const panes = el("div", { class: "panes" }, fall.element, pane);
  const element = el("section", { class: "trace" },
    el("div", { class: "trace-head" }, el("p", { class: "crumbs" }, back), title, facts, legend), note, panes);

  let state = null;
  let answer = null;
  let failed = false;
  let rows = [];
  let timer = 0;
  let drawn = "";

  const loads = app.refresher(
    (signal) => get(`/api/traces/${encodeURIComponent(state.trace)}`, null, signal),
    draw,
    fail,
  );

  function draw(found) {
    answer = found;
    failed = false;
    const { trace } = answer;
    const segments = readDocuments(answer.documents);
    rows = buildTree(segments);
    const time = extent(segments);
    note.hidden = answer.omitted === 0;
    note.replaceChildren(el("p", null, `${plural(answer.omitted, "document")} of this trace came beyond its share of the memory and cannot be shown.`));
    panes.hidden = false;
    drawHead(trace);
    fall.show(rows, time, state.segment);
    drawDetails(true);
  }

  function drawHead(trace) {
    const request = [trace.method, trace.url].filter(Boolean).join(" ");
    app.title(line(`${trace.name} ${request}`, 80));
    title.replaceChildren(line(trace.name || "(no name)", 200), " ", el("span", { class: "request" }, line(request, 400)));
    const state = [trace.status, trace.outcome].filter((part) => part !== null).join(" ");
    facts.replaceChildren(
      el("span", { class: `pill ${trace.outcome}` }, state), ...flagsOf(trace),
      el("strong", { class: "length" }, duration(trace.duration)),
      el("span", { title: iso(trace.start) }, [day(trace.start), clock(trace.start)].filter(Boolean).join(", ")),
      el("span", null, plural(trace.segments, "segment")),
      el("span", { class: "id" }, el("code", null, line(trace.id, 100)), copyButton("Copy ID", () => trace.id)));
    const counts = new Map();
    for (const row of rows) counts.set(row.service, (counts.get(row.service) ?? 0) + 1);
    legend.replaceChildren(...[...counts].slice(0, 24).map(([service, count]) =>
      el("li", { class: "chip" }, el("i", { class: serviceColour(service), "aria-hidden": "true" }), line(service, 60), " ",
        el("span", { class: "muted" }, number(count)))));
  }

  function fail(error) {
    failed = true;
    if (error.status === 404) {
      note.hidden = false;
      panes.hidden = true;
      app.title("Trace not found");
      note.replaceChildren(
        el("p", null, "The daemon does not keep this trace: it has not come yet, or newer ones took its place. If it comes, it is shown here."),
        el("p", null, el("code", null, line(state.trace, 100))));
    } else {
      showError(note, error);
    }
  }

  // Shows the details of a segment, and writes that into the address a little later.
  function choose(key) {
    state = { ...state, segment: key };
    fall.mark(key);
    drawDetails(false);
    clearTimeout(timer);
    timer = setTimeout(() => app.go({ segment: key }, { replace: true }), ADDRESS_MS);
  }

  function close() {
    if (!state.segment) return;
    choose("");
    fall.focus();
  }

  function drawDetails(fresh) {
    const row = rows.find((row) => row.segment.key === state.segment);
    const open = Boolean(row);
    panes.classList.toggle("open", open);
    pane.hidden = !open;
    // What has not changed is left alone, so that a selection of text in it stays.
    const stamp = row && JSON.stringify([answer.trace.id, row.segment.key, answer.documents[row.segment.doc].received]);
    if (open && !(fresh && stamp === drawn)) {
      const scroll = fresh ? pane.scrollTop : 0;
      const byKey = new Map(rows.map((row) => [row.segment.key, row]));
      pane.replaceChildren(...details(row, {
        byKey, choose: follow, close, app, base: extent(rows.map((row) => row.segment))?.from ?? null,
        document: answer.documents[row.segment.doc], exceptions: exceptionsOf(rows),
      }));
      pane.scrollTop = scroll;
    }
    drawn = open ? stamp : "";
  }

  // Escape closes the details wherever the focus is.
  const escape = (event) => event.key === "Escape" && close();
  document.addEventListener("keydown", escape);

  // A segment that is named in the details takes their place, and the focus with it.
  function follow(key) {
    choose(key);
    pane.focus();
  }

  return {
    element,
    show(next, { turned, moved }) {
      const other = state?.trace !== next.trace;
      const segment = state?.segment;
      state = next;
      back.href = app.href({ view: "list", trace: "", segment: "" });
      if (other) {
        rows = [];
        fall.reset();
        loads.restart();
        if (turned && moved) title.focus();
      } else if (segment !== next.segment) {
        fall.mark(next.segment);
        drawDetails(false);
      }
    },
    changed(event) {
      // The first event of a stream names nothing; what came before it may have been missed.
      const fresh = event.ids.length === 0 && event.version !== answer?.version;
      if (failed || fresh || event.more || event.ids.includes(answer?.trace.id ?? state.trace)) loads.refresh();
    },
    stop() {
      clearTimeout(timer);
      document.removeEventListener("keydown", escape);
      loads.stop();
      fall.stop();
    },
  };
}

// Finds the segment with an exception by its id, for causes that refer to such an id.
function exceptionsOf(rows) {
  const all = new Map();
  for (const { segment } of rows) {
    for (const exception of list(segment.source.cause?.exceptions)) {
      if (text(exception?.id)) all.set(text(exception.id), segment.key);
    }
  }
  return all;
}
