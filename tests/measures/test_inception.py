"""FID's Inception beside torchvision's, whose pools are changed here as TensorFlow's graph has them."""

import pytest
import torch
from torch.nn import functional as F

from joyhallo.files.contents import WeightsError
from joyhallo.measures import inception

theirs = pytest.importorskip("torchvision.models.inception", reason="torchvision comes with ComfyUI")


@pytest.fixture(scope="module")
def network():
    """Weights that let signals through to the end, and statistics that are not those of nothing."""
    dice = torch.Generator().manual_seed(0)
    net = theirs.Inception3(num_classes=inception.CLASSES, aux_logits=False, init_weights=False)
    for key, tensor in net.state_dict().items():
        drawn = torch.randn(tensor.shape, generator=dice)
        if tensor.ndim == 4:
            tensor.copy_(drawn * (2 / tensor[0].numel()) ** 0.5)
        elif key.endswith(("running_var", "bn.weight")):
            tensor.copy_(1 + 0.3 * drawn.tanh())
        elif tensor.ndim == 1:
            tensor.copy_(0.3 * drawn)
    return net.eval()


@pytest.fixture(scope="module")
def file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    torch.save(network.state_dict(), path)
    return path


def pooled(x, **how):
    if x.shape[1] == inception.WIDTH:  # the last block's
        return F.max_pool2d(x, **how)
    return F.avg_pool2d(x, **how, count_include_pad=False)


class Pools:
    """torch.nn.functional for torchvision's blocks."""

    avg_pool2d = staticmethod(pooled)
    max_pool2d, relu = F.max_pool2d, F.relu


@torch.no_grad()
def test_features_are_the_originals(network, file, monkeypatch):
    frames = torch.randint(0, 256, (2, 100, 140, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    shown = F.interpolate(frames.permute(0, 3, 1, 2) / 255, (299, 299), mode="bilinear") * 2 - 1
    monkeypatch.setattr(theirs, "F", Pools)
    network.fc, classifier = torch.nn.Identity(), network.fc
    expected = network(shown)
    network.fc = classifier
    found = inception.features(inception.open_checkpoint(file).build(), frames)
    assert found.shape == (2, inception.WIDTH)
    assert torch.allclose(found, expected, atol=2e-5 * expected.abs().max().item())
    assert (expected[0] - expected[1]).abs().max() > 0.01 * expected.abs().max()


def test_torchvisions_own_is_told_apart(tmp_path):
    path = tmp_path / "inception_v3.pth"
    named = theirs.Inception3(aux_logits=False, init_weights=False, num_classes=1000).state_dict().keys()
    torch.save({key: torch.zeros(1000, 1) if key == "fc.weight" else torch.zeros(1) for key in named}, path)
    with pytest.raises(WeightsError, match="torchvision's Inception, with which distances are not FID"):
        inception.open_checkpoint(path)


def test_a_damaged_file_is_told(network, tmp_path):
    path = tmp_path / "damaged.pth"
    state = dict(network.state_dict())
    del state["Mixed_6b.branch7x7_2.bn.running_var"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"1 missing \(Mixed_6b.branch7x7_2.bn.running_var\)"):
        inception.open_checkpoint(path)
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="Expected the Inception that FID is told by"):
        inception.open_checkpoint(path)
