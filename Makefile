# Each target starts with `make install`, which needs only Python 3.11+ with its venv module.
UV_VERSION := 0.13
PYTHON ?= python3
export UV_PROJECT_ENVIRONMENT := .venv
BIN := .venv/bin
WORKERS ?= 3

.PHONY: install demo test shifted deploy-test lint audit bench chaos attack fuzz schemas dashboards system clean

install: .venv/.ready

.venv/.ready: pyproject.toml uv.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "uv>=$(UV_VERSION)"
	$(BIN)/uv sync --frozen --quiet --compile-bytecode --inexact --all-extras --all-groups --no-group fuzz
	@touch $@

demo: install
	$(BIN)/xomnet demo $(DEMO)

# What the tests speak to: a real broker, a real database, a real browser.
system:
	@tests/system-packages

# First what can share the machine, then what knows the date at other times, then what measures or loads the machine
# (status 5: none of the tests asked for is such).
# In the order of the folders: unit tests, which are short, come last, so that no worker is left alone with a long file.
test: install system lint
	$(BIN)/pytest -m "not alone and not deploy and not attack" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST) || [ $$? = 5 ]
	$(BIN)/python -m tests.shifted $(PYTEST) || [ $$? = 5 ]
	$(BIN)/pytest -m "alone and not attack" $(PYTEST) || [ $$? = 5 ]

# The tests that know the date, at instants at which dates go wrong. SHIFTED="--at 2028-02-29T16:30Z" is one of them.
shifted: install system
	$(BIN)/python -m tests.shifted $(SHIFTED)

# The whole deployment on machines that boot, of which `make test` runs the beginning; writes docs/deploy-test.md.
# As in CI, what this computer can't do is a failure.
deploy-test: install
	@tests/system-packages qemu-user-static=qemu-aarch64-static arch-test=arch-test
	CI=true XOMNET_RUN_LOG=docs/deploy-test.md $(BIN)/pytest tests/deploy/test_machines.py $(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.words

# Whether a library of uv.lock has a known vulnerability: asks osv.dev. AUDIT="--service-url URL" asks another service.
audit: install
	@$(BIN)/uv audit --frozen --preview-features audit-command $(AUDIT) || { status=$$?; [ $$status = 1 ] || \
		echo "The audit failed, so nothing is known of these versions. Run it where the advisories can be reached." >&2; \
		exit $$status; }

schemas: install
	$(BIN)/python -m xomnet.contract.schemas docs/protocol

# Grafana's dashboards and alert rules, from grafana/*.py and grafana/texts/.
dashboards: install
	$(BIN)/python -m grafana

# Every attack, with those that take too long for each time; writes bench/results/security.md. As in CI, nothing may skip.
attack: install system
	CI=true XOMNET_ATTACK_LOG=bench/results/security.md $(BIN)/pytest tests/security $(PYTEST)

# Ten minutes a parser with a fuzzer that looks for new branches, and the REST interface by its description; writes bench/results/fuzz.md. FUZZ="dns --for 60"
fuzz: install system
	$(BIN)/uv sync --frozen --quiet --inexact --all-extras --all-groups
	$(BIN)/python -m tests.fuzz $(FUZZ)

bench: install
	$(BIN)/python -m bench

# The long storm: 1,000 kills and 100,000 results; writes bench/results/chaos.md. CHAOS="--seed 7" repeats one.
chaos: install system
	$(BIN)/python -m tests.chaos $(CHAOS)

clean:
	rm -rf .venv artifacts demo-data
