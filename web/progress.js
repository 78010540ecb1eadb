// What is ahead of a node that makes a video, and how long it took, in ComfyUI's language. ComfyUI shows the text as it
// comes from the node, in English, in a widget of the node; other words are put there before it is drawn.

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
    // Whether ComfyUI hears of the text before us is chance, so wait until all have.
    api.addEventListener?.("progress_text", ({ detail }) => queueMicrotask(() => translate(detail ?? {})))
  },
})

function translate({ nodeId, text }) {
  const node = nodeAt(nodeId)
  const translated = NODES.includes(node?.comfyClass) ? inWords(text) : text
  if (translated === text) return
  for (const widget of node.widgets ?? []) if (widget.value === text) widget.value = translated
}

/** A line that a node tells of its work; whatever else it tells stays as it is. */
export function inWords(text) {
  for (const [name, line] of LINES) {
    const found = line.exec(text)
    if (found) return say(name, ...found.slice(1)) ?? text
  }
  return text
}
