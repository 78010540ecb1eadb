"""Rows that fill a workflow: every mistake is told before any work, and each row gets its own prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joyhallo.commands.batch.comfyui import AwayError, ComfyUI, checked_url, with_files
from joyhallo.commands.batch.plain import check_tasks
from joyhallo.commands.batch.servers import film_of
from joyhallo.commands.batch.table import TableError, Task, collected, read_table
from joyhallo.commands.batch.workflow import Rows, defaults_of, read_workflow
from joyhallo.commands.jobs import OPTIONS, Job

PROMPT = {
    "4": {"class_type": "LoadAudio", "inputs": {"audio": "there.wav"}, "_meta": {"title": "Load Audio"}},
    "5": {"class_type": "LoadImage", "inputs": {"image": "there.png"}, "_meta": {"title": "Picture v1.5"}},
    "6": {"class_type": "Mask", "inputs": {"image": ["5", 0]}, "_meta": {"title": "Mask"}},
    "7": {"class_type": "Mask", "inputs": {"image": ["5", 0]}, "_meta": {"title": "Mask"}},
    "8": {"class_type": "Puppet", "inputs": {"image": ["5", 0], "seed": 1}, "_meta": {"title": "Puppet"}},
    "9": {"class_type": "Save", "inputs": {"video": ["8", 0], "filename_prefix": "video/a", "format": "webm"}},
}
NODES = {
    "LoadAudio": {"input": {"required": {"audio": [["there.wav"], {"audio_upload": True}]}}},
    "LoadImage": {"input": {"required": {"image": ["COMBO", {"options": ["there.png"], "image_upload": True}]}}},
    "Mask": {"input": {"required": {"image": ["IMAGE"]}}},
    "Puppet": {
        "input": {
            "required": {"image": ["IMAGE"], "seed": ["INT", {"min": 0, "max": 2**64 - 1}]},
            "optional": {"sway": ["FLOAT", {"max": 3.0}], "deep": ["BOOLEAN", {}], "model": [["a.pth", "b.pth"]]},
        }
    },
    "Save": {
        "input": {"required": {"video": ["VIDEO"], "filename_prefix": ["STRING"], "format": [["mp4", "webm"]]}},
        "output_node": True,
    },
}


@pytest.fixture
def rows(tmp_path):
    for name in ("hello.wav", "anna.png", "c.pth"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "workflow.json").write_text(json.dumps(PROMPT), encoding="utf-8")
    workflow = read_workflow(tmp_path / "workflow.json", NODES, "http://one")
    return Rows(workflow, tmp_path, tmp_path / "films", {}, "")


def tasks(rows: Rows, lines: str):
    table = rows.base / "table.csv"
    table.write_text(lines, encoding="utf-8")
    return collected(table, read_table(table, columns=rows.columns()), rows.job)


def test_a_row_fills_inputs_by_title_and_by_number(rows):
    (task,) = tasks(rows, "Load Audio.audio,#5.image,Puppet.seed,Puppet.sway,Puppet.deep,output\n"
                    "hello.wav,anna.png,18446744073709551615,1.5,yes,王芳\n")  # fmt: skip
    prompt = with_files(rows.prompt(task.job, "key", ComfyUI("http://one")), lambda path: f"up/{path.name}")
    assert prompt["4"]["inputs"] == {"audio": "up/hello.wav"}
    assert prompt["5"]["inputs"] == {"image": "up/anna.png"}
    assert prompt["8"]["inputs"] == {"image": ["5", 0], "seed": 2**64 - 1, "sway": 1.5, "deep": True}
    assert prompt["9"]["inputs"]["filename_prefix"] == "video/a_key"
    assert prompt["6"] == PROMPT["6"]
    assert (task.job.seed, task.job.output.name) == (2**64 - 1, "王芳.webm")


def test_the_key_is_of_contents_and_not_of_names(rows):
    def key(lines: str) -> str:
        return tasks(rows, lines)[0].job.key()

    first = key("Load Audio.audio,Puppet.seed\nhello.wav,2\n")
    (rows.base / "other.wav").write_bytes(b"hello.wav")
    assert key("#4.audio,#8.seed\nother.wav,2\n") == first
    assert key("#4.audio,#8.seed\nother.wav,3\n") != first
    (rows.base / "workflow.json").write_text(json.dumps(PROMPT | {"10": PROMPT["9"]}), encoding="utf-8")
    assert key("#4.audio,#8.seed\nhello.wav,2\n") != first


def test_a_choice_may_be_on_the_server_and_a_model_is_never_uploaded(rows):
    (task,) = tasks(rows, "Load Audio.audio,Puppet.model\nthere.wav,a.pth\n")
    assert task.job.options == {"Load Audio.audio": "there.wav", "Puppet.model": "a.pth"}
    with pytest.raises(
        TableError, match=r"row 2, column Puppet\.model: found 'c\.pth', expected one of a\.pth, b\.pth"
    ):
        tasks(rows, "Puppet.model\nc.pth\n")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "Load Audi.audio\nx\n",
            ["row 1, column Load Audi.audio", "did you mean 'Load Audio'", "Mask (#6), Mask (#7)"],
        ),
        ("Load Audio.sound\nx\n", ["row 1, column Load Audio.sound", "did you mean Load Audio.audio", "It has audio"]),
        ("#99.audio\nx\n", ["row 1, column #99.audio", "no node '#99'"]),
        ("Mask.image\nx\n", ["row 1, column Mask.image", "2 nodes of the title 'Mask'", "#6 or #7"]),
        ("audio\nx\n", ["row 1, column audio", "expected Title.input"]),
        ("Puppet.seed\n1.5\n", ["row 2, column Puppet.seed", "a whole number from 0 to"]),
        ("Puppet.sway\n\n4\n", ["row 3, column Puppet.sway", "found '4'"]),
        ("Picture v1.5.image\nnix.png\n", ["row 2, column Picture v1.5.image", "seen from the table's folder"]),
        ("#6.image\nanna.png\n", ["row 2, column #6.image", "takes IMAGE from another node"]),
        ("#8.seed,Puppet.seed\n1,2\n", ["row 2, column Puppet.seed", "another column fills Puppet.seed"]),
        ("#8.seed,take\n1,Puppet\n", ["row 2, column take", "saves nothing", "Save (#9)"]),
        ("#8.seed,output\n1,a\n2,A\n", ["row 3, column output", "the film of row 2"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_told_with_row_and_column(rows, lines, words):
    with pytest.raises(TableError) as error:
        tasks(rows, lines)
    assert all(one in str(error.value) for one in words), error.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"nodes": [], "links": []}', "format of ComfyUI's page .* Export \\(API\\)"),
        ("[1]", "not one of ComfyUI"),
        ("{", "cannot be read as JSON"),
        ('{"1": {"class_type": "Odd", "inputs": {}}}', "http://one does not know: Odd"),
        ('{"1": {"class_type": "Mask", "inputs": {}}}', "saves nothing"),
    ],
)
def test_other_files_are_told_from_workflows(tmp_path, text, words):
    (tmp_path / "w.json").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=words):
        read_workflow(tmp_path / "w.json", NODES, "http://one")


def test_values_for_all_rows_give_way_to_a_rows_own(rows):
    rows = Rows(rows.workflow, rows.base, rows.folder, defaults_of(["Puppet.seed=5", "#8.sway=1"]), "")
    made = tasks(rows, "Load Audio.audio,#8.seed,Puppet.sway\nhello.wav,,\nhello.wav,7,2\n")
    assert [task.job.options for task in made] == [
        {"Puppet.seed": 5, "Puppet.sway": 1.0}, {"Puppet.seed": 7, "Puppet.sway": 2.0}]  # fmt: skip


def test_the_last_saved_film_is_taken_or_that_of_a_node():
    def file(name: str, type: str = "output") -> dict[str, str]:
        return {"filename": name, "subfolder": "video", "type": type}

    outputs = {
        "1": {"images": [file("a.mp4")], "animated": [True]},
        "2": {"gifs": [file("b.webm")]},
        "3": {"images": [file("c.png"), file("d.mp4", "temp")]},
    }
    assert film_of(outputs, "")["filename"] == "b.webm"
    assert film_of(outputs, "1")["filename"] == "a.mp4"
    assert film_of(outputs, "3")["filename"] == "d.mp4"
    with pytest.raises(ValueError, match=r"saved no film; it saved c\.png"):
        film_of({"3": {"images": [file("c.png")]}}, "")


def test_addresses_of_servers_are_checked():
    assert checked_url(" 10.0.0.1:8188/ ") == "http://10.0.0.1:8188"
    for bad in ("ftp://a", "http://", "http://a:b"):
        with pytest.raises(ValueError, match=r"expected the address|Port"):
            checked_url(bad)
    with pytest.raises(AwayError, match="does not answer"):
        ComfyUI("http://127.0.0.1:9").nodes()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--servers", "127.0.0.1:9"), "None of the servers answers"),
        (("--servers", "ftp://a"), "expected the address of a ComfyUI"),
        (("--servers", "a:1", "--workers", "2"), "expected --servers alone"),
        (("--workflow", "w.json"), "without --servers"),
        (("--servers", "a:1", "--take", "Save"), "without --workflow"),
    ],
    ids=str,
)
def test_other_mistakes_are_told_before_any_work(run, material, tmp_path, given, words):
    (tmp_path / "t.csv").write_text(f"picture,sound\n{material}/anna.png,{material}/hello.wav\n", encoding="utf-8")
    code, _, err = run("batch", "t.csv", "-o", "films", *given)
    assert (code, words in err) == (2, True), err
    assert not (tmp_path / "films").exists()


def test_what_servers_cannot_do_of_a_row_is_told(tmp_path):
    def problems(kind: str, **options: Any) -> str:
        usual = {option.name: option.default for option in OPTIONS[kind]}
        job = Job(kind, {}, usual | options, tmp_path / "a.mp4")
        with pytest.raises(TableError) as error:
            check_tasks(tmp_path / "t.csv", [Task(7, job)])
        return str(error.value)

    assert "row 7, column detector: found InsightFace" in problems("redub", detector="InsightFace")
    assert "row 7, column vae: found v, but a ComfyUI server takes its own" in problems("redub", vae=Path("v"))
    assert "row 7, column landmarker" in problems("talk", landmarker=Path("l"))
    assert "row 7, column separator: found s, but a ComfyUI server takes its own" in problems(
        "talk", separator=Path("s")
    )
