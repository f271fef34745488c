PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test test-slow lint type bench docker

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: .venv/.dev ## Create .venv with the exact versions of constraints.txt

demo: .venv/.dev ## Sample data, SST pre-training, export, fine-tuning with and without it
	bash scripts/demo.sh

test: .venv/.dev ## Run the fast tests
	$(BIN)/python -m pytest

test-slow: .venv/.dev ## Run the slow tests alone
	$(BIN)/python -m pytest -m slow

lint: .venv/.dev ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: .venv/.dev ## Check types
	$(BIN)/mypy

bench: .venv/.bench ## Measure speed and memory, side by side with the alternatives
	$(BIN)/python -m benchmarks

docker: ## Build the CUDA image hierarchy-lm
	docker build --tag hierarchy-lm .

.venv/.dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("needs Python 3.11 or newer: make setup PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv/.bench: .venv/.dev
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[dev,bench]"
	touch $@
