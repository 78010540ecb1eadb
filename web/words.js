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
    larger: "Show the plot of drift larger",
    smaller: "Show the plot smaller",
    missing: (count) => (count === 1 ? "1 model file is missing:" : `${count} model files are missing:`),
    goes: (size, from, folder) => `${size} in all, from ${from}, into ${folder}`,
    optional: "optional",
    research: "non-commercial research only",
    fetch: "Fetch them",
    again: "Try again",
    cancel: "Cancel",
    small: "Try it with the small model",
    full: "Use the full model",
    drawings: "The small model that comes with the nodes: drawn people only, not photos. Runs on any processor.",
    fetching: "Asking for the files …",
    fetched: (done, total) => `${done} of ${total} fetched`,
    cancelled: "Cancelled. What was received is kept, and fetching goes on from there.",
    panels: "", // the plot says it
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
    larger: "放大漂移曲线图",
    smaller: "缩小曲线图",
    missing: (count) => `缺少 ${count} 个模型文件：`,
    goes: (size, from, folder) => `共 ${size}，从 ${from} 下载到 ${folder}`,
    optional: "可选",
    research: "仅限非商业研究",
    fetch: "下载",
    again: "重试",
    cancel: "取消",
    small: "先用小模型试试",
    full: "改用完整模型",
    drawings: "正在使用随节点附带的小模型：只会画出来的人像，不能用于照片；普通处理器即可运行。",
    fetching: "正在查询文件…",
    fetched: (done, total) => `已下载 ${done}，共 ${total}`,
    cancelled: "已取消。收到的部分会保留，下次从断点继续。",
    panels: "自上而下：颜色、对比度、清晰度、人脸、接缝",
  },
}

export function say(what, ...about) {
  const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en"
  const words = WORDS[language.startsWith("zh") ? "zh" : "en"][what]
  return typeof words === "function" ? words(...about) : words
}

export function amount(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Number((bytes / 1e6).toPrecision(3))} MB`
}
