"""Films of every make are read upright, in square pixels, at any rate, with their sound in step, as often as wanted."""

import gc
import io
import logging
import pickle
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from handmade import made, numbered
from torch.nn import functional as F

from joyhallo.film.read import ALL, Film, Reel, UnreadableError, at_rate, retimed
from joyhallo.film.write import COPY, VideoError, write


def clip(count: int = 21, height: int = 36, width: int = 50) -> torch.Tensor:
    """(count, height, width, 3) of 8 bits, as noisy as can be"""
    return torch.randint(0, 256, (count, height, width, 3), generator=torch.Generator().manual_seed(1)) / 255


def tone(seconds: float, rate: int = 22_050) -> tuple[torch.Tensor, int]:
    time = torch.arange(round(seconds * rate)) / rate
    return torch.stack([0.5 * torch.sin(2 * torch.pi * 440 * time), 0.1 * torch.sin(2 * torch.pi * 220 * time)]), rate


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return write(tmp_path_factory.mktemp("copy") / "copy.mkv", clip().split(5), 25, tone(0.84), COPY)


def test_a_working_copy_loses_nothing(copy):
    assert torch.equal(torch.cat(list(Film(copy).frames())), clip())
    with av.open(str(copy)) as file:  # the same by FFmpeg's own way to RGB
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert np.array_equal(decoded, (clip() * 255).round().byte().numpy())


def test_a_working_copy_of_odd_sides(tmp_path):
    odd = clip(3, 35, 51)
    assert torch.equal(torch.cat(list(Film(write(tmp_path / "odd.mkv", [odd], 25, None, COPY)).frames())), odd)


def test_its_sound_is_as_it_was(copy):
    sound, rate = tone(0.84)
    found, found_rate = Film(copy).sound()
    assert found_rate == rate
    torch.testing.assert_close(found, sound, rtol=0, atol=2**-23)


def test_facts(copy):
    known = Film(copy).facts
    assert (known.width, known.height, known.rate, known.count, known.seconds) == (50, 36, 25, 21, 0.84)


def test_a_file_in_memory(copy):
    film = Film(io.BytesIO(copy.read_bytes()))
    assert film.facts == Film(copy).facts
    for _ in range(2):
        assert torch.equal(torch.cat(list(film.frames())), clip())
    assert torch.equal(film.sound()[0], Film(copy).sound()[0])


@pytest.mark.parametrize("at_once", [1, 4, 21, 100])
def test_batches(copy, at_once):
    sizes = [len(batch) for batch in Film(copy).frames(at_once=at_once)]
    assert sum(sizes) == 21
    assert set(sizes[:-1]) <= {at_once}


def test_ordinary_videos(tmp_path):
    smooth = F.interpolate(clip(6, 4, 6).movedim(-1, 1), (32, 48), mode="bicubic").movedim(1, -1).clamp(0, 1)
    for ending in ("mp4", "webm", "mov"):
        path = write(tmp_path / f"clip.{ending}", [smooth], 12.5, None, ending, "best")
        found = torch.cat(list(Film(path).frames()))
        assert found.shape == smooth.shape
        assert (found - smooth).abs().mean() < 0.03


# ---- taken off a reel


@pytest.mark.parametrize("counts", [[21], [1] * 21, [5, 11, 5], [8, 13], [20, 1]])
def test_taken_in_any_portions(copy, counts):
    reel = Reel(Film(copy).frames())
    assert torch.equal(torch.cat([reel.take(count) for count in counts]), clip())


def test_after_its_end_the_last_frame_stays(copy):
    reel = Reel(Film(copy).frames())
    reel.take(20)
    assert torch.equal(reel.take(3), clip()[-1:].expand(3, -1, -1, -1))
    assert torch.equal(reel.take(2), clip()[-1:].expand(2, -1, -1, -1))


def test_an_empty_reel():
    with pytest.raises(VideoError, match="holds no frame"):
        Reel(iter([])).take(1)


def numbers(film: Film, rate: Fraction | int | None = None) -> list[int]:
    return [int(picture[0, 0, 0]) for picture in film.pictures(rate)]


CORNERS = np.arange(24 * 40 * 3, dtype=np.int64).reshape(24, 40, 3).astype(np.uint8)  # no two corners are alike


# ---- upright


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_from_a_phone_is_upright(tmp_path, ending, degrees):
    """By what its display matrix says; numpy turns the same way, counter-clockwise."""
    path = made(tmp_path / f"film.{ending}", [CORNERS], codec="libx264rgb", options={"qp": "0"}, rotation=degrees)
    expected = np.rot90(CORNERS, degrees // 90)
    (found,) = Film(path).pictures()
    assert np.array_equal(found, expected)
    known = Film(path).facts
    assert (known.height, known.width) == expected.shape[:2]
    (batch,) = Film(path).frames(25)
    assert torch.equal(batch[0], torch.from_numpy(expected.copy()) / 255)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize(("mirror", "axis"), [((-1, 1), 1), ((1, -1), 0)], ids=["left to right", "upside down"])
def test_mirrored_videos(tmp_path, degrees, mirror, axis):
    """Turned, then mirrored: the matrix of the one times that of the other, of numbers with 16 bits below the point."""
    one = 1 << 16
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}[degrees]
    x, y = mirror
    matrix = [a * x * one, b * y * one, 0, c * x * one, d * y * one, 0, 0, 0, 1 << 30]
    path = made(tmp_path / "film.mp4", [CORNERS], codec="libx264rgb", options={"qp": "0"}, matrix=matrix)
    (found,) = Film(path).pictures()
    assert np.array_equal(found, np.flip(np.rot90(CORNERS, degrees // 90), axis))


@pytest.mark.parametrize(("aspect", "size"), [((4, 3), (64, 36)), ((1, 1), (48, 36)), ((3, 4), (36, 36))])
def test_pixels_become_square(tmp_path, aspect, size):
    """A disc that was stored narrower is round again."""
    y, x = np.mgrid[:36, :48] + 0.5
    disc = ((x - 24) ** 2 * Fraction(*aspect) ** 2 + (y - 18) ** 2 < 12**2).astype(np.uint8)[..., None].repeat(
        3, 2
    ) * 255
    path = made(tmp_path / "film.mp4", [disc], codec="libx264rgb", sample_aspect_ratio=Fraction(*aspect))
    known = Film(path).facts
    assert (known.width, known.height) == size
    (found,) = Film(path).pictures()
    inside = found[..., 0] > 127
    assert found.shape == (size[1], size[0], 3)
    assert abs(int(inside.any(0).sum()) - int(inside.any(1).sum())) <= 1


def test_pixels_become_square_before_the_picture_is_turned(tmp_path):
    path = made(
        tmp_path / "film.mp4",
        [CORNERS],
        codec="libx264rgb",
        options={"qp": "0"},
        sample_aspect_ratio=Fraction(2),
        rotation=90,
    )
    known = Film(path).facts
    assert (known.width, known.height) == (24, 80)


def test_no_frame_stays_in_a_circle_that_only_the_garbage_collector_breaks(copy):
    gc.collect()
    gc.disable()
    try:
        for _ in Film(copy, threads=1).pictures():
            pass
        assert sum(isinstance(each, av.VideoFrame) for each in gc.get_objects()) <= 3
    finally:
        gc.enable()


# ---- colours


@pytest.mark.parametrize(
    ("pixels", "codec"), [("yuv420p10le", "ffv1"), ("yuv444p", "ffv1"), ("yuv422p10le", "prores_ks")]
)
@pytest.mark.parametrize("size", [(48, 32), (51, 35)])
def test_pixels_of_any_kind(tmp_path, pixels, codec, size):
    """A soft picture comes back as it was, but for what the kind of pixels loses."""
    y, x = np.mgrid[: size[1], : size[0]]
    soft = np.stack([x * 4, y * 5, 200 - x * 2], 2).astype(np.uint8)
    (found,) = Film(made(tmp_path / "film.mkv", [soft], codec=codec, pixels=pixels)).pictures()
    assert found.shape == soft.shape
    assert np.abs(found.astype(int) - soft).mean() < 4


def test_grey(tmp_path):
    grey = CORNERS[..., 0]
    (found,) = Film(made(tmp_path / "film.mkv", [grey], pixels="gray", source="gray")).pictures()
    assert np.array_equal(found, grey[..., None].repeat(3, 2))


def test_what_is_transparent_is_white(tmp_path):
    alpha = np.zeros((24, 40, 1), np.uint8)
    alpha[:, :20], alpha[:, 20:30] = 255, 51
    path = made(tmp_path / "film.mkv", [np.concatenate([CORNERS, alpha], 2)], pixels="bgra", source="rgba")
    (found,) = Film(path).pictures()
    assert np.array_equal(found[:, :20], CORNERS[:, :20])
    assert np.array_equal(found[:, 20:30], np.round(0.2 * CORNERS[:, 20:30] + 0.8 * 255))
    assert (found[:, 30:] == 255).all()


def test_hdr_is_shown_as_on_an_ordinary_screen(tmp_path):
    """Known colours, paper white at 203 nits, are coded by the formulas of BT.2087 and of SMPTE ST 2084."""
    colours = np.array([[255] * 3, [188] * 3, [64] * 3, [200, 120, 100], [230, 40, 30], [30, 60, 220]])
    wider = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    light = (203 / 10_000 * ((colours / 255) ** 2.4) @ wider.T) ** (2610 / 16384)
    codes = ((3424 / 4096 + 2413 / 128 * light) / (1 + 2392 / 128 * light)) ** (2523 / 32)
    stripes = np.round(65535 * codes).astype(np.uint16)[None].repeat(8, 1).repeat(16, 0)
    known = {"colorspace": 0, "color_primaries": 9, "color_trc": 16, "color_range": 2}
    path = made(tmp_path / "film.mkv", [stripes], pixels="gbrp10le", source="rgb48le", **known)
    (found,) = Film(path).pictures()
    assert np.abs(found[8, 4::8].astype(int) - colours).max() < 16


def test_hdr_stays_pale_where_ffmpeg_cannot_convert_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("joyhallo.film.read.BT709", "unknown=bt709")
    given = {"pixels": "gbrp10le", "source": "rgb48le", "colorspace": 0, "color_trc": 16}
    path = made(tmp_path / "film.mkv", [np.full((16, 16, 3), 30_000, np.uint16)] * 3, **given)
    assert [picture.mean() for picture in Film(path).pictures()] == [117] * 3
    assert caplog.text.count("update av") == 1


def test_a_film_that_changes_its_size_keeps_the_first(tmp_path):
    """Also where reading begins behind the change. What does not fill the picture is in its middle, on black."""
    grey, wide = np.full((48, 64, 3), 90, np.uint8), np.full((32, 128, 3), 200, np.uint8)
    stored = {"codec": "libx264", "pixels": "yuv420p"}
    one = made(tmp_path / "one.ts", [grey] * 10, **stored)
    other = made(tmp_path / "other.ts", [wide] * 10, lambda index: Fraction(index + 10, 25), **stored)
    one.write_bytes(one.read_bytes() + other.read_bytes())
    film = Film(one)
    for found in (list(film.pictures(25))[-1], next(film.pictures_from(15, 25))):
        assert found.shape == grey.shape
        assert found[[8, 15, 17, 30, 32, 40]].mean((1, 2)) == pytest.approx([0, 0, 200, 200, 0, 0], abs=3)


# ---- at a rate


@pytest.mark.parametrize(
    "own", [10, 24, Fraction(24_000, 1001), 25, Fraction(30_000, 1001), 30, 50, Fraction(60_000, 1001), 60]
)
def test_the_rate_is_changed_as_ffmpeg_does(tmp_path, own):
    """Against its own filter, frame by frame."""
    path = made(
        tmp_path / "film.mp4", numbered(62), lambda index: index / Fraction(own), own, "libx264rgb", clock=120_000
    )
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        graph = av.filter.Graph()
        graph.link_nodes(graph.add_buffer(template=stream), graph.add("fps", "25"), graph.add("buffersink")).configure()
        expected = []
        for frame in [*file.decode(stream), None]:
            graph.push(frame)
            try:
                while True:
                    expected.append(graph.pull().to_ndarray(format="rgb24"))
            except (av.BlockingIOError, av.EOFError):
                pass
    found = list(Film(path).pictures(25))
    assert len(found) == len(expected) == round(62 / Fraction(own) * 25)
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    assert numbers(Film(path)) == list(range(62))
    assert numbers(Film(path), Film(path).facts.rate) == list(range(62))


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("rate", [25, 30, Fraction(24_000, 1001)])
def test_a_film_can_be_read_from_any_picture(tmp_path, ending, rate):
    """With pictures that refer to later ones, a key frame now and then, and times that are not even."""
    options = {"qp": "0", "g": "12", "bf": "0" if ending == "avi" else "2"}
    path = made(tmp_path / f"film.{ending}", numbered(62), lambda index: (index + (index % 5) / 9) / 25, 25,
                "libx264rgb", options=options)  # fmt: skip
    film = Film(path)
    whole = numbers(film, rate)
    for start in (0, 1, 11, 12, 13, 30, 47, len(whole) - 1):
        assert [int(picture[0, 0, 0]) for picture in film.pictures_from(start, rate)] == whole[start:]
    assert list(film.pictures_from(len(whole) + 3, rate)) == []


def test_reading_from_the_middle_does_not_decode_the_beginning(tmp_path):
    path = made(tmp_path / "film.mp4", numbered(62), options={"qp": "0", "g": "10"}, codec="libx264rgb")
    read = []
    film = Film(path, threads=1, watch=lambda: read.append(1))
    next(film.pictures_from(50, 25))
    assert len(read) < 20


def test_hours_do_not_drift():
    """Over eleven hours every second frame lies exactly between two places, and is seen from the later one on."""
    timed = ((Fraction(index * 1001, 50), index) for index in range(2000))
    begun: dict[int, int] = {}
    for place, index in enumerate(at_rate(timed, 25, Fraction(1, 25))):
        begun.setdefault(index, place)
    assert begun == {index: (1001 * index + 1) // 2 for index in range(2000)}


def test_uneven_frames_stay_until_the_next():
    times = [Fraction(5), Fraction("5.04"), Fraction("5.05"), Fraction("5.25"), Fraction("5.26")]
    assert "".join(at_rate(zip(times, "abcde", strict=True), 25, Fraction(1, 25))) == "acccccde"
    assert list(at_rate([], 25, Fraction(1, 25))) == []
    assert list(at_rate([(Fraction(5), "a")], 1, Fraction(1, 25))) == ["a"]
    with pytest.raises(UnreadableError, match=r"time stamps jump from 0\.0 to 100\.0 s; convert it anew"):
        list(at_rate([(Fraction(0), "a"), (Fraction(100), "b")], 25, Fraction(1, 25)))
    assert len(list(at_rate([(Fraction(0), "a"), (Fraction(60), "b")], 25, Fraction(60)))) == 3000  # a slide show


def test_times_that_go_back_lose_no_time():
    times = [Fraction(index, 25) for index in (0, 1, 2, 1, 2, 3)]
    assert "".join(at_rate(zip(times, "abcdef", strict=True), 25, Fraction(1, 25))) == "abef"


def test_a_video_of_variable_rate(tmp_path):
    """Ten frames in a second, then forty: whatever is shown is what is seen at that moment."""
    at = [Fraction(index, 10) for index in range(10)] + [1 + Fraction(index, 40) for index in range(40)]
    film = Film(made(tmp_path / "film.mkv", numbered(50), at.__getitem__, clock=1000))
    assert film.facts.seconds == pytest.approx(2, abs=0.05)
    found = numbers(film, 25)
    assert len(found) == 50
    seen = [
        max(index for index in range(50) if round(at[index] * 25 + Fraction(1, 1000)) <= place) for place in range(50)
    ]
    assert np.abs(np.subtract(found, seen)).max() <= 1
    assert found[:25] == [round(place / 2.5 - 0.3) for place in range(25)]
    assert numbers(film) == list(range(50))


def test_images_at_another_rate():
    images = torch.arange(30.0).view(30, 1, 1, 1)
    batches = list(retimed(images, Fraction(30), 25, at_once=7))
    assert [len(batch) for batch in batches] == [7, 7, 7, 4]
    found = torch.cat(batches).flatten().tolist()
    assert found == [index for index in range(30) if index % 6 != 3]
    assert torch.equal(torch.cat(list(retimed(images, Fraction(25), 25))), images)


def test_a_reel_at_another_rate(tmp_path):
    path = made(tmp_path / "film.mp4", numbered(60), lambda index: Fraction(index, 30), 30, "libx264rgb")
    reel = Reel(Film(path).frames(25))
    found = torch.cat([reel.take(count) for count in (1, 20, 29)])[:, 0, 0, 0] * 255
    assert found.round().int().tolist() == [index for index in range(60) if index % 6 != 3]


# ---- sound


@pytest.mark.parametrize(("delay", "rate"), [(0.0, 44_100), (0.3, 48_000), (-0.2, 16_000)])
def test_the_sound_begins_with_the_first_picture(tmp_path, delay, rate):
    """A click one second into the sound, which begins later or earlier than the pictures."""
    waveform, found = Film(clicking(tmp_path / "film.mkv", delay, rate)).sound()
    assert (found, len(waveform)) == (rate, 2)
    assert abs(waveform[0].argmax().item() / rate - (1 + delay)) < 2e-3
    assert abs(waveform.shape[1] / rate - (2 + delay)) < 2e-3


def test_gaps_in_the_sound_are_silent(tmp_path):
    waveform, rate = Film(clicking(tmp_path / "film.mkv", 0.0, 48_000, gap=0.5)).sound()
    assert abs(waveform[0].argmax().item() / rate - 1.5) < 2e-3
    assert waveform.shape[1] == 2.5 * rate


def clicking(path: Path, delay: float, rate: int, gap: float = 0.0) -> Path:
    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("ffv1", rate=25), file.add_stream("pcm_s16le", rate=rate)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio.codec_context.layout = "stereo"
        samples = np.zeros((1, 2 * 2 * rate), np.int16)
        samples[0, 2 * rate : 2 * rate + 40] = 20000
        for half, begin in enumerate((max(0.0, delay), max(0.0, delay) + 0.5 + gap, max(0.0, delay) + 1 + gap)):
            part = samples[:, (0, rate, 2 * rate)[half] : (rate, 2 * rate, 4 * rate)[half]]
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), "s16", "stereo")
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), round(begin * rate)
            file.mux(audio.encode(block))
        for index in range(40):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), "rgb24")
            picture.pts, picture.time_base = round((index / 25 + max(0.0, -delay)) * 1000), Fraction(1, 1000)
            file.mux(video.encode(picture))
        for stream in (video, audio):
            file.mux(stream.encode(None))
    return path


def test_no_sound(tmp_path):
    assert Film(made(tmp_path / "film.mkv", numbered(3))).sound() is None


# ---- broken files


def spoilt(path: Path, bad: Iterable[int]) -> Path:
    """The same packets, some of them overwritten."""
    target = path.with_stem("spoilt")
    with av.open(str(path)) as file, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(file.streams.video[0])
        for index, packet in enumerate(packet for packet in file.demux(video=0) if packet.dts is not None):
            if index in bad:
                packet.update(bytes(packet.size))
            packet.stream = stream
            out.mux(packet)
    return target


@pytest.mark.parametrize("threads", [1, 2, 8, ALL])
@pytest.mark.parametrize("bad", [{15, 16, 17}, {37}, {38, 39}], ids=str)
def test_what_cannot_be_decoded_is_left_out_and_counted(tmp_path, bad, threads, caplog):
    """Wherever it lies, and however many threads were at work on what follows it."""
    path = made(
        tmp_path / "film.mp4", numbered(40), codec="libx264rgb", gop_size=10, max_b_frames=0, options={"qp": "0"}
    )
    film = Film(spoilt(path, bad), threads)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            left = numbers(film)
            assert left == [index for index in range(40) if index not in bad]
            assert film.skipped == len(bad)
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        f"packets of pictures that cannot be decoded: {len(bad)}; the picture before them stays."
    ]
    assert numbers(film, 25)[: max(left) + 1] == [max(n for n in left if n <= place) for place in range(max(left) + 1)]


@pytest.mark.parametrize("threads", [1, 8])
def test_a_file_that_was_cut_short(copy, tmp_path, threads):
    path = tmp_path / "cut.mkv"
    path.write_bytes(copy.read_bytes()[: copy.stat().st_size * 2 // 3])
    film = Film(path, threads)
    found = torch.cat(list(film.frames()))
    assert 10 <= len(found) < 21
    assert torch.equal(found[:-1], clip()[: len(found) - 1])
    assert film.sound()[0].shape[1] > 22_050 / 3


def lying(path: Path, box: bytes, offset: int, value: bytes) -> Path:
    """An mp4 with other bytes at an offset after the name of each box of a kind."""
    content, place = bytearray(path.read_bytes()), -1
    while (place := content.find(box, place + 1)) >= 0:
        content[place + 4 + offset : place + 4 + offset + len(value)] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("box", "offset"), [(b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)])
def test_a_film_that_promises_years_is_as_long_as_what_is_there(tmp_path, box, offset):
    """The three lengths that an mp4 has."""
    path = write(tmp_path / "film.mp4", clip().split(5), 25, tone(0.84))
    film = Film(lying(path, box, offset, b"\x7f\xff\xff\xff"))
    assert sum(map(len, film.frames(25))) == 21
    waveform, rate = film.sound()
    assert 0.8 < waveform.shape[1] / rate < 1
    assert film.facts.count >= 21


def test_a_matroska_that_promises_years(tmp_path):
    path = write(tmp_path / "film.mkv", clip().split(5), 25, tone(0.84), COPY)
    content = bytearray(path.read_bytes())
    place = content.index(b"\x44\x89\x88") + 3  # Duration, in 8 bytes
    content[place : place + 8] = struct.pack(">d", 1e15)
    path.write_bytes(content)
    film = Film(path)
    assert sum(map(len, film.frames(25))) == 21
    assert film.sound()[0].shape[1] == round(0.84 * 22_050)


def test_sound_that_jumps_for_hours_is_not_filled_up(tmp_path):
    path = clicking(tmp_path / "film.mkv", 0.0, 8_000, gap=2_000.0)
    assert Film(path).sound()[0].shape[1] == 2_002 * 8_000
    with pytest.raises(UnreadableError, match=r"time stamps of its sound jump from 0.5 to 4000.5 s; convert it anew"):
        Film(clicking(tmp_path / "long.mkv", 0.0, 8_000, gap=4_000.0)).sound()


@pytest.mark.parametrize("use", [lambda film: list(film.frames()), Film.sound], ids=["pictures", "sound"])
def test_reading_can_be_stopped(copy, use):
    calls = []

    def cancel():
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use(Film(copy, watch=cancel))


def test_whole_files_have_nothing_broken(copy):
    film = Film(copy)
    list(film.frames())
    film.sound()
    assert film.skipped == 0


# ---- what cannot be read


def test_no_video(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    with pytest.raises(VideoError, match=r"cannot be read as a video \(Invalid data .*; choose another one"):
        _ = Film(broken).facts
    with pytest.raises(UnreadableError) as found:
        next(Film(tmp_path / "missing.mp4").frames())
    assert found.value.reason == "it cannot be read as a video (No such file or directory)"
    assert str(pickle.loads(pickle.dumps(found.value))) == str(found.value)  # noqa: S301


def test_sound_alone(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.int16), "s16", "mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
    with pytest.raises(VideoError, match="it holds no picture; choose one that is more than sound alone"):
        _ = Film(path).facts


def test_pictures_of_which_none_can_be_decoded(tmp_path):
    path = made(tmp_path / "film.mp4", numbered(5), codec="libx264rgb", options={"qp": "0"})
    film = Film(spoilt(path, range(5)))
    for reading in (lambda: film.facts, lambda: list(film.frames())):
        with pytest.raises(UnreadableError, match="none of its pictures can be read"):
            reading()
    assert film.skipped == 5
