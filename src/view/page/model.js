// Turns the documents of a trace into segments, as the page calls every segment, subsegment and
// span. Documents come from anyone: whatever is missing or of another type is left out.
//
// A segment here has: key (its id, the key in the trace), parent (key or null), kind, name, detail,
// start, end (seconds or null), inProgress, status, outcome, service (of those that are a service's
// own), format ("xray", "otlp" or "unreadable"), doc (which document), source (the parsed object),
// and for spans resource and scope.

import { request } from "./format.js";
import { readOtlp } from "./otlp.js";
import { id, isObject, list, parse, statusOf, text, time } from "./values.js";

// The segments of `documents`, each key once, in the order of arrival.
export function readDocuments(documents) {
  const segments = new Map();
  const add = (segment) => {
    const known = segments.get(segment.key);
    // Datagrams overtake each other: what has ended is not replaced by its own beginning.
    if (known && segment.inProgress && !known.inProgress) return;
    segments.set(segment.key, segment);
  };
  documents.forEach((document, doc) => {
    const value = parse(document.text);
    const read = document.format === "otlp" ? readOtlp : readSegment;
    const before = segments.size;
    let found = 0;
    if (value !== undefined) {
      read(value, (segment) => {
        found += 1;
        add({ ...segment, doc, format: document.format });
      });
    }
    if (!found && segments.size === before) add(unreadable(document, doc));
  });
  return [...segments.values()];
}

function readSegment(value, found) {
  const work = [[value, null, null, ""]];
  while (work.length) {
    const [doc, holder, service, spare] = work.pop();
    if (Array.isArray(doc) && holder === null) {
      for (let at = doc.length - 1; at >= 0; at -= 1) work.push([doc[at], null, null, `${spare}[${at}]`]);
      continue;
    }
    if (!isObject(doc) || (text(doc.id) === "" && text(doc.name) === "" && holder === null)) continue;
    const isSegment = holder === null && doc.type !== "subsegment";
    const segment = segmentOf(doc, isSegment, holder, spare);
    segment.service = isSegment ? segment.name : service;
    found(segment);
    // From the last to the first, since the stack turns them round.
    const children = list(doc.subsegments);
    for (let at = children.length - 1; at >= 0; at -= 1) {
      work.push([children[at], segment.key, segment.service, `${segment.key}/${at}`]);
    }
  }
}

function segmentOf(doc, isSegment, holder, spare) {
  const name = text(doc.name);
  const kind = isSegment ? "segment"
    : isObject(doc.sql) ? "sql"
    : doc.namespace === "aws" ? "aws"
    : doc.namespace === "remote" ? "remote"
    : "local";
  return {
    key: id(doc.id) || spare || `?${text(doc.start_time)}`,
    parent: holder ?? (id(doc.parent_id) || null),
    kind,
    name: name || "(no name)",
    detail: detailOf(doc, kind),
    start: time(doc.start_time),
    end: time(doc.end_time),
    inProgress: doc.in_progress === true || (doc.end_time ?? null) === null,
    status: statusOf(doc.http?.response?.status),
    outcome: doc.fault === true ? "fault" : doc.throttle === true ? "throttle" : doc.error === true ? "error" : "ok",
    source: doc,
  };
}

function detailOf(doc, kind) {
  if (kind === "sql") return text(doc.sql.sanitized_query) || text(doc.sql.database_type);
  if (kind === "aws" && isObject(doc.aws)) {
    const aws = doc.aws;
    const resource = [
      aws.table_name, aws.bucket_name, aws.queue_url, aws.function_name, aws.topic_arn, aws.stream_name,
      aws.state_machine_arn, list(aws.resource_names)[0], list(aws.table_names)[0],
    ].map(text).find(Boolean) ?? "";
    return [text(aws.operation), resource.split(/[/:]/).pop()].filter(Boolean).join(" ");
  }
  return request(text(doc.http?.request?.method), text(doc.http?.request?.url), text(doc.name));
}

function unreadable(document, doc) {
  return {
    key: `unreadable ${doc}`, parent: null, kind: "unreadable", name: "A document that cannot be read", detail: document.text,
    start: null, end: null, inProgress: false, status: null, outcome: "ok", service: null, source: {}, doc, format: "unreadable",
  };
}
