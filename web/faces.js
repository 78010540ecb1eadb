// The faces that FaceMaskPrep found, on the node: a click on one chooses it.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { chain } from "./graph.js"
import { say } from "./words.js"

const NAME = "joyhallo_faces"
const CHOICE = "which_face"
const LINE = 24 // pixels, below the picture
const MARGIN = 10 // that ComfyUI leaves at each side of an element
const TALLEST = 480

const views = new WeakMap() // by node

/** found: {image: {filename, subfolder, type}, faces: [[left, top, right, bottom] in 0..1], chosen: number or null} */
export function showFaces(node, found) {
  if (!found?.image?.filename || typeof node?.addDOMWidget !== "function") return
  if (views.get(node)?.found === found) return
  if (!views.has(node)) views.set(node, new View(node))
  views.get(node).show(found)
}

class View {
  constructor(node) {
    this.node = node
    this.picture = make("img", "joyhallo-picture", { draggable: false })
    this.frame = make("div", "joyhallo-frame")
    this.status = make("p", "joyhallo-status", { role: "status" })
    const stage = make("div", "joyhallo-stage")
    stage.append(this.frame)
    this.element = make("div", "joyhallo-faces")
    this.element.append(stage, this.status)
    this.picture.addEventListener("load", () => this.measure())
    this.picture.addEventListener("error", () => this.vanish()) // temporary files do not outlive the server
    style()
  }

  show(found) {
    this.found = found
    const { filename, subfolder = "", type = "temp" } = found.image
    this.picture.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)
    this.picture.alt = say("picture")
    this.buttons = (found.faces ?? []).map((box, number) => this.button(box, number))
    this.frame.replaceChildren(this.picture, ...this.buttons)
    this.mark()
  }

  button([left, top, right, bottom], number) {
    const button = make("button", "joyhallo-face", { type: "button" })
    const share = (value) => `${100 * Math.min(1, Math.max(0, value))}%`
    Object.assign(button.style, {
      left: share(left),
      top: share(top),
      right: share(1 - right),
      bottom: share(1 - bottom),
    })
    button.disabled = !this.choices().includes(`${number}`)
    button.addEventListener("click", () => this.choose(number))
    // Else the canvas would drag the node, or itself while the space bar is held.
    button.addEventListener("pointerdown", (event) => event.stopPropagation())
    button.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && event.stopPropagation())
    return button
  }

  /** The node takes the picture's height only once it is known. */
  measure() {
    const { naturalWidth, naturalHeight } = this.picture
    this.ratio = naturalWidth / naturalHeight || 1
    this.element.style.setProperty("--joyhallo-ratio", this.ratio)
    this.place()
    const [width, height] = this.node.size
    const needed = this.node.computeSize()[1]
    if (needed > height) this.node.setSize([width, needed])
    app.canvas?.setDirty?.(true, true)
  }

  /** Below all others and not saved, so that what workflows hold stays as it was. */
  place() {
    if (this.node.widgets?.some(({ name }) => name === NAME)) return
    const widget = this.node.addDOMWidget(NAME, NAME, this.element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.height(),
      getValue: () => "",
      setValue: () => {},
    })
    widget.serialize = false
    const choice = this.choice()
    if (choice) chain(choice, "callback", () => this.mark())
  }

  /** As high as the picture is at the node's width; one that stands upright gets a square. */
  height() {
    const picture = (this.node.size[0] - 2 * MARGIN) / Math.max(1, this.ratio ?? 1)
    return Math.min(TALLEST, picture) + LINE + 2 * MARGIN
  }

  vanish() {
    const number = this.node.widgets?.findIndex(({ name }) => name === NAME) ?? -1
    if (number < 0) return
    this.node.widgets[number].onRemove?.()
    this.node.widgets.splice(number, 1)
  }

  // ---- choosing

  choice = () => this.node.widgets?.find(({ name }) => name === CHOICE)

  choices() {
    const values = this.choice()?.options?.values
    return (typeof values === "function" ? values(this.choice(), this.node) : values)?.map(String) ?? []
  }

  linked = () => this.node.inputs?.some((input) => input.widget?.name === CHOICE && input.link != null)

  /** A number that was chosen is that of the next run; else it is known who spoke in the last one. */
  next() {
    const value = this.linked() ? "" : `${this.choice()?.value}`
    return /^\d+$/.test(value) ? Number(value) : this.found.chosen
  }

  choose(number) {
    if (this.linked()) return this.tell(say("linked"))
    set(this.node, this.choice(), `${number}`)
    this.mark()
  }

  mark() {
    const next = this.next()
    this.buttons.forEach((button, number) => {
      const words = button.disabled ? "beyond" : number === next ? "speaks" : "choose"
      button.setAttribute("aria-pressed", number === next)
      button.setAttribute("aria-label", say(words, number))
      button.title = say(words, number)
    })
    if (this.buttons.length && next !== null && next !== this.found.chosen) this.tell(say("chosen", next))
    else if (this.found.chosen === null && this.buttons.length) this.tell(say("which"))
    else this.tell(this.buttons.length > 1 ? say("another") : "")
  }

  tell(words) {
    this.status.textContent = words
  }
}

/** As if it had been chosen in the widget itself, so that undo and whatever else listens takes notice. */
function set(node, widget, value) {
  const canvas = app.canvas
  canvas?.emitBeforeChange?.()
  try {
    if (typeof widget.setValue === "function") widget.setValue(value, { e: undefined, node, canvas })
    else {
      widget.value = value
      widget.callback?.(value, canvas, node)
    }
  } finally {
    canvas?.emitAfterChange?.()
  }
  canvas?.setDirty?.(true, true)
}

function make(tag, name, more = {}) {
  const element = document.createElement(tag)
  element.className = name
  for (const [key, value] of Object.entries(more)) key in element ? (element[key] = value) : element.setAttribute(key, value)
  return element
}

function style() {
  const address = new URL("faces.css", import.meta.url).href
  if (document.querySelector(`link[href="${address}"]`)) return
  document.head.append(make("link", "", { rel: "stylesheet", href: address }))
}
