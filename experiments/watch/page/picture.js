// The picture: clients above, the fabric, the chassis with their nodes, and the wires.

import { arrange, evenly } from "./arrange.js";
import { ChassisCard, ClientCell, mark, Marks, sum } from "./cells.js";
import { make, setAttribute } from "./dom.js";
import { count, counted, rate } from "./words.js";
import { Wires } from "./wires.js";

/** Kind of the mark, and what it means. */
const LEGEND = [
  ["moved", "moved: held by a node that is not the owner now"],
  ["half-open", "half-open: no client has a socket of it"],
  ["out", "out of service"],
  ["failed", "failed"],
  ["stray", "strays per second"],
  ["reset", "resets"],
  ["tier-1", "copies, fabric to chassis"],
  ["tier-2", "copies, chassis to node"],
];

export class Picture {
  /** ``choose(kind, name, byKeyboard)`` is called for what the user picks. */
  constructor(map, choose) {
    this.map = map;
    this.choose = choose;
    this.clientCells = new Map();
    this.cards = new Map();
    this.clients = make("ul", { class: "clients", "aria-label": "Clients" });
    this.fabric = make("button", {
      type: "button",
      class: "fabric",
      tabindex: "0",
      "aria-pressed": "false",
      "data-kind": "fabric",
      "data-name": "fabric",
    });
    this.fabricMarks = new Marks();
    this.fabric.append(
      make("span", { class: "name" }, "fabric"),
      this.fabricMarks.root,
    );
    this.grid = make("div", { class: "grid" });
    map.append(this.clients, this.fabric, this.grid);
    this.wires = new Wires(map);
    this.stop = this.fabric;
    map.addEventListener("click", (event) => this.clicked(event));
    map.addEventListener("keydown", (event) => this.pressed(event));
    map.addEventListener("focusin", (event) => this.focused(event.target));
    map.addEventListener("pointerover", (event) => explain(event.target));
    // A chassis' head grows by the lines of its marks: its wires move.
    this.observer = new ResizeObserver(() => this.lay());
    this.observer.observe(map);
  }

  draw(view) {
    const nodesOf = byChassis(view.nodes);
    let changed = this.drawClients(view.clients);
    changed = this.keepOnly(view.chassis) || changed;
    for (const chassis of view.chassis) {
      let card = this.cards.get(chassis.name);
      if (!card) {
        card = new ChassisCard(chassis);
        this.cards.set(chassis.name, card);
        this.grid.append(card.root);
        this.observer.observe(card.head);
        changed = true;
      }
      changed = card.draw(chassis, nodesOf.get(chassis.name) ?? []) || changed;
    }
    this.drawFabric(view);
    this.view = view;
    if (changed) this.lay();
    else this.drawFlows();
  }

  drawClients(clients) {
    let changed = false;
    const names = new Set(clients.map((client) => client.name));
    for (const [name, cell] of this.clientCells) {
      if (names.has(name)) continue;
      cell.root.remove();
      this.clientCells.delete(name);
      changed = true;
    }
    for (const client of clients) {
      let cell = this.clientCells.get(client.name);
      if (!cell) {
        cell = new ClientCell(client);
        this.clientCells.set(client.name, cell);
        this.clients.append(cell.root);
        changed = true;
      }
      cell.draw(client);
    }
    return changed;
  }

  keepOnly(chassis) {
    const names = new Set(chassis.map((each) => each.name));
    let changed = false;
    for (const [name, card] of this.cards) {
      if (names.has(name)) continue;
      card.root.remove();
      this.cards.delete(name);
      changed = true;
    }
    return changed;
  }

  drawFabric(view) {
    const { connected, in_sync: inSync } = view.fabric;
    const marks = [];
    if (connected === false) marks.push(["failed", "no controller", ""]);
    else if (inSync === false) marks.push(["out", "not in sync", ""]);
    const copies = view.totals.tier1_copies_per_s;
    if (copies) marks.push(["tier-1", rate(copies), "copies"]);
    this.fabricMarks.draw(marks);
    const words = marks.map(([, figure, word]) => `${figure} ${word}`.trim());
    const sentence = ["Fabric", ...(marks.length ? words : ["in sync"])].join(", ");
    setAttribute(this.fabric, "aria-label", sentence);
  }

  /** Lays the cells out for the width that there is, and the wires between them. */
  lay() {
    if (!this.view || !this.map.clientWidth) return;
    const most = Math.max(
      1,
      ...[...this.cards.values()].map((card) => card.cells.size),
    );
    const width = this.map.clientWidth;
    const { name, perRow, columns } = arrange(width, this.cards.size, most);
    setAttribute(this.map, "data-density", name);
    setAttribute(this.map, "data-rows", perRow < this.cards.size ? "several" : "one");
    setAttribute(this.map, "data-columns", columns === 1 ? "one" : "several");
    this.map.style.setProperty("--per-row", perRow);
    this.map.style.setProperty("--columns", evenly(most, columns));
    this.wires.measure(this.clients, this.fabric, this.cards);
    this.drawFlows();
  }

  drawFlows() {
    const nodesOf = byChassis(this.view.nodes);
    const { resets_per_s: resets, strays_per_s: strays } = this.view.totals;
    this.wires.flowUp(resets, strays);
    for (const chassis of this.view.chassis) {
      const nodes = nodesOf.get(chassis.name) ?? [];
      const rates = {
        copies: chassis.copies_per_s,
        strays: sum(nodes, "strays_per_s"),
      };
      this.wires.flow(chassis.name, rates, nodes);
    }
  }

  /** Marks what is chosen. */
  mark(kind, name) {
    this.chosen?.setAttribute("aria-pressed", "false");
    this.chosen = kind ? this.button(kind, name) : null;
    this.chosen?.setAttribute("aria-pressed", "true");
    for (const [each, card] of this.cards) {
      const inside = this.chosen !== null && card.root.contains(this.chosen);
      card.root.classList.toggle(
        "open",
        inside || (kind === "chassis" && each === name),
      );
    }
    if (this.map.dataset.folded === "true") this.lay();
  }

  button(kind, name) {
    if (kind === "fabric") return this.fabric;
    if (kind === "chassis") return this.cards.get(name)?.head ?? null;
    for (const card of this.cards.values()) {
      const cell = card.cells.get(name);
      if (cell) return cell.root;
    }
    return null;
  }

  /** Shows chassis only, or their nodes too. */
  fold(folded) {
    setAttribute(this.map, "data-folded", String(folded));
    this.lay();
  }

  clicked(event) {
    const button = event.target.closest("button[data-kind]");
    if (button)
      this.choose(button.dataset.kind, button.dataset.name, event.detail === 0);
  }

  focused(target) {
    const button = target.closest("button[data-kind]");
    if (!button || button === this.stop) return;
    this.stop.tabIndex = -1;
    button.tabIndex = 0;
    this.stop = button;
  }

  pressed(event) {
    const steps = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const step = steps[event.key];
    const all = [...this.map.querySelectorAll("button[data-kind]")].filter(
      (each) => each.offsetParent,
    );
    const ends = { Home: all[0], End: all.at(-1) };
    const next = step ? nearest(this.stop, all, step) : ends[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }
}

/** Shows a cell's whole sentence to who points at it. */
function explain(target) {
  const button = target.closest("button[data-kind]");
  if (button) setAttribute(button, "title", button.getAttribute("aria-label"));
}

/** The legend of the picture. */
export function drawLegend(list) {
  for (const [kind, meaning] of LEGEND)
    list.append(make("li", {}, mark(kind, ""), meaning));
}

function byChassis(nodes) {
  const found = new Map();
  for (const node of nodes) {
    const list = found.get(node.chassis);
    if (list) list.push(node);
    else found.set(node.chassis, [node]);
  }
  return found;
}

/** The nearest of ``all`` in one direction: what is off to the side counts double. */
function nearest(from, all, [right, down]) {
  const here = from.getBoundingClientRect();
  let best = null;
  let least = Infinity;
  for (const each of all) {
    if (each === from) continue;
    const there = each.getBoundingClientRect();
    const x = between(here.left, here.right, there.left, there.right);
    const y = between(here.top, here.bottom, there.top, there.bottom);
    const ahead = right ? x * right : y * down;
    if (ahead <= 0) continue;
    const middle = right
      ? Math.abs(here.top + here.bottom - there.top - there.bottom) / 2
      : Math.abs(here.left + here.right - there.left - there.right) / 2;
    const aside = Math.abs(right ? y : x);
    const distance = ahead + 4 * aside + middle / 50;
    if (distance < least) [best, least] = [each, distance];
  }
  return best;
}

/** The signed gap between two spans; 0 if they overlap. */
function between(start, end, otherStart, otherEnd) {
  if (otherStart >= end - 1) return otherStart - end + 1;
  if (otherEnd <= start + 1) return otherEnd - start - 1;
  return 0;
}

/** What the picture's title says beside its name. */
export function pictureSummary(view) {
  const out = view.nodes.filter((node) => node.in_service === false).length;
  const parts = [
    counted(view.chassis.length, "chassis", "chassis"),
    counted(view.nodes.length, "node"),
    ...(out ? [`${count(out)} out of service`] : []),
  ];
  return parts.join(", ");
}
