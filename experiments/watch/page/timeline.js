// The slider back over the last minutes, with a tick for each event.

import { make, makeSvg, setAttribute, setHidden, setText } from "./dom.js";
import { clock, duration, happened } from "./words.js";

export class Timeline {
  /** ``go(seconds)``: show that time; null is now. */
  constructor(root, go) {
    this.root = root;
    this.go = go;
    this.events = [];
    this.time = make("p", { class: "time", id: "timeline-time" });
    this.slider = make("input", {
      type: "range",
      step: "1",
      id: "timeline-slider",
      "aria-label": "Look back",
    });
    this.ticks = makeSvg("svg", {
      class: "ticks",
      viewBox: "0 0 1000 8",
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    this.earlier = make(
      "button",
      { type: "button", class: "quiet", "aria-label": "Previous event" },
      "‹",
      make("span", { class: "wordy" }, " Previous event"),
    );
    this.later = make(
      "button",
      { type: "button", class: "quiet", "aria-label": "Next event" },
      make("span", { class: "wordy" }, "Next event "),
      "›",
    );
    this.live = make(
      "button",
      { type: "button", "aria-pressed": "true", class: "live" },
      "Live",
    );
    this.slider.addEventListener("input", () => this.slid());
    this.earlier.addEventListener("click", () => this.jump(-1));
    this.later.addEventListener("click", () => this.jump(1));
    this.live.addEventListener("click", () => go(null));
    root.append(
      this.time,
      make("div", { class: "track" }, this.ticks, this.slider),
      make("div", { class: "buttons" }, this.earlier, this.later, this.live),
    );
  }

  slid() {
    const value = Number(this.slider.value);
    this.go(value >= Number(this.slider.max) ? null : value);
  }

  /** To what was seen a moment after the next event in that direction. */
  jump(direction) {
    const here = this.shownAt ?? Infinity;
    const times = this.events.map((event) => Math.ceil(event.t) + 1);
    const found =
      direction < 0
        ? times.filter((time) => time < here).at(-1)
        : times.find((time) => time > here);
    if (found !== undefined) this.go(found);
    else if (direction > 0) this.go(null);
  }

  draw(recording, shownAt, events, stale) {
    const [first] = recording.entries;
    const { latest } = recording;
    const start = Math.floor(first.t);
    const end = Math.max(Math.ceil(latest.t), start + 1);
    this.shownAt = shownAt;
    setHidden(this.root, false);
    setAttribute(this.slider, "min", String(start));
    setAttribute(this.slider, "max", String(end));
    const value = String(shownAt === null ? end : Math.round(shownAt));
    if (this.slider.value !== value) this.slider.value = value;
    const words =
      shownAt === null
        ? `${stale ? "Last seen" : "Live"}, ${clock(latest.t)}`
        : `${clock(shownAt)}, ${duration(latest.t - shownAt)} ago`;
    setText(this.time, shownAt === null ? words : `Shown: ${words}`);
    setAttribute(this.slider, "aria-valuetext", words);
    setAttribute(this.live, "aria-pressed", String(shownAt === null));
    this.drawTicks(
      events.filter((event) => event.t >= start),
      start,
      end,
    );
  }

  drawTicks(events, start, end) {
    this.events = events;
    const key = JSON.stringify([events, start, end]);
    if (key === this.key) return;
    this.key = key;
    this.ticks.replaceChildren(
      ...events.map((event) => {
        const x = (((event.t - start) / (end - start)) * 1000).toFixed(1);
        return makeSvg(
          "path",
          { d: `M${x} 0v8` },
          makeSvg("title", {}, happened(event)),
        );
      }),
    );
    this.earlier.disabled = this.later.disabled = events.length === 0;
  }
}
