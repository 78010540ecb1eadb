PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: test lint format bench demo demo-model

# Two at a time: those in ComfyUI mostly wait for one core, and so do the others.
test: $(VENV)/ready
	$(RUN) -m pytest tests --ignore=tests/comfyui & others=$$!; \
	$(RUN) -m pytest tests/comfyui; inside=$$?; \
	wait $$others && exit $$inside

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright

format: $(VENV)/ready
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/ready
	$(RUN) -m benchmarks.denoise --px 256 --frames 16 --json

demo: $(VENV)/ready
	$(RUN) -m tools.demo

demo-model: $(VENV)/ready
	$(RUN) -m tools.demo_model.model

$(VENV)/ready: pyproject.toml tests/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet torch -c tests/constraints.txt
	$(RUN) -m pip install --quiet -e ".[scripts,comfyui,test]" -c tests/constraints.txt
	$(RUN) -m pip install --quiet --no-deps torchvision torchaudio spandrel -c tests/constraints.txt
	$(RUN) -m tools.comfyui.environment
	touch $@
