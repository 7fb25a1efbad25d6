# The one entry point. `make` lists the targets; `make setup` makes a fresh Debian 12 machine ready, and every target
# that needs it runs it first. Everything is built in release mode, so that no dependency is compiled twice.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

CARGO := cargo
LOCKED := --locked --release
export SLUICEGATE_ASSETS := $(CURDIR)/assets
export CARGO_TERM_COLOR ?= auto

say = @printf '\033[1m==>\033[0m %s\n'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[1mmake %-11s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install and fetch what is needed: Debian packages, ONNX Runtime, models, clips; quick when all is there
	@scripts/setup.sh

.PHONY: build
build: setup ## build everything, in release mode
	$(say) "Building (about ten minutes the first time)"
	@$(CARGO) build $(LOCKED) --workspace

.PHONY: demo
demo: build ## watch a live stream being recognised and cut; SHORT=1 for a quick one
	$(say) "Running the demo"
	@$(CARGO) run $(LOCKED) --quiet --package rig --bin demo -- $(if $(SHORT),--short)

.PHONY: test
test: setup ## every check and every test, the demo included: what CI runs
	$(say) "Checking the formatting"
	@$(CARGO) fmt --all --check
	$(say) "Checking licences and sources of the dependencies"
	@$(MAKE) deny
	$(say) "Linting"
	@$(MAKE) clippy
	$(say) "Building and running the tests"
	@$(CARGO) test $(LOCKED) --workspace
	$(say) "Building the documentation"
	@$(MAKE) doc
	$(say) "Building the benches"
	@$(CARGO) bench --locked --workspace --no-run
	@$(MAKE) demo SHORT=1

.PHONY: fmt
fmt: ## format the code
	@$(CARGO) fmt --all

.PHONY: lint
lint: setup clippy deny ## clippy, and the licences and sources of the dependencies
	@$(CARGO) fmt --all --check

.PHONY: clippy
clippy:
	@$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

# Advisories are left out: their database would have to be fetched from outside the package registries.
.PHONY: deny
deny:
	@assets/bin/cargo-deny --locked --log-level warn check --hide-inclusion-graph bans licenses sources

.PHONY: bench
bench: setup ## run the benches
	@$(CARGO) bench --locked --workspace

.PHONY: bench-match
bench-match: setup ## PDQ and exact matching beside their peers: a table, bench-results/match.json, a plot (ten minutes; SIZES=...)
	@scripts/setup.sh bench
	@$(CARGO) bench --locked --quiet --bench match --bench banks --no-run
	@assets/bench-venv/bin/python scripts/bench_match.py

.PHONY: bench-video
bench-video: setup ## banking a 17-minute video on two cores beside ffmpeg: a table, bench-results/video.json (minutes)
	@$(CARGO) bench --locked --quiet --bench video --no-run
	@assets/venv/bin/python scripts/bench_video.py

.PHONY: bench-model
bench-model: setup ## from a picture to scores beside onnxruntime's Python: a table, bench-results/model.json (minutes; ROUNDS=3)
	@scripts/setup.sh bench
	@$(CARGO) bench --locked --quiet --bench model --bench preprocess --no-run
	@assets/bench-venv/bin/python scripts/bench_model.py

.PHONY: bench-cutoff
bench-cutoff: setup ## how long cutting off takes on a real nginx, and a storm of copies: a table, bench-results/cutoff.json, a plot (RUNS=50 STORM=600 PARTS=..., 20 minutes)
	@$(CARGO) build $(LOCKED) --workspace
	@$(CARGO) bench --locked --quiet --bench outbox --no-run
	@assets/venv/bin/python scripts/bench_cutoff.py

.PHONY: bench-density
bench-density: setup ## live streams a core, memory and latency beside vpdq, ffmpeg and GStreamer: a table, bench-results/density.json, a plot (PARTS=... WINDOW=30, 20 minutes)
	@scripts/setup.sh bench
	@$(CARGO) build $(LOCKED) --workspace
	@assets/venv/bin/python scripts/bench_density.py

.PHONY: fire-drill
fire-drill: setup ## hours of benign video through the real line, which must cut nothing: a table, bench-results/fire-drill.json (HOURS=4, minutes an hour)
	@$(CARGO) bench --locked --quiet --bench fire_drill --no-run
	@$(CARGO) bench --locked --quiet --bench fire_drill -- $(or $(HOURS),4)

.PHONY: doc
doc: ## build the documentation of the code: target/doc/sluicegate/index.html
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --workspace --no-deps

.PHONY: clean
clean: ## remove what was built
	@$(CARGO) clean
	@rm -rf demo-output

.PHONY: clean-all
clean-all: clean ## remove what was built and what was fetched (Debian packages stay)
	@rm -rf assets
