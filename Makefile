# `make setup` makes .venv with everything; the other targets call it when something has changed.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: setup demo demo-live test check bench clean

setup: .venv/ready

.venv/ready: pyproject.toml otel_eval/__init__.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

demo: setup
	$(BIN)/python -m otel_eval.demo

demo-live: setup
	$(BIN)/python -m otel_eval.demo --live

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

bench: setup
	$(BIN)/python -m tests.bench

clean:
	rm -rf .venv .build .hypothesis .mypy_cache .pytest_cache .ruff_cache
