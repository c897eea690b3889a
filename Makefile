# `make run` trains the ape210k recipe on the embedded sample; `make test` runs all tests but the slow ones.
# Both set up a virtual environment in .venv first; Python 3.11 to 3.13 and make are all they need.

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: run test test-slow test-torch test-peers lint benchmark clean

run: .venv/installed
	$(BIN)/python recipes/ape210k.py $(ARGS)

# Both backends are tried whatever the first one says; it fails if either does.
test: .venv/tested
	status=0; \
	KERAS_BACKEND=tensorflow $(PYTEST) || status=1; \
	KERAS_BACKEND=jax $(PYTEST) -m "not slow and not once and not peers" || status=1; \
	exit $$status

test-slow: .venv/tested
	$(BIN)/python -m pytest -m slow

test-torch: .venv/tested
	$(BIN)/python -m pip install --quiet torch
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests/losses tests/test_activations.py tests/test_ops.py

test-peers: .venv/tested
	$(BIN)/python -m pip install --quiet torch transformers
	KERAS_BACKEND=tensorflow $(BIN)/python -m pytest -m peers tests/peers
	KERAS_BACKEND=jax $(BIN)/python -m pytest -m peers tests/peers

lint: .venv/tested
	status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	exit $$status

benchmark: .venv/tested
	$(BIN)/python -m pip install --quiet torch transformers
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/decoding.py

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/python -m pip install --quiet -e ".[test]"
	$(BIN)/python -m pip install --quiet --no-deps bert4keras==0.11.5
	touch $@

clean:
	rm -rf .venv build *.egg-info
