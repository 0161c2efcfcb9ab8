SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
REVISION := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
PKG := github.com/prometheus/common/version
LDFLAGS := -s -w -X $(PKG).Version=$(VERSION) -X $(PKG).Revision=$(REVISION)
GOLANGCI := go tool -modfile=tools/go.mod golangci-lint

.PHONY: build run demo test kill-test lint fmt bench fuzz assets

# One static binary, ./hancock.
build:
	@.ci/progress "Building hancock (the first time compiles Prometheus, which takes minutes)" \
		env CGO_ENABLED=0 go build -v -ldflags '$(LDFLAGS)' -o hancock ./cmd/hancock

run: build
	./hancock

# A simulated model, traffic, and six hours of history: a living dashboard.
demo: build
	./hancock demo

# Everything: Go with the race detector, house rules, the page in a browser.
test:
	.ci/test

# Kills the process N times under load and compares what it had acknowledged
# with what it has after each restart.
N ?= 200
kill-test:
	HANCOCK_TEST_KILLS=$(N) go test -run '^TestKilledUnderLoad$$' -count 1 -timeout 3h -v ./cmd/hancock

lint:
	.ci/lint

fmt:
	$(GOLANGCI) fmt

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Each fuzz target for FUZZTIME (default 30s).
FUZZTIME ?= 30s
fuzz:
	.ci/fuzz $(FUZZTIME)

# Makes ui/third_party again from its lock file.
assets:
	cd ui/third_party && npm ci --ignore-scripts --no-audit --no-fund && node build.mjs
