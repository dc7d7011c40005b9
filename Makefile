# Two commands do everything on a fresh machine: `make run` and `make test`. The rest is for day-to-day work.
#
#   setup      what the build needs: the static Rust target; a C compiler for musl only if a C part is in the tree
#   all        the static rkt binary, and the test programs
#   run        a small image out of the build's own products, run as a pod
#   check      formatting, lints, unit tests, black-box tests, the table of floors (no root, under three minutes)
#   root-test  pods for real, in namespaces of their own (root)
#   old-kernel-test  the root suite again, where every call that Linux 4.4 lacks answers ENOSYS
#   vm-test    other hosts: kernels, cgroups, inits, file systems, in qemu; docs/hosts.md is held against it
#   test       all of these, the size budget, and a closing line of counts
#   arch       aarch64 and riscv64: compiles, its system calls, unit tests under qemu's user-mode emulation
#   initramfs  rkt as the init of a machine: KERNEL=FILE MODULES="overlay"; prints the command that boots it
#   bench      ratios against crun, bwrap, runc, skopeo, umoci, podman and plain tools, measured side by side
#   soak       long random runs, SOAK=<seconds>; the fuzzer, FUZZ=<seconds> for each target; the rig with all kernels
#   fuzz       the fuzzer alone; what it finds is kept in target/fuzz/found
#   size       budgets of the default and the smallest build; static; runs in an empty root
#   install    PREFIX=/usr/local DESTDIR=
#   clean

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
SOAK ?= 600
FUZZ ?= 60

OUT := $(abspath $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target))
ARCH := $(shell uname -m)
MUSL := $(ARCH)-unknown-linux-musl
GNU := $(ARCH)-unknown-linux-gnu
# `make setup` writes the triple that it could get.
TRIPLE = $(or $(file <$(OUT)/triple),$(MUSL))
# Where only the gnu target can be had, glibc is linked in statically.
STATIC = $(if $(findstring gnu,$(TRIPLE)),RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" )$(CARGO)
BIN = $(OUT)/$(TRIPLE)/release
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
TALLY := $(OUT)/tally
# What a test needs to know of the build.
ENV = RKT_BIN=$(BIN)/rkt RKT_PROBE=$(BIN)/probe CARGO_TARGET_DIR=$(OUT) VM_CACHE=$(OUT)/vm IMAGES_CACHE=$(OUT)/images
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: default setup all rkt programs run fmt lint unit blackbox check root-test vm-test test bench soak size \
	install clean

default: all

setup: $(OUT)/triple

$(OUT)/triple:
	@mkdir -p $(OUT)
	@tests/setup "$(MUSL)" "$(GNU)" >$@.new && mv $@.new $@
	@echo "building for $$(cat $@)"

# A sub-make, so that TRIPLE is read after setup has written it.
all: setup
	@$(MAKE) --no-print-directory rkt programs

rkt:
	$(STATIC) build --release --target $(TRIPLE) -p rkt

programs:
	$(STATIC) build --release --target $(TRIPLE) -p rkt-tests --bins

run: all
	@$(MAKE) --no-print-directory run-pod

.PHONY: run-pod
run-pod:
	@mkdir -p $(OUT)/run
	$(BIN)/mkaci $(OUT)/run/hello.aci example.com/hello $(BIN)/hello
	$(SUDO) $(BIN)/rkt --dir=$(OUT)/run/data --insecure-options=image run --net=none $(OUT)/run/hello.aci -- world
	@$(SUDO) $(BIN)/rkt --dir=$(OUT)/run/data gc --grace-period=0s >/dev/null 2>&1

fmt:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit:
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --workspace --lib --bins --no-fail-fast --no-tests=pass
	$(CARGO) nextest run -p rkt-trust --test gpg
else
	$(CARGO) test --workspace --lib --bins --no-fail-fast
	$(CARGO) test -p rkt-trust --test gpg
endif

BLACKBOX := --test blackbox --test samples --test floors --test store_faults --test fuzz_replay
ROOT := --test root --test images --test kill_walk --test old_data --test network --test metadata --test isolation --test rootless

blackbox:
ifeq ($(NEXTEST),yes)
	$(ENV) $(CARGO) nextest run -p rkt-tests $(BLACKBOX) --no-fail-fast
else
	$(ENV) $(CARGO) test -p rkt-tests $(BLACKBOX) --no-fail-fast
endif

check: all
	@rc=0; \
	tests/suite $(TALLY) fmt $(MAKE) --no-print-directory fmt || rc=1; \
	tests/suite $(TALLY) lint $(MAKE) --no-print-directory lint || rc=1; \
	tests/suite $(TALLY) unit $(MAKE) --no-print-directory unit || rc=1; \
	tests/suite $(TALLY) blackbox $(MAKE) --no-print-directory blackbox || rc=1; \
	exit $$rc

# The images are made before: the tests' own network namespaces have no way to a package mirror. Why they cannot be made
# is what the tests that need them say when they skip.
# One at a time: the tests compare the host's cgroups before and after. Those that only wait run beside them
# (.config/nextest.toml).
.PHONY: root-suite
root-suite:
	@tests/images/build $(OUT)/images >/dev/null || true
ifeq ($(NEXTEST),yes)
	@rc=0; \
	$(ENV) $(CARGO) nextest run -p rkt-net --test '*' --no-fail-fast --test-threads 1 || rc=1; \
	$(ENV) $(CARGO) nextest run -p rkt-tests $(ROOT) --no-fail-fast --test-threads 4 || rc=1; \
	exit $$rc
else
	@rc=0; \
	$(ENV) $(CARGO) test -p rkt-net --test '*' --no-fail-fast -- --test-threads=1 || rc=1; \
	$(ENV) $(CARGO) test -p rkt-tests $(ROOT) --no-fail-fast -- --test-threads=1 || rc=1; \
	exit $$rc
endif

root-test: all
	@tests/suite $(TALLY) root $(MAKE) --no-print-directory root-suite

# After root-test, with whose run it is compared; without that it makes one of its own.
.PHONY: old-kernel-test old-kernel-suite
old-kernel-test: all
	@tests/suite $(TALLY) old-kernel $(MAKE) --no-print-directory old-kernel-suite

old-kernel-suite:
	@$(ENV) CARGO="$(CARGO)" RUNNER=$(if $(filter yes,$(NEXTEST)),nextest,libtest) tests/old-kernel $(BIN)/oldkernel $(TALLY)

vm-test: all
	@tests/suite $(TALLY) vm $(MAKE) --no-print-directory vm-suite

.PHONY: vm-suite size-suite
vm-suite:
	$(ENV) tests/vm/run

size: all
	@tests/suite $(TALLY) size $(MAKE) --no-print-directory size-suite

size-suite:
	$(STATIC) build --release --target $(TRIPLE) -p rkt --no-default-features --target-dir $(OUT)/least
	tests/size $(BIN)/rkt $(OUT)/least/$(TRIPLE)/release/rkt

.PHONY: arch arch-suite
arch:
	@tests/suite $(TALLY) arch $(MAKE) --no-print-directory arch-suite

arch-suite:
	ARCH_DIR=$(OUT)/arch tests/arch/run

test: all
	@rm -rf $(TALLY)
	@rc=0; for suite in check root-test old-kernel-test vm-test arch size; do \
		$(MAKE) --no-print-directory $$suite || rc=1; \
	done; tests/total $(TALLY) || rc=1; exit $$rc

.PHONY: initramfs
initramfs: all
	@$(ENV) tests/initramfs/build $(OUT)/initramfs

bench: all
	@tests/images/build $(OUT)/images || true
	$(ENV) $(BIN)/bench

soak: all
	@rc=0; \
	$(MAKE) --no-print-directory fuzz-selftest || rc=1; \
	$(MAKE) --no-print-directory fuzz || rc=1; \
	$(ENV) $(BIN)/soak $(SOAK) || rc=1; \
	$(ENV) VM_SOAK=1 tests/vm/run || rc=1; \
	ARCH_DIR=$(OUT)/arch ARCH_UNIT="aarch64 riscv64" ARCH_CRATES="model sys archive cgroup store pod stage1" tests/arch/run || rc=1; \
	exit $$rc

.PHONY: fuzz fuzz-selftest
fuzz:
	tests/fuzz/run $(OUT) $(FUZZ)

# Each target has a bug planted; a fuzzer that does not find it proves nothing.
fuzz-selftest:
	tests/fuzz/run $(OUT) --selftest

install: all
	install -D -m 0755 $(BIN)/rkt $(DESTDIR)$(PREFIX)/bin/rkt
	install -D -m 0755 init-scripts/rkt-service $(DESTDIR)$(PREFIX)/sbin/rkt-service
	mkdir -p $(DESTDIR)$(PREFIX)/share/rkt
	cp -R init-scripts $(DESTDIR)$(PREFIX)/share/rkt/ && chmod -R a+rX $(DESTDIR)$(PREFIX)/share/rkt

clean:
	$(CARGO) clean
