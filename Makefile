# Every target does all the set-up it needs, on a bare machine too; the second time is quick.
# How the interpreter is chosen: tools/find-python.sh. To choose yourself:
#
#   make test PYTHON=/path/to/python3.14t
#   make test CPYTHON_SOURCE=/path/to/Python-3.14.7.tar.xz    (builds it, once per machine)
#   make bench OPTIMIZE=1    (if one is built: with profile-guided optimization, in half an hour)

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A source archive beside the checkout saves a download. Looked for by a relative path: `wildcard` takes one
# with a space in it for two.
CPYTHON_SOURCE ?= $(abspath $(firstword $(wildcard ../shared/python/*.tar.xz)))
export CPYTHON_SOURCE
ifdef PYTHON
export PYTHON
endif
ifdef OPTIMIZE
export OPTIMIZE
endif

VENV := .venv
GIL_VENV := .venv-gil
PACKAGES = $(patsubst %/__init__.py,%,$(wildcard rtsync/__init__.py scheduler/__init__.py shm/__init__.py))
# Passed on to pytest: make test ARGS='-k channel'
ARGS ?=
# A test that hangs ends its worker (tests/timeout_plugin.py); after a few of those, end the run.
PYTEST := -m pytest -n 2 --max-worker-restart=3

.PHONY: help setup demo test test-gil lint format bench bench-io bench-places model stress clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## a ready environment in .venv, on a free-threaded Python
	@tools/setup.sh $(VENV) dev

demo: setup  ## index the standard library on one worker, then on all
	@$(VENV)/bin/python examples/index_stdlib.py

test: setup  ## the tests
	@$(VENV)/bin/python $(PYTEST) tests $(ARGS)

test-gil:  ## the same tests on a build with the GIL, if there is one
	@if tools/find-python.sh --gil >/dev/null; then \
		PYTHON= tools/setup.sh --gil $(GIL_VENV) test && \
		$(GIL_VENV)/bin/python $(PYTEST) tests $(ARGS); \
	else \
		echo 'rtsync: test-gil: skipped, nothing was tested'; \
	fi

lint: setup  ## ruff and mypy --strict, all of them whatever the first says
	@failed=0; for check in 'ruff check' 'ruff format --check' 'mypy --strict'; do \
		echo "rtsync: $$check"; \
		case $$check in ruff*) where=. ;; *) where='$(PACKAGES)' ;; esac; \
		$(VENV)/bin/$$check $$where || failed=1; \
	done; exit $$failed

format: setup  ## let ruff format and fix what it can
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench:  ## the benchmarks beside asyncio, trio, gevent and others
	@tools/setup.sh $(VENV) dev,bench
	@$(VENV)/bin/python -m perf $(ARGS)

bench-io:  ## servers under load, beside those on asyncio, trio, gevent and others
	@tools/setup.sh $(VENV) dev,bench
	@$(VENV)/bin/python -m perf.io $(ARGS)

bench-places:  ## places beside multiprocessing, process pools and interpreters
	@tools/setup.sh $(VENV) dev,bench
	@$(VENV)/bin/python -m perf.places $(ARGS)

model:  ## check the protocols with the model checker
	@tests/model/run.sh

stress: setup  ## the long tests, half an hour
	@$(VENV)/bin/python $(PYTEST) tests/stress --run-stress $(ARGS)

clean:  ## remove the environments and caches of this checkout
	rm -rf $(VENV) $(GIL_VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
