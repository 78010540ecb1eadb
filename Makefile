PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# Without it each of the many ComfyUIs that tests start compiles the whole of ComfyUI again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test lint format bench demo demo-model

# For everyday work: what needs a ComfyUI or a browser, and tests marked as slow, are left to `make test`.
FAST := -m "not slow" --ignore=tests/comfyui --ignore=tests/browser
check: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright & types=$$!; \
	$(RUN) -m pytest tests/hallo $(FAST) & hallo=$$!; \
	$(RUN) -m pytest tests --ignore=tests/hallo $(FAST); others=$$?; \
	wait $$types && wait $$hallo && exit $$others

# Three at a time: those in ComfyUI and in the browser often wait for servers and pages.
test: $(VENV)/ready
	$(RUN) -m pytest tests/browser & seen=$$!; \
	$(RUN) -m pytest tests/comfyui & inside=$$!; \
	$(RUN) -m pytest tests --ignore=tests/comfyui --ignore=tests/browser; others=$$?; \
	wait $$seen; seen=$$?; wait $$inside && [ $$seen = 0 ] && exit $$others

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
