# The one entry point: `make` lists what it can do. What CI runs is what you run.
#
# Everything lives in .venv; a stamp file for each group of dependencies makes the second call quick.

SHELL   := /bin/sh
VENV    ?= .venv
BIN     := $(VENV)/bin
STAMPS  := $(VENV)/.installed
PIP     := $(BIN)/python -m pip -qq --disable-pip-version-check
ARGS    ?=
# The tests wait more than they compute: more processes than a small machine has cores.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types docs bench fuzz django-suite services matrix clean
.DELETE_ON_ERROR:

help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='...' is handed on:  make test ARGS='-k commit -x'    make demo ARGS=--no-server"
	@echo "  PYTHON=... names the interpreter that makes $(VENV); the default is the first >= 3.11 that is found."

demo: $(STAMPS)/demo ## Show a real site served from every layer: timings, edits, then a server to look at
	@$(BIN)/python example_project/manage.py demo $(ARGS)

test: $(STAMPS)/test services ## Run the tests, with real servers where they are or may be installed
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(STAMPS)/lint ## Check style, formatting, and that no floor imports from above
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

format: $(STAMPS)/lint ## Format the code, and mend what can be mended without thought
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

types: $(STAMPS)/types ## Check the types, strictly
	@$(BIN)/python -m mypy $(ARGS)

docs: $(STAMPS)/docs ## Build the documentation into docs/_build/html; a warning is an error
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

bench: $(STAMPS)/bench ## Measure, side by side with plain Django and its like (ARGS=--quick: roughly)
	@$(VENV)/bench/bin/python -m benchmarks $(ARGS)

fuzz: $(STAMPS)/test $(STAMPS)/fuzz ## Feed all decoders with what atheris makes up, a minute each (ARGS='--seconds 600 rows')
	@$(BIN)/python scripts/fuzz.py $(ARGS)

django-suite: $(STAMPS)/test ## Run Django's own tests with every model's queries cached (ARGS=--help: which, and where)
	@$(BIN)/python scripts/django_suite $(ARGS)

services: ## Install the servers that the tests need, from Debian's packages, where allowed
	@scripts/install-servers

matrix: $(STAMPS)/matrix services ## Run the tests under every supported Python and Django that is here (tox)
	@$(BIN)/tox run $(ARGS)

clean: ## Remove everything that was made here
	rm -rf $(VENV) .tox build dist docs/_build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip learnt dependency groups (PEP 735) in 25.1.
$(STAMPS)/pip:
	@scripts/make-venv $(VENV)
	@$(PIP) install --upgrade 'pip>=25.1'
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/pip
	@echo "Installing the project ..."
	@$(PIP) install --editable .
	@touch $@

$(STAMPS)/demo: example_project/requirements.txt $(STAMPS)/project
	@echo "Installing what the example project needs ..."
	@$(PIP) install --requirement $<
	@touch $@

# The tests try out the example project, too.
$(STAMPS)/test: $(STAMPS)/demo

# An environment of its own: what is compared with supports one Django only.
$(STAMPS)/bench: pyproject.toml $(STAMPS)/pip
	@test -d $(VENV)/bench || scripts/make-venv $(VENV)/bench
	@echo "Installing what is compared ..."
	@$(VENV)/bench/bin/python -m pip -qq --disable-pip-version-check install --upgrade 'pip>=25.1'
	@$(VENV)/bench/bin/python -m pip -qq --disable-pip-version-check install --editable . --group bench
	@touch $@

$(STAMPS)/%: pyproject.toml $(STAMPS)/project
	@echo "Installing what '$*' needs ..."
	@$(PIP) install --group $*
	@touch $@
