# The whole interface of this repository; `make` alone prints it. Each verb does its own set-up.
.DEFAULT_GOAL := help
.PHONY: help build dist demo dev-vault test upgrade-test check fuzz chaos bench profile scale soak proto clean

PYTHON := .cache/venv/bin/python
# Nothing may send what is meant for loopback to somebody's proxy.
export NO_PROXY := 127.0.0.1,localhost
export no_proxy := $(NO_PROXY)

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "VAULT_BIN=/path/to/vault-or-bao uses that server instead of the OpenBao that is fetched."

build: ## Build the programs (release); 7 minutes the first time on 2 cores
	@scripts/setup tpm || echo "The TPM helper is left out."
	@test -x target/release/mcp-bridge || echo "Building the programs: about 7 minutes on 2 cores, this once."
	cargo build --release --locked --package vault-plugin --package mcp-bridge $$(scripts/tpm_package)

dist: ## Build what is handed out, into target/dist: static plugin, bridge, sums, SBOMs
	scripts/dist

demo: build ## See it work: ten shows on a real server, real upstreams, a TPM and a real MCP client
	@scripts/setup server demo swtpm
	@$(PYTHON) scripts/demo

dev-vault: build ## Keep a ready server in the foreground (in memory, or kept with DATA=dir; PORT=8200)
	@scripts/setup server demo
	@$(PYTHON) scripts/dev_vault

test: ## Run every test, unit to end-to-end; 7 minutes the first time on 2 cores
	@scripts/setup server nginx openapi clients
	@scripts/setup agents || echo "The cases with coding agents are left out."
	@scripts/setup tpm swtpm || echo "The cases with a TPM are left out."
	@echo "Building and running all tests: about 7 minutes the first time on 2 cores."
	@scripts/test

upgrade-test: ## Upgrade from an earlier commit's plugin (COMMIT=…, else the one before), and back
	@scripts/setup server
	scripts/upgrade_test $(COMMIT)

check: ## Format, lints, documentation, dependencies
	@scripts/setup tpm
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- --deny warnings
	@# The bridge's help is written in doc comments: a URL there is text for a terminal.
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::bare-urls" cargo doc --workspace --no-deps --locked --quiet
	scripts/audit
	scripts/check-targets

fuzz: ## Feed strangers' bytes to what reads them, MINUTES=10 for each target; wants a C++ compiler
	scripts/fuzz

chaos: ## Throw faults at a cluster under load for MINUTES=5, in the order of SEED=…; root fills disks
	@scripts/setup server
	cargo build --locked --package vault-plugin --package mcp-bridge
	cargo run --locked --package e2e --bin chaos

bench: build ## Measure calls beside what they are made of, and the bridge beside its peers; 5 minutes
	@scripts/setup server nginx
	cargo build --release --locked --package vault-sdk --example floor
	cargo run --profile tools --locked --package e2e --bin bench
	@scripts/bench-peers
	cargo run --profile tools --locked --package e2e --bin bench_bridge

profile: build ## Show where a call's time goes: instructions by callgrind, flame graphs; 2 minutes
	@scripts/setup server nginx profile
	@# By frame pointers perf tells who called whom.
	RUSTFLAGS="-C force-frame-pointers=yes" cargo build --profile profiling --locked --package vault-plugin
	cargo build --release --locked --package vault-sdk --example floor
	cargo run --profile tools --locked --package e2e --bin profile

scale: build ## Measure a call's cost and the memory with 1, 100 and 10,000 services; 5 minutes
	@scripts/setup server nginx
	cargo build --release --locked --package vault-sdk --example floor
	cargo run --profile tools --locked --package e2e --bin bench_scale

soak: build ## Steady load with faults for MINUTES=30: memory, files, sockets, threads flat or not
	@scripts/setup server clients
	cargo run --profile tools --locked --package e2e --bin soak

proto: ## Generate the protocol bindings anew from proto/
	UPDATE_BINDINGS=1 cargo test --locked --package proto --test bootstrap

clean: ## Remove build output and everything that was fetched
	cargo clean
	rm -rf .cache
