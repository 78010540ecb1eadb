"""BatchNorms of trained networks, multiplied into the convolutions or linear layers before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

EPSILON = 1e-5  # of BatchNorms in the published files, but for FID's Inception
COUNTER = ".num_batches_tracked"  # which nothing but training asks
NORM = ("weight", "bias", "running_mean", "running_var")


def folded(state: Mapping[str, Tensor], before: Callable[[str], str], epsilon: float = EPSILON) -> dict[str, Tensor]:
    """The weights of the same network without norms. before: a norm's name -> that of the layer it follows.

    What changes is computed and given in double precision.
    """
    whole = dict(state)
    for norm in [key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")]:
        scale, shift, mean, variance = (whole.pop(f"{norm}.{part}").double() for part in NORM)
        scale, convolution = scale / (variance + epsilon).sqrt(), before(norm)
        kernel = whole[f"{convolution}.weight"]
        # Transposed convolutions have their outputs second. All of those here take more channels than they give.
        outputs = [1] * kernel.ndim
        outputs[0 if kernel.shape[0] == scale.shape[0] else 1] = -1
        bias = whole.get(f"{convolution}.bias", torch.zeros_like(scale)).double()
        whole[f"{convolution}.weight"] = kernel.double() * scale.view(outputs)
        whole[f"{convolution}.bias"] = shift + (bias - mean) * scale
    return whole
