# Fastsocket: see README.md. `make demo` and `make test` need root; both install what is missing.

SWIFT ?= swift
PREFIX ?= /usr/local
DESTDIR ?=

# To build, and to build only.
BUILD_PACKAGES := libbpf-dev libxdp-dev libelf-dev zlib1g-dev pkg-config binutils
# What the demonstration, the tests and the benchmark run.
RUN_PACKAGES := haproxy nginx lighttpd lighttpd-mod-webdav redis-server redis-tools curl wrk \
  ethtool iproute2 iputils-ping python3 procps util-linux strace tcpdump tshark \
  apache2 apache2-utils memcached
# What `make test-all` runs besides.
MORE_PACKAGES := varnish nodejs iperf3 nghttp2-client openssl openssh-client openssh-server postgresql

RELEASE := $(SWIFT) build -c release
FORMATTED := $(wildcard Sources Tests Benchmarks Plugins) Package.swift

.PHONY: all install demo test test-all testable bench rfc9293 differential interoperation simulate fuzz scaling engine-alone lint clean dependencies products programs

all: products
	@echo "build/fsd and build/libfsocket.so are ready."

# Each product by itself: a release build of everything would build the tests' helpers as well.
products:
	$(RELEASE) --static-swift-stdlib --product fsd
	$(RELEASE) --product fsocket
	@mkdir -p build
	install -m 0755 "$$($(RELEASE) --show-bin-path)/fsd" build/fsd
	install -m 0644 "$$($(RELEASE) --show-bin-path)/libfsocket.so" build/libfsocket.so

# What `make` has built: root's Swift may be another, or none.
install:
	@for product in fsd libfsocket.so; do \
	  if [ ! -f build/$$product ]; then \
	    echo "build/$$product is missing: run make first, without sudo" >&2; exit 1; \
	  fi; \
	done
	install -D -m 0755 build/fsd "$(DESTDIR)$(PREFIX)/bin/fsd"
	install -D -m 0644 build/libfsocket.so "$(DESTDIR)$(PREFIX)/lib/libfsocket.so"

demo: dependencies products
	$(RELEASE) --product fs-demo
	@FS_BUILD_DIR="$(CURDIR)/build" "$$($(RELEASE) --show-bin-path)/fs-demo"

# `make bench BENCH="nginx redis-get-1 --pairs 3"`: scenarios and options of Benchmarks/fs-bench.
# `make bench BENCH="--document docs"` writes docs/benchmarks.md from the run.
bench: dependencies products programs
	$(RELEASE) --static-swift-stdlib --product fs-bench
	@FS_BUILD_DIR="$(CURDIR)/build" "$$($(RELEASE) --show-bin-path)/fs-bench" $(BENCH)

# What the benchmark runs beside the products.
programs: products
	for program in fs-load fs-echo; do \
	  $(RELEASE) --static-swift-stdlib --product $$program || exit 1; \
	  install -m 0755 "$$($(RELEASE) --show-bin-path)/$$program" build/$$program; \
	done

# The engine without network cards, kernel and applications, and lwIP beside it: docs/benchmarks.md.
engine-alone: RUN_PACKAGES += liblwip-dev
engine-alone: dependencies
	FS_SCOPE=engine $(RELEASE) --product fs-engine --scratch-path .build-engine-alone
	@mkdir -p results
	cc -O2 -I/usr/include/lwip -o results/lwip-back-to-back Benchmarks/lwip-back-to-back.c -llwip
	@for run in "short 500000" "keepalive 2000000" "keepalive 1000000 1000" "keepalive 1000000 10000" \
	  "keepalive 1000000 100000" "keepalive 1000000 1000000" "seldom 1000000 1000" \
	  "seldom 1000000 1000000" "idle 100000" "timewait 100000"; do \
	  taskset -c 1 .build-engine-alone/release/fs-engine $$run || exit 1; \
	done; \
	for run in "short 50000" "keepalive 1000000"; do \
	  taskset -c 1 results/lwip-back-to-back $$run || exit 1; \
	done

# Without network namespaces and TUN devices most tests would be skipped, and what is left would pass.
testable:
	@if [ "$$(id -u)" != 0 ]; then echo "The tests need root." >&2; exit 1; fi
	@if [ ! -c /dev/net/tun ] || ! (: <> /dev/net/tun) 2> /dev/null; then \
	  echo "The tests need /dev/net/tun, which cannot be opened." >&2; exit 1; \
	fi

# The integration tests drive the release build, one program at a time; the unit tests run beside
# each other, but for those of fsd, which count the descriptors of their process. What documents claim
# of code and tests is compared first; that takes no time. The comparison with Linux's TCP is in real
# time and runs by itself. The swarm comes last: it has a build of its own.
test: testable dependencies lint products programs
	$(SWIFT) build --build-tests
	$(TRACEABILITY) > /dev/null
	$(SWIFT) test --skip-build --skip IntegrationTests --skip fsdTests
	$(SWIFT) test --skip-build --filter fsdTests
	FS_DIFFERENTIAL=1 $(SWIFT) test --skip-build --filter FSStackTests.DifferentialTests
	FS_BUILD_DIR="$(CURDIR)/build" $(SWIFT) test --skip-build --filter IntegrationTests
	$(MAKE) simulate

# Everything, the slow tiers of the integration tests included.
test-all: RUN_PACKAGES += $(MORE_PACKAGES)
test-all: export FS_EVERYTHING = 1
test-all: test

# The same segment scripts to the kernel and to the engine: docs/linux-differences.md.
differential: testable dependencies
	$(SWIFT) build --build-tests
	FS_DIFFERENTIAL=1 $(SWIFT) test --skip-build --filter FSStackTests.DifferentialTests

# 1 GB in both directions and both roles, IPv4 and IPv6, over a link that loses, delays, duplicates and
# reorders. `make test` does the same with less.
interoperation: testable dependencies products
	$(SWIFT) build --build-tests
	FS_BUILD_DIR="$(CURDIR)/build" FS_INTEROPERATION_BYTES=1000000000 \
	  FS_INTEROPERATION_WEATHER=everything $(SWIFT) test --skip-build --filter Interoperation

# Simulated networks and applications, `make simulate SEEDS=1-20000`; one number shows that seed's trace.
# A release build of its own: a debug build takes ten times as long for each seed.
SEEDS ?= 1-3000
simulate:
	FS_SCOPE=swarm $(RELEASE) -Xswiftc -enable-testing --build-tests --scratch-path .build-simulate
	FS_SCOPE=swarm FS_SEEDS=$(SEEDS) $(SWIFT) test -c release -Xswiftc -enable-testing --skip-build \
	  --scratch-path .build-simulate --filter 'FSStackTests\.(SwarmTests|ReferenceLinkTests)'

# UPDATE=1 writes docs/rfc9293.md instead of comparing it.
TRACEABILITY = @"$$($(SWIFT) build --show-bin-path)/traceability"

rfc9293:
	$(SWIFT) build --product traceability
	$(TRACEABILITY) $(if $(UPDATE),--update)

# `make fuzz TARGET=engine SECONDS=600`: one of the targets of Tests/Fuzzing, or all, one after the
# other. What is found stands in .build-fuzz/findings; the corpus grows in .build-fuzz/corpus.
TARGET ?= frame options engine commands
SECONDS ?= 60
FUZZ_BUILD := FS_FUZZ=1 FS_NO_SHIM=1 $(SWIFT) build -c release --scratch-path .build-fuzz \
  -Xswiftc -enable-testing -Xswiftc -sanitize=fuzzer,address -Xswiftc -use-ld=lld --product fs-fuzz

fuzz:
	$(FUZZ_BUILD)
	@for target in $(TARGET); do \
	  mkdir -p .build-fuzz/corpus/$$target .build-fuzz/findings; \
	  SWIFT_BACKTRACE=enable=no .build-fuzz/release/fs-fuzz $$target -max_total_time=$(SECONDS) -timeout=10 -max_len=2048 \
	    -artifact_prefix=.build-fuzz/findings/$$target- -print_final_stats=1 \
	    .build-fuzz/corpus/$$target Tests/Fuzzing/Corpus/$$target || exit 1; \
	done

# How work and memory for a connection depend on the number of engines: docs/scaling.md. PARTS=model, memory or
# veth measures one part; memory and veth want a machine that does nothing else.
SCALING_BUILD := FS_SCALING=1 FS_NO_SHIM=1 $(RELEASE) --scratch-path .build-scaling -Xswiftc -enable-testing

scaling: RUN_PACKAGES += valgrind
scaling: dependencies products
	$(SCALING_BUILD) --product fs-scaling
	@FS_BUILD_DIR="$(CURDIR)/build" "$$($(SCALING_BUILD) --show-bin-path)/fs-scaling" $(PARTS)

lint:
	$(SWIFT) format lint --strict --recursive $(FORMATTED)

clean:
	$(SWIFT) package clean
	rm -rf build

# Debian starts a service when it installs it, and again at every boot. Those that come in here do
# neither: a policy that forbids it stands while the packages are installed, and they are disabled.
dependencies:
	@missing=""; \
	for package in $(BUILD_PACKAGES) $(RUN_PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' \
	    || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	  echo "These packages are missing, and only root can install them:$$missing" >&2; exit 1; \
	fi; \
	echo "Installing$$missing"; \
	policy=/usr/sbin/policy-rc.d; made=""; \
	if [ ! -e $$policy ]; then \
	  printf '#!/bin/sh\nexit 101\n' > $$policy && chmod 0755 $$policy && made=$$policy; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq install -y --no-install-recommends $$missing > /dev/null; \
	status=$$?; \
	if [ -n "$$made" ]; then rm -f "$$made"; fi; \
	for service in haproxy nginx lighttpd redis-server apache2 memcached varnish postgresql \
	  openssh-server=ssh; do \
	  case "$$missing " in *" $${service%=*} "*) \
	    systemctl disable --quiet $${service#*=} 2>/dev/null || true ;; esac; \
	done; \
	exit $$status
