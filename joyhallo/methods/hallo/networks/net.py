"""The five networks together, under the names that the published checkpoints use."""

from __future__ import annotations

from torch import nn

from ....ops import Ops, TorchOps
from ..config import NetConfig
from .conditioning import AudioProj, FaceLocator, ImageProj
from .denoising_unet import DenoisingUNet
from .reference_unet import ReferenceUNet


class Net(nn.Module):
    def __init__(self, config: NetConfig, ops: Ops = TorchOps):
        super().__init__()
        self.config = config
        self.reference_unet = ReferenceUNet(config, ops)
        self.denoising_unet = DenoisingUNet(config, ops)
        self.face_locator = FaceLocator(config, ops)
        self.imageproj = ImageProj(config, ops)
        self.audioproj = AudioProj(config, ops)
