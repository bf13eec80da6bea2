// Colours of services.

const COLOURS = 8;
const given = new Map();

// The class that gives a service its colour: the same in the list, in every trace and in the map.
// They are assigned in the order in which services appear, so that the first eight differ.
export function serviceColour(name) {
  if (!given.has(name)) {
    // Names come from clients, so the number of remembered names is limited.
    if (given.size >= 1000) return "s0";
    given.set(name, `s${given.size % COLOURS}`);
  }
  return given.get(name);
}
