# Hearth's two commands are `make serve` and `make test`; `make help` lists the rest. Each sets up
# what it needs (Deno, npm packages, build/libhearth.so) and does nothing that is already done.
#
#   build/libhearth.so      the library, with objects and generated header dependencies in build/obj
#   build/<sanitizers>/     the same sources under SANITIZE=address,undefined or SANITIZE=thread
#   .tools/                 Deno, where the PATH has none that fits

MAKEFLAGS += --no-builtin-rules --no-print-directory --jobs=$(shell nproc 2>/dev/null || echo 2)
# A recipe that runs make again (through a Deno task) starts afresh: it cannot share our job slots.
unexport MAKEFLAGS
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ARGS ?=

# --- Build variants -------------------------------------------------------------------------------

comma := ,
SANITIZE ?=
ifeq ($(SANITIZE),)
  OUT := build
  MODE := -O3
  # libstdc++ goes in, so that the file also runs where that library is older or absent; its symbols
  # stay inside.
  LINK_MODE := -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL -Wl,-z,defs
else
  OUT := build/$(subst $(comma),-,$(SANITIZE))
  MODE := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
  LINK_MODE := -fsanitize=$(SANITIZE)
endif
OBJ := $(OUT)/obj

# --- Sources and flags ----------------------------------------------------------------------------

# make's own default for CXX is g++; one that was set by the caller wins.
WARNINGS := -Wall -Wextra -Werror
# No contraction: a result must not depend on where a compiler fuses a multiply with an add. Kernels
# that want a fused one say so by intrinsics.
COMPILE = $(CXX) -std=c++20 $(MODE) -fPIC -pthread -fvisibility=hidden -ffp-contract=off \
  $(WARNINGS) -Icsrc $(CXXFLAGS)
LINK = $(CXX) $(LINK_MODE) -pthread $(LDFLAGS)

SOURCES := $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*/*.cpp)
# A file name's suffix says which instructions it may use; it is entered only after a runtime check.
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
AMX := $(AVX512) -mamx-tile -mamx-int8
ifeq ($(filter x86_64-%,$(shell $(CXX) -dumpmachine)),)
  SOURCES := $(filter-out %_avx2.cpp %_avx512.cpp %_amx.cpp,$(SOURCES))
endif
OBJECTS := $(SOURCES:%.cpp=$(OBJ)/%.o)
NATIVE_SOURCES := $(filter-out tests/native/fuzz_%,$(wildcard tests/native/*.cpp))
NATIVE_OBJECTS := $(NATIVE_SOURCES:%.cpp=$(OBJ)/%.o)

# --- The two commands -----------------------------------------------------------------------------

serve: setup ## Start the server on 127.0.0.1:8000: make serve ARGS="--port 8123 --model PATH"
	@exec $(DENO) task --quiet serve $(ARGS)

test: setup ## Run every test, or some: make test ARGS="tests/engine --filter Scheduler"
	@exec $(DENO) task --quiet test $(ARGS)

# --- The library ----------------------------------------------------------------------------------

lib: $(OUT)/libhearth.so ## Build build/libhearth.so

# Renamed into place: overwriting a library crashes the process that has it mapped.
$(OUT)/libhearth.so: $(OBJECTS)
	@echo "link $@"
	@$(LINK) -shared -o $@.tmp $^ && mv -f $@.tmp $@

$(OBJ)/%.o: %.cpp $(OBJ)/command
	@echo "compile $<"
	@mkdir -p $(@D)
	@$(COMPILE) $(ISA) $(DEFINES) -MMD -MP -c -o $@ $<

$(OBJ)/%_avx2.o: ISA := $(AVX2)
$(OBJ)/%_avx512.o: ISA := $(AVX512)
$(OBJ)/%_amx.o: ISA := $(AMX)

# Only abi.cpp tells the commit, so that a new one recompiles one file.
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
$(OBJ)/csrc/abi.o: DEFINES := -DHEARTH_BUILD_COMMIT='"$(COMMIT)"'
$(OBJ)/csrc/abi.o: $(OBJ)/commit

# These two files change only when what they hold changes, and so rebuild what depends on it.
$(OBJ)/command: CONTENT = $(COMPILE) $(AMX)
$(OBJ)/commit: CONTENT = $(COMMIT)
$(OBJ)/command $(OBJ)/commit: always
	@mkdir -p $(@D)
	@echo '$(CONTENT)' | cmp -s - $@ || echo '$(CONTENT)' > $@

-include $(OBJECTS:.o=.d) $(NATIVE_OBJECTS:.o=.d)

# --- Tests of the native code without Deno --------------------------------------------------------

native: $(OUT)/native_tests ## Build and run the C++ tests: make native SANITIZE=address,undefined
	@exec $< $(ARGS)

$(OUT)/native_tests: $(NATIVE_OBJECTS) $(OBJECTS)
	@echo "link $@"
	@$(LINK) -o $@ $^

# --- Set-up ---------------------------------------------------------------------------------------

DENO_VERSION := 2.9.6
DENO := .tools/deno-$(DENO_VERSION)

setup: $(DENO) node_modules/.installed lib

# The link leads to the PATH's Deno where that fits. Order-only: what a link points to has any age.
$(DENO): | .tools/checked
	@scripts/setup_deno.sh $(DENO_VERSION) $@

node_modules/.installed: deno.json deno.lock | $(DENO)
	@echo "install npm packages"
	@$(DENO) install --frozen --quiet && touch $@

.tools/checked: scripts/check_tools.sh
	@scripts/check_tools.sh "$(CXX)" && mkdir -p $(@D) && touch $@

$(OBJECTS) $(NATIVE_OBJECTS): | .tools/checked

# --- The rest -------------------------------------------------------------------------------------

format: setup ## Format C++, TypeScript, JSON and Markdown
	@exec $(DENO) task --quiet fmt

clean: ## Remove what was built; .tools and node_modules stay
	rm -rf build dist coverage

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

always:
.PHONY: serve test lib native setup format clean help always
