"""The recorded case of the whole way: picture, landmarks and sound -> frames."""

from __future__ import annotations

import math

import torch
from cases import WEIGHTS, animated_with, answers, frames_first, frames_third
from parity_speech import seeded_encoder

from joyhallo.config import SAMPLE_RATE
from joyhallo.faces.find import Limits
from joyhallo.methods.hallo.portrait import Framing, Wishes
from joyhallo.methods.hallo.portrait import prepare as prepare_portrait
from joyhallo.sound.audio import prepare as prepare_sound
from joyhallo.sound.wav2vec2 import encode


@answers("e2e.*")
def whole(case):
    facts, size = case.facts, (case.facts["px"],) * 2
    wishes = Wishes(mesh=case["landmarks"].numpy(), identity=case["face_emb"])
    framing = Framing("whole", size, facts.get("face_expand_ratio", 1.2))
    anyone = Limits(smallest=0, visible=0, turned=math.inf, tilted=math.inf)  # the recorded landmarks are random points
    portrait = prepare_portrait(case["image"].numpy(), None, wishes, framing, anyone).portrait

    encoder = seeded_encoder(facts["wav2vec_config"], case.salt, normalize=facts.get("audio_do_normalize", False))
    speech = encode(encoder, prepare_sound(case["wave"], SAMPLE_RATE), facts["frames"])

    noise = [frames_first(case[f"latents.{i}"]) for i in range(speech.rows // facts["frames"])]
    chunks, _ = animated_with(case, WEIGHTS.net(case), portrait, speech, noise, length=speech.length)
    for chunk in chunks:
        yield f"out.latents.{chunk.index}", frames_third(chunk.latents, 1)
    frames = torch.cat([chunk.frames for chunk in chunks]).permute(0, 2, 3, 1)
    yield "out.video_u8", (frames.clamp(0, 1) * 255).to(torch.uint8)  # the original cuts off, it does not round
