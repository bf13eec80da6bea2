// The state of the page is in the address, so that a link, the back button and a reload show it
// again. This module only translates between the two.

// The filter's names are those of the API.
const SINGLE = ["text", "service", "status", "min_duration", "max_duration", "id", "since"];
export const FIRST_LIMIT = 100;
const MAX_LIMIT = 10000;

// Reads the part of an address after `?`.
export function read(search) {
  const params = new URLSearchParams(search);
  const filter = { annotation: params.getAll("annotation").filter(Boolean) };
  for (const name of SINGLE) filter[name] = params.get(name) ?? "";
  const trace = params.get("trace") ?? "";
  const limit = Number(params.get("limit"));
  return {
    view: trace ? "trace" : params.get("view") === "map" ? "map" : "list",
    trace,
    segment: trace ? (params.get("segment") ?? "") : "",
    limit: Number.isInteger(limit) && limit > 0 ? Math.min(limit, MAX_LIMIT) : FIRST_LIMIT,
    filter,
  };
}

// The address of a state.
export function href(state) {
  const params = filterParams(state.filter);
  if (state.view === "map") params.set("view", "map");
  if (state.view === "trace") {
    params.set("trace", state.trace);
    if (state.segment) params.set("segment", state.segment);
  }
  if (state.limit !== FIRST_LIMIT) params.set("limit", state.limit);
  const text = params.toString();
  return text ? `/?${text}` : "/";
}

// The filter as parameters of the API.
export function filterParams(filter) {
  const params = new URLSearchParams();
  for (const name of SINGLE) if (filter[name]) params.set(name, filter[name]);
  for (const value of filter.annotation) params.append("annotation", value);
  return params;
}

// A filter that keeps everything.
export function noFilter() {
  return read("").filter;
}

// Whether it keeps everything.
export function isEmpty(filter) {
  return filterParams(filter).size === 0;
}
