# Segue: everything a person runs, by name. `make demo` and `make test` are all a newcomer needs.
# PYTHON: the interpreter the environment is made with; VENV: where it lies; TORCH: what is installed when torch is missing
# (a CPU torch that is already there is kept); JOBS: test processes, one core each (one that crashes ends the run: another in its
# place may wait for work for ever).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
TORCH ?= torch==2.13.0
JOBS ?= 2
PY := $(VENV)/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install dev demo test quick check docs bench clean
.DEFAULT_GOAL := help

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone, at one version: left to a range, pip may bring another build
$(VENV)/.torch: | $(VENV)/bin/python
	@$(PY) -c "import torch" 2>/dev/null || $(PY) -m pip install -q --no-compile "$(TORCH)"
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	$(PY) -m pip install -q --no-compile -c constraints.txt -e ".[test]"
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PY) -m pip install -q --no-compile -c constraints.txt -e ".[test,dev]"
	@touch $@

install: $(VENV)/.installed  ## the environment in .venv

dev: $(VENV)/.dev  ## the environment with ruff and mypy

demo: $(VENV)/.installed  ## caption, degrade, restore, refine and score a real clip; names the files it made
	$(VENV)/bin/segue run sr-refine-score --out runs/demo

test: $(VENV)/.installed  ## every test
	$(PY) -m pytest -q -n $(JOBS) --dist loadgroup --max-worker-restart 0

quick: $(VENV)/.installed  ## the tests that take less than about ten seconds each
	$(PY) -m pytest -q -n $(JOBS) --dist loadgroup --max-worker-restart 0 -m "not slow"

check: $(VENV)/.dev  ## ruff and mypy
	$(VENV)/bin/ruff check .
	@mkdir -p $(VENV)/mypy && ln -sfn ../.. $(VENV)/mypy/segue  # mypy takes the package's name from its folder
	cd $(VENV)/mypy && ../bin/mypy --config-file segue/pyproject.toml --cache-dir ../../.mypy_cache segue

docs: $(VENV)/.installed  ## write the pages in docs/ that are made from schemas and --help
	$(PY) -m segue.cli.docs

bench: $(VENV)/.installed  ## side-by-side measurements against peers, as JSON in runs/bench
	$(PY) -m benchmarks --out runs/bench

clean:  ## remove the environment and what the tools left; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
