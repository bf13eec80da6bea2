# `make` lists what there is. Every target does its own set-up.

REGION ?=
ARCH   ?= $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
IMAGE  ?= xray-daemon:latest

# Panic messages name source files: by these names, whoever builds, so that the binary is the same. The
# standard library has its own name for its files, unless their sources are installed.
COMMIT := $(shell rustc -vV 2>/dev/null | sed -n 's/^commit-hash: //p')
REMAP  := --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=/crates \
	--remap-path-prefix=$(shell rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust=/rustc/$(COMMIT)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS  ?= $(REMAP)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS ?= $(REMAP)

MUSL_amd64 := x86_64-unknown-linux-musl
MUSL_arm64 := aarch64-unknown-linux-musl
MUSL       := $(or $(MUSL_$(ARCH)),$(error ARCH is amd64 or arm64, not "$(ARCH)"))
STATIC     := target/$(MUSL)/release/xray

# A browser for the tests of the page.
CHROMIUM ?= chromium

# Fuzzing time of each target.
FUZZ_SECONDS ?= 30

# Pinned. Built in debug: compiling them takes longer than all that they do here.
TOOLS := $(CURDIR)/target/tools
DENY  := $(TOOLS)/cargo-deny@0.20.2/bin
FUZZ  := $(TOOLS)/cargo-fuzz@0.13.2/bin
# Zig is a C compiler and a linker for macOS.
ZIG   := $(TOOLS)/zigbuild
MACOS := aarch64-apple-darwin

# 2.75 MB, for the binary and for the image.
MAX_SIZE := 2750000

.DEFAULT_GOAL := help

# What a target needs, said before it starts. rustup brings the toolchain of rust-toolchain.toml.
define rust
@command -v cargo >/dev/null || { echo "cargo is needed: install Rust by rustup, https://rustup.rs" >&2; exit 1; }
@deploy/need cc="gcc libc6-dev"
endef
python := @deploy/need python3="python3 python3-venv"
CROSS_amd64 := gcc=gcc
CROSS_arm64 := aarch64-linux-gnu-gcc="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"

.PHONY: help run send test first-run doc check-macos static image size e2e browser faults spool resident soak bench outage fuzz audit sbom check-deploy packages e2e-packages e2e-containers release release-test clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and run the daemon here: make run REGION=us-east-1
	$(rust)
	@cargo build --release --locked --bin xray
	@echo "xray starts now. To see a trace, run in another terminal: make send. Ctrl-C ends xray."
	@cargo run --release --locked --quiet -- --local-mode --exporter auto --otlp 127.0.0.1:4318 $(if $(REGION),--region $(REGION)) $(ARGS)

send: ## send a sample trace to the daemon that runs here
	$(rust)
	@mkdir -p target
	@rustc --edition 2024 -o target/send examples/send.rs
	@target/send $(ARGS)

test: ## format check, lints, unit, property and integration tests
	$(rust)
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path tests/e2e/rust/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --locked

first-run: ## both commands of the README on a bare Debian, from nothing: as root, half an hour
	tests/first-run

doc: ## the documentation, private items too; fails on a broken link
	$(rust)
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --document-private-items --locked

check-macos: $(ZIG)/bin/cargo-zigbuild ## from Linux: lint everything for macOS, and link the binary
	$(rust)
	rustup target list --installed | grep -qx $(MACOS) || rustup target add $(MACOS)
	PATH="$(ZIG)/bin:$$PATH" cargo-zigbuild clippy --workspace --all-targets --locked --target $(MACOS) -- -D warnings
	PATH="$(ZIG)/bin:$$PATH" cargo-zigbuild zigbuild --locked --target $(MACOS) --bin xray

$(ZIG)/bin/cargo-zigbuild:
	$(python)
	python3 -m venv --clear $(ZIG)
	$(ZIG)/bin/pip install --quiet cargo-zigbuild==0.24.1 ziglang==0.17.1

static: ## build the static release binary: ARCH=amd64 or arm64
	$(rust)
	@deploy/need $(CROSS_$(ARCH))
	rustup target list --installed | grep -qx $(MUSL) || rustup target add $(MUSL)
	cargo build --release --locked --target $(MUSL) --bin xray

image: static ## build the image from nothing but the static binary
	deploy/image/build $(ARCH) $(STATIC) $(IMAGE)

size: ## sizes of both static binaries; fails above 2.75 MB
	@$(MAKE) --no-print-directory static ARCH=amd64
	@$(MAKE) --no-print-directory static ARCH=arm64
	@for arch in $(MUSL_amd64) $(MUSL_arm64); do \
		size=$$(stat -c %s target/$$arch/release/xray); \
		printf '%-28s %9d bytes of %d\n' $$arch $$size $(MAX_SIZE); \
		test $$size -le $(MAX_SIZE) || exit 1; \
	done

bench: static ## measure against the floor: make bench QUICK=1 THEIRS=/path/to/another/xray
	cargo bench --locked --bench load -- --ours $(STATIC) --json target/bench.json \
		$(if $(THEIRS),--theirs $(THEIRS)) $(if $(QUICK),--quick) $(if $(SPANS),--spans)

outage: static ## how long -m 16 holds everything while X-Ray is away, and at what cost: make outage THEIRS=/path/to/another/xray
	cargo bench --locked --bench load -- outage 75 $(STATIC) $(THEIRS)

e2e: static ## real SDKs, boto3 and moto through the static binary, and the image where Docker runs
	$(python)
	tests/e2e/run --xray $(STATIC) $(ARGS)
	@if docker info >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory image && tests/e2e/run --image $(IMAGE) $(ARGS); \
	else echo "no Docker engine: the image was not tried"; fi

browser: $(if $(findstring --mock,$(ARGS)),,static) ## the trace page in Chromium; pictures in target/browser; ARGS=--mock tests the page's files as they are
	$(python)
	@deploy/need $(CHROMIUM)=chromium
	tests/e2e/run tests/e2e/browser $(if $(findstring --mock,$(ARGS)),,--xray $(STATIC)) --chromium $(CHROMIUM) $(ARGS)

faults: ## every fault at its full length: outages of 10 s and 60 s, poison, overload, attacks
	$(rust)
	XRAY_FAULTS=full cargo test --locked --test it -- --test-threads 6 faults limits resource_exhaustion shutdown

spool: ## ten minutes of outage with --spool, and a spool of 200 MB that is sent beside new load
	$(rust)
	cargo test --release --locked --test it -- --ignored --nocapture --test-threads 1 spool::

resident: ## list anew which functions the start, segments and spans run; they are put side by side, to take little memory
	$(rust)
	deploy/need valgrind=valgrind python3=python3
	rustup target list --installed | grep -qx $(MUSL_amd64) || rustup target add $(MUSL_amd64)
	cargo build --release --locked --target $(MUSL_amd64) --bin xray --config 'target.$(MUSL_amd64).rustflags=["-Cstrip=none"]'
	benches/resident/run target/$(MUSL_amd64)/release/xray

soak: ## random faults under load for SECONDS=600, then the totals must balance
	$(rust)
	XRAY_SOAK_SECONDS=$(or $(SECONDS),600) cargo test --locked --test it -- --nocapture limits::soak

fuzz: $(FUZZ) ## fuzz every parser: make fuzz FUZZ_SECONDS=30
	$(rust)
	@deploy/need g++=g++
	PATH="$(FUZZ):$$PATH" fuzz/run $(FUZZ_SECONDS)

# The advisories come from GitHub: ADVISORIES=1 asks for them, where GitHub can be reached.
audit: $(DENY) ## licences, sources and duplicates of the dependencies; ADVISORIES=1 for known holes too
	$(rust)
	$(DENY)/cargo-deny --locked check -D warnings licenses bans sources $(if $(ADVISORIES),advisories)

sbom: ## what is in the binary, as CycloneDX: target/sbom.cdx.json
	$(rust)
	$(python)
	@mkdir -p target
	deploy/sbom > target/sbom.cdx.json

$(TOOLS)/%/bin:
	$(rust)
	cargo install --locked --debug --root $(TOOLS)/$* $*

check-deploy: ## check every deployment file with its own ecosystem's tools: CHECKS="words of names"
	deploy/validate $(CHECKS)

packages: ## the deb and the rpm of this version: ARCH=amd64 or arm64, in dist/packages
	$(python)
	@$(MAKE) --no-print-directory static
	deploy/packages/build $(ARCH) $(STATIC) $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1) dist/packages

e2e-packages: ## install the packages of both architectures on a real systemd: TESTS="words of names"
	@$(MAKE) --no-print-directory static ARCH=amd64
	@$(MAKE) --no-print-directory static ARCH=arm64
	tests/packages/run target/$(MUSL_amd64)/release/xray target/$(MUSL_arm64)/release/xray $(TESTS)

e2e-containers: ## run the images as ECS, EC2 and EKS would: TESTS="words of names"
	@$(MAKE) --no-print-directory static ARCH=amd64
	@$(MAKE) --no-print-directory static ARCH=arm64
	cargo build --locked --example cloud
	tests/containers/run target/$(MUSL_amd64)/release/xray target/$(MUSL_arm64)/release/xray \
		target/debug/examples/cloud $(TESTS)

release: ## everything of a release, reproducible, in dist/release: TAG=v1.2.3 checks version and changelog
	deploy/release $(TAG)

release-test: ## make a release, publish it to a registry here and verify it: AGAIN=again makes it twice
	tests/release/run $(AGAIN)

clean: ## remove what was built
	cargo clean
