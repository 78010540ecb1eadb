"""What people read on ComfyUI's page, in English and in Chinese: the words of nodes and the pages of help."""

from __future__ import annotations

import io
import json
import re

import pytest
from film import NODES
from PIL import Image

from tools.comfyui.server import PACK, ROOT, Client
from tools.words import CHINESE, ENGLISH, HAN, differences, read, spoken, unreadable, untranslated

DOCS = ROOT / "web" / "docs"
LANGUAGES = (ENGLISH, CHINESE)
PICTURE = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
LARGEST = 60_000  # bytes of a picture
LINES = 130


@pytest.fixture(scope="module")
def said(server):
    return spoken(Client(server.url).nodes())


def place_of(node, language):
    """English is read wherever there is no page in the user's language."""
    return f"{node}.md" if language == ENGLISH else f"{node}/{language}.md"


def page(node, language):
    return (DOCS / place_of(node, language)).read_text(encoding="utf-8")


# ---- words


def test_comfyui_serves_what_the_files_hold(client):
    served = json.loads(client.get("/i18n"))
    assert {language: served[language]["nodeDefs"] for language in LANGUAGES} == {
        language: read(language) for language in LANGUAGES
    }


def test_the_english_file_is_what_the_nodes_say(said):
    assert read(ENGLISH) == said, "run python -m tools.words"


def test_the_chinese_file_has_a_text_for_each_english_one(said):
    assert sorted(said) == NODES
    assert differences(said, read(CHINESE)) == []
    assert untranslated(read(CHINESE)) == []


def test_every_version_of_the_page_can_read_them(said):
    assert unreadable(said) == []
    assert unreadable(read(CHINESE)) == []
    assert not [key for key in names(said) if "." in key]  # where ComfyUI's page would look for an underscore


def names(words):
    for node, about in words.items():
        yield from (node, *about["inputs"])


def test_what_is_wrong_is_told():
    english = {"Node": {"description": "Makes it.", "inputs": {"a": {"name": "a"}}}}
    chinese = {"Node": {"description": "Makes it.", "inputs": {"b": {"name": "参数 {b}"}}}}
    assert differences(english, chinese) == ["missing: Node / inputs / a / name", "stale: Node / inputs / b / name"]
    assert untranslated(chinese) == ["not Chinese: Node / description"]
    assert unreadable(chinese) == ["holds one of { } @ |: Node / inputs / b / name"]


# ---- pages of help


def test_there_is_a_page_for_every_node_and_none_for_another():
    assert sorted(folder.name for folder in DOCS.iterdir() if folder.is_dir()) == NODES
    assert sorted(page.stem for page in DOCS.glob("*.md")) == NODES


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_a_page_explains_all_of_its_node(client, node, language):
    text = client.get(f"/extensions/{PACK}/docs/{place_of(node, language)}").decode()
    assert text == page(node, language)
    assert len(text.splitlines()) <= LINES
    words = read(language)[node]
    assert words["display_name"] in text
    for kind in ("inputs", "outputs"):
        lacking = [about["name"] for about in words[kind].values() if f"**{about['name']}**" not in text]
        assert not lacking, f"{kind} that are not explained"


@pytest.mark.parametrize("node", NODES)
def test_a_chinese_page_tells_no_less_than_the_english_one(node):
    english, chinese = (re.findall(r"^#+ ", page(node, language), re.MULTILINE) for language in LANGUAGES)
    assert chinese == english
    assert len(HAN.findall(page(node, CHINESE))) > len(page(node, ENGLISH)) / 6


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODES)
def test_pictures_of_a_page_are_there(client, node, language):
    """From where ComfyUI's page of help fetches them: beside the folders of nodes, not beside the text."""
    found = PICTURE.findall(page(node, language))
    assert found
    for place in found:
        data = client.get(f"/extensions/{PACK}/docs/{place}")
        assert len(data) <= LARGEST
        assert min(Image.open(io.BytesIO(data)).size) >= 200


def test_no_picture_is_left_over():
    pages = [page(node, language) for node in NODES for language in LANGUAGES]
    shown = {place for text in pages for place in PICTURE.findall(text)}
    files = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*") if file.is_file() and file.suffix != ".md"}
    assert files == shown


@pytest.mark.parametrize("node", NODES)
def test_errors_are_quoted_as_they_are(node):
    """An entry that begins with `code` quotes an error: its words stand in the programs, in pieces between dots."""
    programs = " ".join(re.findall(r'"([^"\n]*)"', "\n".join(sources())))
    for language in LANGUAGES:
        for words in re.findall(r"^- `([^`]+)`", page(node, language), re.MULTILINE):
            pieces = [piece.strip() for piece in words.split("…") if piece.strip()]
            assert [piece for piece in pieces if piece not in programs] == [], language


def sources():
    for folder in ("joyhallo", "nodes"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield re.sub(r'"\s*\n\s*f?"', "", file.read_text(encoding="utf-8"))
