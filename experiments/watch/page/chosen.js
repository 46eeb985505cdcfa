// What is chosen in the picture: its figures, and the events that are possible for it.

import { make, setHidden, setText } from "./dom.js";
import { chassisTroubles, count, counted, nodeState, rate, trouble } from "./words.js";
import { sumsOf } from "./cells.js";

export class Chosen {
  /** ``ask(possible)``: confirm an event; ``every()``: show all; ``close()``: choose none. */
  constructor(root, { ask, every, close }) {
    this.root = root;
    this.ask = ask;
    this.title = make("h3", { id: "chosen-title", tabindex: "-1" });
    this.figures = make("p", { class: "figures" });
    this.why = make("p", { class: "why" });
    this.answer = make("p", { class: "answer", role: "status" });
    this.buttons = make("div", {
      class: "buttons",
      role: "group",
      "aria-labelledby": "chosen-title",
    });
    this.everyButton = make(
      "button",
      { type: "button", class: "quiet" },
      "Every event…",
    );
    this.closeButton = make("button", { type: "button", class: "quiet" }, "Close");
    this.everyButton.addEventListener("click", () => every());
    this.closeButton.addEventListener("click", () => close());
    root.append(
      make("div", { class: "what" }, this.title, this.figures, this.why, this.answer),
      this.buttons,
      make("div", { class: "more" }, this.everyButton, this.closeButton),
    );
    root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
    });
  }

  /** ``blocked``: why nothing can be asked for now; "" if it can. */
  draw(view, choice, blocked) {
    const subject = choice && subjectOf(view, choice);
    setText(this.title, subject ? subject.title : "Nothing chosen");
    const hint = view.read_only
      ? "Choose a node, a chassis or the fabric to see its figures."
      : "Choose a node, a chassis or the fabric to see its figures and its events.";
    setText(this.figures, subject ? subject.figures : hint);
    setText(this.why, blocked);
    setHidden(this.why, !blocked);
    setHidden(this.closeButton, !subject);
    setHidden(this.everyButton, Boolean(blocked) || !view.possible?.length);
    const possible = blocked || !subject ? [] : eventsOf(view, choice);
    const key = JSON.stringify(possible);
    if (key === this.key) return;
    this.key = key;
    this.replaceButtons(possible);
  }

  replaceButtons(possible) {
    const hadFocus = this.buttons.contains(document.activeElement);
    this.buttons.replaceChildren(
      ...possible.map((each) => {
        const kind = each.danger ? "danger" : "";
        const button = make(
          "button",
          { type: "button", class: kind, "data-event": each.kind },
          each.label,
        );
        button.addEventListener("click", () => this.ask(each));
        return button;
      }),
    );
    if (hadFocus) this.focus();
  }

  /** Where the keyboard goes when something was chosen by it. */
  focus() {
    (this.buttons.querySelector("button") ?? this.title).focus();
  }

  say(text, bad = false) {
    this.answer.classList.toggle("bad", bad);
    setText(this.answer, text);
  }
}

function subjectOf(view, { kind, name }) {
  if (kind === "fabric") return { title: "fabric", figures: fabricFigures(view) };
  if (kind === "chassis") {
    const chassis = view.chassis.find((each) => each.name === name);
    return chassis && { title: name, figures: chassisFigures(view, chassis) };
  }
  const node = view.nodes.find((each) => each.name === name);
  return node && { title: name, figures: nodeFigures(node) };
}

function fabricFigures(view) {
  const { connected, in_sync: inSync } = view.fabric;
  const state =
    connected === false
      ? "no controller"
      : inSync === false
        ? "not in sync"
        : "in sync";
  return [state, `${rate(view.totals.tier1_copies_per_s)} copies`].join(" · ");
}

function chassisFigures(view, chassis) {
  const sums = sumsOf(view.nodes.filter((node) => node.chassis === chassis.name));
  const troubles = chassisTroubles(chassis);
  return [
    ...(troubles.length ? troubles : ["in service"]),
    counted(sums.nodes, "node"),
    counted(sums.established, "connection"),
    ...trouble(sums),
    `${rate(chassis.copies_per_s)} copies`,
  ].join(" · ");
}

function nodeFigures(node) {
  return [
    nodeState(node),
    counted(node.established, "connection"),
    `${count(node.moved)} moved`,
    `${count(node.half_open)} half-open`,
    `${counted(node.strays, "stray")} (${rate(node.strays_per_s)})`,
    `${counted(node.resets, "reset")}`,
    `${counted(node.copies, "copy", "copies")} (${rate(node.copies_per_s)})`,
  ].join(" · ");
}

/** The events of what is chosen. What is to be added has no cell: its place offers it. */
export function eventsOf(view, { kind, name }) {
  const chassis = new Set(view.chassis.map((each) => each.name));
  const nodes = new Set(view.nodes.map((each) => each.name));
  return (view.possible ?? []).filter(({ target }) => {
    if (target === name) return true;
    if (nodes.has(target) || chassis.has(target)) return false;
    const place = /^(c\d+)n\d+$/.exec(target)?.[1] ?? "fabric";
    return place === name && kind !== "node";
  });
}
