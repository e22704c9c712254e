# Each target does all of its own set-up in .venv. Needs Python 3.11 to 3.13, make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := .ci/constraints.txt
SOURCES := $(shell find pipelines taxonomy dedup loaders -type f -not -name '*.pyc' 2>/dev/null)

.PHONY: help demo test check format bench lock clean
help:
	@echo "make demo    draw a small web, build a data set from it, train on it, compare with the truth (3 minutes)"
	@echo "make test    the tests, against the built wheel"
	@echo "make check   lint, formatting, strict types"
	@echo "make format  mend what the linter can mend"
	@echo "make bench   the measurements of benchmarks/RESULTS.md (three quarters of an hour)"
	@echo "make lock    take newer versions into $(CONSTRAINTS)"

# uv resolves and installs several times faster than pip; it comes from the package index itself.
$(VENV)/.tools: Makefile
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "Python 3.11 to 3.13 is needed, found " + sys.version.split()[0] + "; say make PYTHON=python3.12"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	@touch $@

$(VENV)/.dependencies: $(VENV)/.tools pyproject.toml $(CONSTRAINTS)
	@echo "Installing the dependencies (the first time about 5 GB, a minute or two) ..."
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints $(CONSTRAINTS) -r pyproject.toml --extra pipeline --extra study --group dev 'setuptools>=80'
	@touch $@

# The wheel, not the tree, is what demo and test run. build/ goes first: setuptools would pack stale files from it.
$(VENV)/.installed: $(VENV)/.dependencies README.md $(SOURCES)
	rm -rf build openjft.egg-info $(VENV)/wheel
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir $(VENV)/wheel .
	rm -rf build openjft.egg-info
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --reinstall $(VENV)/wheel/*.whl
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/openjft demo

test: $(VENV)/.installed
	$(BIN)/python -m pytest

check: $(VENV)/.dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dependencies
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/run_all.py

lock: $(VENV)/.tools
	{ echo "# Every version the project is built, tested and measured with, for Python 3.11 to 3.13 on Linux."; \
	  echo "# Made by 'make lock' from pyproject.toml; do not edit by hand."; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --extra pipeline --extra study --group dev \
	    --no-annotate --no-header --no-emit-index-url pyproject.toml; } > $(CONSTRAINTS)

clean:
	rm -rf $(VENV) build openjft.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
