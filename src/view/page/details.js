// All data of one segment. Fields without a place of their own are shown under "Other fields", so
// that nothing of a document is hidden.

import { serviceColour } from "./colour.js";
import { el } from "./dom.js";
import { exceptionParts } from "./exceptions.js";
import { codeBlock, fields, json, longText, pairs, rawDocument, section, told } from "./fields.js";
import { clock, day, duration, iso, line } from "./format.js";
import { attributes, seconds, spanKind } from "./otlp.js";
import { id, isObject, list, text } from "./values.js";

const XRAY_KNOWN = new Set([
  "name", "id", "parent_id", "trace_id", "start_time", "end_time", "in_progress", "type", "namespace", "http", "aws", "sql",
  "annotations", "metadata", "cause", "subsegments", "links", "error", "fault", "throttle", "user", "origin", "resource_arn", "service",
]);
const SPAN_KNOWN = new Set([
  "traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano", "attributes", "events", "links", "status", "traceState",
]);

// Fields that have a place of their own as long as they are objects, or lists.
const XRAY_OBJECTS = new Set(["http", "aws", "sql", "annotations", "metadata", "service"]);
const XRAY_LISTS = new Set(["links", "subsegments"]);

// The children of the pane for a row. `context` has byKey (rows by key), choose, close, app, base
// (the start of the trace), document, and exceptions (segment keys by the id of an exception).
export function details(row, context) {
  const { segment } = row;
  const known = segment.format === "otlp" ? spanParts(segment, context) : xrayParts(segment, context);
  return [
    el("div", { class: "details-head" },
      el("h2", null, el("i", { class: `kind ${segment.kind} ${serviceColour(row.service)}`, "aria-hidden": "true" }), line(segment.name, 300)),
      el("button", { type: "button", class: "close", "aria-label": "Close the details", onclick: context.close }, "✕")),
    segment.format === "unreadable" ? el("p", null, "This is no JSON that holds a segment or span. It is shown as it came.") : overviewOf(row, context),
    ...known.filter(Boolean),
    rawDocument(segment, context.document),
  ];
}

function overviewOf(row, { byKey, choose, base, document }) {
  const { segment } = row;
  const { source } = segment;
  const parent = segment.parent && byKey.get(segment.parent);
  const when = (time) => time !== null && el("span", { title: iso(time) }, [day(time), clock(time)].filter(Boolean).join(", "));
  const at = segment.start !== null && base !== null ? ` (+${duration(segment.start - base)})` : "";
  const flags = ["fault", "error", "throttle"].filter((flag) => source[flag] === true);
  return section("Overview", told([
    ["Outcome", el("span", { class: `pill ${segment.outcome}` }, flags.length ? flags.join(", ") : segment.outcome)],
    ["Duration", segment.inProgress ? "in progress" : segment.start !== null && segment.end !== null ? duration(segment.end - segment.start) : null],
    ["Start", segment.start !== null && [when(segment.start), at]],
    ["End", when(segment.end)],
    ["Service", row.service],
    ["Operation", segment.format === "otlp" && text(source.name) !== segment.name ? text(source.name) : null],
    ["Kind", segment.format === "otlp" ? `${spanKind(source.kind)} span` : [text(source.namespace), segment.kind === "segment" ? "segment" : "subsegment"].filter(Boolean).join(" ")],
    ["User", text(source.user)],
    ["Origin", text(source.origin)],
    ["Resource", text(source.resource_arn)],
    ["ID", text(segment.format === "otlp" ? source.spanId : source.id)],
    ["Parent", parent
      ? el("button", { type: "button", class: "link", onclick: () => choose(segment.parent) }, line(parent.segment.name, 80))
      : segment.parent && `${segment.parent} (has not come)`],
    ["Received", when(document.received)],
  ]));
}

function xrayParts({ source }, context) {
  const other = Object.entries(source).filter(([key, value]) => !XRAY_KNOWN.has(key) ||
    (value !== null && ((XRAY_OBJECTS.has(key) && !isObject(value)) || (XRAY_LISTS.has(key) && !Array.isArray(value)))));
  return [
    exceptionParts(source.cause, context),
    sqlPart(source.sql),
    isObject(source.http) && section("HTTP", pairs(httpFields(source.http))),
    section("AWS", fields(source.aws)),
    annotationPart("Annotations", source.annotations, context),
    metadataPart(source.metadata),
    linkPart(list(source.links).map((link) => ({ trace: text(link?.trace_id), segment: id(link?.id ?? link?.span_id), more: link?.attributes })), context),
    section("Service", fields(source.service)),
    section("Other fields", pairs(other)),
  ];
}

function spanParts({ source, resource, scope }, context) {
  const all = attributes(source.attributes);
  const query = text(all["db.query.text"] ?? all["db.statement"]);
  const events = list(source.events).filter(isObject);
  const other = Object.entries(source).filter(([key]) => !SPAN_KNOWN.has(key));
  return [
    isObject(source.status) && section("Status", told([["Code", text(source.status.code)], ["Message", text(source.status.message)]])),
    exceptionParts({ exceptions: events.filter((event) => event.name === "exception").map(exceptionOf) }, context),
    query && sqlPart({ sanitized_query: query }),
    annotationPart("Attributes", all, context),
    section("Events", events.filter((event) => event.name !== "exception").map((event) => eventPart(event, context))),
    linkPart(list(source.links).map((link) => ({ trace: text(link?.traceId), segment: id(link?.spanId), more: attributes(link?.attributes) })), context),
    section("Resource", fields(resource)),
    section("Scope", told([["Name", text(scope?.name)], ["Version", text(scope?.version)], ["Trace state", text(source.traceState)]])),
    section("Other fields", pairs(other)),
  ];
}

function exceptionOf(event) {
  const all = attributes(event.attributes);
  return { type: text(all["exception.type"]), message: text(all["exception.message"]), stacktrace: text(all["exception.stacktrace"]) };
}

function eventPart(event, { base }) {
  const time = seconds(event.timeUnixNano);
  const at = time !== null && base !== null ? `+${duration(time - base)}` : "";
  return el("div", { class: "event" }, el("h4", null, line(text(event.name), 200), " ", el("span", { class: "muted" }, at)), fields(attributes(event.attributes)));
}

function sqlPart(sql) {
  if (!isObject(sql)) return null;
  const { sanitized_query: query, ...rest } = sql;
  return section("SQL", text(query) && codeBlock(text(query), "Copy SQL"), fields(rest));
}

function httpFields({ request, response, ...rest }) {
  const parts = [["request", request], ["response", response]].flatMap(([name, part]) =>
    isObject(part) ? Object.entries(part) : part === undefined ? [] : [[name, part]]);
  return [...parts, ...Object.entries(rest)];
}

// Traces are searched by annotations, so each is a link to all traces that have it.
function annotationPart(title, all, { app }) {
  if (!isObject(all)) return null;
  const found = Object.entries(all).map(([key, value]) => {
    const plain = text(value);
    if (!plain || plain.length > 500) return [key, value];
    return [key, el("a", {
      "data-nav": true, title: "Show all traces with this value",
      href: app.href({ view: "list", trace: "", segment: "", filter: { ...app.noFilter(), annotation: [`${key}=${plain}`] } }),
    }, line(plain, 500))];
  });
  return section(title, pairs(found));
}

function metadataPart(metadata) {
  if (!isObject(metadata)) return null;
  return section("Metadata", Object.entries(metadata).map(([namespace, value]) =>
    el("details", { open: true, class: "namespace" }, el("summary", null, line(namespace, 200)),
      fields(value) ?? longText(json(value)))));
}

function linkPart(links, { app }) {
  const items = links.filter((link) => link.trace).map((link) => el("li", null,
    el("a", { "data-nav": true, href: app.href({ view: "trace", trace: link.trace, segment: link.segment }) }, line(link.trace, 80)),
    link.segment && ["  ", el("code", null, line(link.segment, 40))], fields(link.more)));
  return section("Links", items.length > 0 && el("ul", { class: "links" }, items));
}
