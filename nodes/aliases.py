"""Search aliases: words, English and Chinese, under which people look for a node."""

WORDS = {
    "LoadJoyHalloModels": (
        "joyhallo loader, hallo loader, checkpoint loader, talking head model, talking portrait model, "
        "lip sync model, wav2vec2 loader, insightface loader, 加载模型, 加载器, 模型加载, 数字人模型, 对口型模型"
    ),
    "FaceMaskPrep": (
        "face crop, face detect, face detection, detect face, face landmarks, face mask, lip mask, mouth mask, "
        "choose face, select face, portrait prep, reference image, insightface, mediapipe, 人脸检测, 人脸识别, "
        "人脸裁剪, 选择人脸, 人脸遮罩, 嘴部遮罩, 唇部遮罩, 肖像, 人像, 数字人"
    ),
    "JoyHalloTurns": (
        "two speakers, dialogue, dialog, conversation, multi speaker, speaker turns, diarization, split audio, "
        "podcast, interview, 对话, 双人, 两人对话, 多人说话, 轮流说话, 音频拆分, 播客, 访谈"
    ),
    "ChineseWav2Vec2Encode": (
        "audio encode, audio encoder, audio features, audio embeds, speech encode, speech features, wav2vec, "
        "voice, vocal separation, audio driven, mandarin, 音频编码, 语音编码, 语音特征, 音频特征, 人声分离, "
        "音频驱动, 语音驱动, 中文语音, 普通话"
    ),
    "JoyHalloMotion": (
        "keyframes, schedule, lip strength, mouth opening, expression strength, head motion, head pose, "
        "expressiveness, silence gate, pauses, weight schedule, 关键帧, 动作曲线, 口型强度, 嘴巴张合, 表情强度, "
        "头部动作, 停顿, 静音闭嘴"
    ),
    "JoyHalloSteadiness": (
        "long video, stabilize, stability, drift, color drift, colour drift, color match, flicker, consistency, "
        "seam, overlap, context overlap, 长视频, 稳定, 防漂移, 颜色漂移, 偏色, 闪烁, 一致性, 接缝, 重叠"
    ),
    "JoyHalloSampler": (
        "talking head, talking portrait, talking avatar, talking photo, speaking portrait, digital human, avatar, "
        "lip sync, lipsync, lip-sync, audio driven, audio to video, image to video, portrait animation, "
        "face animation, hallo, 数字人, 口型, 对口型, 口型同步, 唇形, 唇形同步, 说话, 说话视频, 会说话的照片, "
        "照片说话, 让照片开口, 音频驱动, 语音驱动, 肖像动画, 图生视频, 口播, 采样器"
    ),
    "PuppetPortrait": (
        "talking photo, talking head, talking portrait, speaking portrait, animate photo, animate face, face puppet, "
        "warp, live portrait, lip sync, lipsync, audio driven, audio to video, image to video, animatic, preview, "
        "no download, cpu, fast, 照片说话, 让照片开口, 会说话的照片, 图片说话, 对口型, 口型同步, 数字人, 动态照片, "
        "语音驱动, 图生视频, 眨眼, 快速预览, 预演, 无需下载"
    ),
    "LoadRedubModel": (
        "wav2lip loader, lip sync model, lipsync model, dubbing model, redub, load wav2lip, latentsync, musetalk, "
        "加载模型, 对口型模型, 配音模型, 唇形同步模型, 模型加载"
    ),
    "RedubLips": (
        "wav2lip, lip sync, lipsync, lip-sync, dub, dubbing, redub, voice over, video to video, audio driven, "
        "replace audio, match lips, talking head, 对口型, 口型同步, 唇形同步, 配音, 译制, 换声音, 视频配音, "
        "音频驱动, 数字人"
    ),
    "CutFaces": (
        "face crop, crop face, cut face, extract face, video face crop, face restore, face restoration, gfpgan, "
        "codeformer, face enhance, upscale face, face detailer, 人脸裁剪, 裁剪人脸, 抠脸, 提取人脸, 人脸修复, "
        "人脸增强, 人脸放大"
    ),
    "PasteFaces": (
        "paste face, uncrop, stitch, paste back, composite face, blend face, face restore, face restoration, gfpgan, "
        "codeformer, face enhance, 贴回, 人脸贴回, 粘贴人脸, 合成人脸, 人脸融合, 人脸修复, 人脸增强"
    ),
    "TrackFace": (
        "face track, face tracking, face tracker, follow face, face detect, face detection, video face, bounding box, "
        "redub, dub, lip sync video, wav2lip, 人脸跟踪, 人脸追踪, 跟踪人脸, 视频人脸, 人脸检测, 配音, 改口型, 对口型, "
        "视频对口型"
    ),
    "ScoreLipSync": (
        "lip sync score, lse, lse-c, lse-d, sync-c, sync-d, syncnet, sync confidence, sync offset, av sync, "
        "audio video offset, evaluate, evaluation, metric, metrics, benchmark, quality, 口型评分, 口型同步评分, "
        "唇形同步评分, 音画同步, 音画偏移, 评测, 评估, 指标"
    ),
    "ScoreVideo": (
        "video score, video quality, vbench, subject consistency, background consistency, motion smoothness, "
        "temporal flickering, flicker, dino, clip score, amt, evaluate, evaluation, metrics, benchmark, 视频评分, "
        "视频质量, 主体一致性, 背景一致性, 运动平滑度, 闪烁, 评测, 评估, 指标"
    ),
    "CompareVideos": (
        "psnr, ssim, lmd, landmark distance, akd, video difference, compare with ground truth, "
        "ground truth, similarity, evaluate, evaluation, metrics, benchmark, 视频对比, 比较视频, 峰值信噪比, "
        "结构相似度, 真值, 评测, 评估, 指标"
    ),
    "ScoreLikeness": (
        "csim, face similarity, identity similarity, identity preservation, face recognition, arcface, insightface, "
        "same person, evaluate, evaluation, metrics, 相似度, 人脸相似度, 身份一致性, 像不像, 人脸识别, 评测, 评估, 指标"
    ),
    "EvaluationReport": (
        "evaluation table, compare scores, compare models, benchmark, leaderboard, metrics, report, csv, json, "
        "评测报告, 评估报告, 对比表, 指标, 排行"
    ),
    "AlignSound": (
        "audio offset, delay audio, shift audio, move audio, audio delay, av sync, sync audio, align audio, "
        "sync offset, 音频对齐, 对齐声音, 音频延迟, 音频偏移, 音画同步"
    ),
    "JoyHalloCompile": (
        "torch compile, torch.compile, compiler, inductor, triton, speed up, speedup, faster, optimize, "
        "编译, 编译模型, 加速, 提速, 优化"
    ),
    "SaveTalkingVideo": (
        "save video, video combine, combine video, export video, write video, mp4, webm, mov, mkv, prores, "
        "video with audio, audio sync, talking head, 保存视频, 视频合成, 合并为视频, 导出视频, 输出视频, "
        "音画同步, 数字人"
    ),
}


def aliases(node_id: str) -> list[str]:
    return WORDS[node_id].split(", ")
