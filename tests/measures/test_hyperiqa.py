"""HyperIQA beside torchvision's ResNet-50 and the rules applied to one picture after the other."""

import pytest
import torch
from torch.nn import functional as F

from joyhallo.files.contents import WeightsError
from joyhallo.measures import hyperiqa

models = pytest.importorskip("torchvision.models", reason="torchvision comes with ComfyUI")


@pytest.fixture(scope="module")
def state():
    dice, found = torch.Generator().manual_seed(2), {}
    for key, shape in hyperiqa.published().items():
        drawn = torch.randn(shape, generator=dice)
        if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
            found[key] = 1 + 0.3 * drawn.tanh()
        else:
            found[key] = 0.2 * drawn if len(shape) < 2 else drawn / drawn[0].numel() ** 0.5
    return found


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("hyperiqa") / "koniq_pretrained.pkl"
    torch.save(state | {"res.bn1.num_batches_tracked": torch.tensor(7)}, path)
    return path


def resnet(state):
    net = models.resnet50()
    found = {key.removeprefix("res."): tensor for key, tensor in state.items() if key.startswith("res.")}
    missing = net.load_state_dict({key: found[key] for key in net.state_dict() if key in found}, strict=False)
    assert {key.rpartition(".")[2] for key in missing.missing_keys} <= {"num_batches_tracked", "weight", "bias"}
    assert all(key.startswith("fc.") or key.endswith("tracked") for key in missing.missing_keys)
    return net.eval()


def scored(state, picture):
    """One picture (1, 3, 224, 224), by the paper's steps."""
    net, local = resnet(state), []
    x = net.maxpool(net.relu(net.bn1(net.conv1(picture))))
    for number, stage in enumerate((net.layer1, net.layer2, net.layer3, net.layer4), 1):
        x = kept = stage(x)
        if number < 4:
            kept = F.conv2d(x, state[f"res.lda{number}_pool.0.weight"])
        places = F.avg_pool2d(kept, 7, 7).flatten()
        local.append(state[f"res.lda{number}_fc.weight"] @ places + state[f"res.lda{number}_fc.bias"])
    answer = torch.cat(local)
    for layer in (0, 2, 4):
        x = F.conv2d(x, state[f"conv1.{layer}.weight"], state[f"conv1.{layer}.bias"]).relu()
    mean = x.mean((2, 3))[0]
    for number, given in enumerate((112, 56, 28, 14), 1):
        made = F.conv2d(x, state[f"fc{number}w_conv.weight"], state[f"fc{number}w_conv.bias"], padding=1)
        offset = state[f"fc{number}b_fc.weight"] @ mean + state[f"fc{number}b_fc.bias"]
        answer = torch.sigmoid(made.flatten().view(given, -1) @ answer + offset)
    weight = state["fc5w_fc.weight"] @ mean + state["fc5w_fc.bias"]
    return weight @ answer + state["fc5b_fc.weight"][0] @ mean + state["fc5b_fc.bias"][0]


@torch.no_grad()
def test_scores_are_those_of_each_pictures_rules(state, file):
    frames = torch.randint(0, 256, (2, 230, 301, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    frames[1] //= 3
    cut = frames[:, 3:227, 38:262].permute(0, 3, 1, 2) / 255  # (301 - 224) / 2 is 38.5, and rounded to even
    mean, spread = (torch.tensor(of).view(3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    shown = (cut - mean) / spread
    found = hyperiqa.open_checkpoint(file).build()(hyperiqa.seen(frames))
    expected = torch.stack([scored(state, one[None]) for one in shown])
    assert torch.allclose(found, expected, atol=1e-4)
    assert abs(expected[0] - expected[1]) > 0.005


def test_first_middle_and_last_frame_count():
    assert hyperiqa.looked_at(9) == (0, 4, 8)
    assert hyperiqa.looked_at(1) == (0, 0, 0)


def test_what_does_not_fit_is_told(state, tmp_path):
    with pytest.raises(ValueError, match="Frames of 300x200 are too small for HyperIQA: 224"):
        hyperiqa.seen(torch.zeros(1, 200, 300, 3, dtype=torch.uint8))
    path = tmp_path / "other.pkl"
    torch.save({key: tensor for key, tensor in state.items() if key != "fc3b_fc.bias"}, path)
    with pytest.raises(WeightsError, match=r"1 missing \(fc3b_fc.bias\)"):
        hyperiqa.open_checkpoint(path)
    torch.save({"weight": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match="Expected HyperIQA's network"):
        hyperiqa.open_checkpoint(path)
