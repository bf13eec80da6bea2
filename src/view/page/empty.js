// What is shown before the first trace: how to send one.

import { copyButton, el } from "./dom.js";

export function emptyState(daemon) {
  const udp = reachable(daemon.udp);
  const [host, port] = [udp.slice(0, udp.lastIndexOf(":")), udp.slice(udp.lastIndexOf(":") + 1)];
  const id = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), hex).join("");
  const now = Date.now() / 1000;
  const segment = {
    trace_id: `1-${Math.floor(now).toString(16)}-${id()}`, id: id().slice(0, 16), name: "hello",
    start_time: now - 0.2, end_time: now, annotations: { first: true },
  };
  const shell = `printf '{"format":"json","version":1}\\n${JSON.stringify(segment)}' > /dev/udp/${host}/${port}`;
  return el("div", { class: "empty" },
    el("h2", null, "No trace yet"),
    el("p", null, "Each trace is shown here as soon as it comes. To send one:"),
    el("ol", null,
      way("An application with an X-Ray SDK, or with the AWS distribution of OpenTelemetry", `export AWS_XRAY_DAEMON_ADDRESS=${udp}`),
      way("An application with OpenTelemetry, by OTLP over HTTP",
        `export OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=${location.origin}/v1/traces\n` +
        "export OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"),
      way("The sample of the daemon's own repository", udp === "127.0.0.1:2000" ? "make send" : `make send ARGS=${udp}`),
      way("One segment by hand, from bash", shell)),
    el("p", { class: "muted" }, "Nothing comes? SDKs send only the requests that their sampling rules choose: usually the first of each second, and one in twenty of the others."));
}

function way(title, code) {
  return el("li", null, el("p", null, title), el("div", { class: "code" }, el("pre", null, code), copyButton("Copy", () => code)));
}

// A daemon that listens on every address is reached by the one that this page came from.
function reachable(udp) {
  const port = udp.slice(udp.lastIndexOf(":") + 1);
  return /^(0\.0\.0\.0|\[::\]):/.test(udp) ? `${location.hostname}:${port}` : udp;
}

function hex(byte) {
  return byte.toString(16).padStart(2, "0");
}
