# make demo   sets everything up and maps the made-up tile: needs python3.11+, make and git
# make test   sets everything up and runs the tests, without the internet
# make coverage   the same tests, and the share of lines that they run: half as long again
# make test-lowest  the unit tests on the lowest versions that pyproject.toml allows
# make test-faults  kills, failing servers, full disks; a few minutes
# make docs   the documentation as a site in build/site, offline; broken links fail
# make check  format, lint, types, import map, tests
# make infra-check  the same for the cloud: templates, rules, assertions, stand-ins
# make preflight ENV=dev  what an account lacks for an environment, before anything is created

# The first Python that really runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
UV_VERSION := 0.13.9
TOOLS := .uv
UV := UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON=$(PYTHON) UV_PYTHON_DOWNLOADS=never $(TOOLS)/bin/uv
BIN := .venv/bin
# Python keeps what it compiles, whatever the environment says: tests start it some hundred times.
export PYTHONDONTWRITEBYTECODE :=
# Tests wait for processes and servers now and then, those of faults half of their time.
WORKERS ?= $(call processors,+ 2)
FAULT_WORKERS ?= $(call processors,* 2)
processors = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) $(1))')
# The slow files begin first (tests/conftest.py): not those with the most tests.
SPREAD := --dist loadfile --no-loadscope-reorder

.PHONY: demo setup test coverage test-lowest test-faults drill lint docs reference check bench format clean wheel

demo: .venv/.run  ## map the made-up tile at 60 m into ./output
	$(BIN)/cropmask-job --tile x10y20 --region eastern

setup: .venv/.dev  ## everything that developing needs

test: .venv/.dev  ## all tests
	$(BIN)/pytest -n $(WORKERS) $(SPREAD) -m "not faults" tests

coverage: .venv/.dev  ## all tests, and how many lines they run in their own processes
	$(BIN)/pytest -n $(WORKERS) $(SPREAD) -m "not faults" --cov --cov-report=term tests

test-lowest: .venv-lowest/.ready  ## unit tests on the lowest versions that pyproject.toml allows
	.venv-lowest/bin/pytest -n $(WORKERS) $(SPREAD) -o filterwarnings=default --disable-warnings tests/unit

test-faults: .venv/.dev  ## kills, failing servers, full disks: tests that take minutes
	$(BIN)/pytest -n $(FAULT_WORKERS) $(SPREAD) -m faults tests

drill: .venv/.dev  ## a made-up region of 388 tiles, mapped by two workers of which one is killed every 20 s
	$(BIN)/python -m tests.faults.drill
	$(BIN)/python -m tests.faults.nightdrill

lint: .venv/.dev  ## format, lint, types, import map
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.dev  ## the documentation as a site in build/site, offline
	$(BIN)/python docs/make_site.py

reference: .venv/.dev  ## print docs/reference anew
	$(BIN)/python docs/make_reference.py

check: lint docs test

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.peers  ## speed and memory, as ratios against named baselines in the same run
	$(BIN)/python -m benchmarks

wheel: .venv/.dev
	$(UV) build --wheel

clean:
	rm -rf .venv .venv-infra .venv-lowest cdk.out infra/cdk.out node_modules $(TOOLS) dist build .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

include infra/rules.mk

$(TOOLS)/.ready:
	@test -n "$(PYTHON)" || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

.venv/.run: $(TOOLS)/.ready pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --inexact --no-dev
	@touch $@

.venv/.dev: $(TOOLS)/.ready pyproject.toml uv.lock
	$(UV) sync --quiet --frozen --extra train --extra serve --extra cluster --extra show \
	  --group datacube --group docs
	@touch $@ .venv/.run

# Other engines, for the benchmarks alone; which of them are missing the benchmarks say.
.venv/.peers: .venv/.dev
	$(UV) sync --quiet --frozen --inexact --all-extras --group peers || \
	  echo "the other engines do not install here: the benchmarks go on without" >&2
	@touch $@

.venv-lowest/.ready: $(TOOLS)/.ready pyproject.toml
	rm -rf .venv-lowest
	$(UV) venv --quiet .venv-lowest
	$(UV) pip install --quiet --python .venv-lowest --resolution lowest-direct \
	  --editable '.[train,serve,cluster,show]' --group dev
	@touch $@
