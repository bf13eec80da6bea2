// Puts the page together: the address says which view is shown, and the stream of changes says when
// a view asks the daemon again.

import { follow, get, refresher } from "./api.js";
import { serviceColour } from "./colour.js";
import { setText } from "./dom.js";
import { filterForm } from "./filter.js";
import { listView } from "./list.js";
import { mapView } from "./map.js";
import { href, noFilter, read } from "./state.js";
import { traceView } from "./trace.js";

const content = document.getElementById("content");
const views = { list: listView, trace: traceView, map: mapView };

let state = read(location.search);
let view = null;

// What views may do beyond their own element.
const app = {
  // Changes a part of the state. `replace` leaves no step behind for the back button.
  go(change, { replace = false } = {}) {
    const next = { ...state, ...change };
    history[replace ? "replaceState" : "pushState"](null, "", href(next));
    show(next, !replace);
  },
  // The address of this state with a part of it changed.
  href: (change) => href({ ...state, ...change }),
  noFilter,
  // Announces something to users of a screen reader.
  say: (text) => setText(document.getElementById("spoken"), text),
  title: (text) => (document.title = `${text} · xray`),
  refresher,
  // The filter form learns the names of the services from the answers.
  services(names) {
    for (const name of names) serviceColour(name);
    form.services(names);
  },
};

const form = filterForm(document.getElementById("filter"), app);

// Shows a state. `moved` says that the user went somewhere, so that the focus follows.
function show(next, moved) {
  const turned = view?.name !== next.view;
  const left = state;
  state = next;
  form.show(state);
  document.getElementById("filter").hidden = state.view === "trace";
  for (const name of ["list", "map"]) {
    const link = document.getElementById(`to-${name}`);
    link.href = href({ ...state, view: name });
    if (state.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.body.dataset.view = state.view;
  if (turned) {
    view?.stop();
    view = { name: state.view, ...views[state.view](app) };
    content.replaceChildren(view.element);
    scrollTo(0, 0);
  }
  view.show(state, { turned, moved: turned && moved, left });
}

addEventListener("popstate", () => show(read(location.search), true));

// A link to another state of this page needs no new page.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-nav]");
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented) return;
  event.preventDefault();
  const address = new URL(link.href, location.href);
  history.pushState(null, "", address);
  show(read(address.search), true);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && state.view !== "trace") {
    event.preventDefault();
    form.focus();
  }
});

// The live switch.
const live = document.getElementById("live");
const WORDS = { live: "Live", paused: "Paused", connecting: "Connecting" };
let lost = false;
const stream = follow(
  (event) => view?.changed(event),
  (turned) => {
    // Changes may have been missed meanwhile, and a restarted daemon counts from 0.
    if (turned === "live" && lost) view?.changed({ version: null, ids: [], more: true });
    lost = turned !== "live";
    live.dataset.state = turned;
    live.title = turned === "paused" ? "Show changes as they come" : "Stop showing changes";
    setText(document.getElementById("live-word"), WORDS[turned]);
  },
);
live.addEventListener("click", () => stream.toggle());

// The theme follows the system unless the user has chosen one.
const theme = document.getElementById("theme");
const THEMES = ["auto", "light", "dark"];

function wear(name) {
  document.documentElement.style.colorScheme = name === "auto" ? "" : name;
  setText(theme.lastElementChild, ` ${name[0].toUpperCase()}${name.slice(1)}`);
  theme.ariaLabel = theme.title = `Theme: ${name}`;
}

theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "auto") + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  wear(next);
});
wear(THEMES.find((name) => name === localStorage.getItem("theme")) ?? "auto");

// The services come first, in the order of their names, so that they have the same colours and stand
// in the form whatever is shown.
get("/api/traces", new URLSearchParams({ limit: 0 })).then((answer) => app.services(answer.services), () => {}).then(() => show(state, false));
