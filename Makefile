# The two commands of README.md, and the ones CONTRIBUTING.md names. Everything else is plain cargo.

.PHONY: demo test simulate timing bench

# Builds mainstay and lets it survive the fault catalogue on the recipe's own two files, beside HAProxy + Keepalived if
# they are installed. Needs a Rust toolchain, iproute2, nftables and util-linux; no root where user namespaces are allowed.
demo:
	cargo build --release --package mainstay
	target/release/mainstay lab --compare

# Installs what the tests need (Debian packages; asks sudo when not root) and runs all of them.
test:
	tools/install-test-tools
	cargo fmt --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

# A longer run of the simulation than the tests do: make simulate SEEDS=1000000
SEEDS ?= 100000
simulate:
	SEEDS=$(SEEDS) cargo test --release --package mainstay-engine --test simulation -- --nocapture

# Adverts every 100 and every 10 ms for a minute, while 64 connections and one busy loop for each core leave nothing idle; then
# the active balancer is killed. As root, because only then the kernel grants real-time scheduling.
TIMING_SECONDS ?= 60
timing:
	MAINSTAY_TIMING_SECONDS=$(TIMING_SECONDS) cargo test --package mainstay --test lab -- timing

# mainstay beside HAProxy and nginx, in one run: about forty minutes on a quiet machine. Needs Debian's haproxy, nginx and
# libnginx-mod-stream; less by BENCH="--products mainstay,haproxy --workloads W1,W2 --rounds 3". What is published:
# BENCH="--rounds 5 --write".
BENCH ?=
bench:
	cargo bench --package mainstay --bench side_by_side -- $(BENCH)
