"""Files of ours among ComfyUI's: few, found again or missed in words, and safe from other servers."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

FRAMES = 20


@pytest.fixture
def preview(pack):
    return partial(pack.nodes.preview.Preview, torch.zeros(3, 32, 32), None, torch.device("cpu"))


@pytest.fixture
def job(pack):
    """Black frames; `meanwhile` is called in their midst."""
    run, frames = pack.nodes.run, torch.zeros(FRAMES // 2, 3, 32, 32)

    def job(meanwhile=lambda: None):
        def made(on_step):
            yield SimpleNamespace(index=0, start=0, frames=frames)
            meanwhile()
            yield SimpleNamespace(index=1, start=FRAMES // 2, frames=frames)

        return run.Job(
            chunks=made,
            placed=lambda chunk: iter([chunk.frames.movedim(1, -1)]),
            count=2,
            length=FRAMES,
            rate=25,
            sound=(torch.zeros(1, 16_000), 16_000),
            size=(32, 32),
            moving=(32, 32),
            device=torch.device("cpu"),
            memory=run.Memory("Painting", 1, 1, "paint less"),
        )

    return job


def empty_temp(pack):
    """What every ComfyUI does when it starts, also if another one with the same folders is at work."""
    shutil.rmtree(pack.nodes.preview.temporary_folder(), ignore_errors=True)


def test_another_server_that_starts_disturbs_neither_a_run_nor_its_video(pack, job, preview):
    (pack.nodes.preview.temporary_folder() / "there").mkdir(parents=True, exist_ok=True)
    made = pack.nodes.run.make(job(partial(empty_temp, pack)), preview())
    empty_temp(pack)
    assert len(made.video.get_components().images) == FRAMES
    assert pack.nodes.preview.shown(np.zeros((8, 8, 3), np.uint8), "faces")["filename"]


@pytest.mark.parametrize(
    "use",
    [
        lambda video, folder: video.save_to(str(folder / "a.mp4")),
        lambda video, folder: video.save_to(str(folder / "a.webm"), format="webm"),
        lambda video, folder: video.get_components(),
        lambda video, folder: video.get_dimensions(),
        lambda video, folder: video.get_duration(),
        lambda video, folder: video.get_stream_source(),
    ],
    ids=["mp4", "other", "components", "dimensions", "duration", "source"],
)
def test_a_video_that_somebody_deleted_is_missed_in_words(pack, job, preview, tmp_path, use):
    video = pack.nodes.run.make(job(), preview()).video
    shutil.rmtree(video.path.parent)
    with pytest.raises(ValueError, match=r"The video that this workflow made earlier, .*, was deleted. Choose Unload"):
        use(video, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_goes_before_the_next(pack, job, preview):
    place = pack.nodes.places.working_place()
    left = place / f"{pack.nodes.places.working_folder().name[:-32]}{'0' * 32}"
    left.mkdir()
    for path in (left / "JoyHallo_0.mkv", left / "lock"):
        path.touch()
    for path in (*left.iterdir(), left):
        os.utime(path, (time.time() - 60,) * 2)
    pack.nodes.run.make(job(), preview())
    assert not left.exists()


def picture(number: int) -> np.ndarray:
    return np.full((8, 8, 3), number, np.uint8)


def test_pictures_for_the_page_are_bounded_and_the_newest_stay(pack, monkeypatch):
    module = pack.nodes.preview
    monkeypatch.setattr(module, "KEPT", 4)
    empty_temp(pack)
    folder = module.temporary_folder()
    other = module.shown(picture(0), "drift")["filename"]
    names = []
    for number in range(10):
        names.append(module.shown(picture(number), "faces")["filename"])
        os.utime(folder / names[-1], (number + 1,) * 2)
        if number == 7:
            assert module.shown(picture(5), "faces")["filename"] == names[5]  # it is shown again, so it is new
    assert {path.name for path in folder.iterdir()} == {other, names[5], *names[7:]}
    assert len(set(names)) == 10


def test_reading_a_video_stops_when_the_user_cancels(pack, job, preview):
    import comfy.model_management as manager
    from comfy_api.latest import InputImpl

    made = pack.nodes.run.make(job(), preview())
    video = InputImpl.VideoFromFile(str(made.video.path))
    footage = pack.nodes.video.Footage.of(video)
    for use in (lambda: list(footage.batches), footage.sound, lambda: pack.nodes.video.reel_of(video, 25).take(20)):
        manager.interrupt_current_processing()
        with pytest.raises(manager.InterruptProcessingException):
            use()
        manager.interrupt_current_processing(False)
