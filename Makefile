# `make demo` and `make test` work on a fresh machine with Python 3.11+, make and a C++ compiler; each sets up .venv first.
PYTHON ?= python3
CORES ?= 2
STUDY ?= demo
BIN := .venv/bin
READY := .venv/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint format ui docs site tutorial lock clean

demo: $(READY)  ## the phantom study: three variants, minutes on two CPU cores
	$(BIN)/snakemake --cores $(CORES) --configfile demo.yaml -- all
	@echo "Open results/demo/comparison.html, or run 'make ui' to browse the runs."

# A file's fixtures are made once, and the order is conftest's. One worker more than cores: one waits for Slurm for minutes.
test: $(READY)  ## all tests
	$(BIN)/pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## style, types, layers, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

ui: $(READY)  ## browse a study in MLflow on 127.0.0.1: make ui STUDY=demo
	$(BIN)/python -m gan ui --study results/$(STUDY)

docs: $(READY)  ## write docs/config.md from the schema and the options
	$(BIN)/python docs/render_config.py

site: $(READY)  ## the documentation as a site in build/site; a broken link or anchor is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html -d build/doctrees docs build/site
	@echo "Open build/site/index.html."

tutorial: $(READY)  ## type docs/tutorial.md in a fresh clone; writes its outputs and pictures (needs chromium)
	$(BIN)/python docs/type_tutorial.py --folder build/tutorial

lock: $(READY)  ## write requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header -o requirements.lock

clean:
	rm -rf .venv .snakemake

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; name one with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@
