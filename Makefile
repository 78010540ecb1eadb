PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

# Without it each of the many ComfyUIs that tests start compiles the whole of ComfyUI again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test lint style types format bench demo demo-model

# For everyday work: what needs a ComfyUI or a browser, and tests marked as slow, are left to `make test`.
FAST := -m "not slow" --ignore=tests/comfyui --ignore=tests/browser
check: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pyright & types=$$!; \
	$(RUN) -m pytest tests/hallo $(FAST) & hallo=$$!; \
	$(RUN) -m pytest tests --ignore=tests/hallo $(FAST); others=$$?; \
	wait $$types && wait $$hallo && exit $$others

# Four at a time: those in ComfyUI and in the browser often wait for servers and pages. Shorter ones come last, so that
# no core is idle for long at the end.
TOGETHER := $(MAKE) --jobs=4 --keep-going
SOME_ROOMS := $(addprefix tests/,commands data evaluation faces files film)
OTHER_ROOMS := tests/hallo tests/training
METHODS := tests/methods tests/measures
BESIDE :=  # what else is to be made meanwhile
TESTS := $(addprefix tests-,comfyui-inside comfyui-served browser other-rooms some-rooms methods rest)

test: $(VENV)/ready
	$(TOGETHER) $(TESTS) $(BESIDE)

.PHONY: $(TESTS)
tests-comfyui-inside: $(VENV)/ready
	$(RUN) -m pytest tests/comfyui -m inside
tests-comfyui-served: $(VENV)/ready
	$(RUN) -m pytest tests/comfyui -m "not inside"
tests-browser: $(VENV)/ready
	$(RUN) -m pytest tests/browser
tests-some-rooms: $(VENV)/ready
	$(RUN) -m pytest $(SOME_ROOMS)
tests-rest: $(VENV)/ready
	$(RUN) -m pytest tests $(addprefix --ignore=,tests/comfyui tests/browser $(SOME_ROOMS) $(OTHER_ROOMS) $(METHODS))
tests-other-rooms: $(VENV)/ready
	$(RUN) -m pytest $(OTHER_ROOMS)
tests-methods: $(VENV)/ready
	$(RUN) -m pytest $(METHODS)

lint: style types

style: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/ready
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

# Python compiles what it imports; compiling all that is installed would take longer than everything else here.
INSTALL := $(RUN) -m pip install --quiet --no-compile -c tests/constraints.txt
$(VENV)/ready: pyproject.toml tests/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e ".[scripts,comfyui,test]"
	$(INSTALL) --no-deps torchvision torchaudio spandrel
	$(RUN) -m tools.comfyui.environment
	touch $@
