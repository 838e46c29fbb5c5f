# One way to run each thing. `make` alone lists them.

# One folder for every build, outside of the tree: RocksDB is compiled once.
CARGO_TARGET_DIR ?= $(HOME)/.cache/quorate/target
export CARGO_TARGET_DIR

# Found even where the shell that called us doesn't have it on its PATH.
export PATH := $(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin

# Every command builds the whole workspace: a part of it alone would ask for fewer
# features of a dependency and have it built a second time.
CARGO_FLAGS ?=
QUORATE = $(CARGO_TARGET_DIR)/debug/quorate

# With openraft's dearer guard (see Cargo.toml), in all that looks for faults.
test histories histories-selftest chaos chaos-soak chaos-selftest verify: \
	GUARDED := --config profile.dev.package.validit.debug-assertions=true

.PHONY: help setup build install run test figures bench-failover takeovers calm connectors growth throughput histories histories-selftest chaos chaos-soak chaos-selftest mutants fuzz verify deny house fix

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: ## install what is missing on Debian or Ubuntu; quick when nothing is
	@scripts/setup.sh

build: ## build the binary
	cargo build --workspace $(CARGO_FLAGS) $(GUARDED)

install: build ## link the binary into cargo's bin folder, so that `quorate` is on the PATH
	@scripts/link.sh $(QUORATE)

run: setup install ## three members and HAProxy on this machine (ARGS="--members 5" and the like)
	$(QUORATE) quickstart $(ARGS)

# Every test program but five: `it` and `members` measure time, of real processes and of
# elections, so their tests run one at a time; `figures` and `bench` measure and test
# nothing; `endurance` runs for minutes to an hour.
TEST_FOLDERS := $(wildcard tests */tests crates/*/tests crates/testing/*/tests)
TESTS := $(filter-out it members figures bench endurance,$(notdir \
	$(basename $(wildcard $(addsuffix /*.rs,$(TEST_FOLDERS)))) \
	$(patsubst %/main.rs,%,$(wildcard $(addsuffix /*/main.rs,$(TEST_FOLDERS))))))
CARGO_TEST = cargo test --workspace $(CARGO_FLAGS) $(GUARDED) --no-fail-fast

# Each part runs even when one before it has failed.
test: setup ## run every test
	@failed=0; \
	cargo build --workspace --bins --examples $(CARGO_FLAGS) $(GUARDED) || failed=1; \
	$(CARGO_TEST) --lib --bins --examples $(addprefix --test ,$(sort $(TESTS))) || failed=1; \
	$(CARGO_TEST) --doc || failed=1; \
	$(CARGO_TEST) --test it --test members -- --test-threads=1 || failed=1; \
	if [ -n "$$QUORATE_IBM_MQ_HOST" ]; then $(CARGO_TEST) --test ibm_mq -- --ignored || failed=1; fi; \
	exit $$failed

bench-failover: setup ## measure failover beside etcd, ZooKeeper and Redis; 45 minutes (ARGS="--quick" and the like)
	@scripts/setup-bench.sh
	cargo test --workspace $(CARGO_FLAGS) --test bench -- $(ARGS)

figures: setup ## measure what the documentation quotes
	cargo test --workspace $(CARGO_FLAGS) --test figures

takeovers: setup ## hundreds of takeovers in a row under load, checked; half an hour (ARGS="--kills 20 --stops 10")
	cargo test --workspace $(CARGO_FLAGS) --test endurance -- takeovers $(ARGS)

MINUTES ?= 30
calm: setup ## full load without a takeover (MINUTES=30)
	cargo test --workspace $(CARGO_FLAGS) --test endurance -- calm --minutes $(MINUTES) $(ARGS)

COUNT ?= 1000
connectors: setup ## many connectors on one cluster: start, takeover, memory; 4 minutes (COUNT=30 for one)
	cargo test --workspace $(CARGO_FLAGS) --test endurance -- connectors --count $(COUNT) $(ARGS)

growth: setup ## 100,000 resources, a million keys: time, restarts, memory (ARGS="--resources 1000,10000 --keys 1000")
	cargo test --workspace $(CARGO_FLAGS) --test endurance -- growth $(ARGS)

throughput: setup ## AMQP in and out beside a program that has nothing but lapin; 3 minutes
	cargo test --workspace $(CARGO_FLAGS) --test endurance -- throughput $(ARGS)

FUZZ_SECONDS ?= 300
fuzz: setup ## give what reads bytes of others whatever libFuzzer thinks of (FUZZ_SECONDS=300 for each target)
	@scripts/fuzz.sh $(FUZZ_SECONDS)

SECONDS ?= 60
histories: setup ## the fence's deciders in made-up groups, thousands of histories (SECONDS=60; SEED=7 to begin there)
	HISTORIES_SECONDS=$(SECONDS) $(if $(SEED),HISTORIES_SEED=$(SEED)) \
		cargo test --workspace $(CARGO_FLAGS) $(GUARDED) --test histories -- --nocapture histories_hold

# The tests build the program with the bugs in its place, so it is built again after them.
histories-selftest: setup ## planted bugs of the fence and of the check of callers have to be found (SEEDS=20, BUGS=lease-too-long,...)
	@failed=0; \
	HISTORIES_SEEDS=$(or $(SEEDS),1) HISTORIES_BUGS=$(BUGS) cargo test --workspace $(CARGO_FLAGS) $(GUARDED) --features quorate/mutants --test histories -- --nocapture planted || failed=1; \
	$(if $(BUGS),,cargo test --workspace $(CARGO_FLAGS) $(GUARDED) --features quorate/mutants --test members -- --nocapture planted || failed=1;) \
	cargo build --workspace $(CARGO_FLAGS) $(GUARDED) || failed=1; \
	exit $$failed

JEPSEN = $(CARGO_TARGET_DIR)/debug/quorate-jepsen
chaos: setup build ## the chaos suite's list of short runs; root for all of it (ARGS="run --workload set --nemesis power --seed 7" for one)
	$(JEPSEN) $(or $(ARGS),ci)

HOURS ?= 2
chaos-soak: setup build ## every workload under every fault in turn, alone and in pairs (HOURS=2)
	$(JEPSEN) soak --hours $(HOURS) $(ARGS)

# Beside the program, not in its place. Asked for a bug that there isn't it tells those that
# there are: so it is known to have them, as the program itself is known (by a test) not to.
MUTANTS = $(CARGO_TARGET_DIR)/debug/quorate-mutants
mutants: setup ## build quorate-mutants, which has planted bugs that tests have to find
	cargo build --workspace $(CARGO_FLAGS) $(GUARDED) --features quorate/mutants --bin quorate-mutants
	@QUORATE_MUTANT=which $(MUTANTS) 2>&1 | grep '^  [a-z-]*: '

chaos-selftest: build mutants ## bugs that are planted have to be caught by the chaos suite (SEEDS=20)
	$(JEPSEN) selftest --seeds $(or $(SEEDS),20) --quorate $(MUTANTS) $(ARGS)

# What cargo leaves out of `--all-targets`, because `make test` doesn't run it.
MEASURES := bench endurance figures

verify: ## check the form of everything; writes nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --locked $(addprefix --test ,$(MEASURES)) -- -D warnings
	cargo test --workspace --locked $(GUARDED) --test tidy

deny: ## check the dependencies: advisories, licences, sources (needs cargo-deny)
	cargo deny --workspace check

# The one command that builds a part alone: it is to run where RocksDB was never compiled. What
# it shares with RocksDB (proc-macro2, quote, memchr) it links, while RocksDB has them from
# bindgen, which is built for the host: cargo keeps the two and their features apart.
house: ## measure the source tree against its goals (ARGS="--list circles", or "--tree /other/checkout")
	@cargo run --quiet --package quorate-house $(CARGO_FLAGS) -- $(ARGS)

fix: ## put right what can be put right by a program
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all
