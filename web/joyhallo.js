// What the nodes show on the canvas beyond what ComfyUI itself shows of them.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { showFaces } from "./faces.js"
import { chain, everyNode, nodeAt, outputOf, remember } from "./graph.js"

const KEY = "joyhallo_faces"

app.registerExtension({
  name: "JoyHallo",

  setup() {
    // Sent when a choice must be made before the node can go on: it ends in an error, so no output follows.
    api.addEventListener?.("joyhallo.faces", ({ detail }) => {
      const node = nodeAt(detail?.node)
      if (node?.comfyClass !== "FaceMaskPrep") return
      remember(node, KEY, [detail])
      showFaces(node, detail)
    })
  },

  nodeCreated(node) {
    if (node.comfyClass === "FaceMaskPrep") chain(node, "onExecuted", (output) => showFaces(node, output?.[KEY]?.[0]))
    // Some versions go by the inputs, and show a broken picture where frames alone are connected.
    if (node.comfyClass === "SaveTalkingVideo") node.previewMediaType = "video"
  },

  // Nodes are made anew by undo and when another tab is opened; ComfyUI puts the results back a little later.
  afterConfigureGraph() {
    for (const wait of [0, 300]) setTimeout(restore, wait)
  },
})

function restore() {
  for (const node of everyNode()) {
    if (node.comfyClass === "FaceMaskPrep") showFaces(node, outputOf(node)?.[KEY]?.[0])
  }
}
