// The pack's own pictures and speech are copied into `input` when a workflow that names them is opened, so that they
// are seen before Run is pressed. Whoever runs it without the page gets them as well: see nodes/examples.py.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"

const OURS = /^joyhallo_[a-z_]+\.(png|wav)$/

app.registerExtension({
  name: "JoyHallo.Examples",

  async beforeConfigureGraph(graph) {
    const graphs = [graph, ...(graph?.definitions?.subgraphs ?? [])]
    const values = graphs.flatMap((one) => one?.nodes ?? []).flatMap((node) => node.widgets_values ?? [])
    if (!values.some((value) => OURS.test(value))) return
    try {
      await api.fetchApi("/joyhallo/examples", { method: "POST" })
      await app.reloadNodeDefs?.() // newer pages call missing what is not listed
    } catch {
      // The server is gone, and the page says so itself.
    }
  },
})
