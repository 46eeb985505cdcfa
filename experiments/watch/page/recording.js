// The views of the last minutes; pure. One for each second, the last of it, with the
// peaks of the second: half-open connections may live for milliseconds only.

const KEPT_S = 600;
const PEAKS = [
  "established",
  "moved",
  "half_open",
  "strays_per_s",
  "resets_per_s",
  "tier1_copies_per_s",
  "tier2_copies_per_s",
];

/** Views in the order of time. An entry: ``t``, ``view``, ``full`` and ``peaks``. */
export class Recording {
  constructor() {
    this.entries = [];
  }

  get latest() {
    return this.entries.at(-1) ?? null;
  }

  /** Takes up what the server remembers, older than what is here already. */
  addHistory(views) {
    const own = this.entries;
    const first = views[0]?.t ?? Infinity;
    this.entries = own.filter((entry) => entry.t < first);
    for (const view of views) this.add(view);
  }

  /** Takes up one view. Where the clock was set back, what is later now is forgotten. */
  add(view) {
    while (this.latest?.t > view.t) this.entries.pop();
    const last = this.latest;
    const sameSecond = last !== null && Math.floor(last.t) === Math.floor(view.t);
    const full = view.nodes ? shared(view, last?.full ?? null) : (last?.full ?? null);
    const entry = {
      t: view.t,
      view: view.nodes ? full : view,
      full,
      peaks: peaksOf(view.totals ?? {}, sameSecond ? last.peaks : {}),
    };
    if (sameSecond) this.entries[this.entries.length - 1] = entry;
    else this.entries.push(entry);
    this.forget(view.t - KEPT_S);
  }

  forget(before) {
    const old = this.entries.findIndex((entry) => entry.t >= before);
    if (old > 0) this.entries.splice(0, old);
    const [previous] = this.entries.slice(-2);
    if (previous && previous !== this.latest) thin(previous);
  }

  /** What was seen at that time: the last entry up to it. */
  at(seconds) {
    let found = this.entries[0] ?? null;
    for (const entry of this.entries) {
      if (entry.t > seconds) break;
      found = entry;
    }
    return found;
  }

  /**
   * ``bins`` values of a figure, for ``span`` seconds until ``end``: the peak of each bin.
   * Where nothing changed the value stays as it was; before the first it is null.
   */
  course(key, end, span, bins) {
    const values = new Array(bins).fill(null);
    let last = null;
    let filled = 0;
    const fill = (bin) => {
      while (filled < bin) values[filled++] ??= last;
    };
    for (const entry of this.entries) {
      if (entry.t > end) break;
      const bin = Math.ceil(((entry.t - (end - span)) / span) * bins) - 1;
      fill(bin);
      const peak = entry.peaks[key] ?? null;
      if (bin >= 0 && peak !== null)
        values[bin] = Math.max(values[bin] ?? last ?? 0, peak);
      last = entry.full?.totals[key] ?? null;
    }
    fill(bins);
    return values;
  }
}

function peaksOf(totals, others) {
  const peaks = {};
  for (const key of PEAKS) {
    const value = totals[key] ?? null;
    const other = others[key] ?? null;
    peaks[key] = value === null ? other : Math.max(value, other ?? 0);
  }
  return peaks;
}

/** What is only of use while it is new is not kept. */
function thin(entry) {
  if (entry.full && entry.full === entry.view && entry.full.possible?.length) {
    entry.view = entry.full = { ...entry.full, possible: [], log: [] };
  }
}

/** The view with the nodes of the one before where they are equal: 600 views fit. */
function shared(view, before) {
  if (!before || before.nodes.length !== view.nodes.length) return view;
  const nodes = view.nodes.map((node, index) =>
    equal(node, before.nodes[index]) ? before.nodes[index] : node,
  );
  return { ...view, nodes };
}

function equal(one, other) {
  for (const key in one) if (one[key] !== other[key]) return false;
  return true;
}
