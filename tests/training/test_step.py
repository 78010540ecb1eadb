"""One step: its loss and its gradients are those of the same step written down naively, whatever is dropped."""

from dataclasses import replace

import clips
import pytest
import seeded
import small
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from plain_training import PlainNet
from seeded import normals
from torch import nn

from joyhallo.diffusion.schedule import Schedule, ScheduleConfig
from joyhallo.methods.hallo.config import NetConfig
from joyhallo.methods.hallo.networks.net import Net
from joyhallo.methods.hallo.sampling import Portrait, Sampler, Settings
from joyhallo.training.layers import TrainingOps
from joyhallo.training.losses import emphasised, errors, levels, snr_weights
from joyhallo.training.memory import counts
from joyhallo.training.recipe import Loss, Recipe, build
from joyhallo.training.samples import Batch, Conditions, collate, stack
from joyhallo.training.stage import Stage, encoded
from joyhallo.training.start import fresh, names, select

pytestmark = pytest.mark.slow

SIZE, FRAMES, MOTION = clips.SIZE, 3, 2
EVERYTHING = {"reads": True, "motion": True, "face": True, "locator": True, "audio": True}


def recipe(stage: str, **more) -> Recipe:
    groups = ["appearance"] if stage == "pictures" else ["appearance", "audio", "motion"]
    data = {"frames": FRAMES, "motion_frames": MOTION}
    return build({"stage": stage, "train": groups, "data": data, "start_frames": "portrait", **more})


def net() -> Net:
    with torch.device("meta"):
        made = Net(small.SMALL, TrainingOps)
    return seeded.fill(made).requires_grad_(True)


def sample(name: str, told: Recipe, timestep: int, known=None, **given: bool) -> Batch:
    config, cells = small.SMALL, SIZE // 8
    count = 1 + told.motion_frames
    shape = (config.latent_channels, cells, cells)
    sides = [cells >> level for level in range(config.levels)]
    facts = {key: torch.tensor(value) for key, value in {**EVERYTHING, **given}.items()}
    speech = (told.frames, config.audio_window, config.audio_layers, config.audio_channels)
    return Batch(
        pictures=torch.empty(0),
        latents=torch.stack(
            [normals(f"{name} mean", (count + told.frames, *shape)), torch.full((count + told.frames, *shape), -30.0)],
            1,
        ),
        spread=torch.zeros(count + told.frames, *shape),
        noise=normals(f"{name} noise", (told.frames, *shape)),
        timestep=torch.tensor(timestep),
        identity=normals(f"{name} identity", (config.face_dim,)),
        known_faces=torch.tensor([True] * count if known is None else known),
        locator=(normals(f"{name} locator", (3, SIZE, SIZE)) > 0).float(),
        masks=[torch.sigmoid(normals(f"{name} mask {side}", (3, side * side))) for side in sides],
        windows=normals(f"{name} speech", speech) if told.stage == "clips" else torch.empty(0),
        given=Conditions(**facts),
    )


def losses_of(told: Recipe, net: Net, drawn: list[Batch]) -> torch.Tensor:
    batch = collate(drawn)
    return Stage(net, told)(batch, encoded(batch, None)).weighted


def gradients(net: Net) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def kept_by_diffusers() -> torch.Tensor:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True
    ).alphas_cumprod


MIXED = {
    "pictures": [
        {},
        {"reads": False, "face": False},
        {"known": [False]},
        {"locator": False, "reads": False, "face": False},
    ],
    "clips": [
        {"audio": False},
        {"reads": False, "motion": False},
        {"known": [True, False, True]},
        {"reads": False, "face": False, "locator": False, "audio": False},
    ],
}


@pytest.mark.parametrize("stage", ["pictures", "clips"])
def test_loss_and_gradients_are_those_of_the_naive_step(stage):
    """Four samples side by side, each with something else missing and at another noise level."""
    told = recipe(stage, loss={"lip_weight": 3.0})
    drawn = [
        sample(f"s{i}", told, t, **how)
        for i, (t, how) in enumerate(zip((999, 20, 400, 730), MIXED[stage], strict=True))
    ]
    ours = net()
    loss = losses_of(told, ours, drawn).mean()
    loss.backward()
    found = gradients(ours)
    ours.zero_grad()

    naive = PlainNet(
        {**dict(ours.named_parameters()), **dict(ours.named_buffers())}, small.SMALL.heads, small.SMALL.norm_groups
    )
    batch = stack(drawn)  # in the order in which they come
    expected = torch.stack(naive.losses(batch, batch.latents[:, :, 0], kept_by_diffusers(), 5.0, 3.0)).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    reached = gradients(ours)
    assert found.keys() == reached.keys()
    for name, gradient in reached.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(
            found[name], gradient, rtol=0, atol=2e-4 * scale + 1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_forgetting_what_is_inside_changes_no_gradient():
    told = recipe("clips")
    drawn = [sample("a", told, 300), sample("b", told, 700, reads=False)]
    ours = net()
    losses_of(told, ours, drawn).mean().backward()
    expected = gradients(ours)
    ours.zero_grad()
    losses_of(replace(told, checkpointing=True), ours, drawn).mean().backward()
    found = gradients(ours)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-7)


def test_the_second_stage_leaves_the_first_alone():
    """Only what is trained gets gradients, and all of it does, but for what never tells on the result."""
    told = build({"stage": "clips", "data": {"frames": FRAMES, "motion_frames": MOTION}})
    ours = net()
    chosen = select(ours, told.train)
    losses_of(told, ours, [sample("a", told, 300)]).mean().backward()
    assert gradients(ours).keys() == chosen.keys()
    assert all("audio" in name or "motion" in name for name in chosen)


def test_training_and_sampling_see_the_same():
    """With the tokens of nobody everywhere, a conditional row of the sampler is a sample of training."""
    told = recipe("clips")
    drawn = sample("a", told, 640)._replace(identity=torch.zeros(small.SMALL.face_dim))
    ours = net().requires_grad_(False)
    batch = collate([drawn])
    latents = encoded(batch, None)
    noisy = normals("noisy", (FRAMES, small.SMALL.latent_channels, SIZE // 8, SIZE // 8))
    count = 1 + MOTION
    found = Stage(ours, told).velocity(batch, latents[:, :count], noisy[None])

    portrait = Portrait(torch.zeros(3, SIZE, SIZE), drawn.identity, drawn.locator, drawn.masks)
    settings = Settings(guidance=1, chunk_frames=FRAMES, motion_frames=MOTION)
    sampler = Sampler(ours, portrait, latents[0, :1], settings, torch.device("cpu"), torch.float32)
    chunk = sampler.prepare_chunk(drawn.windows, 0, latents[0, 1:count])
    expected = sampler.velocity(ours.denoising_unet, noisy, 640, chunk)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_what_the_original_lays_out_in_turns():
    """Two samples of three pictures: rows of one sample are encoded with the tokens of the other."""
    told = recipe("clips", reference_compat=True)
    ours = net()
    looked = {}
    tokens = normals("tokens", (2, small.SMALL.face_tokens, small.SMALL.face_width))
    ours.reference_unet.forward = lambda pictures, faces, run: (
        looked.update(faces=faces) or [torch.full((6, 1, 1), 1 / 3)]
    )
    features = Stage(ours, told).look(
        torch.zeros(2, 3, 4, 8, 8), tokens, torch.zeros_like(tokens[:1]), torch.ones(2, 3, dtype=torch.bool)
    )
    torch.testing.assert_close(looked["faces"], tokens[[0, 1, 0, 1, 0, 1]])
    assert features[0].unique().item() == torch.tensor(1 / 3).half().float().item()


# ---- noise levels and weights


def test_noise_and_velocity_are_those_of_diffusers():
    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", rescale_betas_zero_snr=True
    )
    clean, noise = normals("clean", (4, 2, 4, 8, 8)), normals("noise", (4, 2, 4, 8, 8))
    timestep = torch.tensor([0, 250, 700, 999])
    alpha, sigma = levels(Schedule(ScheduleConfig(beta_schedule="scaled_linear")), timestep)
    torch.testing.assert_close(
        alpha * clean + sigma * noise, theirs.add_noise(clean, noise, timestep), rtol=1e-4, atol=1e-5
    )
    expected = theirs.get_velocity(clean, noise, timestep)
    torch.testing.assert_close(alpha * noise - sigma * clean, expected, rtol=1e-4, atol=1e-5)


def test_every_sample_has_its_own_weight():
    schedule = Schedule(ScheduleConfig(beta_schedule="scaled_linear"))
    kept = schedule.alphas_cumprod.double()
    timestep = torch.arange(1000)
    snr = kept / (1 - kept) + 1
    expected = torch.minimum(snr, torch.tensor(5.0)) / snr
    torch.testing.assert_close(snr_weights(schedule, timestep, 5.0).double(), expected, rtol=1e-4, atol=1e-6)
    assert snr_weights(schedule, timestep, 5.0)[999] == 1
    assert snr_weights(schedule, timestep, 0.0).unique().tolist() == [1.0]


def test_lips_count_more():
    predicted, target = normals("p", (2, 3, 4, 2, 2)), normals("t", (2, 3, 4, 2, 2))
    lip = torch.tensor([[0.0, 0, 0, 1], [0, 0, 0, 0]])
    squares = errors(predicted, target)
    counted = emphasised(squares, lip, 5.0).mean(1)
    by_hand = (predicted - target).square()
    by_hand[0, :, :, 1, 1] *= 5
    torch.testing.assert_close(counted, by_hand.mean((1, 2, 3, 4)))


# ---- what is trained, and what it begins with


def test_published_sizes_are_counted_as_in_the_study():
    """Of the first stage all; of the second all but the five motion modules that the original never runs."""
    with torch.device("meta"):
        full = Net(NetConfig())
    assert sum(p.numel() for p in select(full, ["appearance"]).values()) == 1_721_122_132
    with torch.device("meta"):
        module = full.denoising_unet.mid_block.motion_modules[0]
        never_run = 5 * sum(p.numel() for p in module.parameters())
    assert sum(p.numel() for p in select(full, ["audio", "motion"]).values()) + never_run == 650_927_552
    assert counts(full) == {
        "appearance": 1_721_122_132,
        "audio": 161_253_120 + 36_465_152,
        "motion": 453_209_280 - never_run,
    }


def test_from_nothing_speech_and_motion_change_nothing_yet():
    """The second stage begins where the first ended: its frames are the first stage's pictures."""
    ours = fresh(small.SMALL, seed=1).requires_grad_(False)
    clip_recipe, picture_recipe = recipe("clips"), recipe("pictures")
    drawn = sample("a", clip_recipe, 500)
    together = Stage(ours, clip_recipe).velocity(collate([drawn]), drawn.latents[None, :3, 0], drawn.noise[None])
    for index, frame in enumerate(drawn.noise):
        alone = drawn._replace(known_faces=drawn.known_faces[:1], windows=torch.empty(0))
        found = Stage(ours, picture_recipe).velocity(collate([alone]), drawn.latents[None, :1, 0], frame[None, None])
        torch.testing.assert_close(found[0], together[index], rtol=1e-4, atol=1e-5)


def test_from_nothing_speech_is_learned_at_once():
    """In the first step its last convolution, in the second the speech projection gets gradients."""
    ours = fresh(small.SMALL, seed=1)
    told = recipe("clips")
    optimizer = torch.optim.SGD(ours.parameters(), lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        losses_of(told, ours, [sample("a", told, 500)]).mean().backward()
        optimizer.step()
    assert ours.audioproj.proj1.weight.grad.abs().max() > 0


def test_fresh_weights_are_the_seed_s():
    first, second, other = (fresh(small.SMALL, seed) for seed in (1, 1, 2))
    for (name, a), b, c in zip(
        first.state_dict().items(), second.state_dict().values(), other.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
        assert a.isfinite().all(), name
        if a.ndim > 1 and a.any() and not name.endswith(".pe"):
            assert not torch.equal(a, c), name


def test_groups_hold_every_parameter_once():
    ours = net()
    found = [name for group in ("appearance", "audio", "motion") for name in names(ours, [group])]
    assert sorted(found) == sorted(name for name, _ in ours.named_parameters())


def test_group_norm_where_its_input_wants_no_gradient():
    """As in the first trained module behind frozen ones. PyTorch's own layer brings the process down here."""
    layer = TrainingOps.GroupNorm(4, 8)
    x = normals("x", (2, 8, 4, 4)).contiguous(memory_format=torch.channels_last)
    layer(x).square().sum().backward()
    expected = nn.GroupNorm(4, 8)
    expected(x.contiguous()).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, expected.weight.grad)
    assert torch.equal(layer(x), expected(x.contiguous()))


def test_weights_of_the_loss_are_the_recipe_s():
    told = recipe("pictures", loss={"snr_gamma": 0.0})
    drawn = [sample("a", told, 30)]
    batch = collate(drawn)
    found = Stage(net(), told)(batch, encoded(batch, None))
    torch.testing.assert_close(found.weighted, found.plain)
    assert Loss().snr_gamma == 5
