# Everything a contributor does, one command each; CI runs the same ones.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
JOBS ?= 2
export PYTHONWARNINGS ?= ignore::DeprecationWarning
# The tests run a process a core: threads of numpy's and PyTorch's own would only wait for each other.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

env: $(VENV)/.dev ## make .venv with everything: SDK, compiler, fleet, and the tools of development

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.all: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.all
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.all ## the main job on real data: compile, train on 4 devices, aggregate, roll out (ARGS=--json)
	$(BIN)/lepton demo $(ARGS)

test: $(VENV)/.dev ## all tests but the long soaks
	$(BIN)/pytest -n $(JOBS) --dist loadgroup -m "not slow" $(ARGS)

gates: $(VENV)/.dev ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: gates test ## every gate and every test: what CI runs

bench: $(VENV)/.dev ## measure beside LiteRT, ONNX Runtime, OpenVINO, PyTorch; writes docs/BENCHMARKS.md
	PYTHONPATH=tests$${PYTHONPATH:+:$$PYTHONPATH} $(BIN)/python -m benchmarks.bench $(ARGS)

instructions: $(VENV)/.dev ## count instructions by valgrind and qemu-user; writes docs/INSTRUCTIONS.md
	$(BIN)/python tests/benchmarks/instructions.py $(ARGS)

fidelity: $(VENV)/.dev ## how near int8 and int16 are to float; writes docs/FIDELITY.md
	$(BIN)/python tests/benchmarks/fidelity.py

onnx-coverage: $(VENV)/.dev ## run all of ONNX's node tests; writes docs/onnx-coverage.md
	$(BIN)/python tests/compilers/importers/onnx/test_node_tests.py

soak: $(VENV)/.dev ## the long tests
	$(BIN)/pytest -m slow $(ARGS)

clean: ## remove what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help env demo test gates check bench instructions fidelity onnx-coverage soak clean
