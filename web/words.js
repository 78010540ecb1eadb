// The texts shown on the canvas, in ComfyUI's language.

import { app } from "../../scripts/app.js"

const WORDS = {
  en: {
    picture: "The picture, with face, expression and lips marked",
    speaks: (number) => `Face ${number} speaks`,
    choose: (number) => `Let face ${number} speak`,
    beyond: (number) => `Face ${number} has no number in which_face: crop the picture, or paint a face_mask`,
    which: "Who shall speak? Click a face.",
    another: "Click another face to let it speak.",
    chosen: (number) => `Face ${number} shall speak: press Run.`,
    linked: "which_face is connected: choose the face there.",
    drift: "How far colours and sharpness drifted over the clip",
    panels: "", // the plot says it
    larger: "Open the plot in its full size",
  },
  zh: {
    picture: "标出面部、表情和嘴唇区域的图片",
    speaks: (number) => `${number} 号脸说话`,
    choose: (number) => `让 ${number} 号脸说话`,
    beyond: (number) => `“选哪张脸”（which_face）里没有 ${number} 号：请裁剪图片，或绘制人脸遮罩`,
    which: "让谁说话？请点击一张脸。",
    another: "点击另一张脸，改由它说话。",
    chosen: (number) => `将由 ${number} 号脸说话：请点击“运行”。`,
    linked: "“选哪张脸”已连接其他节点：请在那里选择。",
    drift: "整段视频中颜色与清晰度的漂移",
    panels: "自上而下：颜色、对比度、清晰度、人脸、接缝",
    larger: "打开完整大小的曲线图",
  },
}

export function say(what, ...about) {
  const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en"
  const words = WORDS[language.startsWith("zh") ? "zh" : "en"][what]
  return typeof words === "function" ? words(...about) : words
}
