# Everything runs in .venv, which any of these makes from nothing.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/installed

# Two processes of one thread train faster than one of two: the policy is too small for threads.
PROCESSES ?= 2
TRAIN = OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node $(PROCESSES) -m mrg_r1 train

# Files of tests that run at a time.
WORKERS ?= 2

.PHONY: help demo test lint docs clean

help:
	@echo "make demo    train the tiny policy on drawn chest X-rays, and draw its audit page"
	@echo "make test    lint, type-check and test"
	@echo "make lint    lint and type-check only"
	@echo "make docs    write docs/commands.md again"
	@echo "make clean   remove .venv and caches; runs stay"

demo: $(READY)
	@if [ -e runs/quickstart/audit.html ]; then \
		echo "runs/quickstart is complete; its audit page: $(CURDIR)/runs/quickstart/audit.html"; \
	elif [ -e runs/quickstart/recipe.json ]; then \
		$(TRAIN) quickstart --resume; \
	else \
		$(TRAIN) quickstart; \
	fi

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/typer mrg_r1.cli utils docs --name mrg-r1 --title Commands --output docs/commands.md

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist

$(READY): requirements.lock requirements-deepspeed.lock pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "error: $(PYTHON) is not Python 3.11 or newer; type: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@echo "installing the pinned packages into .venv: 6 GB on Linux, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/deepspeed -r requirements-deepspeed.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
