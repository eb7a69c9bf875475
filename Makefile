PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo check quick test test-all gpu docs release-check clean

# One environment for everything; made again when the dependencies change.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# What only some users and the slow tests need: clusters, TensorBoard, models of Hugging Face, the documentation's
# site, other programs to compare with.
.venv/installed-all: pyproject.toml constraints.txt benchmarks/requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,dask,ray,tensorboard,hf,docs]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/requirements.txt
	touch .venv/installed $@

install: .venv/installed

# A real sweep on the embedded data set: 11 strengths across the loss of accuracy, 30 eigenpairs each.
demo: install
	$(BIN)/orograph sweep --dataset mnist-5k --points 11 --min 0.001 --max 0.05 --spacing log --end train --out runs/demo

check: install
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

PYTEST := $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# Types and shapes at every call of numeric code are checked by `make test-all`, in the quick tests, which take half as long again.
UNTYPED := -o addopts=--strict-markers
TYPING ?= $(UNTYPED)

quick: install
	$(PYTEST) -m "not slow and not browser and not cluster and not peers" $(TYPING)

test: install
	$(MAKE) --jobs=2 check quick

test-all: export TYPING =
test-all: .venv/installed-all test
	$(PYTEST) -m "slow or browser or cluster or peers" $(UNTYPED)

# Where there is a CUDA device: the tests that need one, and the benchmarks at full size, twenty minutes a call until all are done.
gpu: install
	$(BIN)/python benchmarks/gpu.py

# The documentation as pages to read: build/site/index.html.
docs: .venv/installed-all
	$(BIN)/mkdocs build --quiet

# What would be released: built twice, installed from the wheel alone on every Python that is here, and used outside the checkout.
release-check:
	$(PYTHON) scripts/release_check.py --lowest

clean:
	rm -rf .venv build dist runs .pytest_cache .mypy_cache .ruff_cache
