// On JoyHalloSampler: the plot of drift from chunk to chunk, and the time left where ComfyUI does not show it.

import { make, PicturePanel } from "./panel.js"
import { say } from "./words.js"

const SMALL = 72 // pixels: enough to see whether anything drifted

export class Drift extends PicturePanel {
  constructor(node) {
    super(node, "joyhallo_drift")
    this.button = make("button", "joyhallo-plot", { type: "button" })
    this.button.append(this.picture)
    this.frame.append(this.button)
    this.button.addEventListener("pointerdown", (event) => event.stopPropagation())
    this.button.addEventListener("click", () => this.enlarge(!this.large))
    this.enlarge(false)
  }

  /** image: {filename, subfolder, type} */
  show(image) {
    if (!image?.filename) return
    super.show(image, say("drift"))
    this.enlarge(this.large)
  }

  enlarge(large) {
    this.large = large
    this.element.classList.toggle("joyhallo-small", !large)
    this.button.title = say(large ? "smaller" : "larger")
    this.button.setAttribute("aria-expanded", large)
    this.say(large ? say("panels") : "")
    this.fit()
  }

  height() {
    return this.large ? super.height() : Math.min(SMALL, super.height())
  }

  /** Nodes 2.0 of some versions leave out what a node says while it runs; elsewhere it stands on the node by itself. */
  tell(text) {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const shown = this.element.closest("[data-node-id]")
      if (!shown || shown.textContent.includes(text)) return
      this.say(text)
      this.element.hidden = false
    }))
  }
}
