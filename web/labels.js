// ComfyUI's settings about labels for videos made by AI. Nodes read them from ComfyUI's file (nodes/labels.py);
// locales/zh has their Chinese words.

import { app } from "../../scripts/app.js"

const setting = (id, name, tooltip, rest) => ({
  id: `JoyHallo.Labels.${id}`,
  category: ["JoyHallo", "AI labels", id],
  name,
  tooltip,
  type: "text",
  defaultValue: "",
  ...rest,
})

app.registerExtension({
  name: "JoyHallo.Labels",

  // Listed from bottom to top.
  settings: [
    setting("Key", "Private key for C2PA", "Path of a PEM file without a password, on ComfyUI's machine."),
    setting(
      "Certificate",
      "Certificate for C2PA",
      "Path of a PEM file on ComfyUI's machine: mp4 and mov are then signed as made by AI. Needs the library " +
        "c2pa-python."
    ),
    setting("Producer", "Content producer", "Your name or code in the label. Empty: the name of these nodes."),
    setting(
      "Write",
      "Write AI label into saved videos",
      "The metadata says that a video is made by AI, and with what (GB 45438-2025). The picture does not change. " +
        "Labels of input videos are kept in any case.",
      { type: "boolean", defaultValue: true }
    ),
  ],
})
