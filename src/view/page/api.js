// Talks to the daemon. The API is described in docs/trace-api.md.

// The JSON of an answer. A failure throws an Error with the message to show; `status` is the HTTP
// status.
export async function get(path, params, signal) {
  const query = params?.toString();
  let response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Error("The daemon does not answer. The page goes on when it is back.");
  }
  if (response.ok) return response.json();
  const said = await response.json().catch(() => ({}));
  const error = new Error(said.error ?? `The daemon answered ${response.status}.`);
  error.status = response.status;
  throw error;
}

// Loads and shows something again and again, one load at a time. `refresh` asks for a newer state
// of the same thing: while a load is under way, the next one waits for it. `restart` asks for
// something else, and discards a load that is under way.
export function refresher(load, show, fail) {
  let current = null;
  let again = false;

  async function run() {
    const turn = new AbortController();
    current = turn;
    again = false;
    try {
      const answer = await load(turn.signal);
      if (current === turn) show(answer);
    } catch (error) {
      if (current === turn) fail(error);
    } finally {
      if (current === turn) {
        current = null;
        if (again) run();
      }
    }
  }

  return {
    refresh() {
      if (current) again = true;
      else run();
    },
    restart() {
      current?.abort();
      run();
    },
    stop() {
      current?.abort();
      current = null;
    },
  };
}

const RETRY_MS = 3000;

// Follows the changes. `changed` gets each event, `turned` the state of the connection: "live",
// "paused" or "connecting".
export function follow(changed, turned) {
  let source = null;
  let paused = false;
  let retry = 0;

  function open() {
    close();
    // A browser has six connections to one server for all its tabs together, and each stream
    // holds one. A hidden tab closes its stream.
    if (paused || document.hidden) return;
    source = new EventSource("/api/events");
    source.addEventListener("open", () => turned("live"));
    source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      turned("connecting");
      // After an answer that is no stream the browser gives up.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
    });
  }

  function close() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", open);
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();

  return {
    toggle() {
      paused = !paused;
      turned(paused ? "paused" : "connecting");
      open();
    },
  };
}
