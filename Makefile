# `make demo` and `make test` need nothing but Python 3.10 or newer: they make their own .venv.
#
#   make demo                        the quick start: a server and three learners on embedded data
#   make test                        all tests
#   make check                       what CI runs: lint, types, layers, tests
#   make docs                        the documentation as a site in site/, for any browser
#   make demo PYTHON=python3.12      with another interpreter
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                                    CPU-only wheels, where PyPI's torch would bring CUDA along

PYTHON ?= python3
TORCH_INDEX ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := $(wildcard edgenet tests benchmarks launch docs)
SCRIPTS := $(wildcard benchmarks/*.py launch/*.py docs/*.py)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test docs lint types layers check format clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 9

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'edgenet needs Python 3.10 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing edgenet and its tools into $(VENV): a minute or two the first time.'
	@$(if $(TORCH_INDEX),true,echo 'If this downloads CUDA, stop and add TORCH_INDEX=https://download.pytorch.org/whl/cpu')
	@$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/edgenet run topologies/quickstart.yaml
	@echo 'That folder holds summary.json, rounds.csv, report.html (open it in a browser) and trace.json (at ui.perfetto.dev).'

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: $(STAMP)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

types: $(STAMP)
	$(BIN)/mypy
	$(if $(SCRIPTS),$(BIN)/mypy $(SCRIPTS))

layers: $(STAMP)
	$(BIN)/python -m pytest tests/test_layers.py

check: lint types layers test

format: $(STAMP)
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/python docs/make_commands.py

clean:
	rm -rf $(VENV) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
