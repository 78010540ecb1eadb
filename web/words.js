// The texts shown on the canvas, in ComfyUI's language.

import { app } from "../../scripts/app.js"
import { advice } from "./advice.js"

const UNITS = { s: "秒", min: "分钟", h: "小时" }
const REGIONS = { pose: "姿态", expression: "表情", lip: "唇部" }

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
    unreadable: (count) => (count === 1 ? "1 file cannot be read:" : `${count} files cannot be read:`),
    optional: "optional",
    research: "non-commercial research only",
    personal: "Licence: research and personal use only, no commercial use.",
    openrail: "Licence: OpenRAIL++, which forbids some uses.",
    landmarker: "To find this picture's face, a file is missing:",
    landmarkerOfVideo: "To find the video's faces, a file is missing:",
    fetch: "Fetch them",
    fetchOne: "Fetch it",
    again: "Try again",
    cancel: "Cancel",
    small: "Try it with the small model",
    full: "Use the full model",
    drawings: "The small model that comes with the nodes: drawn people only, not photos. Runs on any processor.",
    fetching: "Asking for the files …",
    fetched: (done, total) => `${done} of ${total} fetched`,
    cancelled: "Cancelled. What was received is kept, and fetching goes on from there.",
    panels: "", // the plot says it
    stopped: () => "", // the error says it
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
    unreadable: (count) => `有 ${count} 个文件无法读取：`,
    optional: "可选",
    research: "仅限非商业研究",
    personal: "许可：仅限研究和个人使用，禁止商用。",
    openrail: "许可：OpenRAIL++，禁止某些用途。",
    landmarker: "要找到这张图里的脸，还缺一个文件：",
    landmarkerOfVideo: "要在视频里找到脸，还缺一个文件：",
    fetch: "下载",
    fetchOne: "下载",
    again: "重试",
    cancel: "取消",
    small: "先用小模型试试",
    full: "改用完整模型",
    drawings: "正在使用随节点附带的小模型：只会画出来的人像，不能用于照片；普通处理器即可运行。",
    fetching: "正在查询文件…",
    fetched: (done, total) => `已下载 ${done}，共 ${total}`,
    cancelled: "已取消。收到的部分会保留，下次从断点继续。",
    panels: "自上而下：颜色、对比度、清晰度、人脸、接缝",
    stopped: advice,
    ahead: (frames, chunks, earlier, disk, free, memory, all) =>
      `共 ${frames} 帧，分 ${chunks} 段${earlier ? `，其中 ${earlier} 段以前已完成` : ""}；最多占用硬盘 ${disk}（可用 ${free}）；权重之外还要 ${memory} 内存或显存（共 ${all}）。`,
    left: (time) => `大约还要 ${lasting(time)}。`,
    made: (time, pace) => `用时 ${lasting(time)}，每秒视频要算 ${pace} 秒。`,
    // Of nodes' notices; in English the node says them itself.
    notice_silent: "录音是静音的：所有采样都为零，嘴几乎不会动。",
    notice_nearly_silent: ({ peak }) => `录音几乎没有声音：最响处只有 ${peak} dB。请检查音量。`,
    notice_unscaled: ({ peak }) => `采样值达到 ${peak}，而正常范围是 -1 到 1。请缩小幅度，否则编码器听到的声音远比训练时响。`,
    notice_clipped: ({ share }) => `录音削波：${share} 的采样已到满刻度，口型可能不太准。`,
    notice_music: ({ file, folder }) => `人声背后似乎有音乐或噪声：把 ${file} 放进 ${folder}，就能自动去掉。`,
    notice_no_voice: "分离人声后什么也没剩下：这段录音里好像没人说话。",
    notice_small_face: ({ width, height }) => `脸只有 ${width}x${height} 像素，视频里的细节大多是猜出来的。请换一张脸更大的图，最好有 300 像素。`,
    notice_tilted_face: ({ degrees }) => `脸歪了 ${degrees} 度，而模型是用端正的脸训练的。如果结果变形，请先把图片转正。`,
    notice_several_faces: ({ count, number }) => `找到 ${count} 张脸，用了其中最大的 ${number} 号。要让别人说话，请点击那张脸。`,
    notice_unsure_faces: ({ count }) => `可能还有没找到的脸：另有 ${count} 处太小、模糊或被遮挡，无法确定。要让其中一张说话，请裁剪图片，让它占满画面。`,
    notice_small_mouth: ({ width }) => `嘴只有 ${width} 像素宽，口型几乎看不出来。请换一张脸更大的图。`,
    notice_open_mouth: "图里的嘴张得很大，合上时会看出痕迹。换一张闭着嘴的图效果更好。",
    notice_turned_head: "头偏向一侧，而能动的只有图里看得见的部分。换一张正脸效果更好。",
    notice_largest_speaks: ({ count }) => `找到 ${count} 张脸，由最大的一张说话。要让别人说话，请在那张脸上涂出人脸遮罩。`,
    notice_empty_mask: ({ region }) => `${REGIONS[region] ?? region}遮罩是空的：那里不会跟随语音。`,
    notice_wrong_encoder: ({ found, model, expected }) => `语音是用 ${found} 编码的，而 ${model} 是用 ${expected} 训练的：口型会对不准。请在“加载 JoyHallo 模型”里选 ${expected}。`,
    notice_small_model: ({ side, guidance }) => `小模型 demo 在尺寸 128、cfg 1 时画得最好；现在是尺寸 ${side}、cfg ${guidance}，画面会发虚或偏色。`,
    notice_large: ({ side }) => `尺寸是 ${side}，而这个模型按 512 训练：会慢得多，脸可能反而变差。`,
  },
}

export function say(what, ...about) {
  const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en"
  const words = WORDS[language.startsWith("zh") ? "zh" : "en"][what]
  return typeof words === "function" ? words(...about) : words
}

/** "12 s" in Chinese. */
function lasting(time) {
  const [number, unit] = time.split(" ")
  return `${number} ${UNITS[unit] ?? unit}`
}

export function amount(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Number((bytes / 1e6).toPrecision(3))} MB`
}
