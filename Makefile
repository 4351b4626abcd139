# What people and CI run. `make test` is everything.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
export PORTREEVE_PARTS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portreeve/parts
PARTS_BIN := $(PORTREEVE_PARTS)/bin

.PHONY: demo demo-cluster parts parts-peers parts-recorders lint deny docs test

# Starts Portreeve on an embedded default; Ctrl-C ends it. The quick build, which `make test` shares, is fast enough.
demo:
	cargo run --locked --bin portreeve -- demo

# Starts a real control plane with a node, and shows in seven steps what Portreeve does there; Ctrl-C ends it.
demo-cluster: parts
	cargo run --locked -p portreeve-tests --bin demo-cluster

# Installs the real programs that the tests start, those that are missing.
parts:
	tests/parts/install.sh tests

# Installs what only benchmarks compare with.
parts-peers:
	tests/parts/install.sh peers

# Installs what only recorders of fixtures start.
parts-recorders:
	tests/parts/install.sh recorders

lint: deny
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

# Advisories need a database from the network: the public CI workflow checks them.
deny:
	@[ -x "$(PARTS_BIN)/cargo-deny" ] || { echo "part cargo-deny is missing: run \`make parts\`" >&2; exit 1; }
	"$(PARTS_BIN)/cargo-deny" check bans licenses sources

# Writes anew what is generated from the sources (docs/controls, docs/codes.md, docs/cli.md, docs/schemas); the same
# test compares without the variable.
docs:
	UPDATE_DOCS=1 cargo test --locked -p portreeve-tests --test generated_docs

test: parts lint
	cargo test --locked --workspace --no-fail-fast
