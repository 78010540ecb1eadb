// The nodes' own additions to the canvas.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { Drift } from "./drift.js"
import { Faces } from "./faces.js"
import { chain, everyNode, nodeAt } from "./graph.js"
import { MissingLandmarker, MissingModels, MissingRedubModel, MissingSpeaker, MissingTracker } from "./missing.js"
import { recall, remember } from "./memory.js"
import { inWords } from "./progress.js"
import "./notices.js" // registered first, so that notices stand above pictures

// By class of node: the part of its output that is shown, and how.
const SHOWN = {
  FaceMaskPrep: { key: "joyhallo_faces", Panel: Faces },
  TrackFace: { key: "joyhallo_faces", Panel: Faces },
  JoyHalloSampler: { key: "joyhallo_drift", Panel: Drift },
}
// By class of node: what it needs files for.
const NEEDY = {
  LoadJoyHalloModels: MissingModels,
  LoadRedubModel: MissingRedubModel,
  PuppetPortrait: MissingLandmarker,
  TrackFace: MissingTracker,
  RedubLips: MissingSpeaker,
  CutFaces: MissingSpeaker,
  ScoreLipSync: MissingSpeaker,
  CompareVideos: MissingSpeaker,
}
const RESUMING = ["JoyHalloSampler", "RedubLips"]
const panels = new WeakMap() // by node
const needs = new WeakMap() // panels of missing files, by node

app.registerExtension({
  name: "JoyHallo",

  setup() {
    // Sent when a choice must be made before the node can go on: it ends in an error, so no output follows.
    api.addEventListener?.("joyhallo.faces", ({ detail }) => show(nodeAt(detail?.node), "joyhallo_faces", detail))
    api.addEventListener?.("progress_text", ({ detail }) => {
      panels.get(nodeAt(detail?.nodeId))?.tell?.(inWords(detail.text))
    })
    api.addEventListener?.("joyhallo.fetch", ({ detail }) => needy((panel) => panel.hear(detail)))
    api.addEventListener?.("execution_error", ({ detail }) => {
      for (const map of [panels, needs]) map.get(nodeAt(detail?.node_id))?.fail?.(detail.exception_message)
      needy((panel) => panel.ask())
    })
  },

  nodeCreated(node) {
    // Some versions go by the inputs, and show a broken picture where frames alone are connected.
    if (node.comfyClass === "SaveTalkingVideo") node.previewMediaType = "video"
    if (RESUMING.includes(node.comfyClass)) keepSeed(node)
    if (node.comfyClass === "LoadImage") chain(image(node) ?? {}, "callback", () => needy((panel) => panel.ask()))
    if (typeof node.addDOMWidget !== "function") return
    const Needy = NEEDY[node.comfyClass]
    if (Needy) needs.set(node, new Needy(node))
    const { key, Panel } = SHOWN[node.comfyClass] ?? {}
    if (!Panel) return
    panels.set(node, new Panel(node))
    chain(node, "onExecuted", (output) => show(node, key, output?.[key]?.[0]))
  },

  // Nodes are created again by undo, by a reload and when another tab is opened.
  afterConfigureGraph() {
    for (const node of everyNode()) {
      const { key } = SHOWN[node.comfyClass] ?? {}
      if (key) show(node, key, recall(node, key))
    }
    needy((panel) => panel.ask())
  },
})

const image = (node) => node.widgets?.find(({ name }) => name === "image")

/** A stopped video resumes only with its own seed. A workflow's saved value is set after this. */
function keepSeed(node) {
  const control = node.widgets?.find(({ name }) => name === "control_after_generate")
  if (control) control.value = "fixed"
}

function needy(act) {
  for (const node of everyNode()) if (needs.has(node)) act(needs.get(node))
}

function show(node, key, result) {
  if (!result || !panels.has(node) || SHOWN[node.comfyClass].key !== key) return
  remember(node, key, result)
  panels.get(node).show(result)
}
