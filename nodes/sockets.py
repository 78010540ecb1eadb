"""The types of sockets that are not ComfyUI's own, and where in the menu the nodes stand."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "JoyHallo"

Model = io.Custom("JOYHALLO_MODEL")
FaceAnalysis = io.Custom("JOYHALLO_FACE_ANALYSIS")
Face = io.Custom("JOYHALLO_FACE")
Speech = io.Custom("JOYHALLO_SPEECH")
Landmarks = io.Custom("FACE_LANDMARKS")  # of newer ComfyUI's own face nodes
