// Finding nodes in a graph and its subgraphs, and setting their widgets.

import { app } from "../../scripts/app.js"

export const root = () => app.rootGraph ?? app.graph

/** Calls `also` after an object's own method, for this object alone. */
export function chain(object, name, also) {
  const before = object[name]
  object[name] = function (...given) {
    const result = before?.apply(this, given)
    also.apply(this, given)
    return result
  }
}

/** The node that the server calls "5:3": number 3 in the subgraph behind number 5. */
export function nodeAt(id) {
  const numbers = String(id ?? "").split(":")
  const last = numbers.pop()
  const graph = numbers.reduce((outer, number) => outer?.getNodeById(number)?.subgraph, root())
  return graph?.getNodeById(last)
}

export function everyNode() {
  const graphs = [root(), ...(root()?.subgraphs?.values?.() ?? [])]
  return graphs.flatMap((graph) => graph?.nodes ?? [])
}

/** Sets the value as if chosen in the widget itself, so that undo and other listeners notice. */
export function set(node, widget, value) {
  const canvas = app.canvas
  canvas?.emitBeforeChange?.()
  try {
    if (typeof widget.setValue === "function") widget.setValue(value, { node, canvas })
    else {
      widget.value = value
      widget.callback?.(value, canvas, node)
    }
  } finally {
    canvas?.emitAfterChange?.()
  }
  canvas?.setDirty?.(true, true)
}
