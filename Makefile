# SPDX-License-Identifier: GPL-2.0
# The front door. Everything that is made goes to build/.

ARCH ?= x86_64
FLAVOUR ?= default
export ARCH FLAVOUR BASE EXTRA_CONFIG TESTS APPEND ACCEL CPUS SLOW BUILT RESULTS EXPECT TO V

# as in scripts/common.sh
build := $(or $(EXECMEM_BUILD),build)

help:
	@echo 'To use it:'
	@echo '  make run              apply, build, boot in QEMU, test'
	@echo '  make list-tests       the names that TESTS= knows'
	@echo '  make clean            remove what was built; distclean: the kernel trees as well'
	@echo
	@echo '  ARCH=x86_64|arm64|riscv64|s390x|ppc64le'
	@echo '  FLAVOUR=default|nomodules|debug|inline|stock'
	@echo '  TESTS=a,b:case        only these tests, of b only that case'
	@echo '  BUILT=1               boot what the last run built; old: even if something has changed since'
	@echo '  ACCEL=tcg|kvm|mttcg|icount   kvm is the fast one, on a machine of that ARCH'
	@echo '  CPUS=N                how many processors the guest has'
	@echo '  SLOW=N                all limits of time N times as long'
	@echo '  APPEND="parameters"   for the command line of the kernel'
	@echo '  RESULTS=directory     for what a run leaves; build/ARCH-FLAVOUR without it'
	@echo '  BASE=tarball|directory|git-tree[@revision]   another 6.1.y'
	@echo '  EXTRA_CONFIG=fragment one more fragment of kernel configuration'
	@echo
	@echo '  for example: make run TESTS=wx,placement BUILT=1 ACCEL=kvm'
	@echo
	@echo 'To change it:'
	@echo '  make series           build/linux-6.1.y: the base and one commit a patch'
	@echo '  make export           write its commits back to patches/'
	@echo '  make check            all checks; ends with "N passed, N failed"'
	@echo '  make check-quick      the same without the boots; check-long: what takes hours'
	@echo '  make check-mutants    faults put into the series: do the tests see them?'
	@echo '  make cross            compile what is touched for the other architectures'
	@echo '  make bisect           build each patch, boot where behaviour changes'
	@echo '  make run-tree-selftests'
	@echo "                        the kernel tree's own selftests on the stock and the patched kernel"
	@echo
	@echo 'To send it:'
	@echo '  make preflight        what reviewers and their robots would object to'
	@echo '  make send TO=dry-run  the mails, in build/outbox; V=N is the version of the series'
	@echo
	@echo 'Each script in scripts/ says with --help what it does.'

# what there is to choose from, and the cases of what has been built
list-tests:
	@scripts/list-tests.sh

run:
	@scripts/run.sh

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

# The trees stay: they may have commits that are nowhere else. So do downloaded bases.
clean:
	@test ! -d '$(build)' || find '$(build)' -mindepth 1 -maxdepth 1 \
		! -name linux-6.1.y ! -name linux-base ! -name bases -exec rm -rf {} +

distclean:
	rm -rf '$(build)'

.PHONY: help list-tests run run-tree-selftests check check-quick check-long check-mutants cross bisect preflight send \
	series export clean distclean
