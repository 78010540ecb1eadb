"""Rows that are workflows: a row fills inputs of a ComfyUI workflow in the API format, all checked before any work.

Columns address an input by the title of its node, `Load Audio.audio`, or by the node's number, `#4.audio`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..jobs import Job
from ..option import Option, OptionError
from .comfyui import ComfyUI, Prompt, titled
from .table import ENDINGS, Columns, Problems, Row, TableError, alike, film_of, made_up, path_of

OUTPUT, TAKE = "output", "take"  # columns that address no node
FILE = "workflow"  # among a job's inputs
PREFIX = "filename_prefix"
PLAIN: Mapping[str, Any] = {"INT": "whole", "FLOAT": "number", "BOOLEAN": "switch"}
MODELS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".gguf", ".onnx")
LISTED = 12  # choices that a message lists


class AddressError(ValueError):
    """A column that addresses no input, or more than one; the message goes on after "found"."""


@dataclass(frozen=True)
class Socket:
    """An input of a node."""

    node: str  # its number
    name: str
    address: str  # by which the row's key knows it, whichever way the table has it


@dataclass(frozen=True)
class Workflow:
    path: Path
    prompt: Prompt
    nodes: Mapping[str, Any]  # the kinds of nodes that a server has, by name

    @cached_property
    def titles(self) -> Mapping[str, list[str]]:
        found = dict[str, list[str]]()
        for number in self.prompt:
            found.setdefault(titled(self.prompt, number), []).append(number)
        return found

    # ---- addresses

    def socket(self, address: str) -> Socket:
        node, name = self._split(address)
        known = self.inputs(node)
        if name not in known:
            close = _closest(name, known)
            raise AddressError(
                f"no input {name!r} at {self._called(node)}; did you mean {self._address(node, close)}? It has "
                f"{_listed(known)}"
            )
        return Socket(node, name, self._address(node, name))

    def _split(self, address: str) -> tuple[str, str]:
        """The number of the node, and the name of the input; a title may have dots, too."""
        dots = [place for place, letter in enumerate(address) if letter == "."]
        if not dots:
            raise AddressError(f"no input; expected Title.input or #number.input, as {self._example()}")
        for dot in dots if address.startswith("#") else reversed(dots):
            if (node := self._node(address[:dot])) is not None:
                return node, address[dot + 1 :]
        title = address[: dots[-1]]
        close = _closest(title, self.titles)
        raise AddressError(f"no node {title!r}; did you mean {close!r}? There are {_listed(self._all())}")

    def _node(self, text: str) -> str | None:
        """By #number or by title; an AddressError if several have this title."""
        if text.startswith("#") and text[1:] in self.prompt:
            return text[1:]
        found = self.titles.get(text, [])
        if len(found) > 1:
            raise AddressError(
                f"{len(found)} nodes of the title {text!r}; expected {' or '.join(f'#{number}' for number in found)}, "
                "or give them titles that differ"
            )
        return found[0] if found else None

    def node(self, text: str) -> str:
        found = self._node(text.strip())
        if found is None:
            raise AddressError(f"no node {text!r}; expected one of {_listed(self._all())}")
        return found

    def inputs(self, node: str) -> list[str]:
        """Names of what can be set, those that are linked to others last."""
        given = self.prompt[node]["inputs"]
        names = dict.fromkeys([*_specs(self._about(node)), *given])
        return sorted(names, key=lambda name: isinstance(given.get(name), list))

    def _about(self, node: str) -> Mapping[str, Any]:
        return self.nodes.get(self.prompt[node]["class_type"], {})

    def _address(self, node: str, name: str) -> str:
        title = titled(self.prompt, node)
        return f"{title if len(self.titles[title]) == 1 else f'#{node}'}.{name}"

    def _called(self, node: str) -> str:
        return f"{titled(self.prompt, node)} (#{node})"

    def _all(self) -> list[str]:
        return [titled(self.prompt, number) + f" (#{number})" for number in self.prompt]

    def _example(self) -> str:
        pairs = ((node, name) for node in self.prompt for name in self.inputs(node)[:1])
        return next((self._address(*pair) for pair in pairs), "Load Audio.audio")

    # ---- values

    def read(self, socket: Socket, value: Any, base: Path) -> Any:
        """What a row gives to an input; a path is a file to be uploaded. An OptionError says what does not fit."""
        kind, about = _specs(self._about(socket.node)).get(socket.name, ("", {}))
        given = self.prompt[socket.node]["inputs"].get(socket.name)
        if kind in PLAIN:
            low, high = (float(about.get(name, limit)) for name, limit in (("min", "-inf"), ("max", "inf")))
            return Option(socket.name, PLAIN[kind], None, "", low, high).read(value)
        if kind == "STRING":
            return str(value)
        if kind == "COMBO":
            uploads = any(name.endswith("_upload") and about[name] for name in about)
            return _chosen(str(value), about.get("options"), uploads, base)
        if given is None or isinstance(given, list):
            raise OptionError(f"found {str(value)!r:.60}, but this input takes {kind} from another node; fill that one")
        return value

    # ---- what is made

    @cached_property
    def outputs(self) -> list[str]:
        return [number for number in self.prompt if self._about(number).get("output_node")]

    def ending(self, take: str) -> str:
        """Of the film, as near as the saving node tells beforehand."""
        formats = [str(self.prompt[node]["inputs"].get("format", "")) for node in ([take] if take else self.outputs)]
        told = (ending for text in reversed(formats) for ending in ENDINGS if text.endswith(ending[1:]))
        return next(told, ENDINGS[0])

    def filled(self, values: Mapping[str, Any], name: str) -> Prompt:
        """values: by address; name: of the row, which is added to those of saved files, so that no row's file is ever
        taken for another's"""
        made = {number: {**node, "inputs": dict(node["inputs"])} for number, node in self.prompt.items()}
        for address, value in values.items():
            socket = self.socket(address)
            made[socket.node]["inputs"][socket.name] = value
        for number in self.outputs:
            prefix = made[number]["inputs"].get(PREFIX)
            if isinstance(prefix, str):
                made[number]["inputs"][PREFIX] = f"{prefix}_{name}"
        return made


def _closest(text: str, known: Iterable[str]) -> str:
    return max(known, key=lambda one: alike(text, one), default="")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(map(str, names[:LISTED])) or 'none'}{more}"


def _specs(about: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Kind and facts of each input of a kind of node; older nodes have a list of choices in place of a kind."""
    found = dict[str, tuple[str, Mapping[str, Any]]]()
    for part in ("required", "optional"):
        for name, (kind, *more) in (about.get("input", {}).get(part) or {}).items():
            facts = more[0] if more and isinstance(more[0], dict) else {}
            found[name] = ("COMBO", {**facts, "options": kind}) if isinstance(kind, list) else (str(kind), facts)
    return found


def _chosen(text: str, choices: Any, uploads: bool, base: Path) -> Any:
    """A choice, or a file for inputs that offer those of the server's folder."""
    path = path_of(text, base)
    if choices is None or (text in choices and not (uploads and path)):
        return text
    if path is not None and (uploads or _offers_files(choices, path)):
        return path
    found = f"found {text!r:.60}, expected "
    if uploads:
        raise OptionError(f"{found}a file, its path seen from the table's folder, or one among the server's inputs")
    raise OptionError(f"{found}one of {_listed(choices)}")


def _offers_files(choices: Sequence[Any], path: Path) -> bool:
    """Older nodes do not say that they load files: their choices are names of such, which are no models."""
    return path.suffix.lower() not in MODELS and all(Path(str(choice)).suffix for choice in choices)


# ---- the file


def read_workflow(path: Path, nodes: Mapping[str, Any], server: str) -> Workflow:
    """nodes: the kinds that the server has"""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise TableError(f"The workflow {path} does not exist; expected a .json file.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"The workflow {path} cannot be read as JSON ({error}); {EXPORT}.") from error
    if isinstance(found, dict) and "nodes" in found and "links" in found:
        raise TableError(f"The workflow {path} is in the format of ComfyUI's page (nodes and links); {EXPORT}.")
    prompt = found.get("prompt", found) if isinstance(found, dict) else found
    if not isinstance(prompt, dict) or not prompt or not all(map(_is_node, prompt.values())):
        raise TableError(f"The workflow {path} is not one of ComfyUI; {EXPORT}.")
    _check_known(path, prompt, nodes, server)
    return Workflow(path, prompt, nodes)


EXPORT = "open it in ComfyUI, choose Workflow > Export (API) in the menu, and give the file that this saves"


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _check_known(path: Path, prompt: Prompt, nodes: Mapping[str, Any], server: str) -> None:
    if missing := sorted({node["class_type"] for node in prompt.values()} - nodes.keys()):
        raise TableError(
            f"The workflow {path} has nodes that {server} does not know: {', '.join(missing)}. Install their packs "
            "there, or give other servers."
        )
    if not any(nodes[node["class_type"]].get("output_node") for node in prompt.values()):
        raise TableError(f"The workflow {path} saves nothing; add a node that does, as Save Talking Video.")


# ---- the rows


def defaults_of(pairs: Sequence[str]) -> dict[str, str]:
    """Of --set Title.input=VALUE."""
    found = [pair.partition("=") for pair in pairs]
    if bad := next(("".join(parts) for parts in found if not parts[1]), ""):
        raise TableError(f"--set {bad}: expected Title.input=VALUE, as --set 'Load Audio.audio=hello.wav'.")
    return {name.strip(): value for name, _, value in found}


@dataclass(frozen=True)
class Rows:
    """How rows are read for a workflow."""

    workflow: Workflow
    base: Path  # the table's folder
    folder: Path  # of films
    defaults: Mapping[str, Any]  # by column
    take: str  # the node whose film is taken, for rows that do not say; "": the last that saves one

    def columns(self) -> Columns:
        return Columns(lambda name: str(name).strip().strip("\ufeff"), self._unknown)

    def _unknown(self, name: str) -> str:
        """What is wrong with a name; nothing if it is good."""
        try:
            if name not in (OUTPUT, TAKE):
                self.workflow.socket(name)
        except AddressError as error:
            return f"found {error}"
        return ""

    @property
    def needed(self) -> set[str]:
        return {node["class_type"] for node in self.workflow.prompt.values()}

    def prompt(self, job: Job, name: str, server: ComfyUI) -> Prompt:
        values = {**job.inputs, **job.options}
        return self.workflow.filled({key: values[key] for key in values if key not in (FILE, TAKE)}, name)

    def keep(self, job: Job, key: str, file: Path) -> Path:
        """As ComfyUI saved it: with the workflow in it."""
        return file

    def job(self, row: Row, problems: Problems) -> Job | None:
        options, inputs = dict[str, Any](), {FILE: self.workflow.path}
        for name, value, base in self._given(row):
            try:
                socket = self.workflow.socket(name)
                filled = socket.address in options or socket.address in inputs
                if filled and base is None:
                    continue  # a value for rows that have none of their own
                read = self.workflow.read(socket, value, base or Path())
            except (AddressError, OptionError) as error:
                problems.add(row.number, name, f"found {error}" if isinstance(error, AddressError) else str(error))
                continue
            if filled:
                problems.add(row.number, name, f"found twice: another column fills {socket.address}, too")
            (inputs if isinstance(read, Path) else options)[socket.address] = read
        node = self._taken(row, problems)

        def otherwise() -> str:
            return made_up([path for key, path in inputs.items() if key != FILE], [inputs, options])

        output = film_of(row, otherwise, self.workflow.ending(node), self.folder, problems)
        return Job("workflow", inputs, options | ({TAKE: f"#{node}"} if node else {}), output, replacing=True)

    def _given(self, row: Row) -> Iterator[tuple[str, Any, Path | None]]:
        """Columns, values, and from where paths are seen: None for those that hold for all rows."""
        yield from ((name, value, self.base) for name, value in row.values.items() if name not in (OUTPUT, TAKE))
        yield from ((name, value, None) for name, value in self.defaults.items())

    def _taken(self, row: Row, problems: Problems) -> str:
        text = str(row.values.get(TAKE, self.take))
        if not text:
            return ""
        try:
            node = self.workflow.node(text)
        except AddressError as error:
            problems.add(row.number, TAKE, f"found {error}")
            return ""
        if node not in self.workflow.outputs:
            saving = [f"{titled(self.workflow.prompt, one)} (#{one})" for one in self.workflow.outputs]
            problems.add(row.number, TAKE, f"found {text!r}, which saves nothing; expected one of {_listed(saving)}")
        return node
