PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo tables test test-slow lint type bench docker

# Of the grids: SCALE=smoke (a few steps) or another layer of experiments/scale, DATA=folder of a
# dataset, SEEDS="0 1 2", JOBS=runs side by side, ARGS="further arguments of every run".
JOBS ?= $(shell command -v nvidia-smi >/dev/null || echo $$(( $$(getconf _NPROCESSORS_ONLN) < 2 ? 1 : 2 )))
OUT ?= runs/sweeps$(if $(SCALE),-$(SCALE))$(if $(DATA),-$(notdir $(DATA:/=)))
LAYERS := $(if $(SCALE),--config experiments/scale/$(SCALE).yaml) $(if $(DATA),--data.dataset $(DATA)) $(ARGS)

help: ## List the targets
	@grep -E '^[a-z%-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

setup: .venv/.dev ## Create .venv with the exact versions of constraints.txt

demo: .venv/.dev ## Sample data, SST pre-training, export, fine-tuning with and without it
	bash scripts/demo.sh

ablation-%: experiments/ablations/%.yaml .venv/.dev ## Run a grid of the papers, or what is left of it, and print its table (SCALE, DATA, SEEDS, JOBS, OUT)
	@$(BIN)/hlm sweep $< --output $(OUT)/$* $(if $(JOBS),--jobs $(JOBS)) $(if $(SEEDS),--seeds $(SEEDS)) -- $(LAYERS); \
	status=$$?; test $$status -gt 1 || $(BIN)/hlm table $* $(OUT) --output $(OUT)/tables || status=$$?; exit $$status

ablation-tfidf: LAYERS := $(if $(DATA),--data.dataset $(DATA)) $(ARGS)

tables: .venv/.dev ## Print the tables of all grids that have results
	@for sweep in $(wildcard $(OUT)/*/results.csv); do \
		folder=$${sweep%/results.csv}; \
		$(BIN)/hlm table $${folder##*/} $(OUT) --output $(OUT)/tables || exit $$?; \
	done

test: .venv/.dev ## Run the fast tests, a process per core
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

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
