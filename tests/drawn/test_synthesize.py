"""Drawn people who speak: what is said to be true of them is true of the pictures and of the sound."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from joyhallo.data.dataset import SPLITS, open_dataset, read_manifest
from joyhallo.data.models import Models
from joyhallo.drawn import drawing, espeak, mouths, sentences, speaking, synthesize, voice
from joyhallo.drawn.drawing import Pose, Sitter, look_of
from joyhallo.drawn.synthesize import Production
from joyhallo.drawn.voice import Manner, Phoneme, speak
from joyhallo.faces.boxes import Box, around
from joyhallo.faces.regions import LIPS, OUTLINE
from joyhallo.libraries import LibraryError
from joyhallo.methods.hallo import likeness
from joyhallo.sound.audio import levels

pytestmark = pytest.mark.slow

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed, so there is no synthetic speech"
)
FEW = Production(size=128, people=2, others=1, clips=2, seconds=2.0, english=0.3)


def someone(number: int, size: int = 128) -> Sitter:
    return Sitter(look_of(np.random.default_rng(number)), size)


def inside(pictures: np.ndarray) -> np.ndarray:
    """How near each pixel is to the red inside of a mouth, in 0..1, where a mouth may be."""
    apart = np.linalg.norm(pictures.astype(float) - drawing.INSIDE, axis=-1)
    apart[..., :64, :], apart[..., :48], apart[..., 80:] = 99, 99, 99
    return (1 - apart / 40).clip(0, 1)


def height(pictures: np.ndarray) -> np.ndarray:
    """Of the inside of the mouth, in pixels, where it is highest."""
    return inside(pictures).sum(-2).max(-1)


# ---- pictures


def test_the_mouth_that_is_seen_is_as_open_as_told():
    openings = np.linspace(0, 1, 21)
    for number in range(6):
        sitter = someone(number)
        seen = height(np.stack([sitter.picture(Pose(opening=opening)) for opening in openings]))
        assert np.corrcoef(seen, openings)[0, 1] > 0.98  # a narrow gap is lost among pixels, and teeth hide some
        assert seen[0] < 1  # pixel
        assert (np.diff(seen[2::3]) > 0).all()


MOVED = Pose(opening=0.8, x=0.03, y=-0.02, roll=0.12)


@pytest.mark.parametrize("pose", [Pose(opening=0.8), MOVED, replace(MOVED, roll=-0.12, spread=-1)], ids=str)
@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_mesh_lies_where_face_and_lips_are_drawn(pose, size):
    """A picture with the mouth open differs from one with it shut inside the lips' box alone, and fills it."""
    for number in range(3):
        sitter = someone(number, size)
        opened, shut = (sitter.picture(replace(pose, opening=opening)).astype(int) for opening in (0.8, 0.0))
        rows, columns = np.nonzero(np.abs(opened - shut).max(2) > 40)
        found = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        lips = around(sitter.mesh(pose)[list(LIPS)])
        assert found.within(Box(lips.left - 2, lips.top - 2, lips.right + 2, lips.bottom + 2)) == found
        assert found.overlap(lips) > 0.6
        outline = around(sitter.mesh(pose)[list(OUTLINE)])
        assert lips.within(outline) == lips
        assert 0.5 <= outline.longest / size <= 0.7


def test_smaller_pictures_show_the_same():
    large, small = someone(4, 512).picture(MOVED), someone(4, 128).picture(MOVED)
    shrunk = large.reshape(128, 4, 128, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 2  # of 255


def test_a_figure_before_its_wall_is_the_picture():
    for number in range(3):
        sitter = someone(number)
        figure = Image.fromarray(sitter.figure(MOVED))
        laid = Image.new("RGBA", figure.size, (*sitter.look.wall, 255))
        laid.alpha_composite(figure)
        assert np.abs(np.asarray(laid)[..., :3].astype(int) - sitter.picture(MOVED)).max() <= 2
        covers = np.asarray(figure)[..., 3]
        assert (covers[:8] == 0).all()
        assert (covers[60:, 60:68] == 255).all()


def test_edges_are_smooth():
    """Between hair and wall there are colours of both."""
    look = replace(look_of(np.random.default_rng(1)), hair=(0, 0, 0), wall=(255, 255, 255), behind="long")
    picture = Sitter(look, 128).picture(Pose(roll=0.1))[40:80]
    grey = picture[(np.ptp(picture.astype(int), axis=-1) < 30)].mean(-1)
    assert ((grey > 60) & (grey < 160)).sum() > 20


def test_looking_again_is_not_remembered_wrongly():
    sitter, fresh = someone(2), someone(2)
    for lids in (0.0, 1.0, 0.5, *np.linspace(0, 1, 9), 0.0):
        assert np.array_equal(sitter.picture(Pose(lids=lids)), someone(2).picture(Pose(lids=lids)))
    assert np.array_equal(sitter.picture(), fresh.picture())


def test_people_are_told_apart_by_their_colours():
    """From a frame in which they move and speak, among thirty."""
    people = [someone(number) for number in range(30)]
    known = torch.stack([likeness.by_colours(each.picture(), each.face()) for each in people])
    pose = Pose(opening=0.7, lids=1.0, x=0.02, y=0.01, roll=0.05)
    seen = torch.stack([likeness.by_colours(each.picture(pose), each.face(pose)) for each in people])
    nearest = torch.cdist(seen, known).argmin(1)
    assert (nearest == torch.arange(30)).float().mean() > 0.95


# ---- sound


@needs_espeak
def test_what_is_said_does_not_depend_on_what_was_said_before():
    text, manner = "ni3hao3, shi4jie4.", Manner(rate=150)
    first = speak(text, manner)
    speak("The sea shell", Manner("en-us+f2", 200, 70, 20))
    again = speak(text, manner)
    assert torch.equal(first.samples, again.samples)
    assert first.phonemes == again.phonemes
    assert not torch.equal(first.samples[:8000], speak(text, replace(manner, pitch=70)).samples[:8000])


@needs_espeak
def test_phonemes_lie_where_they_are_heard():
    """Vowels are loud, the pause between two words is silent, and hissing crosses zero often."""
    spoken = speak("ma1ma5, si1si1, ba4ba5.", Manner(rate=140))
    loudest = spoken.samples.abs().max()
    kinds = {"vowel": [], "pause": [], "hiss": []}
    for phoneme in spoken.phonemes:
        part = spoken.samples[round(phoneme.start * 16000) : round(phoneme.stop * 16000)]
        middle = part[len(part) // 4 : -len(part) // 4 or None]
        kind = {"A": "vowel", "_:": "pause", "s": "hiss"}.get(phoneme.name)
        if kind and len(middle) > 100:
            crossings = (middle[1:].sign() != middle[:-1].sign()).float().mean().item()
            kinds[kind].append((float(middle.abs().max() / loudest), crossings))
    assert min(loud for loud, _ in kinds["vowel"]) > 0.25
    assert max(loud for loud, _ in kinds["pause"]) < 0.02
    assert min(crossings for _, crossings in kinds["hiss"]) > 3 * max(crossings for _, crossings in kinds["vowel"])


@needs_espeak
def test_phonemes_follow_each_other_to_the_end():
    spoken = speak("zhong1guo2ren2, ni3men5 hao3.", Manner())
    assert spoken.phonemes[0].start < 0.03
    assert all(one.stop == other.start for one, other in pairwise(spoken.phonemes))
    assert abs(spoken.phonemes[-1].stop - len(spoken.samples) / 16000) < 0.01


@needs_espeak
@pytest.mark.parametrize("split", SPLITS)
def test_every_syllable_of_every_word_opens_the_mouth(split):
    """So the names that espeak gives its phonemes are all known; and the words use every kind of shape."""
    words, kinds = sentences.words(split), set()
    for some in (words[at : at + 8] for at in range(0, len(words), 8)):
        spoken = speak(", ".join(some), Manner())
        found = [shape.viseme for each in spoken.phonemes for shape in mouths.shapes_of(each.name)]
        syllables = sum(letter.isdigit() for letter in "".join(some))
        assert sum(kind in ("open", "middle", "rounded", "spread") for kind in found) >= syllables, some
        kinds |= set(found)
    assert kinds == set(mouths.VISEMES)


def test_a_machine_without_espeak_is_told_how_to_get_it(monkeypatch, tmp_path, capsys):
    """Another program stands in for the one that finds no library; its exit code is the real one's."""
    program = tmp_path / "espeak.py"
    program.write_text(
        Path(espeak.__file__).read_text().replace("libespeak-ng", "libnowhere").replace('"espeak-ng"', '"nowhere"')
    )
    monkeypatch.setattr(espeak, "__file__", str(program))
    with pytest.raises(LibraryError, match=r"needs espeak-ng, which is not installed; install it with: apt-get"):
        speak("ni3hao3", Manner())
    assert synthesize.main(["-o", str(tmp_path / "set")]) == 2
    assert "apt-get install espeak-ng" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    program.write_text("raise RuntimeError('some fault')")
    with pytest.raises(LibraryError, match=r"broke off .*some fault"):
        speak("ni3hao3", Manner())


@needs_espeak
def test_an_unknown_voice_is_said_in_words():
    with pytest.raises(LibraryError, match="no voice nobody"):
        speak("ni3hao3", Manner("nobody"))


# ---- mouths


def phonemes(*named: tuple[str, float]) -> list[Phoneme]:
    """By name and duration."""
    ends = np.cumsum([0, *(duration for _, duration in named)])
    return [Phoneme(name, *map(float, span)) for (name, _), span in zip(named, pairwise(ends), strict=True)]


def test_neighbours_are_mixed_by_a_gaussian():
    """Against scipy's, for shapes that pull alike."""
    ndimage = pytest.importorskip("scipy.ndimage")
    named = phonemes(("_", 0.3), ("A", 0.21), ("s", 0.09), ("i", 0.2), ("_:", 0.4))
    found = mouths.motion(named, 30)
    fine = np.zeros(1200)
    for (start, stop), value in (((0.3, 0.51), 1.0), ((0.51, 0.6), 0.15), ((0.6, 0.8), 0.35)):
        fine[round(start * 1000) : round(stop * 1000)] = value
    expected = ndimage.gaussian_filter1d(fine, 40, mode="nearest")[(np.arange(30) * 40 + 20)]
    assert np.abs(found.opening - expected).max() < 0.01


def test_lips_meet_for_p_b_and_m_even_in_fast_speech():
    found = mouths.motion(phonemes(("A", 0.3), ("m", 0.1), ("A", 0.3)), 18)
    other = mouths.motion(phonemes(("A", 0.3), ("k", 0.1), ("A", 0.3)), 18)
    assert found.opening[8] < 0.15 < 0.25 < other.opening[8]
    assert found.opening[4] > 0.9


def test_lips_are_rounded_and_spread():
    found = mouths.motion(phonemes(("u", 0.4), ("i", 0.4)), 20)
    assert found.spread[4] < -0.9
    assert found.spread[15] > 0.9
    assert [mouths.VISEMES[kind] for kind in found.viseme[[4, 15]]] == ["rounded", "spread"]


def test_diphthongs_move():
    assert [shape.viseme for shape in mouths.shapes_of("uai")] == ["rounded", "open", "spread"]
    found = mouths.motion(phonemes(("Au", 0.6)), 15)
    assert found.opening[3] > 0.9
    assert found.opening[12] < 0.4


def test_after_the_last_phoneme_the_mouth_is_shut():
    found = mouths.motion(phonemes(("A", 0.2)), 25)
    assert found.opening[10:].max() < 1e-3
    assert (found.viseme[6:] == 0).all()


# ---- the dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed, so there is no synthetic speech")
    folder = tmp_path_factory.mktemp("drawn")
    synthesize.synthesize(folder, FEW)
    return folder


def test_a_dataset_for_both_splits(drawn):
    train, validation = (open_dataset(drawn, split, needs=("mouth",), verify=True) for split in SPLITS)
    assert (len(train.clips), len(validation.clips), len(train.problems)) == (4, 2, 0)
    for clip in (*train.clips, *validation.clips):
        assert (clip.length, clip.size, len(clip.recording.samples)) == (50, 128, 50 * 640)
        assert 0 <= clip.mouth.min() < 0.1
        assert 0.4 < clip.mouth.max() <= 1
    assert [problem.reason for problem in open_dataset(drawn).problems] == [
        "its record names no speech; prepare it again"
    ] * 6


def test_the_mouth_in_the_video_is_the_one_that_is_told(drawn):
    for clip in open_dataset(drawn, needs=()).clips:
        pictures = ((clip.frames(range(clip.length)) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
        assert np.corrcoef(height(pictures), clip.mouth)[0, 1] > 0.95


def test_clips_of_one_person_have_one_identity_and_others_another(drawn):
    first, second, third, fourth = (clip.identity for clip in open_dataset(drawn, needs=()).clips)
    assert torch.equal(first, second)
    assert torch.equal(third, fourth)
    assert (first - third).norm() > 1


def test_regions_cover_face_and_lips_in_every_frame(drawn):
    for clip in open_dataset(drawn, needs=()).clips:
        pictures = ((clip.frames(range(clip.length)) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
        mouth = (inside(pictures) > 0.5).any(0)
        assert (clip.face_mask.numpy()[mouth] == 1).all()
        lip = np.repeat(np.repeat(clip.masks.lip, 2, 0), 2, 1)
        assert (lip[mouth] > 100).all()


def test_nothing_of_validation_is_in_training(drawn):
    about = {split: [clip.record for clip in open_dataset(drawn, split, needs=()).clips] for split in SPLITS}
    told = {split: [record.about["drawn"] for record in records] for split, records in about.items()}
    assert not set(sentences.words("train")) & set(sentences.words("validation"))
    assert not set(sentences.english("train")) & set(sentences.english("validation"))
    assert 0.1 < len(sentences.words("validation")) / len(sentences.words("train")) < 0.4
    assert not set(speaking.VOICES["train"]) & set(speaking.VOICES["validation"])
    for split, some in told.items():
        for one in some:
            language = one["voice"].partition("+")[0]
            assert one["voice"].removeprefix(language) in speaking.VOICES[split]
            known = sentences.words(split) if language == voice.MANDARIN else " ".join(sentences.english(split)).split()
            assert {word.strip(",.") for word in one["text"].split()} <= {word.strip(",.") for word in known}
    speakers = {split: {record.speaker for record in records} for split, records in about.items()}
    assert not speakers["train"] & speakers["validation"]


def test_the_same_seed_gives_the_same_in_any_order_and_another_seed_another(drawn, tmp_path, monkeypatch):
    each = synthesize.work.each
    monkeypatch.setattr(synthesize.work, "each", lambda task, jobs, *more: each(task, jobs[::-1], *more))
    synthesize.synthesize(tmp_path / "again", FEW)
    assert (tmp_path / "again/manifest.jsonl").read_bytes() == (drawn / "manifest.jsonl").read_bytes()
    synthesize.synthesize(tmp_path / "other", replace(FEW, seed=1, people=1, others=0, clips=1))
    (other,) = read_manifest(tmp_path / "other")
    same = next(record for record in read_manifest(drawn) if record.id == other.id)
    assert all(other.files[name].sha256 != same.files[name].sha256 for name in ("video", "sound", "identity"))


def test_features_and_latents_are_added_to_what_is_there(drawn, tmp_path):
    import filmed

    folder = shutil.copytree(drawn, tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("video.mp4")}
    some = replace(FEW, people=1, others=0)
    synthesize.synthesize(folder, some, Models(encoder="filmed:ear", codec="filmed:BlockPosterior"))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    clips = open_dataset(folder, needs=("speech", "latents", "mouth")).clips
    assert len(clips) == 2
    assert clips[0].speech.shape == (50, 2, 8)
    assert clips[0].latents([0, 49])[0].shape == (2, 4, 16, 16)
    assert filmed.ear().name == clips[0].record.about["speech"]["encoder"]


def test_visemes_are_told_too(drawn):
    clip = open_dataset(drawn, needs=()).clips[0]
    told = load_file(clip.path("mouth"))
    assert {name: tuple(tensor.shape) for name, tensor in told.items()} == dict.fromkeys(
        ("opening", "spread", "viseme"), (50,)
    )
    assert told["viseme"].max() < len(mouths.VISEMES)


@needs_espeak
def test_loudness_alone_tells_less_of_the_mouth_than_it_would():
    """The gain drifts: the correlation of opening and level falls."""
    plain, varied = [], []
    for number in range(12):
        spoken = speak(sentences.mandarin_sentence(np.random.default_rng(number), "train"), Manner())
        rows = len(spoken.samples) // 640
        opening = mouths.motion(spoken.phonemes, rows).opening
        changed = speaking.recorded_sound(spoken.samples, np.random.default_rng(number))
        for some, samples in ((plain, spoken.samples), (varied, changed)):
            loudness = 10 ** (levels(samples, rows + 1)[:rows] / 20)
            some.append(np.corrcoef(opening, loudness)[0, 1])
    assert np.mean(plain) > np.mean(varied) + 0.05
    assert 0.3 < np.mean(plain) < 0.9


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"size": 100}, "100 pixels; expected a multiple of 64"), ({"seconds": 0.5}, r"0\.92 seconds or more")],
)
def test_settings_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        Production(**changes)
