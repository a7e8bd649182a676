# The few verbs of finecut. Each first makes what it needs on a fresh machine, and finds it made the next time.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
CONSOLE := packager/origin/console
VENDOR := $(CONSOLE)/vendor
PLAYERS := tests/players
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
CLIP := .cache/clip/bigbuckbunny.mp4

.PHONY: help
help:  ## list the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo up test players chaos kills soak check lint fuzz bench probe-starts
demo: env  ## start everything, tell a story of about 90 s, stop, print a summary (ARGS="--seconds 60 --summary out.json")
	@exec $(BIN)/finecut demo $(ARGS)

up: env  ## start everything and stay until Ctrl-C
	@exec $(BIN)/finecut up $(ARGS)

test: env browser  ## everything that must pass, real Kafka and real players included
	@exec tests/run.sh lint types imports unit sim broker chaos players

players: env browser  ## every scenario in hls.js, dash.js and Shaka Player, as one table: about an hour (ARGS="kill --players hls.js-ll")
	@exec $(BIN)/python -m tests.players $(ARGS)

seeds: .venv/project.stamp  ## 10,000 seeds of the simulation in the background, resumable, as one table: hours (ARGS="--seconds 600", "--seed 17")
	@exec $(BIN)/python -m tests.sim.seeds $(ARGS)

check: .venv/project.stamp  ## the fast half of test, for every few minutes
	@exec tests/run.sh lint types imports unit

chaos: env  ## real processes, random faults, and a verdict from the log (MINUTES=30 SEED=7, ARGS="--kinds packager-kill broker-kill")
	@exec $(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

kills: env browser  ## stalls of players per killed packager, players x copies (ARGS="--kills 50 --copies 1 --minutes 10")
	@exec $(BIN)/python -m tests.chaos.kills $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

soak: env  ## forty small channels for an hour: memory, file handles and latency stay flat (MINUTES=60)
	@exec $(BIN)/python -m tests.chaos.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

lint: .venv/project.stamp  ## style, types and import rules only
	@exec tests/run.sh lint types imports

fuzz: .venv/project.stamp  ## damaged input at every way in, as one table (ARGS="--cases 1000000 --seed 2", "--guided 300")
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

bench: env  ## measure against peers and limits, side by side
	@exec $(BIN)/python -m tests.bench $(ARGS)

probe-starts: env  ## start the control plane fifty times with a record waiting: none may be lost
	@exec $(BIN)/python -m tests.bench.starts $(ARGS)

.PHONY: audit
audit:  ## look all that is pinned up in the databases of known vulnerabilities (needs the network)
	@exec infra/audit.sh

.PHONY: env browser lock clean
env: .venv/project.stamp .cache/kafka.stamp $(VENDOR)/stamp $(CLIP)  ## make what demo and up need, and nothing else

browser: $(PLAYERS)/node_modules/stamp
	@exec $(PLAYERS)/chromium.sh

lock: .venv/project.stamp  ## pin the newest of everything that pyproject.toml and package.json allow
	$(BIN)/pip-compile --quiet --upgrade --extra dev --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	cd $(CONSOLE) && npm install --package-lock-only --ignore-scripts
	cd $(PLAYERS) && npm install --package-lock-only --ignore-scripts

clean:  ## remove all that was made here: environment, downloads, caches, recorded runs
	rm -rf .venv .cache .finecut .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info $(VENDOR) $(PLAYERS)/node_modules
	find schemas streams packager infra tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/requirements.stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "finecut needs Python 3.11 or newer; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making .venv (about a minute, once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@touch $@

# setuptools warns at every editable install that folders of the same name may shadow it: here they are the same folders.
.venv/project.stamp: pyproject.toml .venv/requirements.stamp
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.cache/kafka.stamp: infra/kafka/coordinates.txt infra/kafka/checksums.txt | .venv/project.stamp
	$(BIN)/python -m infra.kafka .cache
	@touch $@

$(CLIP): infra/clip-requirements.txt | .venv/project.stamp
	$(BIN)/python -m infra.clip .cache
	@touch $@

# Installed beside the downloads, not in the package: only these three files and their licences are served.
$(VENDOR)/stamp: $(CONSOLE)/package.json $(CONSOLE)/package-lock.json
	@command -v npm > /dev/null || { echo "the watch page needs npm (Node.js 20 or newer) once, to fetch its players" >&2; exit 1; }
	mkdir -p .cache/console $(VENDOR)
	cp $^ $(CONSOLE)/.npmrc .cache/console/
	cd .cache/console && $(NPM_CI)
	cp .cache/console/node_modules/hls.js/dist/hls.min.js $(VENDOR)/
	cp .cache/console/node_modules/dashjs/dist/modern/umd/dash.all.min.js $(VENDOR)/
	cp .cache/console/node_modules/shaka-player/dist/shaka-player.compiled.js $(VENDOR)/
	cp .cache/console/node_modules/hls.js/LICENSE $(VENDOR)/hls.js.LICENSE.txt
	cp .cache/console/node_modules/dashjs/LICENSE.md $(VENDOR)/dashjs.LICENSE.txt
	cp .cache/console/node_modules/shaka-player/LICENSE $(VENDOR)/shaka-player.LICENSE.txt
	@touch $@

$(PLAYERS)/node_modules/stamp: $(PLAYERS)/package.json $(PLAYERS)/package-lock.json
	cd $(PLAYERS) && $(NPM_CI)
	@touch $@
