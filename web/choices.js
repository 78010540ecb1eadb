// The choices of combos in the user's language: ComfyUI translates names and tooltips, but not choices.
// Only the labels change. Values, and with them workflows, are the same in every language.

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

/** The contents of locales/<language>/nodeDefs.json; empty if it cannot be fetched. */
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
