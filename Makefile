# wm-mqtt-client: an MQTT client behind the C ABI of the WM IoT SDK, on Linux.
#
#   make              the release library, static and shared, and the stand-in of the SDK that it runs on
#   make demo         builds everything and runs examples/demo.c against a broker of its own, once for each scheme;
#                     BROKER=scheme://host[:port] takes another one, CA=file what has signed its certificate
#   make check        what finds most mistakes, in a few minutes: formatting, lints, Rust tests with few seeds, C tests over TCP
#   make test         all tests; both install what they need (as root)
#   make peers        the broker of the demo, and what the C tests talk to: ffi-tests/peers
#   make install      libraries, headers, pkg-config files and CMake package under PREFIX (/usr/local), with DESTDIR before it
#   make header       writes include/wm_mqtt_client.h anew from the Rust source
#   make csky         compiles and lints the device core for C-SKY
#   make size         flash and static RAM of the device library, compared with docs/memory.md; WRITE=1 puts them there
#   make component    builds the component as the SDK does, with a stand-in of the SDK's build
#   make firmware-test  demo and C tests as firmware (FreeRTOS, lwIP, RV32) in QEMU, and the heap and stack that they need,
#                     compared likewise
#   make heap-sweep   connect over TLS with each amount of free heap, by kind of server and client: none may stop the device
#   make csky-test    the same on the device's C-SKY core, in an emulator (CSKY_EMULATOR names another one than ours)
#   make bench-device  instructions of the device's core for a message and for a handshake, in that emulator, compared likewise; and for a
#                      message with lwIP on RV32
#   make release      packs the device's component with its library prebuilt: target/wm-mqtt-client-VERSION-w800.tar.gz
#   make soak         random scenarios of the whole client in simulation, from SEED on, for DURATION seconds (60) or SEEDS of them
#   make fuzz         libFuzzer on decoder, session, client, TLS, WebSocket, URIs and configuration, DURATION seconds in all (420);
#                     TARGETS="decoder session" takes some of them. Needs the nightly toolchain and a C++ compiler
#   make coverage     the lines of src/protocol that the corpora of the fuzzing targets do not pass, and how many they do
#   make interleavings  the library over a model of the system that tries one order of its tasks after the other, DURATION seconds in
#                     all (300); SEED=1000 begins with other schedules
#   make tsan         C tests under ThreadSanitizer, DURATION seconds (300); needs the nightly toolchain with its sources
#   make mutants      changes the code in one place after the other and runs the tests that must notice: FILES=src/protocol/session.rs
#                     takes some of it, SHARD=0/20 a twentieth; tests/mutants.txt says what may go unnoticed, and why
#   make chaos        real brokers behind a bad network, DURATION seconds in all (240), and an application that counts; SEED=n,
#                     BROKERS="mosquitto rumqttd aedes amqtt". Needs node with npm for aedes
#   make bench        the library and other MQTT clients at the same work with the same broker, some ten minutes: docs/performance.md;
#                     WRITE=1 puts figures and plots there, ROWS="publish idle" takes some of the work, CLIENTS="wm rumqttc" some clients
#   make clean        removes everything that was built
#   make help         prints this text
#
# FEATURES hands options to cargo: FEATURES="--no-default-features --features host,websocket,tungstenite" leaves TLS out.
# CC, AR, CFLAGS, LDFLAGS and CARGO are respected. Whatever C compiles to is under target/c. TARGET names another folder than
# target.

CARGO  ?= cargo
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR   := $(firstword $(subst ., ,$(VERSION)))

TARGET ?= target

RUST        := $(TARGET)/release
RUST_STATIC := $(RUST)/libwm_mqtt_client.a
RUST_SHARED := $(RUST)/libwm_mqtt_client.so
# The system libraries that the static library needs, as rustc writes them down when it builds it. libgcc_s is left to
# the C compiler: it adds the unwinder by itself, and the right one for -static too.
NATIVE_FILE := $(RUST)/native-static-libs
NATIVE       = $(filter-out -lgcc_s,$(shell cat $(NATIVE_FILE)))

C          := $(TARGET)/c
SDK_STATIC := $(C)/libwm_sdk_host.a
SDK_SHARED := $(C)/libwm_sdk_host.so
SDK_SRC    := $(wildcard ffi-tests/sdk/src/*.c)

INCLUDES = -Iinclude -Iffi-tests/sdk/include
WARNINGS = -Wall -Wextra
COMPILE  = $(CC) -std=gnu11 $(INCLUDES) $(WARNINGS) $(CFLAGS) -pthread -MMD -MP -c -o $@ $<
ARCHIVE  = rm -f $@ && $(AR) rcs $@ $^

# make knows dozens of ways to make anything of anything, and would look for one for each dependency file that it reads.
MAKEFLAGS += --no-builtin-rules
%.d: ;

.PHONY: all help header peers demo check test test-programs csky size component release firmware-test heap-sweep csky-test bench-device fuzz coverage interleavings tsan soak mutants chaos bench bench-programs install clean FORCE
.SECONDARY:

all: $(RUST_STATIC) $(RUST_SHARED) $(SDK_STATIC) $(SDK_SHARED)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# ---- the library: cargo knows whether there is something to do ----

$(RUST_STATIC): FORCE
	$(CARGO) rustc --locked --release --lib --crate-type staticlib --target-dir $(TARGET) $(FEATURES) -- \
		--print native-static-libs=$(NATIVE_FILE)

$(NATIVE_FILE): $(RUST_STATIC) ;

# By the C linker: cargo's own shared libraries hide what C defines, and the program's certificates must be seen. It names the
# stand-in, which is beside it: some linkers leave out of a program what that does not call itself.
$(RUST_SHARED): $(RUST_STATIC) $(SDK_SHARED) scripts/exports.map Makefile
	$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-soname,$(@F).$(MAJOR) -Wl,--version-script=scripts/exports.map -Wl,-rpath,'$$ORIGIN' \
		-Wl,--gc-sections -o $@ -Wl,--whole-archive $< -Wl,--no-whole-archive $(NATIVE) $(SDK_SHARED) -pthread

header:
	UPDATE_HEADER=1 $(CARGO) test --locked --test header

csky:
	CARGO='$(CARGO)' scripts/csky.sh

size:
	CARGO='$(CARGO)' scripts/size.sh

component:
	scripts/component.sh

release:
	scripts/release.sh

heap-sweep: peers
	HEAP_STEP=128 scripts/firmware.sh $(addprefix heap:mqtts:,promised small_ec large_ec small_rsa large_rsa rsa_chain special)

firmware-test: peers
	CARGO='$(CARGO)' scripts/firmware.sh

csky-test: peers
	MACHINE=csky CARGO='$(CARGO)' scripts/firmware.sh

bench-device: peers
	MACHINE=csky BENCH=1 CARGO='$(CARGO)' scripts/firmware.sh
	BENCH=1 CARGO='$(CARGO)' scripts/firmware.sh

soak:
	CARGO='$(CARGO)' scripts/soak.sh

fuzz:
	CARGO='$(CARGO)' scripts/fuzz.sh

coverage:
	CARGO='$(CARGO)' scripts/coverage.sh

interleavings:
	CARGO='$(CARGO)' scripts/interleavings.sh

tsan: peers
	MAKE='$(MAKE)' CARGO='$(CARGO)' scripts/tsan.sh

mutants:
	CARGO='$(CARGO)' FILES='$(FILES)' RE='$(RE)' SHARD='$(SHARD)' scripts/mutants.sh

# ---- the stand-in of the SDK ----

$(C)/lib/%.o: %.c
	@mkdir -p $(@D)
	$(COMPILE) -fPIC

$(SDK_STATIC): $(SDK_SRC:%.c=$(C)/lib/%.o)
	$(ARCHIVE)

$(SDK_SHARED): $(SDK_SRC:%.c=$(C)/lib/%.o) Cargo.toml
	$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-soname,$(@F).$(MAJOR) -o $@ $(filter %.o,$^) -pthread

# ---- what the tests and the demo talk to, a package of its own ----

PEERS := ffi-tests/peers

peers:
	$(CARGO) build --locked --manifest-path $(PEERS)/Cargo.toml --target-dir $(PEERS)/target

# ---- the demo ----

$(C)/demo: $(C)/lib/examples/demo.o $(RUST_STATIC) $(SDK_STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(RUST_STATIC) $(NATIVE) $(SDK_STATIC) -pthread

# A broker that is named is all it needs.
demo: all $(C)/demo $(if $(BROKER),,peers)
	BROKER='$(BROKER)' CA='$(CA)' scripts/demo.sh $(C)/demo $(PEERS)/target/debug/demo-broker

# ---- chaos ----

CHAOS_SRC := $(wildcard ffi-tests/chaos/*.c)

$(C)/chaos: $(CHAOS_SRC:%.c=$(C)/lib/%.o) $(RUST_STATIC) $(SDK_STATIC)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(RUST_STATIC) $(NATIVE) $(SDK_STATIC) -pthread

chaos: $(C)/chaos peers
	scripts/chaos.sh

# ---- benchmarks ----

BENCH := $(C)/bench
# Each client with the same work; the library's own is linked as applications do.
BENCH_CLIENTS := wm libmosquitto paho_sync paho_async rumqttc raw
BENCH_RUMQTTC := $(TARGET)/bench/release/libbench_rumqttc.a
$(BENCH)/wm:           BENCH_LIBRARIES = $(RUST_STATIC) $(NATIVE) $(SDK_STATIC)
$(BENCH)/libmosquitto: BENCH_LIBRARIES = -lmosquitto
$(BENCH)/paho_sync:    BENCH_LIBRARIES = -lpaho-mqtt3cs
$(BENCH)/paho_async:   BENCH_LIBRARIES = -lpaho-mqtt3as
$(BENCH)/rumqttc:      BENCH_LIBRARIES = -lm -ldl

bench:
	MAKE='$(MAKE)' CARGO='$(CARGO)' scripts/bench.sh

bench-programs: $(BENCH_CLIENTS:%=$(BENCH)/%) $(BENCH)/load $(BENCH)/count.so

$(BENCH_RUMQTTC): FORCE
	$(CARGO) build --quiet --release --locked --manifest-path bench/rumqttc/Cargo.toml --target-dir $(TARGET)/bench

$(BENCH)/wm: $(RUST_STATIC) $(SDK_STATIC)

$(BENCH)/rumqttc: $(BENCH_RUMQTTC) $(addprefix $(C)/lib/bench/programs/,work.o measure.o socket.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BENCH_RUMQTTC) $(BENCH_LIBRARIES) -pthread

$(BENCH)/load: $(addprefix $(C)/lib/bench/programs/,load.o socket.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(BENCH)/count.so: $(C)/lib/bench/programs/count.o
	@mkdir -p $(@D)
	$(CC) -shared $(CFLAGS) $(LDFLAGS) -o $@ $^

$(BENCH)/%: $(C)/lib/bench/programs/%.o $(addprefix $(C)/lib/bench/programs/,work.o measure.o socket.o)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(BENCH_LIBRARIES) -pthread

# ---- tests ----

check:
	MAKE='$(MAKE)' CARGO='$(CARGO)' scripts/check.sh

test:
	MAKE='$(MAKE)' CARGO='$(CARGO)' scripts/test.sh

# The C test programs, in target/c/plain or, with VARIANT=sanitize, with AddressSanitizer and UndefinedBehaviorSanitizer.
VARIANT        ?= plain
FLAGS_plain    := -O1 -g
FLAGS_sanitize := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# Compiled with the C compiler's ThreadSanitizer, linked with rustc's, which knows what both compilers ask for: scripts/tsan.sh.
FLAGS_tsan     := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
LINK_tsan       = -rdynamic -Wl,--whole-archive $(TSAN_RUNTIME) -Wl,--no-whole-archive
T              := $(C)/$(VARIANT)
TESTS          := $(notdir $(basename $(wildcard ffi-tests/tests/*.c ffi-tests/sdk/tests/*.c ffi-tests/port/*.c)))
HARNESS_SRC    := $(wildcard ffi-tests/harness/*.c ffi-tests/harness/host/*.c)
# What a library with FEATURES lacks, some tests want to know.
ifneq ($(findstring no-default-features,$(FEATURES)),)
LACKS := $(if $(findstring tls,$(FEATURES)),,-DWM_MQTT_WITHOUT_TLS) \
	$(if $(findstring websocket,$(FEATURES)),,-DWM_MQTT_WITHOUT_WEBSOCKET) \
	$(if $(findstring ed25519,$(FEATURES)),,-DWM_MQTT_WITHOUT_ED25519)
endif

test-programs: $(TESTS:%=$(T)/%)

$(C)/$(VARIANT)/%.o: %.c
	@mkdir -p $(@D)
	$(COMPILE) -Iffi-tests/harness $(FLAGS_$(VARIANT)) $(LACKS)

$(T)/libharness.a: $(HARNESS_SRC:%.c=$(T)/%.o)
	$(ARCHIVE)

$(T)/libsdk.a: $(SDK_SRC:%.c=$(T)/%.o)
	$(ARCHIVE)

TEST_LIBRARIES := $(T)/libharness.a $(RUST_STATIC) $(T)/libsdk.a
LINK_TEST = $(CC) $(CFLAGS) $(or $(LINK_$(VARIANT)),$(FLAGS_$(VARIANT))) $(LDFLAGS) -o $@ $^ $(NATIVE) -pthread -lm

$(T)/%: $(T)/ffi-tests/tests/%.o $(TEST_LIBRARIES)
	$(LINK_TEST)

$(T)/%: $(T)/ffi-tests/sdk/tests/%.o $(TEST_LIBRARIES)
	$(LINK_TEST)

$(T)/%: $(T)/ffi-tests/port/%.o $(TEST_LIBRARIES)
	$(LINK_TEST)

# ---- installation ----

DEST    = $(DESTDIR)$(PREFIX)
INSTALL = install -m 644
SHARED  = install -m 755

# $(call install_shared,FILE): with its version, and the two links that the loader and the linker look for.
define install_shared
	$(SHARED) $(1) "$(DEST)/lib/$(notdir $(1)).$(VERSION)"
	ln -sf $(notdir $(1)).$(VERSION) "$(DEST)/lib/$(notdir $(1)).$(MAJOR)"
	ln -sf $(notdir $(1)).$(MAJOR) "$(DEST)/lib/$(notdir $(1))"
endef

# $(call install_filled,TEMPLATE,FILE)
install_filled = sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@NATIVE@|$(NATIVE)|' $(1) >"$(DEST)/lib/$(2)"

install: all
	install -d "$(DEST)/lib/pkgconfig" "$(DEST)/lib/cmake/wm_mqtt_client" "$(DEST)/include"
	$(INSTALL) include/wm_mqtt_client.h "$(DEST)/include/"
	find ffi-tests/sdk/include -name '*.h' -printf '%P\0' | xargs -0 -I {} $(INSTALL) -D ffi-tests/sdk/include/{} "$(DEST)/include/wm-sdk-host/{}"
	$(INSTALL) $(RUST_STATIC) $(SDK_STATIC) "$(DEST)/lib/"
	$(call install_shared,$(RUST_SHARED))
	$(call install_shared,$(SDK_SHARED))
	$(call install_filled,scripts/wm-mqtt-client.pc.in,pkgconfig/wm-mqtt-client.pc)
	$(call install_filled,scripts/wm-sdk-host.pc.in,pkgconfig/wm-sdk-host.pc)
	$(call install_filled,cmake/config.cmake.in,cmake/wm_mqtt_client/wm_mqtt_client-config.cmake)
	$(call install_filled,cmake/config-version.cmake.in,cmake/wm_mqtt_client/wm_mqtt_client-config-version.cmake)

clean:
	rm -rf target $(PEERS)/target

-include $(shell find $(C) -name '*.d' 2>/dev/null)
