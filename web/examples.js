// The pack's own pictures, speech and film are copied into `input` when a workflow that names them is opened, so that
// they are seen before Run is pressed. Whoever runs it without the page gets them as well: see nodes/examples.py.
// A template that is opened for the first time shows the video's or the table's node, whatever the page's size.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { everyNode, root } from "./graph.js"

const AS_MADE = { scale: 0.68, offset: [110, 195] } // the view that templates are saved with
const SMALLEST = { width: 1366, height: 768 } // of screens, where the video lies beside or above the page's map
const EDGE = 10 // pixels
const READABLE = 0.6 // below this scale some pages draw no widgets
const BETWEEN_LOOKS = 250 // milliseconds
const MOST_LOOKS = 12 // then the user may have begun to move things
const OURS = /^joyhallo_[a-z_]+\.(png|wav|mp4)$/

let provided // once for each page
let fresh = false // whether a template is opened that nobody has moved or saved

app.registerExtension({
  name: "JoyHallo.Examples",

  async beforeConfigureGraph(graph) {
    // Undo configures the same graph again, whose view is the user's.
    fresh = graph?.id !== root()?.id && JSON.stringify(graph?.extra?.ds) === JSON.stringify(AS_MADE)
    const graphs = [graph, ...(graph?.definitions?.subgraphs ?? [])]
    const values = graphs.flatMap((one) => one?.nodes ?? []).flatMap((node) => node.widgets_values ?? [])
    if (values.some((value) => OURS.test(value))) await (provided ??= provide())
  },

  // The first nodes of some pages still have the list that was there before.
  loadedGraphNode(node) {
    for (const { value, options } of node.widgets ?? []) {
      const listed = options?.values
      if (OURS.test(value) && Array.isArray(listed) && !listed.includes(value)) listed.push(value)
    }
  },

  // Later, as Nodes 2.0 spread nodes when they first draw them, and some pages zoom out to show all nodes.
  afterConfigureGraph() {
    if (fresh) onceSettled(showVideo)
    fresh = false
  },
})

async function provide() {
  try {
    await api.fetchApi("/joyhallo/examples", { method: "POST" })
    await app.reloadNodeDefs?.() // newer pages call missing what is not listed
  } catch {
    provided = undefined // the server is gone, and the page says so itself
  }
}

// A slow machine takes seconds until it has drawn them.
function onceSettled(act, before = "", looks = MOST_LOOKS) {
  const look = () => {
    const places = JSON.stringify(everyNode().map(({ pos, size }) => [...pos, ...size]))
    if (places === before || !looks) act()
    else onceSettled(act, places, looks - 1)
  }
  setTimeout(() => requestAnimationFrame(look), BETWEEN_LOOKS)
}

function showVideo() {
  const { ds, canvas } = app.canvas
  const { clientWidth: width, clientHeight: height } = canvas
  const { scale, offset: [left, top] } = AS_MADE
  const larger = Math.max(1, Math.min(width / SMALLEST.width, height / SMALLEST.height))
  const right = Math.max(...everyNode().filter(isSaving).map(({ pos, size }) => pos[0] + size[0]))
  ds.scale = Math.min(scale * larger, Math.max(READABLE, (width - EDGE - left * scale) / right))
  // As far beside and below the page's own buttons at any scale, but for what is too wide for the page.
  ds.offset[0] = Math.min((left * scale) / ds.scale, (width - EDGE) / ds.scale - right)
  ds.offset[1] = (top * scale) / ds.scale
  app.canvas.setDirty(true, true)
}

const isSaving = ({ comfyClass }) => ["SaveTalkingVideo", "EvaluationReport"].includes(comfyClass)
