// On FaceMaskPrep and TrackFace: the faces they found; a click on one chooses it.

import { chain, set } from "./graph.js"
import { make, PicturePanel } from "./panel.js"
import { say } from "./words.js"

const CHOICE = "which_face"

export class Faces extends PicturePanel {
  constructor(node) {
    super(node, "joyhallo_faces")
    this.buttons = []
    this.found = { chosen: null }
    if (this.choice()) chain(this.choice(), "callback", () => this.mark())
  }

  /** found: {image: {filename, subfolder, type}, faces: [[left, top, right, bottom] in 0..1], chosen: number or null} */
  show(found) {
    if (!found?.image?.filename) return
    super.show(found.image, say("picture"))
    this.found = found
    this.buttons = (found.faces ?? []).map((box, number) => this.button(box, number))
    this.frame.replaceChildren(this.picture, ...this.buttons)
    this.mark()
  }

  button([left, top, right, bottom], number) {
    const button = make("button", "joyhallo-face", { type: "button" })
    const edges = { left, top, right: 1 - right, bottom: 1 - bottom }
    for (const [edge, share] of Object.entries(edges)) button.style[edge] = `${100 * Math.min(1, Math.max(0, share))}%`
    button.disabled = !this.choices().includes(`${number}`)
    button.addEventListener("click", () => this.choose(number))
    // Otherwise the canvas would drag the node, or itself while the space bar is held.
    button.addEventListener("pointerdown", (event) => event.stopPropagation())
    button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && event.stopPropagation())
    return button
  }

  choice() {
    return this.node.widgets?.find(({ name }) => name === CHOICE)
  }

  choices() {
    const values = this.choice()?.options?.values
    return Array.isArray(values) ? values.map(String) : []
  }

  linked() {
    return this.node.inputs?.some((input) => input.widget?.name === CHOICE && input.link != null)
  }

  choose(number) {
    if (this.linked()) return this.say(say("linked"))
    set(this.node, this.choice(), `${number}`)
    this.mark()
  }

  /** The face chosen by number for the next run; otherwise the one that spoke in the last run. */
  next() {
    const value = this.linked() ? "" : `${this.choice()?.value}`
    return /^\d+$/.test(value) ? Number(value) : this.found.chosen
  }

  mark() {
    const next = this.next()
    for (const [number, button] of this.buttons.entries()) {
      const words = button.disabled ? "beyond" : number === next ? "speaks" : "choose"
      button.setAttribute("aria-pressed", number === next)
      button.setAttribute("aria-label", say(words, number))
      button.title = say(words, number)
    }
    this.say(this.advice(next))
  }

  advice(next) {
    if (!this.buttons.length) return ""
    if (next !== null && next !== this.found.chosen) return say("chosen", next)
    if (next === null) return say("which")
    return this.buttons.length > 1 ? say("another") : ""
  }
}
