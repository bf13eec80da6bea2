// The filter form. It changes the address while the user types, and shows the filter of the
// address.

import { el } from "./dom.js";
import { line } from "./format.js";
import { FIRST_LIMIT } from "./state.js";

// Several annotations stand in one field with this between them.
const AND = " & ";
const PAUSE_MS = 80;

export function filterForm(form, app) {
  const field = (name) => form.elements.namedItem(name);
  const more = document.getElementById("more");
  const names = ["text", "service", "status", "min_duration", "max_duration", "id"];
  let timer = 0;
  let shown = { filter: {} };

  function apply() {
    clearTimeout(timer);
    const filter = { since: shown.filter.since };
    for (const name of names) filter[name] = field(name).value.trim();
    filter.annotation = field("annotation").value.split(AND).map((part) => part.trim()).filter(Boolean);
    app.go({ filter, limit: FIRST_LIMIT }, { replace: true });
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, PAUSE_MS);
  });
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  // On a narrow screen most fields are folded away.
  more.addEventListener("click", () => {
    more.setAttribute("aria-expanded", String(form.classList.toggle("open")));
  });

  function set(input, value) {
    // A field that has the focus is not changed, because the user may be typing in it.
    if (input !== document.activeElement && input.value.trim() !== value) input.value = value;
  }

  return {
    show(state) {
      shown = state;
      for (const name of names) {
        // A name that no trace has at the moment can be filtered by all the same.
        if (name === "service") this.services([]);
        set(field(name), state.filter[name]);
      }
      set(field("annotation"), state.filter.annotation.join(AND));
    },
    focus() {
      field("text").focus();
      field("text").select();
    },
    services(found) {
      const select = field("service");
      const known = new Set([...select.options].map((option) => option.value));
      for (const name of [...found, shown.filter.service ?? ""]) {
        if (!known.has(name)) select.append(el("option", { value: name }, line(name, 60)));
        known.add(name);
      }
    },
  };
}
