# Each target starts with `make install`, which needs only Python 3.11+ with its venv module.
UV_VERSION := 0.9
PYTHON ?= python3
export UV_PROJECT_ENVIRONMENT := .venv
BIN := .venv/bin

.PHONY: install demo test lint bench schemas system clean

install: .venv/.ready

.venv/.ready: pyproject.toml uv.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "uv>=$(UV_VERSION)"
	$(BIN)/uv sync --frozen --quiet --compile-bytecode --inexact --all-extras --all-groups
	@touch $@

demo: install
	$(BIN)/xomnet demo $(DEMO)

# What the tests speak to: a real broker, a real database, a real browser.
system:
	@tests/system-packages

test: install system lint
	$(BIN)/pytest $(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

schemas: install
	$(BIN)/python -m xomnet.schemas docs/protocol

bench: install
	$(BIN)/python -m bench

clean:
	rm -rf .venv artifacts demo-data
