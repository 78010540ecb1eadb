// On JoyHalloSampler: the plot of drift from chunk to chunk, and the time left where ComfyUI does not show it.

import { make, PicturePanel } from "./panel.js"
import { say } from "./words.js"

export class Drift extends PicturePanel {
  constructor(node) {
    super(node, "joyhallo_drift")
    this.link = make("a", "joyhallo-link", { target: "_blank" })
    this.link.append(this.picture)
    this.frame.append(this.link)
    this.link.addEventListener("pointerdown", (event) => event.stopPropagation())
  }

  /** image: {filename, subfolder, type} */
  show(image) {
    if (!image?.filename) return
    super.show(image, say("drift"))
    this.link.href = this.picture.src
    this.link.title = say("larger")
    this.say(say("panels"))
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
