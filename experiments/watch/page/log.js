// The cluster's log: new lines are added below; who reads further up is left there.

import { make, unseen } from "./dom.js";
import { clock } from "./words.js";

const SHOWN = 100;

export class Log {
  constructor(list) {
    this.list = list;
    this.keys = [];
  }

  /** ``until``: later lines are left out; Infinity for none. */
  draw(lines, until) {
    const shown = lines.filter((line) => line.t <= until).slice(-SHOWN);
    const keys = shown.map((line) => `${line.t} ${line.text}`);
    if (keys.length === this.keys.length && keys.at(-1) === this.keys.at(-1)) return;
    const { list } = this;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 8;
    const gone = keys.length ? this.keys.indexOf(keys[0]) : -1;
    const kept = gone < 0 ? [] : this.keys.slice(gone);
    if (gone < 0 || kept.some((key, index) => key !== keys[index])) {
      list.replaceChildren(...shown.map(lineOf));
    } else {
      for (let line = 0; line < gone; line++) list.firstElementChild.remove();
      list.append(...shown.slice(kept.length).map(lineOf));
    }
    this.keys = keys;
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

function lineOf(line) {
  const warning = line.level === "warning";
  const time = new Date(line.t * 1000).toISOString();
  return make(
    "li",
    { class: line.level },
    make("time", { datetime: time }, clock(line.t)),
    make("span", {}, ...(warning ? [unseen("Warning: ")] : []), line.text),
  );
}
