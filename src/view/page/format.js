// Numbers, times and foreign text as people read them.

const THIN = "\u202f";

// A text of a trace on one line, no longer than `max` characters.
export function line(text, max = 300) {
  let short = String(text ?? "");
  // Only the beginning is read: a text may have a megabyte.
  const cut = short.length > max;
  if (cut) short = short.slice(0, max);
  short = visible(short.replace(/[ \t-\r]+/g, " ").trim());
  return cut ? short + "…" : short;
}

// A text of a trace with its line breaks and tabs.
export function block(text) {
  return visible(String(text ?? "").replace(/\r\n?/g, "\n"));
}

// Control characters have signs of their own in Unicode. Those that turn or hide the text around
// them are replaced by their names, so that a trace cannot make the page show a false text.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

function visible(text) {
  return text.toWellFormed().replace(UNSEEN, (character) => {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
  });
}

// A URL as its path and its host. Query and user are left out here: they are long, and may hold
// secrets that need not stand in every list.
function urlParts(url) {
  const plain = String(url ?? "").split(/[?#]/, 1)[0];
  const parts = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/]*@)?([^/]*)(.*)$/is.exec(plain);
  return parts ? { host: parts[1], path: parts[2] || "/" } : { host: "", path: plain };
}

// Method and path, and the host where the name does not say it already.
export function request(method, url, name) {
  const { host, path } = urlParts(url);
  const known = !host || host === name || host.split(":")[0] === name;
  return [method, path, known ? "" : host].filter(Boolean).join(" ");
}

// A duration of so many seconds, with three digits that say something.
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const sign = seconds < 0 ? "−" : "";
  const s = Math.abs(seconds);
  if (s === 0) return `0${THIN}ms`;
  // The limits lie where rounding to three digits would reach the next unit.
  if (s < 0.9995e-3) return `${sign}${three(s * 1e6)}${THIN}µs`;
  if (s < 0.9995) return `${sign}${three(s * 1e3)}${THIN}ms`;
  if (s < 99.95) return `${sign}${three(s)}${THIN}s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)}${THIN}min ${whole % 60}${THIN}s`;
  const minutes = Math.round(s / 60);
  if (minutes < 2880) return `${sign}${Math.floor(minutes / 60)}${THIN}h ${minutes % 60}${THIN}min`;
  return `${sign}${number(Math.round(s / 86400))}${THIN}days`;
}

function three(value) {
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

const TIME = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

// The time of day with milliseconds, in the time zone of the browser.
export function clock(seconds) {
  if (!isTime(seconds)) return "–";
  const date = new Date(seconds * 1000);
  return `${TIME.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

// The day, or nothing when it is today.
export function day(seconds, now = Date.now()) {
  if (!isTime(seconds)) return "";
  const text = DAY.format(seconds * 1000);
  return text === DAY.format(now) ? "" : text;
}

// The time as programs write it, in UTC.
export function iso(seconds) {
  return isTime(seconds) ? new Date(seconds * 1000).toISOString() : "";
}

function isTime(seconds) {
  return typeof seconds === "number" && Math.abs(seconds) < 8.64e12;
}

const NUMBER = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

// A whole number in groups of three digits.
export function number(value) {
  return NUMBER.format(value).replaceAll(",", THIN);
}

// "1 trace", "2 traces".
export function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

// A rate, with a few significant digits.
export function rate(perMinute) {
  if (perMinute >= 9.95) return `${number(perMinute)}/min`;
  return `${perMinute.toFixed(1).replace(/\.0$/, "")}/min`;
}

// A share as percents. A share above zero is never shown as 0 %.
export function percent(part, whole) {
  if (!part || !whole) return "0%";
  const value = (part / whole) * 100;
  if (value < 0.1) return "<0.1%";
  return value < 9.95 ? `${value.toFixed(1)}%` : `${value.toFixed(0)}%`;
}

// Bytes, in the unit that leaves few digits; as for `-m`, a MB is 1024 times 1024 bytes.
export function bytes(count) {
  if (count < 1024) return `${count}${THIN}B`;
  if (count < 1024 * 1024) return `${(count / 1024).toFixed(0)}${THIN}KB`;
  return `${(count / 1024 / 1024).toFixed(1).replace(/\.0$/, "")}${THIN}MB`;
}
