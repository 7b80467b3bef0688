# Two commands matter: `make run` and `make test`. Both install what is missing first.

export PATH := $(PATH):$(HOME)/.cargo/bin
BINARY := target/release/stenopool

.PHONY: help setup build build-cuda run test bench lint check-deploy

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

setup: ## Install what is missing: compilers, ONNX Runtime, Silero VAD
	@scripts/setup.sh

build: ## Build target/release/stenopool, and nothing else
	@cargo build --release --locked

build-cuda: setup ## Build target/cuda/release/stenopool for NVIDIA GPUs: see scripts/build-cuda.sh
	@scripts/build-cuda.sh

run: setup build ## Start the server; flags for `serve` go into ARGS="..."
	@exec $(BINARY) serve $(ARGS)

test: setup ## Run all tests; fetches the official clients that some of them drive into target/
	@scripts/test-tools.sh
	@cargo test --locked

bench: setup ## Print what the pool and silent sessions cost, and how fair the pool is
	@cargo bench --locked --bench pool --bench frontend

lint: ## Check the format and what clippy says
	@cargo fmt --check
	@cargo clippy --locked --all-targets -- -D warnings

check-deploy: ## Check Dockerfile.cuda, deploy/ and the shell scripts, without Docker
	@scripts/check-deploy.sh
