// The cells of the picture: a node, a chassis with its nodes, a client. Each draws itself
// again only if what it shows has changed.

import { make, setAttribute, setText } from "./dom.js";
import {
  chassisSentence,
  chassisTroubles,
  count,
  counted,
  nodeSentence,
  nodeState,
  rate,
} from "./words.js";

/** Holds the place of a figure that is set at once. */
const NO_FIGURE = "\u00a0";

/** A mark: a shape, its figure, and its word where there is room. */
export function mark(kind, figure, word = "") {
  const shape = make("i", { class: `mark ${kind}`, "aria-hidden": "true" });
  const words = make("span", { class: "word" }, word);
  const rest = [...(figure ? [figure] : []), ...(word ? [words] : [])];
  return make("span", { class: `marked ${kind}` }, shape, ...rest);
}

/** The marks of one cell. While their kinds stay the same only figures are changed. */
export class Marks {
  constructor() {
    this.root = make("span", { class: "marks" });
    this.kinds = "";
    this.figures = [];
  }

  /** ``marks``: kind, figure and word of each; ``alone``: an element for where there is none. */
  draw(marks, alone = null) {
    const kinds =
      marks.map(([kind, , word]) => `${kind} ${word}`).join() + (alone?.key ?? "");
    if (kinds !== this.kinds) {
      this.kinds = kinds;
      const made = marks.map(([kind, , word]) => mark(kind, NO_FIGURE, word));
      this.figures = made.map((each) => each.childNodes[1]);
      this.root.replaceChildren(...made, ...(alone ? [alone.make()] : []));
    }
    marks.forEach(([, figure], index) => {
      if (this.figures[index].data !== figure) this.figures[index].data = figure;
    });
  }
}

/** A button of the picture; the picture has one stop of the tab key. */
function pictureButton(kind, name) {
  return make("button", {
    type: "button",
    class: kind,
    tabindex: "-1",
    "aria-pressed": "false",
    "data-kind": kind,
    "data-name": name,
  });
}

/** One node. */
export class NodeCell {
  constructor(node) {
    this.root = pictureButton("node", node.name);
    this.established = make("span", { class: "established" });
    this.unit = make("span", { class: "word" });
    this.state = make("span", { class: "state" });
    this.marks = new Marks();
    const short = node.name.startsWith(`${node.chassis}n`);
    const name = short
      ? [
          make("span", { class: "prefix" }, node.chassis),
          node.name.slice(node.chassis.length),
        ]
      : [node.name];
    this.root.append(
      make("span", { class: "name" }, ...name),
      this.state,
      make("span", { class: "held" }, this.established, " ", this.unit),
      this.marks.root,
    );
  }

  draw(node) {
    if (node === this.drawn) return;
    this.drawn = node;
    const sentence = nodeSentence(node);
    const marks = marksOf(node);
    setAttribute(this.root, "aria-label", sentence);
    setAttribute(this.root, "data-state", stateOf(node));
    setText(this.established, count(node.established));
    setText(this.unit, node.established === 1 ? "connection" : "connections");
    this.drawState(stateOf(node), nodeState(node), marks);
  }

  /** The state's mark; its word below, where no mark needs the place. */
  drawState(state, word, marks) {
    const odd = state !== "in-service";
    const alone = odd && marks.every(([kind]) => kind === "tier-2");
    const own = () => make("span", { class: `marked alone ${state}` }, word);
    this.marks.draw(marks, alone ? { key: word, make: own } : null);
    if (word === this.word) return;
    this.word = word;
    this.state.replaceChildren(...(odd ? [mark(state, "", word)] : []));
  }
}

function stateOf(node) {
  if (node.alive === false || node.state === "failed") return "failed";
  return node.in_service === false ? "out" : "in-service";
}

/** Shape, figure and word of each mark that a node has, beside its state. */
function marksOf(node) {
  const marks = [];
  if (node.moved) marks.push(["moved", count(node.moved), "moved"]);
  if (node.half_open) marks.push(["half-open", count(node.half_open), "half-open"]);
  if (node.strays_per_s) marks.push(["stray", rate(node.strays_per_s), "strays"]);
  if (node.copies_per_s) marks.push(["tier-2", rate(node.copies_per_s), "copies"]);
  return marks;
}

/** One chassis, and its nodes in it. */
export class ChassisCard {
  constructor(chassis) {
    this.head = pictureButton("chassis", chassis.name);
    this.held = make("span", { class: "established" });
    this.unit = make("span", { class: "word" });
    this.marks = new Marks();
    this.head.append(
      make("span", { class: "name" }, chassis.name),
      make("span", { class: "held" }, this.held, " ", this.unit),
      this.marks.root,
    );
    this.nodes = make("div", { class: "nodes" });
    this.root = make(
      "div",
      { class: "card", role: "group", "aria-label": `Chassis ${chassis.name}` },
      make("h3", {}, this.head),
      this.nodes,
    );
    this.cells = new Map();
  }

  /** Whether a node came or went. */
  draw(chassis, nodes) {
    const changed = this.drawNodes(nodes);
    const sums = sumsOf(nodes);
    const troubles = chassisTroubles(chassis);
    const odd = chassis.alive === false ? "failed" : "out";
    setAttribute(this.root, "data-state", troubles.length ? odd : "in-service");
    setAttribute(this.head, "aria-label", chassisSentence(chassis, sums));
    setText(this.held, count(sums.established));
    setText(this.unit, sums.established === 1 ? "connection" : "connections");
    this.drawMarks(chassis, sums, troubles);
    return changed;
  }

  drawMarks(chassis, sums, troubles) {
    const marks = troubles.map((each) => [
      each === "failed" ? "failed" : "out",
      each,
      "",
    ]);
    if (sums.moved) marks.push(["moved", count(sums.moved), "moved"]);
    if (sums.half_open) marks.push(["half-open", count(sums.half_open), "half-open"]);
    if (chassis.copies_per_s)
      marks.push(["tier-1", rate(chassis.copies_per_s), "copies"]);
    this.marks.draw(marks);
  }

  drawNodes(nodes) {
    let changed = false;
    const names = new Set(nodes.map((node) => node.name));
    for (const [name, cell] of this.cells) {
      if (names.has(name)) continue;
      cell.root.remove();
      this.cells.delete(name);
      changed = true;
    }
    for (const node of nodes) {
      let cell = this.cells.get(node.name);
      if (!cell) {
        cell = new NodeCell(node);
        this.cells.set(node.name, cell);
        this.nodes.append(cell.root);
        changed = true;
      }
      cell.draw(node);
    }
    return changed;
  }
}

/** A figure of several nodes; null if one of them is not known. */
export function sum(nodes, key) {
  let total = 0;
  for (const node of nodes) {
    if (node[key] === null || node[key] === undefined) return null;
    total += node[key];
  }
  return total;
}

/** The sums over a chassis' nodes. */
export function sumsOf(nodes) {
  return {
    nodes: nodes.length,
    established: sum(nodes, "established"),
    moved: sum(nodes, "moved"),
    half_open: sum(nodes, "half_open"),
  };
}

/** One client. */
export class ClientCell {
  constructor(client) {
    this.established = make("span");
    this.resets = make("span");
    this.root = make(
      "li",
      { class: "client", "data-client": client.name },
      make("strong", {}, client.name),
      " ",
      this.established,
      this.resets,
    );
  }

  draw(client) {
    setText(this.established, counted(client.established, "connection"));
    const now = client.resets_per_s ? ` (${rate(client.resets_per_s)})` : "";
    setText(this.resets, client.resets ? `, ${count(client.resets)} reset${now}` : "");
  }
}
