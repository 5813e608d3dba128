PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-slow check vectors protos bench fuzz lock

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/python -m demo

test: setup
	$(BIN)/pytest -m "not slow"

test-slow: setup
	$(BIN)/pytest -m slow

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/pytest -q -m "not slow" tests/docs

vectors: setup
	$(BIN)/python -m testvectors.generate

protos: setup
	$(BIN)/python -m protos.generate

bench: setup
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

fuzz: setup
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60)

# Writes the lock anew from pyproject.toml; needs `uv` on the PATH.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock
