// The page: what comes from the server goes into the recording, and what is to be shown of
// it, now or looking back, is drawn once a frame at most.

import { isList } from "./arrange.js";
import { Chosen } from "./chosen.js";
import { Confirmation, EveryEvent } from "./dialogs.js";
import { byId, make, setAttribute, setHidden, setText } from "./dom.js";
import { LadderView } from "./ladder.js";
import { Log } from "./log.js";
import { NodeTable } from "./node_table.js";
import { drawLegend, Picture, pictureSummary } from "./picture.js";
import { Recording } from "./recording.js";
import { Speaker } from "./speaker.js";
import { Stream } from "./stream.js";
import { Timeline } from "./timeline.js";
import { Totals } from "./totals.js";

const PHASES = {
  up: "live",
  run: "live, read only",
  starting: "starting",
  absent: "no cluster",
};
const CONNECTIONS = {
  lost:
    "The server of this page does not answer. If it has ended, start it again with " +
    "“./resetbed watch”. This page connects again by itself.",
  refused:
    "Another server answers at this address. Open the address that “./resetbed watch” printed.",
};
/** More nodes than these are folded away at first where chassis are a list. */
const LISTED_NODES = 200;
/** Measures of drawing that the browser keeps for whoever wants to look at them. */
const MEASURES = 500;

class Page {
  constructor() {
    this.recording = new Recording();
    this.connection = "connecting";
    this.shownAt = null;
    this.choice = null;
    this.drawings = 0;
    this.totals = new Totals(byId("totals"));
    this.picture = new Picture(byId("map"), (...choice) => this.choose(...choice));
    this.confirmation = new Confirmation(byId("confirm"), (text, bad) =>
      this.chosen.say(text, bad),
    );
    this.every = new EveryEvent(byId("every"), (possible) =>
      this.confirmation.ask(possible),
    );
    this.chosen = new Chosen(byId("chosen"), {
      ask: (possible) => this.confirmation.ask(possible),
      every: () => this.every.show(this.recording.latest.full.possible),
      close: () => this.unchoose(),
    });
    this.table = new NodeTable(byId("table"));
    this.log = new Log(byId("log"));
    this.ladder = new LadderView(byId("ladder"));
    this.timeline = new Timeline(byId("timeline"), (seconds) => this.look(seconds));
    this.speaker = new Speaker(byId("said"));
    drawLegend(byId("legend"));
    byId("fold").addEventListener("click", () => this.fold(!this.folded));
    byId("confirm").addEventListener("close", () => this.keepFocus());
    new Stream({
      state: (state) => this.connected(state),
      history: (views) => this.received(() => this.recording.addHistory(views)),
      view: (view) => this.received(() => this.recording.add(view)),
    });
  }

  connected(state) {
    if (state === this.connection) return;
    this.connection = state;
    this.plan();
  }

  received(take) {
    take();
    const { latest } = this.recording;
    if (latest) this.speaker.hear(latest.view);
    this.plan();
  }

  /** Draws in the next frame; a page that nobody sees draws nothing. */
  plan() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const start = performance.now();
      this.draw();
      if (++this.drawings % MEASURES === 0) performance.clearMeasures("draw");
      performance.measure("draw", { start });
    });
  }

  draw() {
    const { latest } = this.recording;
    this.drawBanner(latest?.view ?? null);
    if (!latest) return;
    const entry = this.shownAt === null ? latest : this.recording.at(this.shownAt);
    const { full } = entry;
    const now = latest.full;
    this.drawHead(entry, full);
    setHidden(byId("main"), !full);
    if (!full) return;
    const end = this.shownAt ?? latest.t;
    this.totals.draw(full.totals, this.recording, end);
    this.picture.draw(full);
    if (this.folded === undefined) {
      this.fold(full.nodes.length > LISTED_NODES && isList(byId("map").clientWidth));
    }
    setText(byId("picture-title"), pictureSummary(full));
    this.chosen.draw(
      { ...full, possible: now.possible },
      this.choice,
      this.blocked(latest.view),
    );
    this.table.draw(full.nodes);
    this.log.draw(now.log ?? [], this.shownAt ?? Infinity);
    this.ladder.draw(full.latest_reset);
    const stale = this.connection !== "open" || !latest.view.nodes;
    this.timeline.draw(this.recording, this.shownAt, now.events ?? [], stale);
    this.drawCost(now.cost);
  }

  drawHead(entry, full) {
    const stale = this.connection !== "open" || !entry.view.nodes;
    document.body.classList.toggle("stale", stale);
    document.body.classList.toggle("back", this.shownAt !== null);
    this.drawPhase(entry.view.phase);
    if (!full) {
      setText(byId("cluster-name"), "No cluster");
      return;
    }
    const { cluster } = full;
    setText(byId("cluster-name"), cluster.name);
    document.title = `${cluster.name} – resetbed watch`;
    this.drawFacts(cluster);
  }

  drawFacts({ policy, balancer, workload, guard, datapath, healing }) {
    const heals = healing === null ? null : healing ? "on" : "off";
    const facts = { policy, balancer, workload, guard, datapath, healing: heals };
    const known = Object.entries(facts).filter(([, value]) => value);
    const key = JSON.stringify(known);
    if (key === this.facts) return;
    this.facts = key;
    const items = known.map(([name, value]) =>
      make("li", {}, `${name} `, make("b", {}, String(value))),
    );
    byId("facts").replaceChildren(...items);
  }

  drawPhase(phase) {
    let shown = [phase, PHASES[phase] ?? phase];
    if (this.shownAt !== null) shown = ["back", "looking back"];
    if (this.connection !== "open") shown = ["lost", "server lost"];
    setAttribute(byId("phase"), "data-phase", shown[0]);
    setText(byId("phase"), shown[1]);
  }

  /** What is wrong now, and its remedy. */
  drawBanner(view) {
    let text = CONNECTIONS[this.connection] ?? "";
    if (!text && (view?.phase === "absent" || view?.phase === "starting")) {
      text = view.message;
    }
    setText(byId("banner"), text);
    setHidden(byId("banner"), !text);
  }

  /** Why no event can be asked for; "" if one can. */
  blocked(view) {
    if (this.connection !== "open") return "The server does not answer.";
    if (!view.nodes) return "There is no cluster to change.";
    if (view.read_only)
      return "A run follows its spec: it cannot be changed from here.";
    return this.shownAt === null
      ? ""
      : "This is the past. “Live” leads back to the events.";
  }

  drawCost(cost) {
    const percent = (value) =>
      value === null || value === undefined ? "–" : `${value.toFixed(1)} %`;
    setText(
      byId("cost"),
      cost
        ? `Over the last ${cost.over_s} s the cluster used ${percent(cost.cluster_core_percent)} of a ` +
            `processor core to be observed, and this server ${percent(cost.watch_core_percent)}.`
        : "What the observation costs is not known yet.",
    );
  }

  choose(kind, name, byKeyboard) {
    this.choice = { kind, name };
    this.picture.mark(kind, name);
    this.chosen.say("");
    this.draw();
    if (byKeyboard) this.chosen.focus();
  }

  unchoose() {
    const { choice } = this;
    this.choice = null;
    this.picture.mark(null, null);
    this.chosen.say("");
    this.draw();
    if (choice) this.picture.button(choice.kind, choice.name)?.focus();
  }

  fold(folded) {
    this.folded = folded;
    setAttribute(byId("fold"), "aria-pressed", String(folded));
    this.picture.fold(folded);
  }

  look(seconds) {
    this.shownAt = seconds;
    this.plan();
  }

  /** The button that was pressed may be gone when its dialog closes. */
  keepFocus() {
    if (document.activeElement === document.body) this.chosen.focus();
  }
}

new Page();
