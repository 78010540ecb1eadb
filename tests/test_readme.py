"""The pages keep up with the code: nodes, files, presets, commands, links and quoted errors, in both languages."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import re
import shlex
from functools import cache

import pytest
from shared import REPOSITORY

from joyhallo.commands.parsers import parser
from joyhallo.methods.hallo.presets import PRESETS
from joyhallo.methods.published import PUBLISHED

# Every page that is written in English and in Chinese, as (English, Chinese).
PAIRS = [
    (REPOSITORY / f"{name}.md", REPOSITORY / f"{name}.zh-CN.md")
    for name in ("README", "docs/engine", "docs/evaluation", "docs/scaling", "docs/training")
]
(ENGLISH, CHINESE), ENGINES, *_ = PAIRS
PAGES = [page for pair in PAIRS for page in pair]
OTHERS = [
    REPOSITORY / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "demo_model/README.md")
]
HELP = sorted(REPOSITORY.glob("web/docs/*.md"))  # the Chinese pages' pictures are found by ComfyUI alone

READMES = pytest.mark.parametrize("readme", [ENGLISH, CHINESE], ids=["en", "zh"])
IN_BOTH = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[pair[0].stem for pair in PAIRS])


def each(pages):
    return pytest.mark.parametrize("page", pages, ids=[page.relative_to(REPOSITORY).as_posix() for page in pages])


GAP = "\0"  # in an f-string, where a value is put in


@cache
def text(page):
    return page.read_text(encoding="utf-8")


def section(readme, number):
    """The n-th part under a heading of the second level, from 1; both READMEs have the same ones."""
    return re.split(r"^## ", text(readme), flags=re.MULTILINE)[number]


def rows(part):
    """Of its first table, without the head."""
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_every_page_in_docs_is_in_both_languages():
    assert set((REPOSITORY / "docs").glob("*.md")) <= set(PAGES)


def shape(page):
    """The levels of the headings, the blocks of code and the rows of the tables, in order."""
    return [found[0] for found in re.finditer(r"^(##+(?= )|\|(?= )|```\w*)", text(page), re.MULTILINE)]


@IN_BOTH
def test_both_languages_have_the_same_sections_and_tables(english, chinese):
    assert shape(english) == shape(chinese)


def figures(page):
    """The numbers in each row of every table."""
    lines = (line for line in text(page).splitlines() if line.startswith("|"))
    return [set(re.findall(r"\d+(?:\.\d+)?", line)) for line in lines]


@IN_BOTH
def test_both_languages_give_the_same_figures(english, chinese):
    assert figures(english) == figures(chinese)


@IN_BOTH
def test_each_language_links_to_the_other_at_the_top(english, chinese):
    for page, other in ((english, chinese), (chinese, english)):
        assert f"]({other.name})" in "".join(text(page).splitlines()[:5])


# ---- nodes


@cache
def names(readme):
    """What ComfyUI's page shows in this language, by node; tests/comfyui/test_words.py compares it with the nodes."""
    language = "en" if readme == ENGLISH else "zh"
    return json.loads((REPOSITORY / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


@READMES
def test_every_node_has_a_row_with_its_id_and_a_link_to_its_help(readme):
    ending = "" if readme == ENGLISH else "/zh"
    expected = [
        f"[{about['display_name']}](web/docs/{node}{ending}.md)<br>`{node}`" for node, about in names(readme).items()
    ]
    assert sorted(row[0] for row in rows(section(readme, 6))) == sorted(expected)


def test_chinese_labels_are_those_of_the_page():
    labels = {(put["name"], name) for about in names(CHINESE).values() for name, put in about["inputs"].items()}
    told = {found for _, page in PAIRS for found in re.findall(r"「([^」]+)」（`(\w+)`）", text(page))}
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
    """All strings in the code but docstrings; ast joins those that are written in pieces."""
    found = []
    for file in [*REPOSITORY.glob("nodes/*.py"), *REPOSITORY.glob("joyhallo/**/*.py")]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in docstrings:
                continue
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


def test_errors_explained_in_chinese_are_the_programs_own():
    """Those that the page explains on the node."""
    explained = re.findall(r'^  \["([^"]+)", "([^"]+)"\],$', text(REPOSITORY / "web" / "advice.js"), re.MULTILINE)
    assert len(explained) > 20
    assert [words for words, _ in explained if words not in sentences()] == []


# ---- commands and code


@each([*PAGES, *OTHERS])
def test_commands_exist(page):
    targets = set(re.findall(r"^([\w-]+):", text(REPOSITORY / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text(page), re.MULTILINE)) <= targets
    for module in re.findall(r"(?:python|accelerate launch.*) -m ((?:joyhallo|benchmarks|tools)[\w.]*)", text(page)):
        place = REPOSITORY / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


@each(PAGES)
def test_options_are_those_of_the_commands(page):
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    for block in (code for language, code in blocks if not language):
        for module, options in re.findall(r"-m (joyhallo[\w.]*)(.*?)(?: #|$)", block.replace("\\\n", ""), re.MULTILINE):
            if module == "joyhallo":
                assert parser().parse_args(shlex.split(options)).command in options
                continue
            source = text(_source(module))
            assert [option for option in re.findall(r" (--[\w-]+)", options) if f'"{option}"' not in source] == []


def _source(module):
    place = REPOSITORY / module.replace(".", "/")
    return place / "__main__.py" if place.is_dir() else place.with_suffix(".py")


@each(PAGES)
def test_named_modules_and_their_names_exist(page):
    """Modules in code such as `joyhallo.sound.loudness`, wherever a text mentions them."""
    for module in re.findall(r"`(joyhallo\.[\w.]+)`", text(page)):
        place = REPOSITORY / module.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), module


def engine(page):
    """Each piece of code on the page."""
    return [ast.parse(code) for code in re.findall(r"^```python\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)]


def test_the_engine_is_called_as_it_can_be():
    """Names exist and functions take the arguments shown; nothing runs, for that would take the weights."""
    for code, least in zip(engine(ENGINES[0]), (12, 12, 4), strict=True):
        known, foreign = {}, set()
        for line in (node for node in ast.walk(code) if isinstance(node, ast.ImportFrom)):
            if line.module.split(".")[0] != "joyhallo":  # which need not be installed
                foreign |= {name.name for name in line.names}
                continue
            module = importlib.import_module(line.module)
            known |= {name.name: getattr(module, name.name) for name in line.names}
        calls = [node for node in ast.walk(code) if isinstance(node, ast.Call)]
        ours = [call for call in calls if isinstance(call.func, ast.Name) and not hasattr(builtins, call.func.id)]
        ours = [call for call in ours if call.func.id not in foreign]
        assert len(ours) >= least
        for call in ours:
            keywords = {word.arg: word for word in call.keywords}
            inspect.signature(known[call.func.id]).bind(*call.args, **keywords)


def test_both_languages_show_the_same_code():
    here, there = ([ast.dump(code) for code in engine(page)] for page in ENGINES)
    assert here == there


# ---- links


@each([*PAGES, *OTHERS, *HELP])
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text(page)):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(text(linked)), target


def anchors(page):
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
