# Two commands matter: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-stable test-long genn sanitize lint docs figures bench clean

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

# GeNN's tests in an environment of their own; GENN_PATH names the folder of GeNN 4 (see environment-genn.yml).
genn:
	@$(PYTHON) .ci/genn.py

# The engines' tests under AddressSanitizer and UBSan, those with several threads under ThreadSanitizer.
sanitize: $(VENV)/installed
	$(BIN)/python .ci/sanitize.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The site, in docs/_build/html: pictures of the tutorials are drawn by their own code, warnings are errors.
docs: $(VENV)/docs-installed
	$(BIN)/python docs/run_page.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

figures: $(VENV)/installed
	$(BIN)/brian2grad figures

bench: $(VENV)/installed
	$(BIN)/python benchmarks/epoch.py

clean:
	rm -rf $(VENV) .venv-genn build *.egg-info runs/demo figures/output benchmarks/output docs/_build docs/tutorials/output docs/reference/generated docs/gallery

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, found: $$($(PYTHON) --version)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "Python's venv module is incomplete: apt-get install python3-venv"; exit 2; }
	@echo "Making $(VENV) and installing the project into it: a few minutes, the first time only"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check 'setuptools>=69'
	@# pip is silent while it unpacks, up to a minute on a busy machine.
	@(while sleep 8; do echo "  still installing ..."; done) & beat=$$!; \
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test]'; status=$$?; kill $$beat; exit $$status
	@touch $@

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@
