// The two dialogs: confirm one event, and choose one of all that are possible.

import { make, setHidden, setText } from "./dom.js";
import { effect } from "./words.js";

/** Asks for a confirmation, sends the event, and shows the answer where it was asked. */
export class Confirmation {
  /** ``done(text, bad)`` is called with what became of it. */
  constructor(dialog, done) {
    this.dialog = dialog;
    this.done = done;
    this.title = make("h2", { id: "confirm-title" });
    this.effect = make("p", { id: "confirm-effect" });
    this.danger = make("p", { class: "failure" });
    this.error = make("p", { class: "error", role: "alert" });
    this.progress = make("p", { role: "status" });
    this.cancel = make("button", { type: "button", class: "quiet" }, "Cancel");
    this.go = make("button", { type: "button" });
    this.cancel.addEventListener("click", () => dialog.close());
    this.go.addEventListener("click", () => this.send());
    dialog.setAttribute("aria-describedby", "confirm-effect");
    dialog.append(
      this.title,
      this.effect,
      this.danger,
      this.error,
      this.progress,
      make("div", { class: "buttons" }, this.cancel, this.go),
    );
  }

  ask(possible) {
    this.possible = possible;
    setText(this.title, `${possible.label}?`);
    setText(this.effect, effect(possible));
    setText(this.danger, "This is a failure, not a planned change.");
    setHidden(this.danger, !possible.danger);
    setText(this.error, "");
    setText(this.progress, "");
    setText(this.go, possible.label);
    this.go.className = possible.danger ? "danger" : "primary";
    this.go.disabled = false;
    this.dialog.showModal();
    this.cancel.focus();
  }

  async send() {
    const asked = this.possible;
    this.go.disabled = true;
    setText(this.error, "");
    setText(this.progress, "The switches are being changed…");
    const error = await post({ kind: asked.kind, target: asked.target });
    const here = this.dialog.open && this.possible === asked;
    if (error === null) {
      this.done(`${asked.label}: done.`, false);
      if (here) this.dialog.close();
      return;
    }
    if (!here) {
      this.done(`${asked.label}: ${error}`, true);
      return;
    }
    setText(this.progress, "");
    setText(this.error, error);
    this.go.disabled = false;
  }
}

/** Sends an event; the text of what went wrong, or null. */
async function post(event) {
  try {
    const answer = await fetch("/event", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(event),
    });
    if (answer.ok) return null;
    const told = await answer.json().catch(() => ({}));
    return told.error ?? `The server answered with status ${answer.status}.`;
  } catch {
    return "The server of this page does not answer. Nothing is known of this event.";
  }
}

/** Every possible event: its kind, then its target. */
export class EveryEvent {
  constructor(dialog, ask) {
    this.dialog = dialog;
    this.kind = make("select", { id: "every-kind" });
    this.target = make("select", { id: "every-target" });
    const cancel = make("button", { type: "button", class: "quiet" }, "Cancel");
    const review = make("button", { type: "button", class: "primary" }, "Review…");
    this.kind.addEventListener("change", () => this.listTargets());
    cancel.addEventListener("click", () => dialog.close());
    review.addEventListener("click", () => {
      const chosen = this.possible.find(
        (each) => each.kind === this.kind.value && each.target === this.target.value,
      );
      dialog.close();
      if (chosen) ask(chosen);
    });
    dialog.append(
      make("h2", { id: "every-title" }, "Every possible event"),
      make(
        "div",
        { class: "fields" },
        make("label", { for: "every-kind" }, "Event"),
        this.kind,
        make("label", { for: "every-target" }, "Target"),
        this.target,
      ),
      make("div", { class: "buttons" }, cancel, review),
    );
  }

  show(possible) {
    this.possible = possible;
    const kinds = [...new Set(possible.map((each) => each.kind))];
    this.kind.replaceChildren(
      ...kinds.map((kind) => make("option", { value: kind }, kind)),
    );
    this.listTargets();
    this.dialog.showModal();
  }

  listTargets() {
    const targets = this.possible.filter((each) => each.kind === this.kind.value);
    this.target.replaceChildren(
      ...targets.map(({ target }) => make("option", { value: target }, target)),
    );
  }
}
