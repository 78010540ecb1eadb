// On nodes that found something doubtful: a line for each notice, below the widgets, until a run finds nothing.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { chain, everyNode, nodeAt } from "./graph.js"
import { recall, remember } from "./memory.js"
import { make, style } from "./panel.js"
import { say } from "./words.js"

const KEY = "joyhallo_notices"
const NODES = ["ChineseWav2Vec2Encode", "FaceMaskPrep", "JoyHalloSampler"]

// As in joyhallo.css, in pixels.
const FONT = "12px sans-serif"
const LINE = 16
const SIGN = 26 // the width of the sign and of what is around the text
const GAP = 4 // below a notice
const MARGIN = 10 // that ComfyUI leaves at each side of an element

const strips = new WeakMap() // by node

app.registerExtension({
  name: "JoyHallo.Notices",

  setup() {
    // What was found in the run before need not be true of the one that begins, which may end in an error.
    api.addEventListener?.("executing", ({ detail }) => show(nodeAt(detail?.node ?? detail), []))
  },

  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass) || typeof node.addDOMWidget !== "function") return
    strips.set(node, new Notices(node))
    chain(node, "onExecuted", (output) => show(node, output?.[KEY]))
  },

  afterConfigureGraph() {
    for (const node of everyNode()) show(node, recall(node, KEY))
  },
})

function show(node, notices) {
  if (!Array.isArray(notices) || !strips.has(node)) return
  remember(node, KEY, notices)
  strips.get(node).show(notices)
}

class Notices {
  constructor(node) {
    this.node = node
    this.texts = []
    this.list = make("ul", "joyhallo-notices", { role: "status", hidden: true })
    // Not saved, and below all others, so that saved workflows stay unchanged.
    const widget = node.addDOMWidget(KEY, KEY, this.list, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.height(),
      getMaxHeight: () => this.height(),
      getValue: () => "",
      setValue: () => {},
    })
    widget.serialize = false
    style()
  }

  /** notices: [{key, text, values}]; the text is in English */
  show(notices) {
    this.texts = notices.map(({ key, text, values }) => say(`notice_${key}`, values) ?? text)
    this.list.replaceChildren(...this.texts.map((text) => make("li", "joyhallo-notice", { textContent: text })))
    this.list.hidden = !this.texts.length
    this.fit()
  }

  /** Reckoned, as nothing can be measured while the node is out of sight. */
  height() {
    if (!this.texts.length) return 0
    const width = this.node.size[0] - 2 * MARGIN - SIGN
    return this.texts.reduce((sum, text) => sum + lines(text, width) * LINE + GAP, 2 * MARGIN)
  }

  /** Grows the node if needed; Nodes 2.0 do that themselves. */
  fit() {
    const [width, height] = this.node.size
    const needed = window.LiteGraph?.vueNodesMode ? 0 : this.node.computeSize()[1]
    if (needed > height) this.node.setSize([width, needed])
    app.canvas?.setDirty?.(true, true)
  }
}

let pen

/** Lines that a text takes: broken between words, or between any two Chinese signs. */
function lines(text, width) {
  pen ??= document.createElement("canvas").getContext("2d")
  pen.font = FONT
  let [count, filled] = [1, 0]
  for (const [word] of text.matchAll(/[ -~]+? |[ -~]+|./gu)) {
    const wide = pen.measureText(word).width
    if (filled && filled + wide > width) [count, filled] = [count + 1, 0]
    filled += wide
  }
  return count
}
