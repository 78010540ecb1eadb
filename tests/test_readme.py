"""What both READMEs say is so: nodes, files, presets, links and the words of errors are those of the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from functools import cache

import pytest
from shared import REPOSITORY

from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.hallo.published import PUBLISHED

ENGLISH, CHINESE = (REPOSITORY / name for name in ("README.md", "README.zh-CN.md"))
READMES = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["en", "zh"])
GAP = "\0"  # in an f-string, where a value is put in


@cache
def text(readme):
    return readme.read_text(encoding="utf-8")


def section(readme, number):
    """The n-th part under a heading of the second level, from 1; both READMEs have the same ones."""
    return re.split(r"^## ", text(readme), flags=re.MULTILINE)[number]


def rows(part):
    """Of its first table, without the head."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def shape(readme):
    """Its headings by their level, and its tables row by row, whatever their words."""
    return [found[0] for found in re.finditer(r"^(##+|\|)(?= )", text(readme), re.MULTILINE)]


def test_both_are_of_one_shape():
    """Neither is an extract of the other."""
    assert shape(ENGLISH) == shape(CHINESE)


def figures(readme):
    """Row by row of all tables."""
    lines = (line for line in text(readme).splitlines() if line.startswith("|"))
    return [set(re.findall(r"\d+(?:\.\d+)?", line)) for line in lines]


def test_both_tell_the_same_figures():
    assert figures(ENGLISH) == figures(CHINESE)


@READMES
def test_each_leads_to_the_other_at_once(readme):
    (other,) = {"README.md", "README.zh-CN.md"} - {readme.name}
    assert f"]({other})" in "".join(text(readme).splitlines()[:5])


# ---- nodes


@cache
def names(readme):
    """By node, what the page shows in the language; tests/comfyui/test_words.py compares them with the nodes."""
    language = "en" if readme == ENGLISH else "zh"
    return json.loads((REPOSITORY / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


@READMES
def test_every_node_has_a_section_with_its_id(readme):
    """And with a link to its page of help."""
    named = re.findall(r"^### (.+)\n`(\w+)`.*\]\(web/docs/(\w+)/", text(readme), re.MULTILINE)
    assert sorted((about["display_name"], node, node) for node, about in names(readme).items()) == sorted(named)


def test_chinese_labels_are_those_of_the_page():
    labels = {(put["name"], name) for about in names(CHINESE).values() for name, put in about["inputs"].items()}
    told = set(re.findall(r"「([^」]+)」（`(\w+)`）", text(CHINESE)))
    assert len(told) > 15
    assert told <= labels


# ---- tables


@READMES
def test_the_files_are_the_published_ones(readme):
    told = re.findall(r"`([\w./-]+)`", " ".join(row[0] for row in rows(section(readme, 4))))
    assert sorted(told) == sorted(file.place for files in PUBLISHED.values() for file in files)


@READMES
def test_the_pages_of_the_files_are_linked(readme):
    linked = set(re.findall(r"https://huggingface\.co/([\w-]+/[\w.-]+)\)", section(readme, 4)))
    assert linked == {file.repository for files in PUBLISHED.values() for file in files}


@READMES
def test_every_example_is_named(readme):
    named = {row[0].strip("`") for row in rows(section(readme, 5))}
    assert named == {file.stem for file in (REPOSITORY / "example_workflows").glob("*.json")}


@READMES
def test_the_presets_are_those_of_the_sampler(readme):
    named = {row[0]: int(re.search(r"\d+$", row[1])[0]) for row in rows(section(readme, 7))}
    assert named == {name: preset.steps for name, preset in PRESETS.items()}


# ---- errors


@cache
def sentences():
    """All texts of the code; ast joins those that are written in pieces."""
    found = []
    for file in [*REPOSITORY.glob("nodes/*.py"), *REPOSITORY.glob("joyhallo/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else GAP for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@READMES
def test_quoted_errors_are_the_programs_own(readme):
    quoted = [words for row in rows(section(readme, 11)) for words in re.findall(r"`([^`]+)`", row[0])]
    assert len(quoted) > 12
    assert [words for words in quoted if words not in sentences()] == []


# ---- commands and code


@READMES
def test_commands_are_there(readme):
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text(readme), re.MULTILINE)) <= targets
    for module in re.findall(r"python -m ((?:joyhallo|benchmarks|tools)[\w.]*)", text(readme)):
        place = REPOSITORY / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


def engine(readme):
    (code,) = re.findall(r"^```python\n(.*?)^```", text(readme), re.MULTILINE | re.DOTALL)
    return ast.parse(code)


def test_the_engine_is_called_as_it_can_be():
    """Names are there, and functions take what they are given; nothing is run, for it takes the weights."""
    known = {}
    for line in (node for node in ast.walk(engine(ENGLISH)) if isinstance(node, ast.ImportFrom)):
        module = importlib.import_module(line.module)
        known |= {name.name: getattr(module, name.name) for name in line.names}
    calls = [node for node in ast.walk(engine(ENGLISH)) if isinstance(node, ast.Call)]
    ours = [call for call in calls if isinstance(call.func, ast.Name)]
    assert len(ours) >= 12
    for call in ours:
        keywords = {word.arg: word for word in call.keywords}
        inspect.signature(known[call.func.id]).bind(*call.args, **keywords)


def test_both_show_the_same_code():
    assert ast.dump(engine(ENGLISH)) == ast.dump(engine(CHINESE))


# ---- links


@READMES
def test_links_lead_somewhere(readme):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text(readme)):
        path, _, anchor = target.partition("#")
        page = REPOSITORY / path if path else readme
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), target


def anchors(page):
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
