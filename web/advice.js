// What stopped a node or a download, in Chinese: the error itself, which ComfyUI's dialog shows, is in English. By words
// of the error; the first line that fits is said.

const ADVICE = [
  ["of the chosen models", "缺少所选的模型：请下载，或改选已有的模型。"],
  ["cannot be reached", "连不上下载服务器：检查网络和代理，或设置环境变量 HF_ENDPOINT=https://hf-mirror.com 并重启 ComfyUI。已收到的部分会保留。"],
  ["denies access", "下载页拒绝访问：请在浏览器里打开下载页，按要求同意条款并登录，或手动下载。"],
  ["refuses to send", "下载服务器没有给出这个文件：请手动下载。"],
  ["HF_HUB_OFFLINE is set", "环境变量 HF_HUB_OFFLINE 禁止联网：请取消它并重启 ComfyUI，或手动下载。"],
  ["needs the library", "缺少 Python 库，或库已损坏：用 ComfyUI 自己的 Python 执行报错里给出的命令，然后重启。"],
  ["demo knows only the faces", "小模型只认得随附图片里的脸：点击加载节点上的“改用完整模型”，或自己画遮罩。"],
  ["looks like", "选错了模型文件，或文件没下完整：请换一个文件，或重新下载。"],
  ["choose the encoder", "语音编码器和检查点不配套：JoyHallo 配 chinese-wav2vec2-base，Hallo 配 wav2vec2-base-960h。"],
  ["No face was found", "没有找到脸：请换一张正面、端正、清晰、脸够大的图。手绘、动物或雕像请自己画“人脸遮罩”和“唇部遮罩”。"],
  ["clearly the largest", "画面里有好几个人：在节点上点击要说话的那张脸，或把“选哪张脸”（which_face）设成它的编号。"],
  ["too small to recognise", "脸太小，认不出来：请换一张脸更大的图，最好有 300 像素。"],
  ["of the face lies in the picture", "脸没有完整地在画面里：请换一张从额头到下巴都看得见的图。"],
  ["rotate the picture upright first", "脸是横着或倒着的：请先把图片转正，例如用“旋转图像”节点（ImageRotate）。"],
  ["The face is turned", "头转得太偏：请换一张正脸。"],
  ["pictures shows a face that can be redubbed", "视频里没有正对镜头的脸：请换一个“检测器”（detector），或在脸上涂“遮罩”（mask）。"],
  ["The face was seen only from the side", "视频里只看得到侧脸：请换一段脸正对镜头的视频。"],
  ["A lip_mask is connected, but no face_mask", "只连接了“唇部遮罩”：请再画“人脸遮罩”，从额头到下巴，或断开“唇部遮罩”。"],
  ["mask is empty", "遮罩里什么都没画：请画出遮罩，或断开这根线。没有透明通道的图片，其遮罩就是空的。"],
  ["aspect ratio does not match", "遮罩和图片的长宽比不同：请在同一张图上画遮罩。"],
  ["stretch or cut it", "图片不是正方形：“取景”（framing）选 face，或先裁成正方形。"],
  ["were given where one is needed", "这里只要一张图片，接进来的却是一批：请用 ImageFromBatch 取出其中一张。"],
  ["but it must last at least", "录音太短：请检查它是否被截断。"],
  ["silence is set to source", "录音里没人说话：请检查声音，或把“静默时”（silence）设为 model。"],
  ["is not a keyframe", "关键帧的写法有误：报错里有正确写法的例子。"],
  ["is not understood", "时间或轮次的写法有误：报错里有正确写法的例子。"],
  ["of memory", "内存或显存不够：把尺寸改小，“权重精度”（weight_dtype）选 fp8，或关掉占内存的程序。"],
  ["The disk ", "硬盘空间不够：请腾出空间再运行，已算完的部分会保留。"],
  ["cannot be written to", "文件夹无法写入：请检查它的权限，或换一个文件夹。"],
]

export const advice = (error) => ADVICE.find(([words]) => error?.includes(words))?.[1]
