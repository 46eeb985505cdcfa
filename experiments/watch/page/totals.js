// The row of totals: each figure with its rate and its course over the last minutes.

import { make, makeSvg, setAttribute, setText } from "./dom.js";
import { count, rate } from "./words.js";

const SPAN_S = 300;
const BINS = 75;
const WIDTH = 150;
const HEIGHT = 26;

/** Key of the figure, what it is called, the key of its course, the kind of its mark. */
const FIGURES = [
  ["established", "Connections", "established", ""],
  ["moved", "Moved", "moved", "moved"],
  ["half_open", "Half-open", "half_open", "half-open"],
  ["strays", "Strays", "strays_per_s", "stray"],
  ["resets", "Resets", "resets_per_s", "reset"],
  ["tier1_copies", "Tier-1 copies", "tier1_copies_per_s", "tier-1"],
  ["tier2_copies", "Tier-2 copies", "tier2_copies_per_s", "tier-2"],
];

export class Totals {
  constructor(root) {
    this.tiles = FIGURES.map(([key, name, course, kind]) => {
      const tile = { key, course, gauge: key === course };
      tile.value = make("dd", { class: "value" });
      tile.rate = make("dd", { class: "rate" });
      tile.peakValue = make("span");
      if (tile.gauge) {
        tile.rate.append(
          tile.peakValue,
          make("span", { class: "wordy" }, ` in ${SPAN_S / 60} min`),
        );
      }
      tile.line = makeSvg("path");
      const drawing = makeSvg(
        "svg",
        {
          viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
          preserveAspectRatio: "none",
          "aria-hidden": "true",
        },
        tile.line,
      );
      const mark = make("i", { class: `mark ${kind}`, "aria-hidden": "true" });
      root.append(
        make(
          "div",
          { class: `total ${kind}`, "data-total": key },
          make("dt", {}, ...(kind ? [mark] : []), name),
          tile.value,
          tile.rate,
          make("dd", { class: "course" }, drawing),
        ),
      );
      return tile;
    });
  }

  draw(totals, recording, end) {
    const second = Math.floor(end);
    for (const tile of this.tiles) {
      setText(tile.value, count(totals[tile.key]));
      if (!tile.gauge) setText(tile.rate, `${rate(totals[tile.course])} now`);
      if (second === this.second && recording.latest?.peaks[tile.course] === tile.peak)
        continue;
      tile.peak = recording.latest?.peaks[tile.course];
      const values = recording.course(tile.course, end, SPAN_S, BINS);
      const most = Math.max(0, ...values.map((value) => value ?? 0));
      if (tile.gauge) setText(tile.peakValue, `peak ${count(most)}`);
      setAttribute(tile.line, "d", steps(values, most));
    }
    this.second = second;
  }
}

/** An area of steps, up from the bottom; nothing where nothing is known. */
function steps(values, most) {
  const wide = WIDTH / values.length;
  const parts = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const high = most ? Math.max(1, (value / most) * (HEIGHT - 2)) : 1;
    const left = (index * wide).toFixed(1);
    parts.push(
      `M${left} ${HEIGHT}v${(-high).toFixed(1)}h${wide.toFixed(1)}v${high.toFixed(1)}z`,
    );
  });
  return parts.join("");
}
