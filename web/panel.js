// What nodes show below their widgets; a panel with nothing to show takes no room.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"

const LINE = 24 // pixels, below the picture
const MARGIN = 10 // that ComfyUI leaves at each side of an element
const TALLEST = 480

export class Panel {
  /** Added when the node is created, as some versions overlook widgets added later. */
  constructor(node, name) {
    this.node = node
    this.element = make("div", "joyhallo-panel", { hidden: true })
    // Not saved, and below all others, so that saved workflows stay unchanged.
    const widget = node.addDOMWidget(name, name, this.element, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => (this.element.hidden ? 0 : this.height() + 2 * MARGIN),
      getMaxHeight: () => (this.element.hidden ? 0 : undefined),
      getValue: () => "",
      setValue: () => {},
    })
    widget.serialize = false
    style()
  }

  /** Grows the node if needed; Nodes 2.0 do that themselves. */
  fit() {
    const [width, height] = this.node.size
    const needed = window.LiteGraph?.vueNodesMode ? 0 : this.node.computeSize()[1]
    if (needed > height) this.node.setSize([width, needed])
    app.canvas?.setDirty?.(true, true)
  }
}

/** Rows of words and buttons, as tall as they are at the node's width. */
export class TextPanel extends Panel {
  constructor(node, name) {
    super(node, name)
    this.rows = make("div", "joyhallo-rows")
    this.element.append(this.rows)
    new ResizeObserver(() => this.fit()).observe(this.rows)
  }

  height() {
    return this.rows.offsetHeight
  }

  fill(...rows) {
    this.rows.replaceChildren(...rows)
    this.element.hidden = !rows.length
    this.fit()
  }
}

/** A picture with a line of text below it. */
export class PicturePanel extends Panel {
  constructor(node, name) {
    super(node, name)
    this.ratio = 1
    this.picture = make("img", "joyhallo-picture", { draggable: false })
    this.frame = make("div", "joyhallo-frame")
    this.line = make("p", "joyhallo-line", { role: "status" })
    this.stage = make("div", "joyhallo-stage", { hidden: true })
    this.stage.append(this.frame)
    this.element.append(this.stage, this.line)
    this.picture.addEventListener("load", () => this.appear())
    this.picture.addEventListener("error", () => this.vanish()) // temporary files do not outlive the server
  }

  show({ filename, subfolder = "", type = "temp" }, words) {
    this.picture.alt = words
    this.picture.src = api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`)
  }

  say(words) {
    this.line.textContent = words
  }

  appear() {
    this.ratio = this.picture.naturalWidth / this.picture.naturalHeight || 1
    this.element.style.setProperty("--joyhallo-ratio", this.ratio)
    this.element.hidden = this.stage.hidden = false
    this.fit()
  }

  vanish() {
    this.element.hidden = this.stage.hidden = true
    this.fit()
  }

  /** The picture's height at the node's width; an upright picture gets a square. */
  height() {
    const picture = this.stage.hidden ? 0 : (this.node.size[0] - 2 * MARGIN) / Math.max(1, this.ratio)
    return Math.min(TALLEST, picture) + (this.line.textContent ? LINE : 0)
  }
}

export function make(tag, name, more = {}) {
  const element = document.createElement(tag)
  element.className = name
  for (const [key, value] of Object.entries(more)) {
    if (key in element) element[key] = value
    else element.setAttribute(key, value)
  }
  return element
}

export function style() {
  const address = new URL("joyhallo.css", import.meta.url).href
  if (document.querySelector(`link[href="${address}"]`)) return
  document.head.append(make("link", "", { rel: "stylesheet", href: address }))
}
