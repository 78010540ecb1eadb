"""A run of a method that is not JoyHallo: file, progress, cancelling and resuming, with a stand-in that paints."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from page_lines import known_as
from painter import CORNERS, Painter

FRAMES, RATE = 23, Fraction(30_000, 1001)


@pytest.fixture(scope="module")
def ours(pack):
    """The pack's own modules, whose classes are not those of the tests' `joyhallo`."""
    import importlib

    names = ("faces.blend", "faces.track", "files.journal", "methods.redub", "methods.script")
    return {name: importlib.import_module(f"{pack.__name__}.joyhallo.{name}") for name in names}


@pytest.fixture(scope="module")
def film():
    return torch.randint(0, 256, (FRAMES, 90, 128, 3), generator=torch.Generator().manual_seed(5)).byte()


@pytest.fixture
def job(pack, ours, film):
    redub, run = ours["methods.redub"], pack.nodes.run
    points = np.stack([CORNERS - CORNERS.mean(0) + np.array([40 + i, 45]) for i in range(FRAMES)])
    boxes, scores = np.concatenate([points.min(1), points.max(1)], axis=1), np.ones(FRAMES, np.float32)
    track = ours["faces.track"].Track(boxes, points, scores, "marks", (128, 90), RATE)
    amounts = np.array([float(2 <= i < FRAMES - 2) for i in range(FRAMES)], np.float32)
    script, blend = ours["methods.script"].Script(np.arange(FRAMES), amounts), ours["faces.blend"].Blend()

    def job(painter, journal=None, sound=None, memory=1):
        windows, crops = torch.linspace(0, 1, FRAMES), painter.crops(track)

        def chunks(on_step):
            return redub.redub(painter, iter(film), crops, windows, script, on_progress=on_step, kept=journal)

        def placed(chunk):
            yield redub.placed(chunk, crops, script, blend)

        return run.Job(
            chunks=chunks,
            placed=placed,
            count=redub.chunk_count(painter, script),
            length=FRAMES,
            rate=RATE,
            sound=sound,
            size=(128, 90),
            moving=(128, 90),
            device=torch.device("cpu"),
            memory=run.Memory("Painting", memory, memory, "paint less"),
            journal=journal,
        )

    return job


@pytest.fixture
def preview(pack, film):
    return partial(pack.nodes.preview.Preview, torch.zeros(3, 90, 128), None, torch.device("cpu"))


def test_the_file_holds_what_the_method_made(pack, job, preview):
    sound = torch.rand(1, 16_000, generator=torch.Generator().manual_seed(1)) - 0.5, 16_000
    made = pack.nodes.run.make(job(Painter(), sound=sound), preview())
    found = made.video.get_components()
    assert found.frame_rate == RATE
    assert found.images.shape == (FRAMES, 90, 128, 3)
    assert found.audio["sample_rate"] == 16_000
    single = job(Painter(1))
    expected = torch.cat([batch for chunk in single.chunks(preview().after_step) for batch in single.placed(chunk)])
    assert torch.equal((found.images * 255).round().byte(), expected)
    assert "23 frames in 5 chunks" in made.plan


def test_a_run_that_was_stopped_goes_on(pack, job, ours, preview, tmp_path):
    journal = ours["files.journal"].Journal(tmp_path, "painted", (5, 3, 64, 64))
    whole = pack.nodes.run.make(job(Painter()), preview()).video.get_components().images

    class Tired(Painter):
        def speak(self, crops, heard, on_step):
            if len(self.spoken) == 2:
                raise RuntimeError("tired")
            return super().speak(crops, heard, on_step)

    with pytest.raises(RuntimeError, match="tired"):
        pack.nodes.run.make(job(Tired(), journal), preview())
    rested = Painter()
    made = pack.nodes.run.make(job(rested, journal), preview())
    assert "2 of them finished earlier" in made.plan
    assert known_as(made.plan) == ["ahead"]
    assert len(rested.spoken) == 3
    assert torch.equal(made.video.get_components().images, whole)


def test_the_next_chunk_is_made_while_one_is_placed(pack, job, preview):
    making, waited = threading.Event(), []

    class Watched(Painter):
        def speak(self, crops, heard, on_step):
            if self.spoken:
                making.set()
            return super().speak(crops, heard, on_step)

    plain = job(Watched())

    def placed(chunk):
        waited.append(making.wait(10))
        return plain.placed(chunk)

    pack.nodes.run.make(replace(plain, placed=placed), preview())
    assert all(waited)


def test_a_full_disk_ends_a_chunk_in_its_midst(pack, job, preview, monkeypatch):
    def full(path, pictures, *_, **__):
        next(pictures)
        raise OSError("disk full")

    class Slow(Painter):
        def speak(self, crops, heard, on_step):
            for step in range(500 if self.spoken else 0):
                time.sleep(0.01)
                on_step(step, 500, None)
            return super().speak(crops, heard, on_step)

    monkeypatch.setattr(pack.nodes.run, "write", full)
    painter = Slow()
    with pytest.raises(OSError, match="disk full"):
        pack.nodes.run.make(job(painter), preview())
    assert len(painter.spoken) == 1


def test_cancelling_leaves_no_file(pack, job, preview):
    import comfy.model_management as manager

    folder = pack.nodes.places.working_folder()
    before = set(folder.glob("*"))

    class Interrupting(Painter):
        def speak(self, crops, heard, on_step):
            manager.interrupt_current_processing()
            return super().speak(crops, heard, on_step)

    with pytest.raises(manager.InterruptProcessingException):
        pack.nodes.run.make(job(Interrupting()), preview())
    assert set(folder.glob("*")) == before


def test_too_little_memory_is_told_before_anything_is_read(pack, job, preview):
    painter = Painter()
    with pytest.raises(ValueError, match=r"Painting needs .* of memory.*paint less"):
        pack.nodes.run.make(job(painter, memory=1 << 60), preview())
    with pytest.raises(ValueError, match=r"Painting needs .* of memory.*paint less"):
        pack.nodes.run.make(replace(job(painter), held=1 << 60), preview())
    assert painter.spoken == []
