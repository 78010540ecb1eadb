"""Figures of meshes, beside plain loops over their points and heads that were turned by hand."""

import math
from itertools import combinations

import numpy as np
import pytest

from joyhallo.faces.regions import INNER_LOWER, INNER_UPPER, LIPS
from joyhallo.measures import landmarks

SIZE = (320, 240)


@pytest.fixture
def dice():
    return np.random.default_rng(11)


@pytest.fixture
def meshes(dice):
    """A face of no particular shape that moves a little, lost in frame 4."""
    found = dice.uniform(60, 180, (1, 478, 2)) + dice.normal(0, 1, (30, 478, 2))
    found[:, 33], found[:, 133], found[:, 362], found[:, 263] = (80, 100), (100, 101), (140, 102), (160, 103)
    found[4] = np.nan
    return found


def test_opening_is_told_in_distances_of_eyes(meshes):
    found = landmarks.opening(meshes)
    upper, lower = (191, 80, 81, 82, 13, 312, 311, 310), (95, 88, 178, 87, 14, 317, 402, 318)
    for frame, points in enumerate(meshes):
        if frame != 4:
            apart = sum(points[i][1] for i in upper) / 8 - sum(points[i][1] for i in lower) / 8
            assert found[frame] == pytest.approx(abs(apart) / 60)
    assert np.isnan(found[4])


def test_loudness_is_of_blocks_around_each_twentieth_of_a_second(dice):
    rate, fps = 16_000, 29.97
    samples = dice.normal(size=41_234)
    heard = []
    for block in range(1 + len(samples) // 800):
        around = [samples[i] if 0 <= i < len(samples) else 0.0 for i in range(block * 800 - 400, block * 800 + 400)]
        heard.append(math.sqrt(sum(one**2 for one in around) / 800))
    for frame, found in enumerate(landmarks.rms(samples, rate, 75, fps)):
        at = min(frame / fps / 0.05, len(heard) - 1)
        low, share = int(at), at - int(at)
        assert found == pytest.approx(heard[low] * (1 - share) + heard[min(low + 1, len(heard) - 1)] * share)


def test_lip_sync_gap_is_of_speech_alone(dice):
    mouth, sound, speech = dice.random(50), dice.random(50), np.arange(50) >= 20
    mouth[30] = np.nan
    known = [i for i in range(20, 50) if i != 30]
    low, high = min(mouth[known]), max(mouth[known])
    quiet, loud = min(sound[known]), max(sound[known])
    wanted = np.mean([abs((mouth[i] - low) / (high - low) - (sound[i] - quiet) / (loud - quiet)) for i in known])
    assert landmarks.lip_sync_gap(mouth, sound, speech) == pytest.approx(wanted, abs=1e-6)
    assert landmarks.lip_sync_gap(sound, sound, speech) == pytest.approx(0)
    assert np.isnan(landmarks.lip_sync_gap(mouth, sound, np.arange(50) >= 46))


def test_lips_in_silence_are_looked_at_in_long_ones_only(meshes):
    silent = np.zeros(30, bool)
    silent[2:10] = silent[15:22] = True  # 8 and 7 frames: at 25 fps, 300 ms are 7.5
    scaled = meshes * 256 / np.array(SIZE)
    pairs = list(zip(INNER_UPPER[1:9], INNER_LOWER[1:9], strict=True))
    apart = []
    for points in (scaled[i] for i in range(2, 10) if i != 4):
        eyes = math.dist(points[33], points[263])
        apart.append(sum(abs(points[u][1] - points[d][1]) for u, d in pairs) / 8 / eyes)
    wanted = np.median([abs(one - np.mean(apart)) for one in apart])
    assert landmarks.silent_lips(meshes, silent, SIZE, 25) == pytest.approx(wanted)
    assert np.isnan(landmarks.silent_lips(meshes, ~silent & False, SIZE, 25))
    assert landmarks.silent_lips(np.repeat(meshes[:1], 30, 0), silent, SIZE, 25) == 0


def test_lip_dynamics_are_the_deviations_of_all_distances(meshes):
    lips = sorted({*LIPS, *INNER_UPPER, *INNER_LOWER})
    assert len(lips) == 40
    scaled = [points * 256 / np.array(SIZE) for frame, points in enumerate(meshes) if frame != 4]
    spreads = [np.std([math.dist(points[a], points[b]) for points in scaled]) for a, b in combinations(lips, 2)]
    assert landmarks.lip_dynamics(meshes, SIZE) == pytest.approx(np.mean(spreads))


def test_brows_are_told_as_changes_from_frame_to_frame():
    still = np.random.default_rng(0).uniform(60, 180, (478, 2))
    eyes = [still[part].mean(0) for part in landmarks.EYES]
    frames = np.repeat(still[None], 4, 0)
    for brow, eye in zip(landmarks.EYEBROWS, eyes, strict=True):
        for frame, height in enumerate((20, 25, 25, 15)):
            frames[frame, brow] += eye - np.array([0, height]) - still[brow].mean(0)
    wanted = (5 + 0 + 10) / 3 / math.dist(*eyes)
    assert landmarks.brow_dynamics(frames) == pytest.approx(wanted)
    assert landmarks.brow_dynamics(frames + np.arange(4)[:, None, None] * 7) == pytest.approx(wanted)


def turned_head(pitch, yaw, roll):
    """A mesh seen from afar, whose eyes and nose are an average head's, and were turned by angles in degrees."""
    a, b, c = np.radians([pitch, yaw, roll])
    down = np.array([[1, 0, 0], [0, np.cos(a), np.sin(a)], [0, -np.sin(a), np.cos(a)]])
    aside = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    around = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    points = np.random.default_rng(1).normal(size=(468, 3))
    points[33], points[263] = (-0.5, 0, 0), (0.5, 0, 0)
    points[1], points[2] = (0, 0.426, 0.484), (0, 0.535, 0.324)
    return (points @ (around @ aside @ down).T)[:, :2] * 90 + 150


@pytest.mark.parametrize("turned", [(0, 0, 0), (12, 0, 0), (-9, 0, 4), (0, 25, 0), (0, -18, -7), (0, 0, 30)])
def test_a_head_turned_about_one_axis_is_read_exactly(turned):
    assert landmarks.angles(turned_head(*turned)[None])[0] == pytest.approx(turned, abs=1e-6)


def test_a_head_turned_about_all_axes_is_read_nearly():
    for turned in ((8, 12, 5), (-8, 10, -5), (5, -15, 10)):
        assert landmarks.angles(turned_head(*turned)[None])[0] == pytest.approx(turned, abs=4)


def test_head_motion_is_none_for_a_still_head():
    still = turned_head(3, 4, 5)
    assert landmarks.head_motion_estimate(np.repeat(still[None], 6, 0)) == pytest.approx(0)
    nodding = np.stack([turned_head(pitch, 0, 0) for pitch in (0, 5, 0, -5, 0, 5)])
    places = np.array([(points.min(0) + points.max(0)) / 2 for points in nodding]).var(0).mean()
    turns = np.array([0, 5, 0, -5, 0, 5])
    wanted = math.sqrt(turns.std() / 3 * np.diff(turns).var() / 3 + places)
    assert landmarks.head_motion_estimate(nodding) == pytest.approx(wanted)


def test_closeness_is_one_at_the_truth():
    assert landmarks.closeness(0.3, 0.3) == 1
    assert landmarks.closeness(0.25, 0.5) == landmarks.closeness(0.75, 0.5) == 0.5
    assert np.isnan(landmarks.closeness(1, 0))


def test_landmarks_are_compared_beside_their_place(meshes):
    moved = meshes[:20] + np.array([50, -20])
    assert landmarks.landmark_distance(moved, meshes)[0] == pytest.approx(0)
    assert len(landmarks.landmark_distance(moved, meshes)) == 20
    assert np.isnan(landmarks.keypoint_distance(moved, meshes)[4])
    other = meshes + np.random.default_rng(2).normal(0, 3, meshes.shape)
    for points, found in (
        (landmarks.TWENTY, landmarks.landmark_distance(other, meshes)),
        (landmarks.SIXTY_EIGHT, landmarks.keypoint_distance(other, meshes)),
    ):
        a, b = (mesh[7, points] - mesh[7, points].mean(0) for mesh in (other, meshes))
        wanted = np.mean([math.dist(p, q) for p, q in zip(a, b, strict=True)]) / math.dist((80, 100), (160, 103))
        assert found[7] == pytest.approx(wanted)
    assert len(set(landmarks.SIXTY_EIGHT)) == 68
