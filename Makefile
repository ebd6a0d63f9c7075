# Everything is made in .venv, beside this file; nothing is installed into the system but by `make system`.
# Which Python: make PYTHON=python3.12 …

PYTHON ?= python3
WORKERS ?= 2
TESTS ?= tests

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.hybrid-is-installed
QUICK_TESTS = $(wildcard tests/unit tests/contracts tests/architecture)

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup system demo check check-format check-lint check-types check-imports check-tests \
        test test-crash mutants bench docs format clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make .venv with the package and the tools to work on it; again when pyproject.toml changes
	@echo "$(VENV) is ready: $(BIN)/hybrid, or . $(BIN)/activate"

$(STAMP): pyproject.toml bin/hybrid scripts/setup.sh
	@sh scripts/setup.sh "$(PYTHON)" "$(VENV)"
	@touch $@

system: ## Install what tests want from the system (compiler, strace …), where that is possible
	@sh scripts/system.sh

demo: $(STAMP) ## Run the main job in a throw-away home, kill the daemon in the middle, see it finish
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

check: $(STAMP) ## Format, lint, types, import contracts, quick tests: under a minute
	@$(MAKE) -j2 --keep-going --output-sync=target check-types check-imports check-format check-lint check-tests

check-format: $(STAMP)
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted: see `make format`'; exit 1; }

check-lint: $(STAMP)
	@$(BIN)/ruff check --quiet .

check-types: $(STAMP)
	@$(BIN)/mypy --no-error-summary

check-imports: $(STAMP)
	@$(BIN)/lint-imports --no-cache > $(VENV)/imports.log 2>&1 || { cat $(VENV)/imports.log; exit 1; }

check-tests: $(STAMP)
	@$(BIN)/python -m pytest $(QUICK_TESTS) -m "not slow and not crash"

test: $(STAMP) system ## All tests, with a share of the crash tests; says what it skipped, and why
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

test-crash: $(STAMP) system ## All crash tests: every operation, every fault, every legal disk; within an hour, with a table
	@$(BIN)/python -m tests.crash.all --minutes 55 --table $(VENV)/crash-table.txt

mutants: $(STAMP) ## Small wrong changes to the source, one at a time: do the tests catch them?
	@$(BIN)/python -m tests.mutants

bench: $(STAMP) ## Benchmarks, as ratios to a limit measured in the same run; in fresh homes and in worn ones
	@$(BIN)/python -m benchmarks --worn

docs: $(STAMP) ## Bring the parts of the documentation up to date that are made from the code
	@$(BIN)/python scripts/docs.py

format: $(STAMP) ## Format the code and repair what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

clean: ## Remove .venv and what tools leave; data is left alone
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
