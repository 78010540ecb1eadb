"""The options of commands are those of the nodes, and a terminal's line is one line."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from shared import REPOSITORY

from joyhallo.commands import options as of_commands
from joyhallo.commands import terminal as of_terminals
from joyhallo.commands.option import Option, OptionError, by_name
from joyhallo.commands.options import REDUB, TALK
from joyhallo.commands.portrait import STEADINESS
from joyhallo.commands.redubbing import wishes_of
from joyhallo.diffusion.solvers import SOLVERS
from joyhallo.faces.regions import FACE_EXPAND, LIP_EXPAND
from joyhallo.film.write import FORMATS, QUALITIES
from joyhallo.methods.hallo.config import GUIDANCE
from joyhallo.methods.hallo.portrait import CHOICES, FRAMINGS, IDENTITIES
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.hallo.steadiness import Steadiness
from joyhallo.methods.plan import BLENDS, LONG, SHORT, SILENCES
from joyhallo.methods.puppet.perform import Direction
from joyhallo.methods.redub import Wishes
from joyhallo.sound.loudness import LOUDNESS
from joyhallo.sound.pauses import ATTACK, RELEASE
from joyhallo.sound.vocals import MODES
from joyhallo.sound.wav2vec2 import NORMALIZATION

PORTRAIT_NODES = (
    "JoyHalloSampler", "FaceMaskPrep", "ChineseWav2Vec2Encode", "JoyHalloSteadiness", "JoyHalloMotion",
)  # fmt: skip
NODES = json.loads((REPOSITORY / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
# What a command line has no use for: values that come from other nodes, and what only ComfyUI keeps.
ELSEWHERE = {
    "redub_model",
    "video",
    "audio",
    "image",
    "fps",
    "resume",
    "face_track",
    "face",
    "landmarks",
    "control_after_generate",
    "speech",
    "face_analysis",
    "steadiness",
}
# Of the nodes for JoyHallo: `picture` is what speaks here, so there is `square`; the three of Motion over Time are the
# weights, which take keyframes themselves.
RENAMED = {"picture": "square", **{region: f"{region}_weight" for region in ("pose", "expression", "lip")}}
EDITED = {"pose_mask", "expression_mask"}  # masks that a node made, and others changed


@pytest.mark.parametrize(
    ("node", "options"), [("RedubLips", REDUB), ("PuppetPortrait", TALK), *((name, TALK) for name in PORTRAIT_NODES)]
)
def test_a_command_has_the_options_of_its_node(node, options):
    inputs = {RENAMED.get(name, name) if options is TALK else name for name in NODES[node]["inputs"]}
    assert inputs - ELSEWHERE - EDITED <= set(by_name(options))


def test_choices_are_those_of_the_engine():
    redub = by_name(REDUB)
    assert set(of_commands.FORMATS) == set(FORMATS)
    assert redub["quality"].choices == QUALITIES
    for name, known in {"when_video_is_short": SHORT, "when_video_is_long": LONG, "blend": BLENDS,
                        "silence": SILENCES, "solver": SOLVERS}.items():  # fmt: skip
        assert set(redub[name].choices) == set(known), name


def test_choices_of_portraits_are_those_of_the_engine():
    talk = by_name(TALK)
    of_faces = {"which_face": CHOICES, "framing": FRAMINGS, "identity": IDENTITIES}
    of_sound = {"loudness": LOUDNESS, "normalize": NORMALIZATION, "separate_vocals": MODES}
    for name, known in {"preset": PRESETS, **of_faces, **of_sound}.items():
        assert set(talk[name].choices) == set(known), name
    usual = {name: option.default for name, option in talk.items()}
    assert Steadiness() == Steadiness(**{name: usual[name] for name in STEADINESS})
    assert (usual["cfg"], usual["attack"], usual["release"]) == (GUIDANCE, ATTACK, RELEASE)
    assert (usual["face_expand"], usual["lip_expand"]) == (FACE_EXPAND, LIP_EXPAND)


def test_defaults_change_nothing_but_what_the_node_changes_too():
    usual = {option.name: option.default for option in REDUB}
    wishes = wishes_of(usual)
    assert {one.name for one in fields(Wishes) if getattr(wishes, one.name) != one.default} == {"seed", "cover_tail"}
    talk = by_name(TALK)
    assert all(talk[one.name].default == one.default for one in fields(Direction) if one.name != "seed")


@pytest.mark.parametrize(
    ("form", "text", "found"),
    [
        ("whole", " 7 ", 7),
        ("number", "0.5", 0.5),
        ("switch", "No", False),
        ("switch", True, True),
        ("box", "1,2, 3 4", (1.0, 2.0, 3.0, 4.0)),
        ("box", [1, 2, 3, 4], (1.0, 2.0, 3.0, 4.0)),
        ("curve", 1.50, "1.5"),
        ("curve", "0: 1, 2.5: 0.4", "0: 1, 2.5: 0.4"),
        ("file", "", None),
    ],
)
def test_values_are_read(form, text, found):
    assert Option("x", form, None, "", 0, 9).read(text) == found


@pytest.mark.parametrize(
    ("form", "text"),
    [("whole", "1.5"), ("whole", "10"), ("number", "inf"), ("number", "nan"), ("number", "x"), ("switch", "perhaps"),
     ("box", "1,2,3"), ("box", "1,2,nan,4"), ("box", 5), ("file", "a\0b"), ("curve", "10"), ("curve", "much")],
)  # fmt: skip
def test_values_are_refused(form, text):
    with pytest.raises(OptionError, match="expected"):
        Option("x", form, None, "", 0, 9).read(text)


def test_a_terminal_has_one_line_and_a_pipe_has_few(monkeypatch, capsys):
    clock = iter(range(1000))
    monkeypatch.setattr(of_terminals.time, "monotonic", lambda: float(next(clock)))
    for live in (True, False):
        monkeypatch.setattr(of_terminals.sys.stderr, "isatty", lambda live=live: live)
        shown = of_terminals.Terminal()
        for frame in range(40):
            shown.progress("Making", frame + 1, 40)
        shown.say("done")
        told = capsys.readouterr().err
        assert told.endswith("done\n")
        assert told.count("\n") == 1 if live else 2 < told.count("\n") < 6
        assert ("\r" in told) == live


@pytest.mark.parametrize(("text", "columns"), [("王芳 speaks", 6), ("abc", 2)])
def test_chinese_takes_two_columns(text, columns):
    assert of_terminals.width(of_terminals.fitted(text, columns)) <= columns
    assert of_terminals.width("王芳a") == 5
