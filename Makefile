PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo demo-vault test test-slow check vectors protos bench chaos fuzz lock audit

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: setup
	$(BIN)/python -m demo

# The vault is the stand-in of the tests, or the server of TEST_VAULT_ADDR, TEST_VAULT_TOKEN, TEST_VAULT_CACERT.
demo-vault: setup
	PYTHONPATH=tests $(BIN)/python -m demo.vault

# Branch coverage: all of blindfold/ and of the policy engine, and a line for the rest.
WHOLLY_COVERED := blindfold/*,kms/authz/*,kms/model/policy.py,kms/model/policy_json.py,kms/model/json_form.py,kms/model/predicate.py,kms/model/access_request.py

test: setup
	$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadfile --cov --cov-report=
	$(BIN)/coverage report --include='$(WHOLLY_COVERED)' --skip-covered --fail-under=100
	$(BIN)/coverage report | tail -n 1

test-slow: setup
	$(BIN)/pytest -m slow

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/bandit --quiet --severity-level medium --recursive blindfold kms cli wingman
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/pytest -q -m "not slow" tests/docs

vectors: setup
	$(BIN)/python -m testvectors.generate

protos: setup
	$(BIN)/python -m protos.generate

bench: setup
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

chaos: setup
	$(BIN)/python -m chaos --kills $(if $(LONG),200,20)

fuzz: setup
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),60)

# Writes the lock anew from pyproject.toml; needs `uv` on the PATH.
lock:
	uv pip compile --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --no-header --extra dev pyproject.toml -o requirements.lock

# Asks the advisory database, over the network, about every package of the lock.
audit: setup
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip
