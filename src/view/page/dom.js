// Makes elements.
//
// Whatever a trace says goes into text nodes and attribute values here. No module of this page
// parses markup, so nothing in a trace can become markup, a script or a link to elsewhere.

const SVG = "http://www.w3.org/2000/svg";

// An HTML element. `props` are attributes; those that begin with "on" are listeners; those that are
// null, undefined or false are left out. Children are nodes, texts, lists of them, or nothing.
export function el(name, props, ...children) {
  return fill(document.createElement(name), props, children);
}

// The same for SVG.
export function svg(name, props, ...children) {
  return fill(document.createElementNS(SVG, name), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return node;
}

// Sets the text of a node, unless it has this text already.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Shows in `note` why something could not be loaded.
export function showError(note, error) {
  note.hidden = false;
  note.replaceChildren(el("p", { role: "alert" }, error.message));
}

// Makes `nodes` the children of `parent`. Those that stay are not taken out, since a node that is
// taken out loses the focus.
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let at = parent.firstChild;
  for (const node of nodes) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
}

// A button that copies what `text()` gives, and says for two seconds whether it did.
export function copyButton(label, text) {
  const button = el("button", {
    type: "button",
    class: "copy",
    async onclick() {
      setText(button, (await copy(text())) ? "Copied" : "Cannot copy");
      setTimeout(() => setText(button, label), 2000);
    },
  }, label);
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without HTTPS only the loopback address has a clipboard; elsewhere the old way still works.
    const field = el("textarea", { class: "unseen" });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
