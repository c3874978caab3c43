# `make demo` and `make test` set everything up by themselves, in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint types bench docs clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    a real model becomes a spec, is checked, built and run (no GPU needed)"
	@echo "make test    lint, types and tests"
	@echo "make bench   the benchmarks of docs/benchmarks.md"
	@echo "make docs    the documentation as a site, in build/docs"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "trtn needs Python 3.11 or newer: make PYTHON=python3.12 ..")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

demo: $(VENV)/.installed-demo
	@$(BIN)/python docs/demo.py

test: lint types $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The top-level folders are subpackages of `trtn` once installed; mypy sees them in place through links.
types: $(VENV)/.installed-test
	@mkdir -p $(VENV)/typed/trtn
	@ln -sfn $(CURDIR)/dsl $(CURDIR)/grammar $(CURDIR)/backend $(CURDIR)/trtn/*.py $(CURDIR)/trtn/py.typed $(CURDIR)/trtn/cli $(VENV)/typed/trtn/
	MYPYPATH=$(VENV)/typed $(BIN)/mypy -p trtn

bench: $(VENV)/.installed-test
	$(BIN)/python -m bench

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
