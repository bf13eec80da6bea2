// Exceptions with their stacks, as both kinds of documents tell them.

import { el } from "./dom.js";
import { codeBlock, longText, pairs, section, told } from "./fields.js";
import { line, plural } from "./format.js";
import { isObject, list, text } from "./values.js";

// `cause` is an object with exceptions, or the id of an exception that another segment tells.
export function exceptionParts(cause, context) {
  if (typeof cause === "string" && cause) return section("Exceptions", reference(cause, context));
  if (!isObject(cause)) return null;
  const all = list(cause.exceptions).filter(isObject);
  const rest = Object.entries(cause).filter(([key]) => key !== "exceptions");
  return section("Exceptions", all.map((exception) => exceptionPart(exception, context)), pairs(rest));
}

function exceptionPart(exception, context) {
  const { id, message, type, stack, stacktrace, cause, ...rest } = exception;
  const frames = list(stack).filter(isObject);
  return el("div", { class: "exception" },
    el("h4", null, line(text(type) || "Exception", 300)),
    text(message) && longText(text(message), "p"),
    text(stacktrace) && codeBlock(text(stacktrace), "Copy stack"),
    frames.length > 0 && el("details", { open: true }, el("summary", null, `Stack, ${plural(frames.length, "frame")}`),
      codeBlock(frames.map(frameText).join("\n"), "Copy stack")),
    told([["ID", text(id)], ["Cause", text(cause) && reference(text(cause), context)]]), pairs(Object.entries(rest)));
}

function frameText(frame) {
  const place = [text(frame.path), text(frame.line)].filter(Boolean).join(":");
  const label = text(frame.label);
  return label && place ? `${label} (${place})` : label || place;
}

// Leads to the segment that tells of the exception, if that is another one.
function reference(id, { exceptions, choose, byKey }) {
  const key = exceptions.get(id);
  const row = key && byKey.get(key);
  if (!row) return line(id, 80);
  return el("span", null, line(id, 80), " ",
    el("button", { type: "button", class: "link", onclick: () => choose(key) }, `in ${line(row.segment.name, 80)}`));
}
