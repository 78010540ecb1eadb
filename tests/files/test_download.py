"""Fetching from a hub on loopback, by the real huggingface_hub in a process of its own: it reads its settings once."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hub import Hub, serving
from shared import REPOSITORY, shared_folder

from joyhallo.methods.hallo.published import PUBLISHED

MEGABYTE = 1 << 20
NET = bytes(range(256)) * (12 * MEGABYTE // 256)  # some dozens of the chunks that are received at once
HELLO = b"Hello, World!"
NAMES = {"net.pth": "someone/net/net.pth", "config.json": "someone/net/config.json"}

pytestmark = pytest.mark.slow

FETCHING = """
import json, sys
from pathlib import Path
from joyhallo.files.download import Published, fetch

class Cancelled(Exception):
    pass

folder, names, cancel_at, limit = json.loads(sys.argv[1])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
reports = []

def progress(done, total):
    reports.append((done, total))
    if cancel_at and done >= cancel_at:
        raise Cancelled

error = None
try:
    files = {Path(folder) / name: Published(name, *place.rsplit("/", 1)) for name, place in names.items()}
    fetch(files, progress)
except Exception as raised:
    error = f"{type(raised).__name__}: {raised}"
print(json.dumps({"error": error, "reports": reports}))
"""


@dataclass
class Outcome:
    error: str | None
    reports: list[tuple[int, int]]


def fetch(hub: Hub, folder: Path, *names: str, cancel_at: int = 0, limit: int = 0, **environment: str) -> Outcome:
    clean = {key: value for key, value in os.environ.items() if not key.upper().startswith(("HF_", "HTTP", "ALL_"))}
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(folder / "home"),
        "PYTHONPATH": str(REPOSITORY),
        **environment,
    }
    asked = [str(folder / "models"), {name: NAMES[name] for name in names or NAMES}, cancel_at, limit]
    ran = subprocess.run(
        [sys.executable, "-c", FETCHING, json.dumps(asked)], env=clean | environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return Outcome(**json.loads(ran.stdout))


@pytest.fixture
def hub():
    with serving(Hub({NAMES["net.pth"]: NET, NAMES["config.json"]: HELLO}, small={NAMES["config.json"]})) as hub:
        yield hub


def there(folder: Path) -> list[str]:
    """What lies in the model folder: whole files, and parts by the file that they are of."""
    models = folder / "models"
    return (
        sorted(re.sub(r"\.\w{8}\.part", " (part)", file.name) for file in models.iterdir()) if models.exists() else []
    )


def part(folder: Path) -> Path:
    return next((folder / "models").glob("net.pth.*.part"))


def test_files_arrive_whole_with_progress(hub, tmp_path):
    hub.declared_hash[NAMES["config.json"]] = "b45ef6fec89518d314f546fd6c3025367b721684"  # what git says of HELLO
    outcome = fetch(hub, tmp_path)
    assert outcome.error is None
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET
    assert (tmp_path / "models" / "config.json").read_bytes() == HELLO
    assert there(tmp_path) == ["config.json", "net.pth"]
    total = len(NET) + len(HELLO)
    assert outcome.reports[0] == [0, total]
    assert outcome.reports[-1] == [total, total]
    steps = [after[0] - before[0] for before, after in pairwise(outcome.reports)]
    assert all(0 <= step <= MEGABYTE for step in steps)


def test_the_token_is_shown_to_the_hub_alone(hub, tmp_path):
    assert fetch(hub, tmp_path, HF_TOKEN="hf_secret").error is None
    assert {request.token for request in hub.requests if not request.store} == {"Bearer hf_secret"}
    assert {request.token for request in hub.requests if request.store} == {None}


def test_a_broken_transfer_goes_on_from_where_it_broke(hub, tmp_path):
    hub.cuts = [5 * MEGABYTE]
    assert fetch(hub, tmp_path, "net.pth").error is None
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET
    first, second = hub.spans
    assert first is None
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 4 * MEGABYTE < start <= 5 * MEGABYTE


def test_a_server_that_sends_no_parts(hub, tmp_path):
    hub.cuts, hub.ranges = [5 * MEGABYTE], False
    assert fetch(hub, tmp_path, "net.pth").error is None
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET


def test_a_line_that_stays_dead_is_given_up_and_what_came_is_kept(hub, tmp_path):
    hub.cuts = [5 * MEGABYTE, 0, 0, 0]
    outcome = fetch(hub, tmp_path, "net.pth")
    assert outcome.error.startswith(f"DownloadError: {hub.url} cannot be reached or breaks off")
    assert "HF_ENDPOINT" in outcome.error
    assert "https://hf-mirror.com" in outcome.error
    assert there(tmp_path) == ["net.pth (part)"]
    kept = part(tmp_path).stat().st_size
    assert kept > 4 * MEGABYTE

    assert fetch(hub, tmp_path, "net.pth").error is None
    assert hub.spans[-1] == f"bytes={kept}-"
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET


def test_what_the_callback_raises_cancels_and_the_next_call_goes_on(hub, tmp_path):
    outcome = fetch(hub, tmp_path, "net.pth", cancel_at=3 * MEGABYTE)
    assert outcome.error.startswith("Cancelled")
    assert outcome.reports[-1][0] < 4 * MEGABYTE
    kept = part(tmp_path).stat().st_size
    assert kept == outcome.reports[-1][0]

    outcome = fetch(hub, tmp_path)
    assert outcome.error is None
    assert outcome.reports[0] == [kept, len(NET) + len(HELLO)]
    assert f"bytes={kept}-" in hub.spans
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET


def test_a_file_that_changed_at_its_source_starts_anew(hub, tmp_path):
    fetch(hub, tmp_path, "net.pth", cancel_at=3 * MEGABYTE)
    hub.files[NAMES["net.pth"]] = changed = NET[::-1]
    assert fetch(hub, tmp_path, "net.pth").error is None
    assert (tmp_path / "models" / "net.pth").read_bytes() == changed
    assert there(tmp_path) == ["net.pth"]


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_hash_leaves_nothing(hub, tmp_path, name):
    hub.declared_hash[NAMES[name]] = hub.hash(NAMES[name])[::-1]
    error = fetch(hub, tmp_path, name).error
    assert error.startswith("DownloadError: ")
    assert f"{name} of someone/net arrived from {hub.url} with a wrong hash and was deleted" in error
    assert there(tmp_path) == []


def test_a_file_that_is_longer_than_declared_is_not_received_for_ever(hub, tmp_path):
    hub.declared_size[NAMES["net.pth"]] = MEGABYTE
    outcome = fetch(hub, tmp_path, "net.pth")
    assert "with a wrong hash and was deleted" in outcome.error
    assert max(done for done, _ in outcome.reports) < 2 * MEGABYTE


def test_a_disk_that_is_too_small_is_seen_before_a_byte_is_fetched(hub, tmp_path):
    hub.declared_size[NAMES["net.pth"]] = 10**18
    error = fetch(hub, tmp_path, "config.json", "net.pth").error
    assert re.match(
        r"DownloadError: The disk of .* has .* GB free, but this needs 1000000000.\d GB for the download, and", error
    )
    assert hub.spans == []
    assert there(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the size of files")
def test_a_disk_that_fills_on_the_way(hub, tmp_path):
    error = fetch(hub, tmp_path, "net.pth", limit=2 * MEGABYTE).error
    assert re.match("DownloadError: The disk of .* is full", error)
    assert "12.6 MB" in error
    assert part(tmp_path).stat().st_size == 2 * MEGABYTE

    assert fetch(hub, tmp_path, "net.pth").error is None
    assert hub.spans[-1] == f"bytes={2 * MEGABYTE}-"
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET


@pytest.mark.skipif(sys.platform == "win32", reason="Windows asks for a privilege")
def test_where_a_link_leads_nothing_is_written(hub, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "theirs").write_text("theirs")
    part = tmp_path / "models" / f"net.pth.{hub.hash(NAMES['net.pth'])[:8]}.part"
    part.symlink_to(tmp_path / "theirs")
    error = fetch(hub, tmp_path, "net.pth").error
    assert error == f"DownloadError: {part} is a symbolic link, but a file belongs there; remove it and try again."
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert hub.spans == []


def test_where_nothing_can_be_resumed_it_begins_anew_once(hub, tmp_path):
    fetch(hub, tmp_path, "net.pth", cancel_at=3 * MEGABYTE)
    kept, hub.resumable = part(tmp_path).stat().st_size, False
    assert fetch(hub, tmp_path, "net.pth").error is None
    assert (tmp_path / "models" / "net.pth").read_bytes() == NET
    assert [request.span for request in hub.requests if request.store and request.method == "GET"][1:] == [
        f"bytes={kept}-",
        None,
    ]


def test_where_nothing_can_be_resumed_it_does_not_begin_anew_for_ever(hub, tmp_path):
    fetch(hub, tmp_path, "net.pth", cancel_at=3 * MEGABYTE)
    hub.resumable, hub.cuts = False, [4 * MEGABYTE]
    error = fetch(hub, tmp_path, "net.pth").error
    assert error == (
        f"DownloadError: {hub.url}/someone/net refuses to send net.pth (HTTP status 416); download it by hand."
    )


def test_a_folder_that_cannot_be_written(hub, tmp_path):
    (tmp_path / "models").touch()
    error = fetch(hub, tmp_path, "net.pth").error
    assert re.match(r"DownloadError: net.pth.\w+.part cannot be written to ", error)


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_fetches_nothing(hub, tmp_path, switch):
    error = fetch(hub, tmp_path, **{switch: "1"}).error
    assert error.startswith("DownloadError: HF_HUB_OFFLINE is set")
    assert f"{hub.url}/someone/net by hand" in error
    assert hub.requests == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "denies access (HTTP status 401)"),
        (403, "log in with `hf auth login` or set HF_TOKEN"),
        (404, "/someone/net has no file net.pth"),
        (451, "refuses to send net.pth (HTTP status 451)"),
        (503, "cannot be reached or breaks off (HTTP status 503)"),
    ],
)
def test_a_refusal_is_told_before_anything_is_fetched(hub, tmp_path, status, words):
    hub.refused[NAMES["net.pth"]] = status
    error = fetch(hub, tmp_path, "config.json", "net.pth").error
    assert error.startswith("DownloadError: ")
    assert words in error
    assert there(tmp_path) == []


def test_no_server(hub, tmp_path):
    error = fetch(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9").error
    assert error.startswith("DownloadError: http://127.0.0.1:9 cannot be reached")


def test_a_server_that_is_no_hub(hub, tmp_path):
    hub.declared_hash[NAMES["net.pth"]] = "5f3c-1a2b"  # a date and a size, as web servers tell them
    error = fetch(hub, tmp_path, "net.pth").error
    assert error.startswith(f"DownloadError: {hub.url} gives no size and hash for net.pth")
    assert "check HF_ENDPOINT" in error


# ---- the table


def test_places_are_those_of_the_original():
    shared = shared_folder()
    if shared is None:
        pytest.skip("JoyHallo's README is not here; set JOYHALLO_SHARED to the folder that holds seeds/")
    layout = places((shared / "seeds" / "joyhallo_readme.md").read_text(encoding="utf-8"))
    assert "face_analysis/models/glintr100.onnx" in layout
    for files in PUBLISHED.values():
        assert {file.place for file in files} <= layout


def places(readme: str) -> set[str]:
    """The files of the tree that is drawn under "pretrained_models contents"."""
    tree = readme.partition("./pretrained_models/\n")[2].partition("```")[0]
    folders: list[str] = []
    found = set()
    for line in tree.splitlines():
        mark = line.index("-- ")
        del folders[(mark - 1) // 4 :]
        name = line[mark + 3 :]
        folders.append(name.rstrip("/"))
        if not name.endswith("/"):
            found.add("/".join(folders))
    return found


def test_a_choice_is_a_file_or_the_folder_of_its_files():
    for choice, files in PUBLISHED.items():
        assert [file.place for file in files] == [choice] or all(file.place.startswith(f"{choice}/") for file in files)
        assert any(file.needed for file in files)
