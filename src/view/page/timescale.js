// The part of a trace's time that is seen, and the marks on its axis. All times are seconds from the
// start of the trace.

// The shortest time that the whole width can show: a microsecond.
const SHORTEST = 1e-6;

// What is seen when all is seen: a little more than the trace, so that the last bar has an end.
export function whole(length) {
  return { from: 0, to: Math.max(length, SHORTEST) * 1.02 };
}

// The view `factor` times as long (below 1: nearer), with `at` (0 to 1) staying where it is.
export function zoom(view, factor, at, length) {
  const span = view.to - view.from;
  const next = Math.max(span * factor, SHORTEST);
  return within({ from: view.from + (span - next) * at, to: view.from + (span - next) * at + next }, length);
}

// The view moved by a share of its own length.
export function pan(view, share, length) {
  const by = (view.to - view.from) * share;
  return within({ from: view.from + by, to: view.to + by }, length);
}

// The view between two shares (0 to 1) of `view`.
export function between(view, a, b, length) {
  const span = view.to - view.from;
  return within({ from: view.from + span * Math.min(a, b), to: view.from + span * Math.max(a, b) }, length);
}

// A view moved and cut so that it shows nothing outside of the trace.
function within({ from, to }, length) {
  const all = whole(length);
  const span = Math.min(Math.max(to - from, SHORTEST), all.to);
  const start = Math.min(Math.max(from, 0), all.to - span);
  return { from: start, to: start + span };
}

// Times for marks: multiples of 1, 2 or 5, no more than `most`.
export function ticks(view, most) {
  const span = view.to - view.from;
  const least = span / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= least * 0.999999);
  const marks = [];
  for (let index = Math.ceil(view.from / step); index * step <= view.to; index += 1) marks.push(index * step);
  return { step, marks };
}

// A mark as text, with as many digits as its step needs.
export function tickText(value, step) {
  const [unit, size] = step >= 0.9999 ? ["s", 1] : step >= 0.9999e-3 || value >= 1 ? ["ms", 1e-3] : ["µs", 1e-6];
  const digits = Math.max(0, Math.min(6, -Math.floor(Math.log10((step / size) * 1.0001))));
  return `${(value / size).toFixed(digits)}\u202f${unit}`;
}

// Where a time lies in the view, in percents, cut far outside of it, where browsers lose precision.
export function place(view, time) {
  const percent = ((time - view.from) / (view.to - view.from)) * 100;
  return Math.min(Math.max(percent, -50), 150);
}
