# Everything happens in .venv, made here from nothing but Python 3.11+ and make.
# Versions and hashes of all that is installed are in .ci/lock. pip refuses other files, and builds nothing from source.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := .ci/lock
PIP := $(BIN)/python -m pip
LOCKED := install --quiet --require-hashes --only-binary :all:
WHEEL = dist/bulkedit-$$($(BIN)/python -m hatchling version)
CLEAN := build/clean
# without byte code, each process compiles all modules again: a third of the tests' CPU time
unexport PYTHONDONTWRITEBYTECODE
# threads that wait for work cost more than they save on frames of a few rows, with a process a core
test test-all: export POLARS_MAX_THREADS = 1

.PHONY: demo test test-all test-times clients coverage lint types check docs pictures wheel sbom lock clean

demo: $(VENV)/.package
	$(BIN)/bulkedit demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 4 --dist loadfile --quiet

# With the long forms of tests that have a short one. They play new random scenarios, and name those that fail.
test-all: $(VENV)/.dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --quiet -m "slow or not slow"

# Which lines of bulkedit the tests reach, in their processes and those that they start; also if some tests fail.
# The lines are right with Python 3.12 or newer: make coverage VENV=build/venv-3.13 PYTHON=python3.13
coverage: $(VENV)/.dev
	rm -rf build/coverage
	-$(BIN)/python -m coverage run -m pytest -n 3 --dist loadfile --quiet
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

# All clients of tests/clients that are installed; `make test` runs boto3 alone.
clients: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --quiet -m "slow or not slow" tests/clients

# The twenty slowest tests and files, with the CPU of the processes that they start: make test-times TESTS=tests/cli
test-times: $(VENV)/.dev
	$(BIN)/python -m pytest --quiet -p tests.times $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

check: lint types test

# The documentation as a site: build/site/index.html. A broken link, or a page that is not in the navigation, is an error.
docs: $(VENV)/.docs
	rm -rf build/site
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --conf-dir docs --doctree-dir build/doctrees . build/site
	$(BIN)/python -m tests.site build/site

# The pictures of README and docs: a run in the terminal, and its report page. Needs Chromium.
pictures: $(VENV)/.docs
	$(BIN)/python -m benchmarks.pictures

# The wheel, and an environment that holds nothing but the wheel and what it needs.
wheel: $(VENV)/.dev
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python -m venv --clear --without-pip $(CLEAN)
	$(PIP) --python $(CLEAN)/bin/python $(LOCKED) -r $(LOCK)/run.txt
	$(PIP) --python $(CLEAN)/bin/python install --quiet --no-deps $(WHEEL)-py3-none-any.whl
	$(PIP) --python $(CLEAN)/bin/python check

# The software bill of materials of that environment. The tool holds it to CycloneDX's schema, and we hold it to the lock.
sbom: wheel
	sed "s/^dynamic = .*/version = \"$$($(BIN)/python -m hatchling version)\"/" pyproject.toml >build/pyproject.toml
	$(BIN)/cyclonedx-py environment --pyproject build/pyproject.toml --output-reproducible \
		--output-file $(WHEEL).cdx.json $(CLEAN)/bin/python
	$(BIN)/python -m tests.sbom $(WHEEL).cdx.json

# Fits the locks to pyproject.toml. To take the newest versions: make lock UPGRADE=--upgrade
lock: $(VENV)/bin/python
	$(PIP) $(LOCKED) -r $(LOCK)/uv.txt
	$(LOCK)/write $(BIN)/uv $(UPGRADE)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bulkedit needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(LOCKED) -r $(LOCK)/pip.txt

$(VENV)/.package: $(VENV)/bin/python pyproject.toml $(LOCK)/demo.txt
	$(PIP) $(LOCKED) -r $(LOCK)/demo.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml $(LOCK)/dev.txt
	$(PIP) $(LOCKED) -r $(LOCK)/dev.txt
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/.package

$(VENV)/.docs: $(VENV)/.dev $(LOCK)/docs.txt
	$(PIP) $(LOCKED) -r $(LOCK)/docs.txt
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
