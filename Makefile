# `make help` lists the targets. All of them run in .venv, which is built by the first target that needs it.
PYTHON ?= python3
SHELL := /bin/bash
BIN := .venv/bin
DEEPLAB := $(BIN)/deeplab
DEMO := runs/demo
COMPILE := $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-index-url \
  --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help env lock demo page notebooks test bench gpu lint docs format clean

help:  ## list the targets
	@grep -hE '^[a-z.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-18s%s\n' "$$name" "$$text"; done

env: .venv/stamp  ## build the environment in .venv (python3 3.11 or 3.12, a C++ compiler)

.venv/stamp: bootstrap.txt requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 13) or sys.exit(f"Python 3.11 or 3.12 is needed, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r bootstrap.txt
	$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $@

lock: .venv/stamp  ## update the pinned versions and hashes in bootstrap.txt (pip and uv) and requirements.txt
	printf 'pip\nuv\n' | $(COMPILE) - --output-file bootstrap.txt
	$(COMPILE) --extra dev pyproject.toml --output-file requirements.txt

demo: .venv/stamp  ## train on generated Shapes, evaluate three ways, write runs/demo/report.html (minutes)
	rm -rf $(DEMO)
	$(DEEPLAB) fit -c experiments/base.yaml -c experiments/data/shapes.yaml -c experiments/model/deeplab_v3plus.yaml \
	  -c experiments/scale/smoke.yaml --trainer.default_root_dir $(DEMO)
	$(DEEPLAB) validate -c $(DEMO)/logs/fit_0/config.yaml --model.scales '[0.75, 1.0, 1.25]' --model.flip true \
	  --ckpt_path $(DEMO)/best.ckpt
	$(DEEPLAB) validate -c $(DEMO)/logs/fit_0/config.yaml -c experiments/crf/shapes.yaml --ckpt_path $(DEMO)/best.ckpt
	$(DEEPLAB) report $(DEMO)

page: .venv/stamp  ## write docs/demo.html: the demo's model as a page for browsers (after make demo)
	$(DEEPLAB) export $(DEMO)/best.ckpt --out docs/demo.html \
	  --examples $${DEEPLAB_DATA:-data}/shapes/JPEGImages/val_0000[0-5].jpg

notebooks: .venv/stamp  ## execute the notebooks for the documentation, into docs/executed/ (after make demo)
	$(BIN)/python -m tests.notebook_pages

test: .venv/stamp  ## run the tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

bench: .venv/stamp  ## print the measurements for the tables of experiments/benchmarks
	$(BIN)/python experiments/benchmarks/loading.py
	$(BIN)/python experiments/benchmarks/v1_speed.py
	$(BIN)/python experiments/benchmarks/crf.py
	$(BIN)/python experiments/benchmarks/crf.py --large
	$(BIN)/python experiments/benchmarks/training.py
	$(BIN)/python experiments/benchmarks/growth.py
	$(BIN)/python experiments/benchmarks/memory.py
	$(BIN)/python experiments/benchmarks/evaluation.py
	$(BIN)/python experiments/benchmarks/segment.py
	$(BIN)/python experiments/benchmarks/segment.py --large
	$(BIN)/python experiments/benchmarks/segment.py --deep

gpu: .venv/stamp  ## measure on a GPU, in pieces of at most eight minutes that are not repeated; skips without one
	$(BIN)/python experiments/gpu/run.py

lint: .venv/stamp  ## run ruff, ruff format --check and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/stamp  ## build the documentation as a site in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: .venv/stamp  ## let ruff correct what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and the caches
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache site *.egg-info
