# SPDX-License-Identifier: GPL-2.0
# The front door. Everything that is made goes to build/.

ARCH ?= x86_64
FLAVOUR ?= default
export ARCH FLAVOUR BASE EXTRA_CONFIG TESTS APPEND ACCEL TO V

help:
	@echo 'make run         apply, build, boot in QEMU, test'
	@echo '                 ARCH=x86_64|arm64|riscv64|s390x|ppc64le FLAVOUR=default|nomodules|debug|inline|stock'
	@echo '                 BASE=tarball|directory|git-tree[@revision]'
	@echo '                 EXTRA_CONFIG=fragment TESTS=a,b:case APPEND="kernel parameters" ACCEL=kvm'
	@echo 'make list-tests  what TESTS= can name'
	@echo 'make run-tree-selftests'
	@echo "                 the kernel tree's own selftests on the stock and the patched kernel"
	@echo 'make check       all checks; ends with "N passed, N failed"'
	@echo 'make check-quick the same without the boots; check-long: what takes hours'
	@echo 'make check-mutants  faults put into the series: do the tests see them?'
	@echo 'make cross       compile what is touched for the other architectures'
	@echo 'make bisect      build each patch, boot where behaviour changes'
	@echo 'make preflight   what reviewers and their robots would object to'
	@echo 'make send TO=dry-run   the mails, in build/outbox'
	@echo 'make series      build/linux-6.1.y: the base and one commit a patch'
	@echo 'make export      write its commits back to patches/'
	@echo 'make clean       remove what was built; distclean: and the kernel trees'

run:
	@scripts/run.sh

# what there is to choose from, and the cases of what has been built
list-tests:
	@scripts/list-tests.sh

run-tree-selftests:
	@scripts/tree-selftests.sh

check:
	@scripts/check.sh

check-quick:
	@scripts/check.sh quick

check-long:
	@scripts/check.sh long

check-mutants cross bisect preflight send:
	@scripts/$@.sh

series:
	@scripts/host-setup.sh
	@scripts/series.sh apply

export:
	@scripts/series.sh export

clean:
	rm -rf build/*-default build/*-nomodules build/*-debug build/*-inline build/*-stock build/*-tree build/tree-selftests build/host

distclean:
	rm -rf build

.PHONY: help run list-tests run-tree-selftests check check-quick check-long check-mutants cross bisect preflight send \
	series export clean distclean
