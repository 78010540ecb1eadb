"""The recorded cases of Ultralight-Digital-Human: both networks, and the way from a picture to them and back.

Pictures are B, G, R there; boxes are left, top, right, bottom.
"""

from __future__ import annotations

import seeded
import torch
from cases import answers, weights_with_norms

from joyhallo.faces.blend import blended
from joyhallo.files.checkpoint import Checkpoint
from joyhallo.methods.ultralight.boxes import squares
from joyhallo.methods.ultralight.checkpoint import without_norms
from joyhallo.methods.ultralight.method import AFTER, BEFORE, boxed
from joyhallo.methods.ultralight.network import HUBERT, WENET, Generator, Sizes
from joyhallo.methods.ultralight.pixels import as_crops, inputs
from joyhallo.sound.heard import Heard, windows
from joyhallo.sound.hubert import ROWS

EARS = {"hubert": HUBERT, "wenet": WENET}
LEFT, TOP, RIGHT = (1, 0), (52, 1), (31, 0)  # of 110 landmarks, and whether x or y


@answers("forward_.*", "ultralight")
def generators(case):
    kind, count = case.name.partition("_")[2], case.facts["batch"]
    weights = weights_with_norms(case, f"ultralight_{kind}")
    net = Checkpoint(lambda ops: Generator(Sizes(EARS[kind]), ops), weights, without_norms).build()
    faces = (0.5 + 0.25 * seeded.normals("in.image", (count, 6, 160, 160), case.salt)).clamp(0, 1)
    heard = seeded.normals(f"in.audio_{kind}", (count, *EARS[kind].shape), case.salt)
    yield "out.image", net(heard, faces)[..., ::4, ::4]
    yield "out.audio_features", net.audio_model(heard)


@answers("pictures", "ultralight")
def there_and_back(case):
    picture, points = case["picture_bgr"].flip(2), case["landmarks"].long()
    faces = boxed(squares(torch.stack([points[place] for place in (LEFT, TOP, RIGHT)])[None]))
    yield "out.box", faces.boxes[0].int()
    crops = faces.cut(picture[None], [0])
    yield "out.crop168", crops[0].flip(0).permute(1, 2, 0)
    yield "out.masked160", (inputs(crops)[0, 3:] * 255).round().byte().permute(1, 2, 0)
    prediction = (case["prediction_bgr"].permute(2, 0, 1)[None] + 0.5) / 255  # as it is truncated
    patch = faces.patch(as_crops(prediction, crops)[0], 0)
    blended(picture, patch, None, 1.0, False)
    yield "out.pasted", picture.flip(2)
    count = case.facts["tensors"]["out.audio_window_rows"][0][0]
    heard = Heard(2 * count, ROWS, ROWS, 0, lambda number: torch.empty(0))
    rows = windows(heard, "zero", 25, count, before=BEFORE, after=AFTER).rows(slice(None))
    pairs = rows[:, ::2] // 2
    yield "out.audio_window_rows", torch.where((pairs >= 0) & (pairs < count), pairs + 1, 0).int()
