// Elements are made and changed here. A change that changes nothing touches nothing: at
// 1,000 nodes and 4 views a second, what is not touched costs no layout and no paint.

const SVG = "http://www.w3.org/2000/svg";

/** The element of the page with that id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element with attributes and children (elements or text). */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function makeSvg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A text that only screen readers are given. */
export function unseen(text) {
  return make("span", { class: "unseen" }, text);
}

/** Sets an element's text. */
export function setText(element, text) {
  const first = element.firstChild;
  if (first?.nodeType === Node.TEXT_NODE && first === element.lastChild) {
    if (first.data !== text) first.data = text;
  } else {
    element.textContent = text;
  }
}

/** Sets an attribute; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== value) {
    element.setAttribute(name, value);
  }
}

/** Shows or hides an element. */
export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}
