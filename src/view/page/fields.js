// Names and values, texts of any length, and JSON, as parts of the details.

import { copyButton, el, setText } from "./dom.js";
import { block, line, number } from "./format.js";
import { isObject, text } from "./values.js";

// Characters of a text that are shown before one asks for all of it.
const FIRST = 4000;
const SHORT = 160;

// A part with a title; nothing when it is empty.
export function section(title, ...content) {
  const parts = content.flat(Infinity).filter(Boolean);
  if (!parts.length) return null;
  return el("section", null, el("h3", null, title), parts);
}

// The fields of an object of a document.
export function fields(object) {
  return isObject(object) ? pairs(Object.entries(object)) : null;
}

// A list of names and values, which are nodes, lists with nodes, or any JSON.
export function pairs(list) {
  if (!list.length) return null;
  return el("dl", null, list.map(([name, value]) => [el("dt", null, line(name, 200)), el("dd", null, shown(value))]));
}

// The same, without empty values.
export function told(list) {
  return pairs(list.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false));
}

function shown(value) {
  if (value instanceof Node) return value;
  if (Array.isArray(value) && value.some((part) => part instanceof Node)) return value;
  const plain = text(value);
  if (plain) return plain.length > SHORT || plain.includes("\n") ? longText(plain) : line(plain, SHORT);
  if (value === "") return el("span", { class: "muted" }, "empty");
  if (value === null) return el("span", { class: "muted" }, "null");
  if (Array.isArray(value) && value.every((part) => text(part)) && value.join(", ").length < SHORT) return line(value.join(", "), SHORT);
  return longText(json(value));
}

// JSON with indents, or a short text when it is nested too deep for that.
export function json(value) {
  try {
    return JSON.stringify(value, null, 2) ?? "";
  } catch {
    return "(nested too deep to be shown here; the document can be copied)";
  }
}

// A text with its line breaks. Of a very long one the rest is shown when it is asked for.
export function longText(value, name = "pre") {
  const node = el(name, { class: "text", tabindex: name === "pre" ? "0" : null });
  if (value.length <= FIRST * 1.2) {
    setText(node, block(value));
    return node;
  }
  setText(node, `${block(value.slice(0, FIRST))}…`);
  const button = el("button", {
    type: "button",
    onclick() {
      setText(node, block(value));
      button.remove();
    },
  }, `Show all ${number(value.length)} characters`);
  return el("div", null, node, button);
}

// A text in a frame, with a button that copies it.
export function codeBlock(value, label) {
  return el("div", { class: "code" }, longText(value), copyButton(label, () => value));
}

// The JSON of the segment, and the document as it was received. It is made when it is opened, since
// it may be long.
export function rawDocument(segment, document) {
  const own = () => (segment.format === "unreadable" ? document.text : json(segment.source));
  const part = el("details", {
    class: "raw",
    ontoggle() {
      if (part.open && part.childElementCount === 1) {
        part.append(el("div", { class: "code" }, el("div", { class: "buttons" },
          copyButton("Copy JSON", own),
          copyButton("Copy document as received", () => document.text)), longText(own())));
      }
    },
  }, el("summary", null, "Raw JSON"));
  return el("section", null, part);
}
