from __future__ import annotations

import logging
from itertools import count
from pathlib import Path

import torch
from comfy_api.latest import io, ui

from ..joyhallo.film.write import VideoError
from ..joyhallo.libraries import brief
from ..joyhallo.measures.compared import as_csv, as_json, drawn
from ..joyhallo.measures.scores import Scores, columns
from .inputs import checked
from .preview import shown, tell
from .save_video import check_prefix, place
from .sockets import Scored, schema

log = logging.getLogger(__name__)

MOST = 6  # scores


class EvaluationReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "EvaluationReport",
            display_name="Evaluation Report",
            description="Sets the scores of several videos side by side: a table, shown here, and files for "
            "spreadsheets and programs.",
            inputs=[
                Scored.Input(
                    "scores_1",
                    tooltip="From Score Lip Sync, or from another node that scores. Scores of the same video come into "
                    "one column of the table.",
                ),
                *(
                    Scored.Input(f"scores_{number}", optional=True, tooltip="More scores, of the same or other videos.")
                    for number in range(2, MOST + 1)
                ),
                io.String.Input(
                    "names",
                    default="",
                    multiline=True,
                    tooltip="What the videos are called in the table, one on each line, in the order of their first "
                    "scores. Empty: as their files.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/JoyHallo_scores",
                    tooltip="Folder and beginning of the names: video/JoyHallo_scores gives "
                    "output/video/JoyHallo_scores_00001_.json and .csv. Nothing is ever overwritten.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "table",
                    display_name="table",
                    tooltip="A row for each measure, a column for each video. The best is blue; what a control does as "
                    "well is in brackets.",
                ),
                io.String.Output(
                    "json", display_name="json", tooltip="All scores, controls and reasons, as in the file."
                ),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(
        cls,
        scores_1: Scores,
        names: str,
        filename_prefix: str,
        scores_2: Scores | None = None,
        scores_3: Scores | None = None,
        scores_4: Scores | None = None,
        scores_5: Scores | None = None,
        scores_6: Scores | None = None,
    ) -> io.NodeOutput:
        check_prefix(filename_prefix)
        given = (scores_1, scores_2, scores_3, scores_4, scores_5, scores_6)
        joined = columns(
            [scores for scores in given if scores is not None], [name.strip() for name in names.splitlines()]
        )
        told, picture = as_json(joined), drawn(joined)
        files = _saved(filename_prefix, {"json": told, "csv": as_csv(joined)})
        tell(f"Saved as {' and '.join(file.name for file in files)}.", cls.hidden and cls.hidden.unique_id)
        table = torch.from_numpy(picture)[None].float() / 255
        return io.NodeOutput(table, told, ui=ui.SavedImages([shown(picture, "scores")]))


def _saved(prefix: str, texts: dict[str, str]) -> list[Path]:
    """Files of one number, by their endings; none that exists is touched."""
    folder, name, first, _ = place(prefix, (0, 0))
    try:
        for number in count(first):
            files = [Path(folder, f"{name}_{number:05}_.{ending}") for ending in texts]
            if not any(file.exists() for file in files):
                for file, text in zip(files, texts.values(), strict=True):
                    with file.open("x", encoding="utf-8", newline="\n") as opened:
                        opened.write(text)
                return files
    except OSError as error:
        raise VideoError(f"The scores cannot be saved in {folder} ({brief(error)}); choose another folder.") from error
    raise AssertionError
