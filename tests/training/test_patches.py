"""Fitting patches and training their decoder, on clips of smooth noise."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace

import clips
import numpy as np
import patchwork
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from joyhallo.data import steps
from joyhallo.data.dataset import Clip, read_manifest, stored
from joyhallo.data.models import Models
from joyhallo.diffusion.codec import DecoderSizes, PatchCodec, load_codec
from joyhallo.training.small import patches
from joyhallo.training.small.patches import Outcomes, PatchTraining, main

pytestmark = pytest.mark.slow

QUICK = PatchTraining(steps=60, batch=4, warmup=5, save=20, sizes=DecoderSizes(width=16, blocks=1, fine=8))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return clips.write(tmp_path_factory.mktemp("patches"))


@pytest.fixture
def file(data, tmp_path):
    path = tmp_path / "vae.safetensors"
    assert main([str(data), "-o", str(path), "--channels", "4"]) == 0
    return path


def trained(file, data, settings=QUICK) -> PatchCodec:
    codec, step = patches.read(file, 4)
    return patches.train(file, data, codec, step, settings)


def header(path) -> dict[str, str]:
    with safe_open(path, "pt") as content:
        return content.metadata()


def test_patches_are_written_at_once_and_stay(data, file):
    before = file.read_bytes()
    assert load_file(file).keys() == {"patches.mean", "patches.to_latents", "patches.to_pixels"}
    assert main([str(data), "-o", str(file), "--channels", "4", "--evenness", "1"]) == 0
    assert file.read_bytes() == before


def test_all_clips_of_the_split_are_looked_at_alike(data):
    train = [Clip(data, record) for record in read_manifest(data) if record.split == "train"]
    seen = patches.frames(train, 12)
    expected = torch.cat([train[0].frames(range(0, 30, 5)), train[1].frames(range(0, 40, 7))])
    torch.testing.assert_close(patches.pixels(seen), expected, rtol=0, atol=1e-6)
    assert len(patches.frames(train, 1)) == 1


def test_a_decoder_learns(data, file):
    """Without noise and with it; and what is in the file is what was measured."""
    held_out = patches.of_split(data, "validation", 8)
    codec = trained(file, data)
    figures = patches.measured(codec, held_out)
    assert all(decoded > alone + 0.5 for alone, decoded in figures.values())
    assert patches.measured(load_codec(file), held_out)[0.2] == pytest.approx(figures[0.2], abs=0.01)
    assert not patches.beside(file).exists()


def test_the_patches_are_not_touched(data, file):
    before = load_file(file)
    trained(file, data, replace(QUICK, steps=3))
    after = load_file(file)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert any(key.startswith("decoder.") for key in after)


def test_a_run_that_was_stopped_goes_on_to_the_last_bit(data, file, tmp_path, monkeypatch):
    other = tmp_path / "other.safetensors"
    other.write_bytes(file.read_bytes())
    settings = replace(QUICK, steps=8, save=3)
    trained(other, data, settings)
    example = patches.example

    def stopping(*given):
        if given[-1] == 5:
            raise KeyboardInterrupt
        return example(*given)

    monkeypatch.setattr(patches, "example", stopping)
    with pytest.raises(KeyboardInterrupt):
        trained(file, data, settings)
    monkeypatch.setattr(patches, "example", example)
    assert header(file) == {"steps": "3"}
    trained(file, data, settings)
    assert header(file) == {"steps": "8"}
    assert file.read_bytes() == other.read_bytes()


def test_a_finished_decoder_is_trained_on(data, file):
    trained(file, data, replace(QUICK, steps=4))
    before = load_file(file)
    trained(file, data, replace(QUICK, steps=5))
    after = load_file(file)
    apart = max((after[key] - before[key]).abs().max().item() for key in before)
    assert 0 < apart < 0.01
    trained(file, data, replace(QUICK, steps=5))
    assert all(torch.equal(load_file(file)[key], after[key]) for key in after)


def test_before_it_is_trained_a_decoder_adds_nothing(data, file):
    codec = load_codec(file)
    assert isinstance(codec, PatchCodec)
    seen = patches.of_split(data, "train", 4)
    scales = patches.deviations(codec, seen)
    begun = PatchCodec(codec.patches, patches.untrained(4, scales, QUICK))
    latents = codec.encode(patches.pixels(seen))
    assert torch.equal(begun.decode(latents), codec.decode(latents))
    torch.testing.assert_close(scales[:, 0, 0], torch.from_numpy(latents.numpy().std((0, 2, 3))), rtol=0.01, atol=0)


def test_examples_have_the_noise_that_they_say(data, file):
    """By the residuals: of every strength up to the strongest, and the same again for the same step."""
    codec, seen = load_codec(file), patches.of_split(data, "train", 70)
    scales = patches.deviations(codec, seen)
    settings = replace(QUICK, batch=64, noise=0.3)
    noisy, originals = patches.example(codec, seen, scales, settings, 7)
    strength = ((noisy - codec.encode(originals)) / scales).flatten(1).std(1)
    assert strength.min() < 0.05
    assert 0.25 < strength.max() < 0.35
    assert torch.equal(noisy, patches.example(codec, seen, scales, settings, 7)[0])
    assert not torch.equal(noisy, patches.example(codec, seen, scales, settings, 8)[0])


def test_the_error_counts_pixels_and_edges():
    made, originals = (patchwork.pictures(2, seed) for seed in (1, 2))
    apart = (made - originals).double().numpy()
    pixels = np.sqrt(apart**2 + patches.SOFT**2).mean()
    edges = np.abs(np.diff(apart, axis=2)).mean() + np.abs(np.diff(apart, axis=3)).mean()
    assert patches.error(made, originals, 0.5).item() == pytest.approx(pixels + 0.5 * edges, rel=1e-5)


# ---- outcomes


def wavering(file, strength: float, clips: int = 6, seed: int = 0) -> Outcomes:
    """Still pictures of one clip each, whose latents come out one stronger and one fainter, in turn."""
    codec, still = load_codec(file), patchwork.pictures(clips, seed, (64, 64))
    turns = 1 + strength * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None, None]
    latents = codec.encode(still)[:, None] * turns
    shown = (still[:, None].expand(-1, len(turns), -1, -1, -1) + 1).mul(127.5).round().byte()
    return Outcomes(latents, shown)


def test_outcomes_are_written_as_they_are(file, tmp_path):
    made = wavering(file, 0.2)
    made.write(tmp_path / "outcomes.safetensors")
    found = Outcomes.read(tmp_path / "outcomes.safetensors", load_codec(file))
    assert torch.equal(found.pictures, made.pictures)
    assert torch.equal(found.latents, made.latents.half())


def test_pairs_are_of_frames_that_follow_each_other():
    clips, frames = torch.meshgrid(torch.arange(5), torch.arange(4), indexing="ij")
    told = torch.stack([clips, frames], 2)[..., None, None]
    outcomes = Outcomes(told.float(), told.repeat_interleave(3, 2)[:, :, :3].byte())
    latents, pictures = outcomes.pairs(200, torch.Generator().manual_seed(0))
    first, second = latents[..., 0, 0].chunk(2)
    assert torch.equal(second, first + torch.tensor([0, 1]))
    assert {tuple(pair) for pair in first.int().tolist()} == {(clip, at) for clip in range(5) for at in range(3)}
    torch.testing.assert_close((pictures[:, 0, 0, 0] + 1) * 127.5, latents[:, 0, 0, 0])


def test_unsteadiness_is_how_errors_change():
    first, second = (patchwork.pictures(3, seed) for seed in (1, 2))
    expected = np.abs(second.numpy() - first.numpy()).mean()
    assert patches.unsteadiness(torch.cat([first, second])).item() == pytest.approx(expected, rel=1e-5)


def test_a_decoder_learns_what_a_model_leaves(data, file):
    """Of pictures that it was not shown: less wrong, and steadier the more that counts."""
    outcomes, held_out = wavering(file, 0.3, 24), wavering(file, 0.3, 8, seed=1)
    settings = replace(QUICK, steps=150, batch=8)

    def told(codec: PatchCodec) -> tuple[float, float]:
        made = codec.decode(held_out.latents.flatten(0, 1)).unflatten(0, (8, 4))
        apart = made - held_out.pictures / 255
        return apart.abs().mean().item(), apart.diff(dim=1).abs().mean().item()

    codec, _ = patches.read(file, 4)
    before = told(codec)
    found = {}
    for steady in (0.0, 4.0):
        patches.write(file, codec)  # as it was
        found[steady] = told(patches.train(file, data, codec, 0, replace(settings, steady=steady), outcomes))
    assert found[0.0][0] < 0.8 * before[0]
    assert found[4.0][1] < 0.9 * found[0.0][1] < 0.9 * before[1]


def test_a_run_on_outcomes_that_was_stopped_goes_on_to_the_last_bit(data, file, tmp_path, monkeypatch):
    other, outcomes = tmp_path / "other.safetensors", wavering(file, 0.2)
    other.write_bytes(file.read_bytes())
    settings = replace(QUICK, steps=6, save=2)
    codec, _ = patches.read(file, 4)
    patches.train(other, data, codec, 0, settings, outcomes)
    unsteadiness = patches.unsteadiness
    left = iter(range(3))

    def stopping(apart):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return unsteadiness(apart)

    monkeypatch.setattr(patches, "unsteadiness", stopping)
    with pytest.raises(KeyboardInterrupt):
        patches.train(file, data, codec, 0, settings, outcomes)
    monkeypatch.setattr(patches, "unsteadiness", unsteadiness)
    codec, step = patches.read(file, 4)
    assert step == 2
    patches.train(file, data, codec, step, settings, outcomes)
    assert file.read_bytes() == other.read_bytes()


def test_outcomes_that_do_not_fit_are_named(data, file, tmp_path, capsys):
    path, made = tmp_path / "outcomes.safetensors", wavering(file, 0.2)
    command = [str(data), "-o", str(file), "--channels", "4", "--steps", "2", "--outcomes", str(path)]
    assert main(command) == 2
    assert "holds no outcomes" in capsys.readouterr().err
    for wrong in (
        Outcomes(made.latents[:, :, :3], made.pictures),
        Outcomes(made.latents[:, :1], made.pictures[:, :1]),
        Outcomes(made.latents, made.pictures[0]),
    ):
        wrong.write(path)
        assert main(command) == 2
        assert "expected (clips, at least 2 frames, 4," in capsys.readouterr().err
    Outcomes(made.latents[..., :4, :4], made.pictures[..., :32, :32]).write(path)
    assert main(command) == 2
    assert "32 pixels a side and the clips have 64" in capsys.readouterr().err
    path.write_bytes(file.read_bytes())
    assert main(command) == 2
    assert "holds no outcomes" in capsys.readouterr().err
    assert header(file) == {"steps": "0"}
    made.write(path)
    assert main(command) == 0
    assert header(file) == {"steps": "2"}


# ---- figures


def test_decibels_are_of_all_pixels_together(data, file):
    codec, seen = load_codec(file), patches.of_split(data, "validation", 40)
    found = patches.measured(codec, seen)[0.0]
    there = seen.numpy() / 255
    made = np.concatenate([codec.decode(codec.encode(patches.pixels(some))).numpy() for some in seen.split(5)])
    assert found == pytest.approx(2 * (10 * np.log10(1 / ((made - there) ** 2).mean()),), abs=1e-3)


def test_what_cannot_be_used_is_named(data, file, tmp_path, capsys):
    assert main([str(data), "-o", str(file), "--channels", "8"]) == 2
    assert "holds patches of 4 channels; expected patches of 8 channels" in capsys.readouterr().err
    assert main([str(tmp_path), "-o", str(tmp_path / "new.safetensors")]) == 2
    assert "is not a dataset" in capsys.readouterr().err
    assert not (tmp_path / "new.safetensors").exists()


def test_the_command_trains_and_tells(data, file, caplog, capsys):
    caplog.set_level(logging.INFO)
    assert main([str(data), "-o", str(file), "--channels", "4", "--steps", "2"]) == 0
    assert header(file) == {"steps": "2"}
    assert "step 2 of 2" in caplog.text
    lines = capsys.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["0.0", "0.1", "0.2", "0.3"]


def test_latents_of_a_dataset_outlast_the_training_of_the_decoder(data, file, tmp_path):
    before = Models(codec=str(file)).digests()
    trained(file, data, replace(QUICK, steps=2))
    assert Models(codec=str(file)).digests() == before
    other = patchwork.write(tmp_path / "other.safetensors", 4)
    assert Models(codec=str(other)).digests() != before


def test_latents_are_kept_as_the_patches_make_them(data, file, tmp_path):
    """Written as preparing and drawing clips write them."""
    record = clips.add(tmp_path, "clip", 25, latents=False)
    folder = tmp_path / "clips" / "clip"
    job = SimpleNamespace(root=tmp_path)
    clip = SimpleNamespace(job=job, models=Models(codec=str(file)), path=lambda name: folder / f"{name}.safetensors")
    assert steps.write_latents(clip, record) == {"channels": 4}
    kept = Clip(tmp_path, replace(record, files=stored(tmp_path, "clip", ("video", "latents"))))
    found = kept.latents([3, 20])
    assert found is not None
    mean, logvar = found
    tensors, seen = load_file(file), kept.frames([3, 20])
    blocks = seen.numpy().reshape(2, 3, 8, 8, 8, 8).transpose(0, 2, 4, 1, 3, 5).reshape(2, 8, 8, 192)
    expected = (blocks - tensors["patches.mean"].numpy()) @ tensors["patches.to_latents"].numpy().T
    np.testing.assert_allclose(mean.numpy(), expected.transpose(0, 3, 1, 2), atol=5e-3)
    assert logvar.max() < -20
