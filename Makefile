# Hearth's two commands are `make serve` and `make test`; `make help` lists the rest. Each sets up
# what it needs (Deno, npm packages, build/libhearth.so) and does nothing that is already done.
#
#   build/libhearth.so      the library; objects and generated header dependencies lie in build/obj
#   build/<variant>/        the same sources with sanitizers, for fuzzing or for coverage
#   .tools/                 what the PATH does not have, or not in the version that fits

MAKEFLAGS += --no-builtin-rules --no-print-directory --jobs=$(shell nproc 2>/dev/null || echo 2)
# A recipe that runs make again (through a Deno task) starts afresh: it cannot share our job slots.
unexport MAKEFLAGS
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := help

DENO_VERSION := 2.9.6
CLANG_FORMAT_VERSION := 18.1.8
ARGS ?=

# --- Variants -------------------------------------------------------------------------------------

comma := ,
SANITIZE ?=
COVERAGE ?=
DEBUG := -O1 -g -fno-omit-frame-pointer
ifneq ($(filter fuzz,$(MAKECMDGOALS)),)
  OUT := build/fuzz
  CXX := clang++
  MODE := $(DEBUG) -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
  LINK_MODE := -fsanitize=fuzzer,address,undefined
else ifneq ($(COVERAGE),)
  OUT := build/coverage
  CXX := clang++
  MODE := $(DEBUG) -fprofile-instr-generate -fcoverage-mapping
  LINK_MODE := -fprofile-instr-generate
else ifneq ($(SANITIZE),)
  OUT := build/$(subst $(comma),-,$(SANITIZE))
  MODE := $(DEBUG) -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
  LINK_MODE := -fsanitize=$(SANITIZE)
else
  OUT := build
  MODE := -O3
  # libstdc++ goes in, so that the file also runs where that library is older or absent; its symbols
  # stay inside.
  LINK_MODE := -static-libstdc++ -static-libgcc -Wl,--exclude-libs,ALL
endif
OBJ := $(OUT)/obj

# --- Sources and flags ----------------------------------------------------------------------------

# No contraction: a result must not depend on where a compiler fuses a multiply with an add. Kernels
# that want a fused one say so by intrinsics.
WARNINGS := -Wall -Wextra -Werror
# g++ 12 sees overlapping copies in the standard library's own string concatenation.
ifeq ($(findstring clang,$(shell $(CXX) --version 2>/dev/null)),)
  WARNINGS += -Wno-restrict
endif
COMPILE = $(CXX) -std=c++20 $(MODE) -fPIC -pthread -fvisibility=hidden -ffp-contract=off \
  $(WARNINGS) -Icsrc $(CXXFLAGS)
LINK = $(CXX) $(LINK_MODE) -pthread $(LDFLAGS)

# CUDA comes in where nvcc is and either a GPU (for its architecture alone) or CUDA=1 (for all).
NVCC ?= nvcc
CUDA ?= $(if $(wildcard /dev/nvidia0),$(if $(shell command -v $(NVCC) 2>/dev/null),1))
CUDA_ARCHITECTURES ?= $(if $(wildcard /dev/nvidia0),$(shell nvidia-smi \
  --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .),80 90 ptx)
# What the library is compiled for, "sm_80 sm_90a compute_80": wgmma exists in sm_90a only, and GPUs
# that none of it fits compile the PTX (compute_80) when they load it, to the kernels of sm_80.
CUDA_CODE = $(foreach arch,$(patsubst 90,90a,$(CUDA_ARCHITECTURES)),$(if \
  $(filter ptx,$(arch)),compute_80,sm_$(arch)))
gencode = $(foreach code,$1,-gencode arch=$(subst sm_,compute_,$(code))$(comma)code=$(code))
COMPILE_CUDA = $(NVCC) -std=c++20 -ccbin $(HOST_CXX) -O3 --fmad=false --expt-relaxed-constexpr \
  -Werror all-warnings -Xptxas -warn-spills \
  -Xcompiler -fPIC,-pthread,-fvisibility=hidden,-Wall,-Wextra,-Werror,-Wno-restrict \
  $(call gencode,$(CUDA_CODE)) -Icsrc $(NVCCFLAGS)
HOST_CXX ?= g++
ifeq ($(CUDA),1)
  CUDA_SOURCES := $(wildcard csrc/backend/cuda/*.cu)
  CUDA_LIBRARIES := $(shell $(NVCC) --dryrun -x cu /dev/null 2>&1 | \
    sed -n 's/.*"-L\([^"]*\)"$$/-L\1/p') -lcudart_static -ldl -lrt
endif

SOURCES := $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*/*.cpp)
# A file name's suffix says which instructions it may use; it is entered only after a runtime check.
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
AMX := $(AVX512) -mamx-tile -mamx-int8
ifeq ($(filter x86_64-%,$(shell $(CXX) -dumpmachine 2>/dev/null)),)
  SOURCES := $(filter-out %_avx2.cpp %_avx512.cpp %_amx.cpp,$(SOURCES))
endif
NATIVE_SOURCES := $(wildcard tests/native/*.cpp)
FUZZ_SOURCES := $(filter tests/native/fuzz_%,$(NATIVE_SOURCES))

OBJECTS := $(SOURCES:%.cpp=$(OBJ)/%.o) $(CUDA_SOURCES:%=$(OBJ)/%.o)
TEST_OBJECTS := $(patsubst %.cpp,$(OBJ)/%.o,$(filter-out $(FUZZ_SOURCES),$(NATIVE_SOURCES)))
FUZZ_OBJECTS := $(FUZZ_SOURCES:%.cpp=$(OBJ)/%.o)
# What the checks on a device share with the benchmarks there: inputs, steps, how failures are told.
GPU_SHARED_OBJECTS := $(OBJ)/tests/gpu/report.o $(OBJ)/tests/gpu/step.cu.o
GPU_TEST_OBJECTS := $(patsubst %,$(OBJ)/%.o,$(wildcard tests/gpu/*.cu)) $(OBJ)/tests/gpu/report.o
GPU_BENCH_OBJECTS := $(patsubst %,$(OBJ)/%.o,$(wildcard bench/gpu/*.cu)) $(GPU_SHARED_OBJECTS)
FUZZERS := $(FUZZ_SOURCES:tests/native/%.cpp=$(OUT)/%)

# --- The two commands -----------------------------------------------------------------------------

serve: setup ## Start the server on 127.0.0.1:8000: make serve ARGS="--port 8123 --model PATH"
	@exec $(DENO) task --quiet serve $(ARGS)

test: setup ## Run every test, or some: make test ARGS="tests/engine --filter Scheduler"
	@exec $(DENO) task --quiet test $(ARGS)

# --- The library ----------------------------------------------------------------------------------

lib: $(OUT)/libhearth.so ## Build build/libhearth.so; CXX=clang++ for another compiler

# Renamed into place: overwriting a library crashes the process that has it mapped. Never unmapped:
# after an uncaught error Deno closes the library while hearth_poll is still in it.
$(OUT)/libhearth.so: $(OBJECTS)
	@echo "link $@"
	@$(LINK) -shared -Wl,-z,nodelete -o $@.tmp $^ $(CUDA_LIBRARIES) && mv -f $@.tmp $@

$(OBJ)/%.o: %.cpp $(OBJ)/command | .tools/checked
	@echo "compile $<"
	@mkdir -p $(@D)
	@$(COMPILE) $(ISA) $(DEFINES) -MMD -MP -c -o $@ $<

$(OBJ)/%.cu.o: %.cu $(OBJ)/cuda_command | .tools/checked
	@echo "compile $<"
	@mkdir -p $(@D)
	@$(COMPILE_CUDA) -MMD -MP -c -o $@ $<

$(OBJ)/%_avx2.o: ISA := $(AVX2)
$(OBJ)/%_avx512.o: ISA := $(AVX512)
$(OBJ)/%_amx.o: ISA := $(AMX)

# Only abi.cpp tells the commit, so that a new one recompiles one file.
COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
$(OBJ)/csrc/abi.o: DEFINES := -DHEARTH_BUILD_COMMIT='"$(COMMIT)"'
$(OBJ)/csrc/abi.o: $(OBJ)/commit

# So does the one that stands in for CUDA, and knows what the library is compiled for.
$(OBJ)/csrc/backend/cuda/no_cuda.o: DEFINES = $(if \
  $(CUDA_SOURCES),-DHEARTH_CUDA_ARCHITECTURES='"$(CUDA_CODE)"')
$(OBJ)/csrc/backend/cuda/no_cuda.o: $(OBJ)/cuda_command

# These files change only when what they hold changes, and so rebuild what depends on it.
$(OBJ)/command: CONTENT = $(COMPILE) $(AMX)
$(OBJ)/commit: CONTENT = $(COMMIT)
$(OBJ)/cuda_command: CONTENT = $(if $(CUDA_SOURCES),$(COMPILE_CUDA),none)
$(OBJ)/command $(OBJ)/commit $(OBJ)/cuda_command: always
	@mkdir -p $(@D)
	@echo '$(CONTENT)' | cmp -s - $@ || echo '$(CONTENT)' > $@

-include $(patsubst %.o,%.d,$(OBJECTS) $(TEST_OBJECTS) $(FUZZ_OBJECTS) $(GPU_TEST_OBJECTS) \
  $(GPU_BENCH_OBJECTS))

# --- Tests of the native code without Deno --------------------------------------------------------

native: $(OUT)/native_tests ## Build and run the C++ tests: make native SANITIZE=address,undefined
	@exec $< $(ARGS)

$(OUT)/native_tests: $(TEST_OBJECTS) $(OBJECTS)
	@echo "link $@"
	@$(LINK) -o $@ $^ $(CUDA_LIBRARIES)

# Checks the CUDA kernels, and times them: bench/gpu/run.sh does both where a GPU is. Events are
# counted by the tests (ticket_check.cu).
$(OUT)/gpu_tests: $(GPU_TEST_OBJECTS) $(OBJECTS)
	@echo "link $@"
	@$(LINK) -Wl,--wrap=cudaEventCreateWithFlags -o $@ $^ $(CUDA_LIBRARIES)

$(OUT)/gpu_bench: $(GPU_BENCH_OBJECTS) $(OBJECTS)
	@echo "link $@"
	@$(LINK) -o $@ $^ $(CUDA_LIBRARIES)

fuzz: $(FUZZERS) ## Fuzz what takes untrusted bytes (clang), each for FUZZ_SECONDS=60
	@set -e; for fuzzer in $(FUZZERS); do \
	  echo "fuzz $$fuzzer"; mkdir -p $$fuzzer.corpus; \
	  $$fuzzer -max_total_time=$(FUZZ_SECONDS) -len_control=0 -max_len=1024 -timeout=10 -print_funcs=0 \
	    -print_final_stats=1 -artifact_prefix=$$fuzzer. $$fuzzer.corpus; \
	done
FUZZ_SECONDS ?= 60

# The model that they tamper with is the native tests' own.
$(OUT)/fuzz_%: $(OBJ)/tests/native/fuzz_%.o $(OBJ)/tests/native/tiny_model.o $(OBJECTS)
	@echo "link $@"
	@$(LINK) -o $@ $^

# --- Set-up ---------------------------------------------------------------------------------------

DENO := .tools/deno-$(DENO_VERSION)/deno
CLANG_FORMAT := .tools/clang-format-$(CLANG_FORMAT_VERSION)/clang_format/data/bin/clang-format

setup: $(DENO) node_modules/.installed lib ## Get everything ready, start nothing

.tools/checked: scripts/check_tools.sh
	@scripts/check_tools.sh "$(CXX)" && mkdir -p $(@D) && touch $@

# The link leads to the PATH's Deno where that fits. Order-only: what a link points to has any age.
$(DENO): | .tools/checked
	@scripts/setup_deno.sh $(DENO_VERSION) $@

node_modules/.installed: deno.json deno.lock | $(DENO)
	@echo "install npm packages"
	@$(DENO) install --frozen --quiet && touch $@

$(CLANG_FORMAT):
	@echo "install clang-format $(CLANG_FORMAT_VERSION)"
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
	  --target .tools/clang-format-$(CLANG_FORMAT_VERSION) clang-format==$(CLANG_FORMAT_VERSION)

# --- The rest -------------------------------------------------------------------------------------

FORMATTED := '*.cpp' '*.h' '*.cu' '*.cuh'
# clang-format leaves comments alone (some are drawings), so their width is looked at beside it.
format: $(DENO) $(CLANG_FORMAT) ## Format C++, TypeScript, JSON, Markdown; CHECK=1 changes nothing
	@$(DENO) fmt --quiet $(if $(CHECK),--check)
	@git ls-files $(FORMATTED) | xargs $(CLANG_FORMAT) $(if $(CHECK),--dry-run --Werror,-i)
	@! git ls-files $(FORMATTED) | LC_ALL=C.UTF-8 xargs grep -nE '^.{101,}'

clean: ## Remove what was built; .tools and node_modules stay
	rm -rf build dist coverage

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

always:
.PHONY: serve test lib native fuzz setup format clean help always
