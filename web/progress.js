// What is ahead of a node that makes a video, and how long it took, in ComfyUI's language. ComfyUI shows the text as it
// comes from the node, in English, so it is put into other words before that.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { nodeAt } from "./graph.js"
import { say } from "./words.js"

const NODES = ["JoyHalloSampler", "PasteFaces", "PuppetPortrait", "RedubLips"]

// By the names of their words.
const LINES = [
  ["ahead", /^(\d+) frames in (\d+) chunks?(?:, (\d+) of them finished earlier)?; up to (.+) on disk, where (.+) are free; (.+) of memory beside the weights, of (.+)\.$/],
  ["left", /^About (.+) left\.$/],
  ["made", /^Made in (.+), (.+) s for a second of video\.$/],
]

app.registerExtension({
  name: "JoyHallo.Progress",

  setup() {
    // Who captures is told first.
    api.addEventListener?.("progress_text", ({ detail }) => translate(detail), { capture: true })
  },
})

function translate(told) {
  if (!NODES.includes(nodeAt(told?.nodeId)?.comfyClass)) return
  for (const [name, line] of LINES) {
    const found = line.exec(told.text)
    if (found) told.text = say(name, ...found.slice(1)) ?? told.text
  }
}
