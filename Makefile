# Two commands on a fresh machine that has only Python:
#   make diagnose [GAME=coinrun]     set up, then diagnose a game at the `quick` preset
#   make test                        set up, then pass the checks and the tests
#   make test OPTIONS=--record-costly   the same, and keep the checksums of the costly tests that ran
#   make coverage                  the same tests, and which lines they reach: half as long again
#   make test-costly                 what plays and trains for minutes, also where its inputs did not change; keeps their checksums
#   make test-slow                   the tests that need a package index, such as one with the oldest versions allowed,
#                                    and more damaged files than make test tries
#   make docs                        the documentation as a site, in site/, with an API reference
# And another: make taxonomy [SURVEY=procgen-easy] draws every figure of a survey from its tables.
# Everything stays inside this folder: the environment in .venv, caches and temporary files in .cache.

PYTHON ?= python3
GAME ?= coinrun
PRESET ?= quick
SURVEY ?= procgen-easy
OPTIONS ?=

export XDG_CACHE_HOME := $(CURDIR)/.cache
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export TMPDIR := $(CURDIR)/.cache/tmp
export RUFF_CACHE_DIR := $(CURDIR)/.cache/ruff
export MYPY_CACHE_DIR := $(CURDIR)/.cache/mypy
export PYTHONDONTWRITEBYTECODE := 1
export OMP_NUM_THREADS := 1

BIN := .venv/bin

.PHONY: diagnose taxonomy docs test coverage test-costly test-slow install install-for-tests clean

diagnose: .venv/installed
	$(BIN)/lcd diagnose $(GAME) --preset $(PRESET)

taxonomy: .venv/installed
	$(BIN)/lcd taxonomy $(SURVEY) --out docs/taxonomy
	$(BIN)/lcd report $(SURVEY) --out docs/taxonomy/report.html

docs: .venv/installed-for-tests
	rm -rf site
	$(BIN)/python scripts/build_docs.py --output site

test: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --dist worksteal --durations 20 $(OPTIONS)

coverage: .venv/installed-for-tests
	$(BIN)/pytest --numprocesses auto --dist worksteal --cov --cov-report=term:skip-covered

test-costly: .venv/installed-for-tests
	$(BIN)/pytest --numprocesses auto --dist worksteal -m costly --costly all --record-costly --durations 15

test-slow: .venv/installed-for-tests
	$(BIN)/pytest -m slow --durations 15
	$(BIN)/pytest --hypothesis-profile full tests/test_untrusted_files.py

install: .venv/installed

install-for-tests: .venv/installed-for-tests

.venv/python: 
	@mkdir -p $(TMPDIR)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "Procgen runs on Python 3.10 to 3.12, and $(PYTHON) is another: use make PYTHON=python3.11." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt
	@mkdir -p $(TMPDIR)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[procgen]'
	@touch $@

.venv/installed-for-tests: .venv/python pyproject.toml constraints.txt
	@mkdir -p $(TMPDIR)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv .cache build site *.egg-info
