// Reads spans of OTLP/JSON. As X-Ray does it, a root, a server and a consumer span are segments of
// their service, and the others are subsegments.

import { request } from "./format.js";
import { id, isObject, list, statusOf, text, time } from "./values.js";

// Attributes that say what the fields of an X-Ray segment say, by the present and the former
// semantic conventions.
const METHOD = ["http.request.method", "http.method"];
const URL = ["url.full", "http.url", "url.path", "http.target"];
const STATUS = ["http.response.status_code", "http.status_code"];
const QUERY = ["db.query.text", "db.statement"];
const DATABASE = ["db.system.name", "db.system"];

const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];

// Gives each span of an ExportTraceServiceRequest to `found`.
export function readOtlp(exported, found) {
  for (const resourceSpans of list(exported?.resourceSpans)) {
    const resource = attributes(resourceSpans?.resource?.attributes);
    for (const scopeSpans of list(resourceSpans?.scopeSpans)) {
      for (const span of list(scopeSpans?.spans)) {
        if (isObject(span)) found(segmentOf(span, resource, scopeSpans.scope));
      }
    }
  }
}

function segmentOf(span, resource, scope) {
  const all = attributes(span.attributes);
  const first = (names) => names.map((name) => text(all[name])).find(Boolean) ?? "";
  const kind = spanKind(span.kind);
  const parent = /[^0]/.test(id(span.parentSpanId)) ? id(span.parentSpanId) : null;
  const call = kind === "client" || kind === "producer";
  const own = kind === "server" || kind === "consumer" || parent === null;
  const sort = own ? "segment"
    : call && all["rpc.system"] === "aws-api" ? "aws"
    : call && first([...QUERY, ...DATABASE]) ? "sql"
    : call ? "remote" : "local";
  const status = statusOf(first(STATUS));
  const service = text(resource["service.name"]) || null;
  const spanName = text(span.name) || "(no name)";
  // A client span is often named by its method alone.
  const method = first(METHOD) === spanName ? "" : first(METHOD);
  return {
    key: id(span.spanId) || `?${text(span.startTimeUnixNano)}`,
    parent,
    kind: sort,
    name: sort === "segment" && service ? service : spanName,
    detail: sort === "sql" ? first(QUERY) : sort === "segment" && service ? spanName : request(method, first(URL), spanName),
    start: seconds(span.startTimeUnixNano),
    end: seconds(span.endTimeUnixNano),
    // Spans are exported when they have ended.
    inProgress: false,
    status,
    outcome: outcomeOf(span.status?.code, status),
    service,
    source: span,
    resource,
    scope,
  };
}

// A span whose status is unset has failed all the same when its HTTP status says so.
function outcomeOf(code, status) {
  const failed = code === 2 || code === "STATUS_CODE_ERROR";
  const ok = code === 1 || code === "STATUS_CODE_OK";
  if (ok || (!failed && !(status >= 400))) return "ok";
  if (status === 429) return "throttle";
  return status >= 400 && status < 500 ? "error" : "fault";
}

// The kind of a span as a word. OTLP/JSON writes a number; some write the name.
export function spanKind(value) {
  const name = typeof value === "string" ? value.replace("SPAN_KIND_", "").toLowerCase() : KINDS[value];
  return KINDS.includes(name) ? name : "unspecified";
}

// A list of key and value as an object.
export function attributes(pairs) {
  const all = Object.create(null);
  for (const pair of list(pairs)) all[text(pair?.key)] = value(pair?.value, 0);
  return all;
}

const MAX_DEPTH = 64;

function value(any, depth) {
  if (!isObject(any) || depth > MAX_DEPTH) return null;
  if (isObject(any.arrayValue)) return list(any.arrayValue.values).map((part) => value(part, depth + 1));
  if (isObject(any.kvlistValue)) {
    return Object.fromEntries(list(any.kvlistValue.values).map((pair) => [text(pair?.key), value(pair?.value, depth + 1)]));
  }
  return any.stringValue ?? any.boolValue ?? any.intValue ?? any.doubleValue ?? any.bytesValue ?? null;
}

// Nanoseconds since 1970, as text or a number, in seconds.
export function seconds(nanos) {
  const number = Number(text(nanos) || NaN);
  return number ? time(number / 1e9) : null;
}
