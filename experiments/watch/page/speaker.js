// The line that says what happened, also to screen readers: at most every few seconds, and
// of an event only when its consequences are over.

import { setText } from "./dom.js";
import { counted, outcome } from "./words.js";

const PAUSE_MS = 4000;
/** An event's consequences are told after this long, whatever still goes on. */
const LONGEST_MS = 8000;
const SHORTEST_MS = 1000;
/** Views: some 10 s at their fastest. */
const REMEMBERED = 40;

export class Speaker {
  constructor(element) {
    this.element = element;
    this.told = null;
    this.pending = [];
    /** How many resets there were, with the time. */
    this.resets = [];
    this.spokeAt = -Infinity;
  }

  /** Looks for news in the latest view. */
  hear(view) {
    if (!view.nodes) return;
    const events = view.events ?? [];
    if (this.told === null) {
      this.told = events.at(-1)?.t ?? 0;
      setText(this.element, atFirst(view));
    }
    for (const event of events) {
      if (event.t <= this.told) continue;
      this.told = event.t;
      this.pending.push({
        event,
        before: this.resetsAt(event.t),
        since: performance.now(),
      });
    }
    this.view = view;
    this.resets.push({ t: view.t, total: view.totals.resets });
    this.resets = this.resets.slice(-REMEMBERED);
    this.settle();
  }

  /** The resets up to that time, as far back as is remembered. */
  resetsAt(time) {
    const earlier = this.resets.filter(({ t }) => t <= time).at(-1);
    return (earlier ?? this.resets[0])?.total ?? null;
  }

  /** Tells of what is over; looks again later where it is not. */
  settle() {
    clearTimeout(this.timer);
    const now = performance.now();
    const halfOpen = this.view.totals.half_open;
    const [first] = this.pending;
    if (!first) return;
    const age = now - first.since;
    const over = age > LONGEST_MS || (age > SHORTEST_MS && halfOpen === 0);
    if (over && now - this.spokeAt > PAUSE_MS) this.tell(halfOpen);
    if (this.pending.length) this.timer = setTimeout(() => this.settle(), 250);
  }

  tell(halfOpen) {
    const { totals, events } = this.view;
    const [first] = this.pending;
    const others = this.pending.length - 1;
    const event = events.find(({ t }) => t === first.event.t) ?? first.event;
    const known = first.before !== null && totals.resets !== null;
    const resets = known ? totals.resets - first.before : null;
    const more = others ? ` ${counted(others, "other event")} since.` : "";
    this.pending = [];
    this.say(outcome(event, resets, halfOpen) + more);
  }

  say(text) {
    this.spokeAt = performance.now();
    setText(this.element, text);
  }
}

/** Says nothing that changes soon: the figures stand below. */
function atFirst({ cluster, chassis, nodes }) {
  const size = [counted(chassis.length, "chassis", "chassis"), counted(nodes.length, "node")];
  return `Watching ${cluster.name}: ${size.join(", ")}.`;
}
