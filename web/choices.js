// What there is to choose from, in the reader's language: ComfyUI translates names and tooltips, but no choices.
// Only what is shown changes. Values, and with them workflows, are the same in every language.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"

let nodes = {}

app.registerExtension({
  name: "JoyHallo.Choices",

  async init() {
    const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en"
    if (language !== "en") nodes = await translated(language)
  },

  nodeCreated(node) {
    const inputs = nodes[node.comfyClass]?.inputs
    for (const widget of node.widgets ?? []) translate(widget, inputs?.[widget.name]?.options)
  },
})

/** What locales/<language>/nodeDefs.json holds; nothing where it cannot be had. */
async function translated(language) {
  try {
    const served = await (await api.fetchApi("/i18n")).json()
    return served[language]?.nodeDefs ?? {}
  } catch {
    return {}
  }
}

function translate(widget, words) {
  if (!words || !widget.options) return
  if (widget.type === "combo") widget.options.getOptionLabel = (value) => words[value] ?? `${value ?? ""}`
  else Object.assign(widget.options, words)
}
