# Two commands matter: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-long lint figures bench clean

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py --out runs/demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -q

test-long: $(VENV)/installed
	$(BIN)/python -m pytest -q -m "long and not genn"

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
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'setuptools>=69'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@
