// The nodes as a table: the same figures as in the picture, made when it is opened.

import { make, setText } from "./dom.js";
import { count, nodeState, rate } from "./words.js";

/** Title of each column, and its text. */
const COLUMNS = [
  ["Chassis", (node) => node.chassis],
  ["State", nodeState],
  ["Connections", (node) => count(node.established)],
  ["Moved", (node) => count(node.moved)],
  ["Half-open", (node) => count(node.half_open)],
  ["Strays", (node) => count(node.strays)],
  ["Strays per second", (node) => rate(node.strays_per_s)],
  ["Resets", (node) => count(node.resets)],
  ["Copies", (node) => count(node.copies)],
  ["Copies per second", (node) => rate(node.copies_per_s)],
];

export class NodeTable {
  constructor(details) {
    this.details = details;
    this.rows = new Map();
    this.body = make("tbody");
    const head = ["Node", ...COLUMNS.map(([title]) => title)];
    const table = make(
      "table",
      {},
      make("caption", { class: "unseen" }, "Nodes"),
      make(
        "thead",
        {},
        make("tr", {}, ...head.map((title) => make("th", { scope: "col" }, title))),
      ),
      this.body,
    );
    details.append(
      make(
        "div",
        {
          class: "scroll",
          role: "region",
          "aria-label": "Table of nodes",
          tabindex: "0",
        },
        table,
      ),
    );
    details.addEventListener("toggle", () => this.draw(this.nodes ?? []));
  }

  draw(nodes) {
    this.nodes = nodes;
    if (!this.details.open) return;
    const names = new Set(nodes.map((node) => node.name));
    for (const [name, row] of this.rows) {
      if (names.has(name)) continue;
      row.root.remove();
      this.rows.delete(name);
    }
    for (const node of nodes) {
      let row = this.rows.get(node.name);
      if (!row) {
        row = makeRow(node.name);
        this.rows.set(node.name, row);
        this.body.append(row.root);
      }
      if (row.node === node) continue;
      row.node = node;
      COLUMNS.forEach(([, text], index) => setText(row.cells[index], text(node)));
    }
  }
}

function makeRow(name) {
  const cells = COLUMNS.map((_, index) =>
    make("td", { class: index < 2 ? "text" : null }),
  );
  return {
    root: make("tr", {}, make("th", { scope: "row" }, name), ...cells),
    cells,
    node: null,
  };
}
