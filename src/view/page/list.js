// The list of traces, newest first. It is asked for anew with each change, and rows that are the
// same stay the same elements.

import { get } from "./api.js";
import { arrange, el, setText, showError } from "./dom.js";
import { emptyState } from "./empty.js";
import { bytes, clock, day, duration, iso, line, number, plural, request } from "./format.js";
import { filterParams, isEmpty, noFilter } from "./state.js";
import { serviceColour } from "./colour.js";

const MORE = 200;

export function listView(app) {
  const summary = el("p", { class: "summary", id: "summary" });
  const since = el("button", {
    type: "button",
    onclick: () => app.go({ filter: { ...state.filter, since: state.filter.since ? "" : String(Date.now() / 1000) } }),
  });
  const body = el("tbody", { role: "rowgroup" });
  const heads = ["Time", "Trace", "Status", "Duration", "Services", "Segments"];
  const table = el("table", { class: "traces", role: "table", "aria-label": "Traces, newest first" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
      heads.map((head) => el("th", { role: "columnheader", scope: "col", class: head.toLowerCase() }, head)))),
    body);
  const more = el("button", { type: "button", class: "more", onclick: () => app.go({ limit: state.limit + MORE }, { replace: true }) });
  const note = el("div", { class: "note", hidden: true });
  const held = el("p", { class: "held" });
  const element = el("section", { class: "list", "aria-labelledby": "list-title" },
    el("h1", { id: "list-title", class: "unseen", tabindex: "-1" }, "Traces"),
    el("div", { class: "bar-top" }, summary, since), note, table, more, held);

  const rows = new Map();
  let state = null;
  let version = null;
  let first = true;
  let said = "";
  let returnTo = "";

  const loads = app.refresher(
    (signal) => {
      const params = filterParams(state.filter);
      params.set("limit", state.limit);
      return get("/api/traces", params, signal);
    },
    draw,
    (error) => {
      // Load again after the next event, whatever its version is.
      version = null;
      showError(note, error);
    },
  );

  function draw(answer) {
    version = answer.version;
    app.services(answer.services);
    const none = answer.total === 0;
    note.hidden = answer.traces.length > 0;
    table.hidden = !note.hidden;
    summary.hidden = since.hidden = none;
    if (none) keep(note, "empty", () => emptyState(answer.daemon));
    else if (!note.hidden) keep(note, "none", () => noMatch(app));
    else note.replaceChildren();
    drawRows(answer.traces);
    const left = Math.min(answer.matched, 10000) - answer.traces.length;
    more.hidden = left <= 0;
    setText(more, `Show ${number(Math.min(MORE, left))} more`);
    const words = isEmpty(state.filter)
      ? plural(answer.total, "trace")
      : `${number(answer.matched)} of ${plural(answer.total, "trace")}`;
    setText(summary, words);
    setText(since, state.filter.since ? `Only since ${clock(Number(state.filter.since))} – show all` : "Only new ones");
    const { used_bytes, limit_bytes, dropped } = answer.daemon;
    setText(held, `${bytes(used_bytes)} of ${bytes(limit_bytes)} of memory in use` +
      (dropped ? `; ${plural(dropped, "older trace")} let go to stay within it.` : "."));
    // The result of a filter is announced when the filter changes, not with every new trace.
    if (said !== location.search) app.say(`${words} shown`);
    said = location.search;
    first = false;
  }

  function drawRows(traces) {
    const longest = Math.max(0, ...traces.map((trace) => trace.duration ?? 0));
    const seen = new Set();
    for (const trace of traces) {
      seen.add(trace.id);
      if (!rows.has(trace.id)) rows.set(trace.id, row(!first));
      rows.get(trace.id).update(trace, longest, app);
    }
    for (const id of [...rows.keys()]) if (!seen.has(id)) rows.delete(id);
    arrange(body, traces.map((trace) => rows.get(trace.id).node));
    if (returnTo) rows.get(returnTo)?.node.querySelector("a").focus({ preventScroll: false });
    returnTo = "";
  }

  // The arrow keys go from trace to trace.
  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const link = event.target.closest("tr")?.[step]?.querySelector("a");
    if (!link) return;
    event.preventDefault();
    link.focus();
  });

  return {
    element,
    show(next, { turned, moved, left }) {
      state = next;
      if (turned) app.title("Traces");
      // After the way back from a trace, its row has the focus.
      if (moved) returnTo = left.trace;
      if (moved && !returnTo) element.querySelector("h1").focus();
      loads.restart();
    },
    changed(event) {
      if (event.version !== version) loads.refresh();
    },
    stop: () => loads.stop(),
  };
}

// A row, and how it becomes the row of a state of its trace.
function row(fresh) {
  const cell = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
  const dayText = el("span", { class: "day" });
  const time = el("time");
  const name = el("a", { "data-nav": true });
  const asked = el("span", { class: "request" });
  const pill = el("span", { class: "pill" });
  const flags = el("span", { class: "flags" });
  const length = el("span", { class: "length" });
  const meter = el("i", { class: "meter", "aria-hidden": "true" });
  const services = cell("services");
  const segments = cell("segments");
  const node = el("tr", { role: "row", class: fresh ? "fresh" : null },
    cell("time", dayText, time), cell("trace", name, " ", asked), cell("status", pill, flags),
    cell("duration", length, meter), services, segments);
  let version = null;

  function update(trace, longest, app) {
    meter.style.width = `${longest > 0 ? ((trace.duration ?? 0) / longest) * 100 : 0}%`;
    name.href = app.href({ view: "trace", trace: trace.id, segment: "" });
    if (version === trace.version) return;
    version = trace.version;
    setText(dayText, day(trace.start));
    setText(time, clock(trace.start));
    time.title = `${iso(trace.start)}\n${line(trace.id, 80)}`;
    setText(name, line(trace.name || "(no name)", 120));
    setText(asked, line(request(trace.method, trace.url, trace.name), 300));
    asked.title = line([trace.method, trace.url].filter(Boolean).join(" "), 500);
    pill.className = `pill ${trace.outcome}`;
    setText(pill, [trace.status, trace.outcome].filter((part) => part !== null).join(" "));
    flags.replaceChildren(...flagsOf(trace));
    setText(length, trace.duration === null && trace.in_progress ? "running" : duration(trace.duration));
    services.replaceChildren(...trace.services.map((service) => el("span", { class: "chip", title: line(service, 200) },
      el("i", { class: serviceColour(service), "aria-hidden": "true" }), line(service, 40))));
    setText(segments, number(trace.segments));
  }

  return { node, update };
}

// The marks of a trace beside its outcome.
export function flagsOf(trace) {
  return [
    trace.in_progress && el("span", { class: "flag running" }, "in progress"),
    trace.partial && el("span", { class: "flag", title: "A segment names a parent that has not come." }, "partial"),
  ].filter(Boolean);
}

// Fills `parent` unless it shows `what` already, so that a selection in it stays.
function keep(parent, what, make) {
  if (parent.firstElementChild?.dataset.what === what) return;
  const child = make();
  child.dataset.what = what;
  parent.replaceChildren(child);
}

function noMatch(app) {
  return el("div", null,
    el("p", null, "No trace matches the filter."),
    el("p", null, el("a", { href: app.href({ filter: noFilter() }), "data-nav": true }, "Show all traces")));
}
