// The wires of the picture, and what flows along them: copies as long dashes, strays as
// short ones between them, resets as long ones upwards. The wider, the more per second.

import { makeSvg, setAttribute } from "./dom.js";

const ABOVE = 9;
const SPINE = 7;

/** Grows by one for each tenfold rate; 0 where nothing flows. */
export function strength(perSecond) {
  if (!perSecond) return 0;
  return Math.min(5, 1 + Math.max(0, Math.floor(Math.log10(perSecond)) + 1));
}

/** One wire's drawing: ``base`` stays, ``flows`` are shown while something flows. */
class Wire {
  constructor(root, kinds, place = "outer") {
    this.base = makeSvg("path", { class: "wire" });
    root.append(this.base);
    this.flows = new Map();
    for (const kind of kinds) {
      const path = makeSvg("path", {
        class: `flow ${place} ${kind}`,
        "data-strength": 0,
      });
      this.flows.set(kind, { path, key: "", strong: 0 });
      root.append(path);
    }
  }

  route(d) {
    setAttribute(this.base, "d", d);
  }

  /** ``route()`` makes the path; it is asked for only when ``key`` is another. */
  flow(kind, perSecond, key, route) {
    const flow = this.flows.get(kind);
    const strong = key ? strength(perSecond) : 0;
    if (strong && key !== flow.key) {
      flow.key = key;
      flow.path.setAttribute("d", route());
    }
    if (strong === flow.strong) return;
    flow.strong = strong;
    flow.path.setAttribute("data-strength", strong);
  }

  remove() {
    this.base.remove();
    for (const { path } of this.flows.values()) path.remove();
  }
}

/** All wires of the picture. ``measure`` after each change of the layout, then ``flow``. */
export class Wires {
  constructor(map) {
    this.map = map;
    this.svg = makeSvg("svg", { class: "wires", "aria-hidden": "true" });
    map.prepend(this.svg);
    this.clients = new Wire(this.svg, ["reset", "stray"]);
    this.chassis = new Map();
    this.measured = 0;
  }

  /** Reads where everything is. ``cards``: name -> its elements. */
  measure(clients, fabric, cards) {
    this.measured += 1;
    const origin = this.map.getBoundingClientRect();
    const box = (element) => placed(element.getBoundingClientRect(), origin);
    const top = box(fabric);
    const above = box(clients);
    this.upward = `M${top.x} ${above.bottom}V${top.top}`;
    this.clients.route(this.upward);
    const boxes = [...cards].map(([name, card]) => [name, box(card.root)]);
    const routes = routesTo(boxes, { x: top.x, y: top.bottom });
    this.keepOnly(cards);
    for (const [name, card] of cards) {
      const wire = this.wireOf(name);
      wire.outer.route(routes.get(name));
      wire.route = routes.get(name);
      wire.inner.route("");
      wire.stubs = stubs(box(card.root), box(card.head), card.cells, box);
      wire.inner.route([...wire.stubs.values()].join(""));
    }
  }

  /** Shows what flows: ``rates`` of one chassis, and of its nodes by name. */
  flow(name, rates, nodes) {
    const wire = this.chassis.get(name);
    if (!wire) return;
    const route = () => wire.route;
    wire.outer.flow("tier-1", rates.copies, wire.route, route);
    wire.outer.flow("stray", rates.strays, wire.route, route);
    for (const [kind, key] of [
      ["tier-2", "copies_per_s"],
      ["stray", "strays_per_s"],
    ]) {
      const active = nodes.filter((node) => node[key] && wire.stubs.has(node.name));
      const most = Math.max(0, ...active.map((node) => node[key]));
      const names = active.map((node) => node.name).join();
      const stubs = () => active.map((node) => wire.stubs.get(node.name)).join("");
      wire.inner.flow(kind, most, names && `${this.measured} ${names}`, stubs);
    }
  }

  flowUp(resets, strays) {
    const route = () => this.upward;
    this.clients.flow("reset", resets, this.upward, route);
    this.clients.flow("stray", strays, this.upward, route);
  }

  wireOf(name) {
    let wire = this.chassis.get(name);
    if (!wire) {
      wire = {
        outer: new Wire(this.svg, ["tier-1", "stray"]),
        inner: new Wire(this.svg, ["tier-2", "stray"], "inner"),
      };
      this.chassis.set(name, wire);
    }
    return wire;
  }

  keepOnly(cards) {
    for (const [name, wire] of this.chassis) {
      if (cards.has(name)) continue;
      wire.outer.remove();
      wire.inner.remove();
      this.chassis.delete(name);
    }
  }
}

/** A rectangle in whole pixels of the picture: sharp lines. */
function placed(rectangle, origin) {
  const half = (value) => Math.round(value) + 0.5;
  return {
    left: half(rectangle.left - origin.left),
    right: half(rectangle.right - origin.left),
    top: half(rectangle.top - origin.top),
    bottom: half(rectangle.bottom - origin.top),
    x: half((rectangle.left + rectangle.right) / 2 - origin.left),
    y: half((rectangle.top + rectangle.bottom) / 2 - origin.top),
    empty: rectangle.height === 0,
  };
}

/** From the fabric to each chassis: along a bus above its row; later rows by the left edge. */
function routesTo(boxes, from) {
  const first = Math.min(...boxes.map(([, box]) => box.top));
  const bus = first - ABOVE;
  const several = boxes.some(([, box]) => box.top > first + 2);
  const routes = new Map();
  for (const [name, box] of boxes) {
    const start = `M${from.x} ${from.y}V${bus}`;
    if (several && box.top > first + 2) {
      routes.set(name, `${start}H0.5V${box.top - ABOVE}H${box.x}V${box.top}`);
    } else {
      routes.set(name, `${start}H${box.x}V${box.top}`);
    }
  }
  return routes;
}

/** From a chassis' head to each of its nodes: down its left edge, then into the row. */
function stubs(card, head, cells, box) {
  const x = card.left + SPINE;
  const found = new Map();
  const boxes = [...cells].map(([name, cell]) => [name, box(cell.root)]);
  const left = Math.min(...boxes.map(([, each]) => each.left));
  const single = boxes.every(([, each]) => each.left < left + 2);
  for (const [name, each] of boxes) {
    if (each.empty) continue;
    const down = `M${x} ${head.bottom}V`;
    found.set(
      name,
      single
        ? `${down}${each.y}H${each.left}`
        : `${down}${each.top - 6}H${each.x}V${each.top}`,
    );
  }
  return found;
}
