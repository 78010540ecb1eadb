// The last outputs of nodes, for as long as the browser's tab is open. ComfyUI forgets them when the page is reloaded,
// and sends them again only if the node runs again.

import { root } from "./graph.js"

const place = (node, key) => ["joyhallo", root()?.id, node.graph?.id, node.id, key].join("/")

export function remember(node, key, result) {
  try {
    sessionStorage.setItem(place(node, key), JSON.stringify(result))
  } catch {
    // Full, or not allowed: do without it.
  }
}

export function recall(node, key) {
  try {
    return JSON.parse(sessionStorage.getItem(place(node, key)))
  } catch {
    return null
  }
}
