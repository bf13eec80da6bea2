// Reads values that may be of any type.

// From the best to the worst.
export const OUTCOMES = ["ok", "error", "throttle", "fault"];

// Seconds beyond which a time is a mistake, such as milliseconds for seconds.
const MAX_SECONDS = 1e11;

// A text as JSON, or undefined.
export function parse(text) {
  try {
    return parseExact(text);
  } catch {
    // Python writes NaN and Infinity, which JSON does not have.
    const mended = text.replace(/"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b/g, (found) => (found[0] === '"' ? found : `"${found}"`));
    try {
      return JSON.parse(mended);
    } catch {
      return undefined;
    }
  }
}

// JavaScript rounds whole numbers of 16 digits and more. Browsers that tell how a number was
// written keep it as it was written.
function parseExact(text) {
  const value = JSON.parse(text);
  if (!JSON.rawJSON || !/\d{16}/.test(text)) return value;
  try {
    return JSON.parse(text, (_, part, context) =>
      typeof part === "number" && !Number.isSafeInteger(part) && /^-?\d{16,}$/.test(context?.source ?? "")
        ? JSON.rawJSON(context.source) : part);
  } catch {
    // Nested too deep for this way of reading.
    return value;
  }
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON?.(value);
}

export function list(value) {
  return Array.isArray(value) ? value : [];
}

// A string, a number or a boolean as text; anything else is "".
export function text(value) {
  if (JSON.isRawJSON?.(value)) return value.rawJSON;
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
}

export function id(value) {
  return text(value).trim().slice(0, 64).toLowerCase();
}

export function statusOf(value) {
  const code = Number(text(value) || NaN);
  return Number.isInteger(code) && code > 0 && code < 65536 ? code : null;
}

export function time(value) {
  const seconds = typeof value === "number" ? value : NaN;
  return Number.isFinite(seconds) && Math.abs(seconds) < MAX_SECONDS ? seconds : null;
}
