# Two commands matter: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-stable test-long lint figures bench clean

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py --out runs/demo

test: $(VENV)/installed
	@echo "Running the tests on all cores, in random order"
	$(BIN)/python -m pytest -n auto --dist worksteal

# The tests in every setting that must not matter: order, cores, load, threads. Hours; .ci/stable.py --help says how to
# ask for less.
test-stable: $(VENV)/installed
	$(BIN)/python .ci/stable.py

test-long: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist worksteal -m "long and not genn"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

figures: $(VENV)/installed
	$(BIN)/brian2grad figures

bench: $(VENV)/installed
	$(BIN)/python benchmarks/epoch.py

clean:
	rm -rf $(VENV) build *.egg-info runs/demo figures/output benchmarks/output

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is incomplete: apt-get install python3-venv"; exit 2; }
	@echo "Making $(VENV) and installing the project into it: a few minutes, the first time only"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'setuptools>=69'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@
