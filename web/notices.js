// On nodes that found something doubtful: a line for each notice, below the widgets, until a run finds nothing. In
// Chinese also what stopped the node.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { chain, everyNode, nodeAt } from "./graph.js"
import { recall, remember } from "./memory.js"
import { make, TextPanel } from "./panel.js"
import { say } from "./words.js"

const KEY = "joyhallo_notices"
const NODES = [
  ...["AlignSound", "ChineseWav2Vec2Encode", "CompareVideos", "CutFaces", "EvaluationReport", "FaceMaskPrep"],
  ...["JoyHalloMotion", "JoyHalloSampler", "JoyHalloTurns", "LoadJoyHalloModels", "LoadRedubModel", "PasteFaces"],
  ...["PuppetPortrait", "RedubLips", "SaveTalkingVideo", "ScoreLikeness", "ScoreLipSync", "ScoreVideo", "TrackFace"],
]

const strips = new WeakMap() // by node

app.registerExtension({
  name: "JoyHallo.Notices",

  setup() {
    // What was found in the run before need not be true of the one that begins, which may end in an error.
    api.addEventListener?.("executing", ({ detail }) => show(nodeAt(detail?.node ?? detail), []))
    api.addEventListener?.("execution_error", ({ detail }) => {
      const text = say("stopped", detail?.exception_message)
      if (text) show(nodeAt(detail.node_id), [{ key: "stopped", text }])
    })
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

class Notices extends TextPanel {
  constructor(node) {
    super(node, KEY)
    this.rows.setAttribute("role", "status")
  }

  /** notices: [{key, text, values}]; the text is in English */
  show(notices) {
    const texts = notices.map(({ key, text, values }) => say(`notice_${key}`, values) ?? text)
    this.fill(...texts.map((textContent) => make("p", "joyhallo-notice", { textContent })))
  }
}
