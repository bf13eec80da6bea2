// Colours of services.

const COLOURS = 8;
const given = new Map();

// The class that gives a service its colour: the same in the list, in every trace and in the map.
// They are given in the order in which services are first seen, so that eight are told apart.
export function serviceColour(name) {
  if (!given.has(name)) {
    // Names come from anybody; beyond so many none is remembered.
    if (given.size >= 1000) return "s0";
    given.set(name, `s${given.size % COLOURS}`);
  }
  return given.get(name);
}
