// On nodes that need files: those that are missing, and a button that fetches them. On LoadJoyHalloModels also the
// small model instead; on LoadRedubModel the chosen file; on PuppetPortrait, TrackFace, RedubLips, CutFaces,
// ScoreLipSync and CompareVideos the face landmarker, where nothing else tells where the face is.

import { api } from "../../scripts/api.js"
import { app } from "../../scripts/app.js"
import { chain, everyNode, set } from "./graph.js"
import { make, TextPanel } from "./panel.js"
import { amount, say } from "./words.js"

const CHOICES = ["checkpoint", "audio_encoder", "face_models", "vae"]
const SMALL = "demo"
const MOST_UNREADABLE = 3 // the server's log has all

// What suits the small model. What was set before is kept in the loader, and comes back with the full one.
const SUITS_SMALL = {
  LoadJoyHalloModels: { checkpoint: SMALL, audio_encoder: SMALL, face_models: SMALL, vae: SMALL, download: false },
  FaceMaskPrep: { identity: "neutral" },
  JoyHalloSampler: { preset: "exact", steps: 2, cfg: 1, lip_weight: 1.5, size: 128 },
}
const SUITS_FULL = {
  LoadJoyHalloModels: {
    checkpoint: "joyhallo/net.pth",
    audio_encoder: "chinese-wav2vec2-base",
    face_models: "face_analysis",
    vae: "sd-vae-ft-mse/diffusion_pytorch_model.safetensors",
  },
  FaceMaskPrep: { identity: "from the picture" },
  JoyHalloSampler: { preset: "balanced", steps: 0, cfg: 3.5, lip_weight: 1, size: 512 },
}
const KEPT = "joyhallo_before" // in the loader's properties: [node, widget, value]
const EXAMPLE = "joyhallo_portrait.png" // of those that the small model knows
const EXAMPLES = [EXAMPLE, "joyhallo_couple.png"]

// Of redub models, by the folders they are fetched into. MuseTalk's asks for nothing.
const LICENCES = { wav2lip: "personal", latentsync: "openrail" }

class Missing extends TextPanel {
  constructor(node) {
    super(node, "joyhallo_missing")
    this.found = { files: [], unreadable: [], fetching: { state: "idle" } }
  }

  widget(name) {
    return this.node.widgets?.find((widget) => widget.name === name)
  }

  /** Asks the server soon: a workflow that is opened sets one widget after the other. */
  ask() {
    clearTimeout(this.asking)
    this.asking = setTimeout(() => this.learn(), 100)
  }

  async learn() {
    const turn = (this.turn = (this.turn ?? 0) + 1)
    const { fetching } = this.found
    try {
      const answer = await api.fetchApi(`/joyhallo/models?${new URLSearchParams(this.choices())}`)
      if (!answer.ok) return
      const found = await answer.json()
      if (turn !== this.turn) return // asked again since
      // What was heard meanwhile is newer than this answer.
      this.found = this.found.fetching === fetching ? found : { ...found, fetching: this.found.fetching }
      this.show()
    } catch {
      // The server is gone, and the page says so itself.
    }
  }

  /** fetching: {state, done, total, message} */
  hear(fetching) {
    this.found.fetching = fetching
    if (fetching.state === "done") this.ask()
    this.show()
  }

  /** Only when something changed. */
  show() {
    const shown = JSON.stringify([this.found, this.state()])
    if (shown === this.shown) return
    this.shown = shown
    const needed = this.found.files.filter((file) => file.needed)
    const instead = this.instead()
    if (instead) return this.fill(...instead)
    if (this.found.fetching.state === "running") return this.progress()
    if (!needed.length) return this.fill(...this.unreadable())
    this.fill(...this.list(needed), ...this.trouble(), this.buttons(), ...this.unreadable())
  }

  /** Files that the lists lack because nobody can read them, which their owner would look for. */
  unreadable() {
    const { unreadable } = this.found
    if (!unreadable.length) return []
    const list = make("ul", "joyhallo-files")
    const shown = unreadable.slice(0, MOST_UNREADABLE)
    list.append(...shown.map((textContent) => make("li", "joyhallo-note", { textContent })))
    return [make("p", "joyhallo-title", { textContent: say("unreadable", unreadable.length) }), list]
  }

  list(needed) {
    const { files } = this.found
    const rows = files.map(({ name, size, licence, page, needed }) => {
      const row = make("li", "joyhallo-file", { title: `${name}\n${page}` })
      const words = [size ? amount(size) : "", needed ? "" : say("optional"), licence ? this.terms() : ""]
      row.append(make("span", "joyhallo-name", { textContent: name.split("/").slice(-2).join("/") }))
      row.append(make("span", "joyhallo-note", { textContent: words.filter(Boolean).join(" · ") }))
      return row
    })
    const list = make("ul", "joyhallo-files")
    list.append(...rows)
    const total = files.reduce((sum, { size }) => sum + (size ?? 0), 0)
    const title = make("p", "joyhallo-title", { textContent: this.title(needed.length) })
    const place = say("goes", amount(total), files[0].page.replace(/^\w+:\/\//, "").split("/")[0], files[0].folder)
    return [title, list, make("p", "joyhallo-note", { textContent: place })]
  }

  trouble() {
    const { state, message } = this.found.fetching
    const failed = () => say("stopped", message) || message
    const words = !this.concerned() ? "" : state === "failed" ? failed() : state === "cancelled" ? say("cancelled") : ""
    return words ? [make("p", "joyhallo-trouble", { textContent: words, role: "alert" })] : []
  }

  /** Whether it was one of these files that was fetched last, and not what another node lacks. */
  concerned() {
    const { names } = this.found.fetching
    return !names || this.found.files.some(({ name }) => names.includes(name))
  }

  buttons() {
    const row = make("div", "joyhallo-buttons")
    const again = this.concerned() && ["failed", "cancelled"].includes(this.found.fetching.state)
    const word = again ? "again" : this.verb
    row.append(this.button(say(word), () => this.fetch()), ...this.others())
    return row
  }

  /** The same elements all the time: a button that is replaced while it is pressed does nothing. */
  progress() {
    this.running ??= this.bar()
    const { done, total } = this.found.fetching
    const [title, bar] = this.running
    title.textContent = total ? say("fetched", amount(done), amount(total)) : say("fetching")
    Object.assign(bar, { max: total || 1, value: done })
    if (title.parentElement !== this.rows) this.fill(...this.running)
  }

  bar() {
    const row = make("div", "joyhallo-buttons")
    row.append(this.button(say("cancel"), () => this.send("cancel")))
    return [make("p", "joyhallo-title", { role: "status" }), make("progress", "joyhallo-progress"), row]
  }

  button(textContent, act) {
    const button = make("button", "joyhallo-button", { type: "button", textContent })
    button.addEventListener("click", act)
    button.addEventListener("pointerdown", (event) => event.stopPropagation()) // or the canvas drags the node
    return button
  }

  fetch() {
    this.hear({ state: "running", done: 0, total: 0, message: "" })
    return this.send("fetch")
  }

  async send(what) {
    const asked = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(this.choices()) }
    try {
      await api.fetchApi(`/joyhallo/models/${what}`, asked)
      await this.learn() // events may have come before this answer, so it is no news
    } catch (error) {
      this.hear({ state: "failed", done: 0, total: 0, message: `${error}` })
    }
  }

  // ---- what nodes differ in

  /** What the server is to look for. */
  choices() {
    return {}
  }

  /** What the panel depends on beside the files. */
  state() {
    return null
  }

  /** Rows in place of missing files; nothing if these are to be shown. */
  instead() {
    return null
  }

  title(count) {
    return say("missing", count)
  }

  /** What the licence of a file asks, in short. */
  terms() {
    return say("research")
  }

  get verb() {
    return "fetch"
  }

  /** Buttons beside that which fetches. */
  others() {
    return []
  }
}

export class MissingModels extends Missing {
  constructor(node) {
    super(node)
    for (const name of CHOICES) chain(this.widget(name) ?? {}, "callback", () => this.ask())
    this.ask()
  }

  choices() {
    return Object.fromEntries(CHOICES.map((name) => [name, `${this.widget(name)?.value ?? ""}`]))
  }

  state() {
    return this.widget("checkpoint")?.value
  }

  instead() {
    return this.state() === SMALL ? this.small() : null
  }

  others() {
    return [this.button(say("small"), () => this.use(SUITS_SMALL))]
  }

  small() {
    const row = make("div", "joyhallo-buttons")
    row.append(this.button(say("full"), () => this.use(SUITS_FULL)))
    return [make("p", "joyhallo-note", { textContent: say("drawings") }), row]
  }

  /** Sets the widgets of the whole workflow. */
  use(suits) {
    const before = this.node.properties?.[KEPT] ?? []
    const changes = everyNode().flatMap((node) => changed(node, suits))
    const kept = changes.map(([node, widget]) => [node.id, widget.name, widget.value])
    for (const [node, widget, value] of changes) set(node, widget, value)
    if (suits === SUITS_FULL) {
      for (const [id, name, value] of before) {
        const node = everyNode().find((node) => node.id === id)
        const widget = node?.widgets?.find((widget) => widget.name === name)
        if (widget) set(node, widget, value)
      }
    }
    this.node.properties[KEPT] = suits === SUITS_SMALL ? kept : undefined
    this.ask()
  }
}

export class MissingRedubModel extends Missing {
  get verb() {
    return this.found.files.filter(({ needed }) => needed).length > 1 ? "fetch" : "fetchOne"
  }

  constructor(node) {
    super(node)
    chain(this.widget("model") ?? {}, "callback", () => this.ask())
    this.ask()
  }

  choices() {
    return { node: this.node.comfyClass, model: `${this.widget("model")?.value ?? ""}` }
  }

  terms() {
    return "" // too long for a row
  }

  list(needed) {
    const licences = Object.entries(LICENCES).filter(([folder]) => needed.some(({ name }) => name.startsWith(folder)))
    const notes = licences.map(([, word]) => make("p", "joyhallo-note", { textContent: say(word) }))
    return [...super.list(needed), ...notes]
  }
}

export class MissingLandmarker extends Missing {
  get verb() {
    return "fetchOne"
  }

  constructor(node) {
    super(node)
    chain(node, "onConnectionsChange", () => this.ask())
    this.ask()
  }

  choices() {
    return { node: this.node.comfyClass }
  }

  title() {
    return say("landmarker")
  }

  /** After an error of the node: a picture need not be what its name says. */
  fail(message) {
    if (/landmarker is missing/.test(message)) this.refused = this.picture()
    this.ask()
  }

  /** Whether nothing else tells where the face is. */
  state() {
    const linked = (name) => this.node.inputs?.find((input) => input.name === name)?.link != null
    if (!linked("image") || linked("face") || linked("landmarks")) return false
    if (linked("lip_mask") && linked("face_mask")) return false
    const picture = this.picture()
    return !EXAMPLES.includes(picture) || picture === this.refused
  }

  instead() {
    return this.state() ? null : []
  }

  /** The file that Load Image shows, if the picture comes from there. */
  picture() {
    const source = this.node.getInputNode?.(this.node.inputs.findIndex((input) => input.name === "image"))
    return source?.comfyClass === "LoadImage" && source.widgets?.find(({ name }) => name === "image")?.value
  }
}

export class MissingTracker extends MissingLandmarker {
  constructor(node) {
    super(node)
    chain(this.widget("detector") ?? {}, "callback", () => this.ask())
  }

  title() {
    return say("landmarkerOfVideo")
  }

  fail() {
    this.ask()
  }

  /** Whether MediaPipe would search. */
  state() {
    const linked = (name) => this.node.inputs?.find((input) => input.name === name)?.link != null
    const detector = this.widget("detector")?.value
    return linked("video") && (detector === "MediaPipe" || (detector === "auto" && !linked("face_analysis")))
  }
}

export class MissingSpeaker extends MissingTracker {
  /** Whether the face is searched for here. */
  state() {
    const linked = (name) => this.node.inputs?.find((input) => input.name === name)?.link != null
    return linked("video") && !linked("face_track") && !linked("mask")
  }
}

/** [node, widget, value] for each widget that has to change. */
function changed(node, suits) {
  const values = { ...suits[node.comfyClass] }
  if (suits === SUITS_SMALL && node.comfyClass === "LoadImage") {
    const picture = node.widgets?.find(({ name }) => name === "image")
    if (!EXAMPLES.includes(picture?.value)) values.image = EXAMPLE
  }
  const widgets = (node.widgets ?? []).filter(({ name, value }) => name in values && value !== values[name])
  return widgets.map((widget) => [node, widget, values[widget.name]])
}
