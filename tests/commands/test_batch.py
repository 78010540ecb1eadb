"""A film of every row: problems are told before any work, and a run that is stopped anywhere is taken up again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import entries
from shared import REPOSITORY

from tools.demo import speech_of
from tools.demo_model.bundle import FOLDER


@pytest.fixture
def table(material, tmp_path):
    """Rows -> a table beside copies of the material, with the masks that the drawing needs."""
    for file in material.iterdir():
        shutil.copy(file, tmp_path)

    def table(text: str, name: str = "table.csv", encoding: str = "utf-8") -> Path:
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return table


HEAD = "picture,sound,output,seed,lip_mask,face_mask\n"
THREE = HEAD + "".join(f"anna.png,{sound},{name},{seed},lips.png,face.png\n" for sound, name, seed in (
    ("hello.wav", "one.mp4", 1), ("你好.wav", "王芳 2.mp4", 2), ("hello.wav", "", 3)))  # fmt: skip


def films(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.mp4")}


def test_each_row_gets_its_film_and_a_second_run_does_nothing(run, table, tmp_path):
    path, folder = table(THREE), tmp_path / "films"
    code, out, _ = run("batch", path, "-o", folder, "--json")
    told = json.loads(out)
    assert (code, told["done"], told["failed"]) == (0, 3, 0)
    made = films(folder)
    assert {"one.mp4", "王芳 2.mp4"} < made.keys()
    assert any(name.startswith("anna_hello-") for name in made)
    assert [(one["row"], one["seed"], one["state"]) for one in entries(folder)] == [
        (2, 1, "done"), (3, 2, "done"), (4, 3, "done")]  # fmt: skip
    code, out, _ = run("batch", path, "-o", folder, "--json")
    assert (code, json.loads(out)["done_earlier"]) == (0, 3)
    assert len(entries(folder)) == 3
    assert films(folder) == made


def test_only_what_has_changed_is_made_again(run, table, tmp_path):
    path, folder = table(THREE), tmp_path / "films"
    run("batch", path, "-o", folder)
    before = films(folder)
    for sound in ("hello.wav", "你好.wav"):
        os.utime(tmp_path / sound, (1, 1))  # a date is no change
    (tmp_path / "hello.wav").write_bytes((tmp_path / "你好.wav").read_bytes())
    table(THREE.replace("王芳 2.mp4,2", "王芳 2.mp4,9"))
    run("batch", path, "-o", folder)
    assert [one["row"] for one in entries(folder)[3:]] == [2, 3, 4]
    (folder / "one.mp4").unlink()
    (folder / "王芳 2.mp4").write_bytes(b"torn")
    run("batch", path, "-o", folder)
    assert [one["row"] for one in entries(folder)[6:]] == [2, 3]
    assert films(folder)["one.mp4"] != before["one.mp4"]


def test_a_date_alone_changes_nothing(run, table, tmp_path):
    path, folder = table(THREE), tmp_path / "films"
    run("batch", path, "-o", folder)
    for file in tmp_path.glob("*.wav"):
        os.utime(file, (1, 1))
    run("batch", path, "-o", folder)
    assert len(entries(folder)) == 3


def test_one_bad_row_stops_no_other_and_is_tried_again(run, table, tmp_path):
    path, folder = table(THREE.replace("hello.wav,one", "broken.wav,one")), tmp_path / "films"
    code, _, err = run("batch", path, "-o", folder)
    assert code == 1
    assert "row 2, one.mp4: broken.wav cannot be read as sound" in err
    assert len(films(folder)) == 2
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.index("1 without a film") < page.index("broken.wav cannot be read") < page.index("<video")
    assert page.count("data:image/jpeg;base64,") == 2
    assert "%E7%8E%8B%E8%8A%B3%202.mp4" in page
    shutil.copy(tmp_path / "hello.wav", tmp_path / "broken.wav")
    assert run("batch", path, "-o", folder)[0] == 0
    assert len(films(folder)) == 3
    assert len(entries(folder)) == 4


def test_a_torn_manifest_costs_nothing_that_is_there(run, table, tmp_path):
    path, folder = table(THREE), tmp_path / "films"
    run("batch", path, "-o", folder)
    made, lines = films(folder), (folder / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "manifest.jsonl").write_bytes(lines[0] + lines[1][:40])  # of which the films are finished
    code, out, _ = run("batch", path, "-o", folder, "--json")
    assert (code, json.loads(out)["done_earlier"]) == (0, 3)
    assert films(folder) == made
    noted = (folder / "manifest.jsonl").read_bytes()
    assert run("batch", path, "-o", folder)[0] == 0
    assert (folder / "manifest.jsonl").read_bytes() == noted, "what was found again is known from then on"
    (folder / "manifest.jsonl").unlink()
    table(THREE.replace("one.mp4,1", "one.mp4,5"))  # a film of ours that is another by now
    assert run("batch", path, "-o", folder)[0] == 0
    assert films(folder)["one.mp4"] != made["one.mp4"]


def test_what_somebody_else_made_is_never_replaced(run, table, tmp_path):
    path, folder = table(THREE), tmp_path / "films"
    folder.mkdir()
    (folder / "one.mp4").write_bytes(b"dear")
    code, _, err = run("batch", path, "-o", folder)
    assert code == 2
    assert "Row 2, column output" in err
    assert films(folder) == {"one.mp4": b"dear"}


def test_killed_processes_and_a_killed_run_leave_the_same_films(run, table, tmp_path):
    rows = [f"anna.png,hello.wav,f{seed}.mp4,{seed},lips.png,face.png\n" for seed in range(5)]
    path, quiet, folder = table(HEAD + "".join(rows)), tmp_path / "quiet", tmp_path / "films"
    assert run("batch", path, "-o", quiet)[0] == 0
    command = [sys.executable, "-m", "joyhallo", "batch", str(path), "-o", str(folder), "--workers", "2"]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not (folder / "manifest.jsonl").exists():
        time.sleep(0.02)
    killed.kill()
    killed.communicate(timeout=60)  # which also waits for its processes: they end by themselves
    code, out, _ = run("batch", path, "-o", folder, "--json")
    assert (code, json.loads(out)["done"]) == (0, 5)
    assert films(folder) == films(quiet)
    last = {one["file"]: one["key"] for one in entries(folder)}
    assert last == {one["file"]: one["key"] for one in entries(quiet)}


def test_videos_are_redubbed_by_the_models_of_all_rows(run, table, models, model, tmp_path):
    path = table('video,sound,box\nfilm.mkv,hello.wav,"40,40,90,100"\n')
    code, _, err = run("batch", path, "-o", "films", "--models", models, "--set", f"model={model}")
    assert (code, err.count("row 2, film")) == (0, 0)
    assert len(films(tmp_path / "films")) == 1
    assert entries(tmp_path / "films")[0]["model"] == "Ultralight, 168 pixels"


def test_films_are_scored_once_and_one_that_cannot_be_is_done_all_the_same(run, table, tmp_path):
    """A mouth that says what is heard, one that never moves, and a film that is too short."""
    rows = ("speech", "a", 1), ("speech", "b", 0), ("hello", "c", 1)
    text = "".join(f"anna.png,{sound}.wav,{name}.mp4,1,lips.png,face.png,{how},{how}\n" for sound, name, how in rows)
    path, folder = table(HEAD.replace("\n", ",strength,sway\n") + text), tmp_path / "films"
    speech_of(1.6, FOLDER / "speech.wav", tmp_path / "speech.wav")
    assert run("batch", path, "-o", folder)[0] == 0
    made, keys = films(folder), [one["key"] for one in entries(folder)]
    code, out, err = run("batch", path, "-o", folder, "--score", "--json")
    told = json.loads(out)
    assert (code, told["done_earlier"], told["failed"], told["scored"]) == (0, 3, 0, 2)
    scored = entries(folder)[3:]
    assert (films(folder), [one["key"] for one in scored]) == (made, keys)
    good, still, short = (one["score"] for one in scored)
    assert good == {"lip_sync": pytest.approx(0.7, abs=0.2), "lip_offset": 0}
    assert (still["lip_sync"] < 0.2, still["doubt"]) == (True, "the still control does as well")
    assert (short, "30 are needed" in scored[2]["not_scored"]) == (None, True)
    assert "c.mp4, is done, but has no score" in err
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.index(f"{good['lip_sync']:.2f}, together") < page.index("the still control does as well")
    for file in "ab":
        (folder / f"{file}.mp4").unlink()
    assert run("batch", path, "-o", folder, "--score")[0] == 0
    assert [one["score"] for one in entries(folder)[6:]] == [good, still, None], "in the run that makes them, too"
    run("batch", path, "-o", folder, "--score")
    assert [one["file"] for one in entries(folder)[9:]] == ["c.mp4"], "only what has no score is scored"


# ---- tables


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("picture,sound,sped\nanna.png,hello.wav,1\n", ["row 1, column sped", "did you mean seed?"]),
        ("picture,sound\nnix.png,hello.wav\nanna.png,nix.wav\n", ["row 2, column picture", "row 3, column sound"]),
        ("picture,sound,sway\n\nanna.png,hello.wav,9\n", ["row 3, column sway", "from 0 to 3"]),
        ("picture,sound,output\nanna.png,hello.wav,x\nanna.png,hello.wav,X.mp4\n", ["row 3, column output", "row 2"]),
        ("picture,sound\nanna.png,hello.wav\nanna.png,hello.wav\n", ["row 3, column output", "the film of row 2"]),
        ("picture,sound,output\nanna.png,hello.wav,../x\n", ["row 2, column output", "within"]),
        ("picture,sound,output\nanna.png,hello.wav,x.avi\n", ["row 2, column output", ".mp4"]),
        ("picture,video,sound\nanna.png,film.mkv,hello.wav\n", ["row 2, column video", "expected one of both"]),
        ("picture,sound\n,hello.wav\n", ["row 2, column picture", "neither a picture nor a video"]),
        ("picture,sound\nanna.png,\n", ["row 2, column sound", "found nothing"]),
        ("picture,sound,sound\nanna.png,hello.wav,hello.wav\n", ["row 1, column sound", "found twice"]),
        ("picture,sound\nanna.png,hello.wav,3\n", ["row 2, column 3", "expected 2"]),
        ("picture,sound,blend\nanna.png,hello.wav,mouth\n", ["row 2, column blend", "an option of redub"]),
        ("picture,sound,model\nanna.png,hello.wav,broken.wav\n", ["row 2, column model", "broken.wav"]),
        ("video,sound\nfilm.mkv,hello.wav\n", ["row 2, column model", "--set model=FILE"]),
        ("video,sound,model\nfilm.mkv,hello.wav,nix.pth\n", ["row 2, column model", "nix.pth is not a file"]),
        ('picture,sound\n"anna.png,hello.wav\n', ["no CSV"]),
        ("", ["is empty"]),
        ("picture,sound\n", ["no row"]),
        ('{"picture": "anna.png", "sound": "hello.wav"}\n{"picture"\n', ["row 2", "found no JSON"]),
        ('{"picture": "anna.png", "sound": "hello.wav", "sway": true}\n', ["row 1, column sway", "'True'"]),
        ("[1]\n", ["row 1", "found a list"]),
        (json.dumps({"nodes": [], "links": [], "version": 0.4}), ["workflow in the format of its page"]),
        (json.dumps({"1": {"class_type": "X", "inputs": {}}}), ["workflow in the API format"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_tables_are_told_with_row_and_column_before_any_work(run, table, tmp_path, text, told):
    code, _, err = run("batch", table(text), "-o", "films")
    assert (code, "Traceback" in err) == (2, False)
    assert all(words in err for words in told), err
    assert not (tmp_path / "films").exists()


def test_a_table_in_another_encoding_is_told_and_then_read(run, table):
    path = table("picture,sound\nanna.png,你好.wav\n", encoding="gbk")
    code, _, err = run("batch", path, "-o", "films", "--check")
    assert code == 2
    assert all(words in err for words in ("row 2, column sound", "--encoding gbk", "你好.wav"))
    assert run("batch", path, "-o", "films", "--check", "--encoding", "gbk")[0] == 0
    assert run("batch", path, "-o", "films", "--check", "--encoding", "nix")[0] == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_tables_are_read_as_excel_saves_them(run, table, encoding, sign):
    text = "Picture,Sound,Lip-Mask,face_mask\r\nanna.png,你好.wav,lips.png,face.png\r\n\r\n".replace(",", sign)
    code, out, _ = run("batch", table(text, encoding=encoding), "-o", "films", "--check", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 1)


def test_many_problems_are_counted_and_some_are_told(run, table):
    code, _, err = run("batch", table("picture,sound\n" + "nix.png,hello.wav\n" * 500), "-o", "films")
    assert code == 2
    assert "500 problems" in err
    assert err.count("row ") == 20
    assert "and 480 more" in err


@pytest.mark.parametrize(
    "given", [("--set", "seed"), ("--set", "nix=1"), ("--workers", "-1"), ("--gpus", "1"), ("-o", "table.csv")]
)
def test_other_mistakes_are_told_too(run, table, given):
    code, _, err = run("batch", table(THREE), *(() if "-o" in given else ("-o", "films")), *given)
    assert (code, "expected" in err) == (2, True)


def test_a_row_has_its_own_value_where_all_rows_have_one(run, table, tmp_path):
    path = table("picture,sound,seed\nanna.png,hello.wav,\nanna.png,hello.wav,3\n")
    masks = [part for name in ("lip", "face") for part in
             ("--set", f"{name}_mask={tmp_path / {'lip': 'lips', 'face': 'face'}[name]}.png")]  # fmt: skip
    assert run("batch", path, "-o", "films", "--set", "seed=5", *masks)[0] == 0
    assert [one["seed"] for one in entries(tmp_path / "films")] == [5, 3]


@pytest.mark.parametrize(("picture", "code", "told"), [("nix.png", 2, "row 2"), ("anna.png", 0, "1 to do")])
def test_a_table_is_checked_without_torch(table, picture, code, told):
    path = table(HEAD + f"{picture},hello.wav,,,lips.png,face.png\n")
    program = (
        "import sys\nfrom joyhallo.commands import main\n"
        "code = main(['batch', sys.argv[1], '-o', 'films', '--check'])\n"
        "assert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
