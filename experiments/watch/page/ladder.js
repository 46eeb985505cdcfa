// The ladder diagram of the latest reset: the server draws it, the page shows it.

import { make, setAttribute, setHidden, setText } from "./dom.js";
import { clock, resetSentence } from "./words.js";

export class LadderView {
  constructor(root) {
    this.words = make("p", { class: "note" });
    this.picture = make("img", { alt: "" });
    this.link = make("a", { target: "_blank", rel: "noopener" }, this.picture);
    this.box = make(
      "div",
      {
        class: "scroll",
        role: "region",
        "aria-label": "Ladder diagram",
        tabindex: "0",
      },
      this.link,
    );
    this.picture.addEventListener("error", () => {
      setHidden(this.box, true);
      setText(this.gone, "The server has no ladder diagram of it any more.");
    });
    this.picture.addEventListener("load", () => {
      setHidden(this.box, false);
      setText(this.gone, "");
    });
    this.gone = make("p", { class: "note" });
    root.append(this.words, this.box, this.gone);
    setHidden(this.box, true);
  }

  draw(reset) {
    if (!reset) {
      setText(this.words, "No connection has been reset yet.");
      setHidden(this.box, true);
      this.serial = null;
      return;
    }
    setText(this.words, `${clock(reset.t)}. ${resetSentence(reset)}`);
    if (reset.serial === this.serial) return;
    this.serial = reset.serial;
    const address = `/ladder/${reset.serial}.svg`;
    setAttribute(this.picture, "src", address);
    setAttribute(this.picture, "alt", `Ladder diagram. ${resetSentence(reset)}`);
    setAttribute(this.link, "href", address);
  }
}
