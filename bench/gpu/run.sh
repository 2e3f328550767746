#!/usr/bin/env bash
# What is done on a GPU machine, each under 8 minutes: bench/gpu/run.sh check|bits|sanitize|bench...
#
#   check         ops, goldens and engine tests over cuda, the native checks; prints what failed
#   bits          the bits of small models: those stored, those of an older checkout in .gpu/base (its
#                 library in build/ there), and files for paths that have none stored yet
#   sanitize      compute-sanitizer (memcheck, racecheck) over small shapes of every op
#   bench         ceilings, ops and workloads
#   peers         PyTorch and Transformers
#   transformers  checkpoints of OPT-6.7B's and Llama-2-13B's shapes against Transformers
#
# Several run one after the other. log.txt and result.jsonl go to $OUT. bundle.sh (here) and
# unpack.sh (there) bring what the machine lacks; the library is built there if it does not load.
set -uo pipefail
cd "$(dirname "$0")/../.."
export OUT=${OUT:-/tmp/hearth/out}
mkdir -p "$OUT"
. bench/gpu/unpack.sh
export PYTHONUNBUFFERED=1 HEARTH_TEST_DEVICE=cuda
result=$OUT/result.jsonl
log=$OUT/log.txt
logs=$(mktemp -d)
failed=0

say() { printf '\n── %s (%d s)\n' "$*" "$SECONDS"; }

# limited SECONDS COMMAND...: 124 when it took longer; killed for good 5 s after.
limited() { timeout --kill-after=5 "$@" </dev/null; }

# noted NAME SECONDS COMMAND...: shows the output and counts a failure.
noted() {
  local name=$1 limit=$2 status
  shift 2
  say "$name"
  limited "$limit" "$@" 2>&1 | tee -a "$log"
  status=${PIPESTATUS[0]}
  if [ "$status" -ne 0 ]; then
    echo "✗ $name: exit status $status$([ "$status" -ge 124 ] && echo ", killed after $limit s")"
    failed=$((failed + 1))
  fi
}

load_or_build() {
  if python3 -c 'import ctypes, os; ctypes.CDLL(os.environ["HEARTH_LIBRARY"])' 2>"$logs/load"; then
    return
  fi
  cat "$logs/load"
  say "the library does not load: build it here"
  limited 400 make lib build/gpu_tests build/gpu_bench CUDA=1 CUDA_ARCHITECTURES=90 >"$logs/build" 2>&1 ||
    tail -30 "$logs/build"
  cp build/libhearth.so build/gpu_tests build/gpu_bench "$hearth/build/"
}

cublas() { # the library of PyTorch's wheels, or of CUDA
  local torch
  torch=$(python3 -c 'import importlib.util as u; print(*u.find_spec("torch").submodule_search_locations)' 2>/dev/null)
  find "${torch%/torch}" /usr/local/cuda/lib64 -name 'libcublas.so.1[0-9]' 2>/dev/null | head -1
}

meta() {
  python3 - "$result" <<'PYTHON'
import sys, time
sys.path.insert(0, "bench/gpu")
from results import Device, Results, commit
device = Device()
Results(sys.argv[1]).write("meta", device=device.name(), driver=device.driver(),
    date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), commit=commit(), **device.clocks())
PYTHON
}

# Every file is a process of its own, several at a time, so that one that hangs or dies takes no
# other with it. $1: seconds for each; then filters, --, files.
deno_tests() {
  local limit=$1 filters=() file
  shift
  while [ "$1" != -- ]; do filters+=("$1") && shift; done
  shift
  rm -f "$logs"/*_test.ts.log
  for file in "$@"; do echo "$file"; done | xargs -P 6 -I{} bash -c '
    log=$1/$(echo "$3" | tr / _).log; limit=$2; file=$3; shift 3
    { echo "# $file"; timeout --kill-after=5 "$limit" deno test -A --no-check --no-lock "$@" "$file" \
      </dev/null 2>&1; echo "# exit status $?"; } >"$log"' _ "$logs" "$limit" {} "${filters[@]}"
  cat "$logs"/*_test.ts.log >>"$log"
  python3 bench/gpu/test_summary.py "$logs"/*_test.ts.log || failed=$((failed + 1))
}

check() {
  local name tiny
  local -A checks
  for name in tickets packer pages linear qkv attention; do
    limited 170 "$hearth/build/gpu_tests" --filter "$name" >"$logs/$name" 2>&1 &
    checks[$name]=$!
  done
  limited 120 python3 bench/gpu/tiny_check.py >"$logs/tiny_check" 2>&1 &
  tiny=$!
  say "op tests"
  deno_tests 150 --filter cuda -- tests/kernels/*_test.ts
  say "goldens, engine"
  # shellcheck disable=SC2046  # names without spaces
  deno_tests 200 -- $(golden_tests) tests/engine/*_test.ts
  for name in "${!checks[@]}"; do ended "$name" "${checks[$name]}"; done
  ended tiny_check "$tiny"
}

# ended NAME PROCESS: waits for what ran in the background and shows it.
ended() {
  local status=0
  wait "$2" || status=$?
  say "$1"
  cat "$logs/$1" >>"$log"
  head -40 "$logs/$1"
  [ "$(wc -l <"$logs/$1")" -le 40 ] || { echo … && tail -3 "$logs/$1"; }
  if [ "$status" -ne 0 ]; then
    echo "✗ $1: exit status $status"
    failed=$((failed + 1))
  fi
}

# Those of the default model only where it has arrived.
golden_tests() {
  echo tests/golden/families_test.ts tests/e2e/{lost_device,device_contexts,loaded_code}_test.ts
  if ls "$models"/*.gguf >/dev/null 2>&1; then
    echo tests/golden/default_model_test.ts tests/e2e/same_bits_test.ts
  fi
}

# print_bits CHECKOUT FILE: what small models answer on CUDA, run by that checkout and its library.
print_bits() {
  (cd "$1" && HEARTH_LIBRARY=$PWD/build/libhearth.so \
    deno run -A --no-check --no-lock tests/bits/main.ts --device cuda --only "$bits_parts" >"$2")
}

bits() {
  local base=.gpu/base file
  export -f print_bits
  export bits_parts=tiny
  if ls "$models"/*.gguf >/dev/null 2>&1; then bits_parts=tiny,default,mixed; fi
  say "stored bits"
  deno_tests 200 -- tests/bits/*_test.ts
  noted "bits of this checkout" 120 bash -c 'print_bits . "$OUT/bits.jsonl"'
  if [ -d "$base" ]; then
    rm -rf "$base/tests/bits" && cp -r tests/bits "$base/tests/"
    ln -sfn "$hearth/node_modules" "$base/node_modules"
    sed -i 's/"nodeModulesDir": "auto"/"nodeModulesDir": "manual"/' "$base/deno.json"
    noted "bits of $base" 120 bash -c 'print_bits .gpu/base "$OUT/bits_base.jsonl"'
    noted "both compared" 20 deno run --allow-read --no-check --no-lock tests/bits/compare.ts \
      "$OUT/bits_base.jsonl" "$OUT/bits.jsonl"
  else
    echo "not compared with an older checkout: no $base"
  fi
  noted "bits of paths without stored ones" 200 \
    deno run -A --no-check --no-lock tests/bits/stored.ts --missing
  mkdir -p "$OUT/stored" && cp tests/bits/stored/*.json "$OUT/stored/"
}

sanitize() {
  local tool sanitizer tests
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer \
    /opt/nvidia/*/compute-sanitizer 2>/dev/null | head -1)
  if [ -z "$sanitizer" ]; then
    echo "not run: no compute-sanitizer"
    return
  fi
  # At the same time: each takes one core.
  for tool in memcheck racecheck; do
    tests=$hearth/build/gpu_tests
    if [ "$tool" = racecheck ]; then tests=$hearth/build/racecheck_tests; fi
    limited 420 "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 \
      "$tests" --reduced >"$logs/$tool" 2>&1 &
    limited 420 "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 \
      --target-processes all python3 bench/gpu/tiny_check.py --reduced \
      >"$logs/$tool-engine" 2>&1 &
  done
  wait
  for tool in memcheck memcheck-engine racecheck racecheck-engine; do
    say "$tool"
    cat "$logs/$tool" >>"$log"
    grep -vE '^=+ +(at|by|Host Frame|Saved)|^$' "$logs/$tool" | head -25
    tail -3 "$logs/$tool"
    if ! grep -qE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' "$logs/$tool"; then
      echo "✗ $tool: not clean, or not finished"
      failed=$((failed + 1))
    fi
  done
}

bench() {
  noted ops 230 "$hearth/build/gpu_bench" all --cublas "$(cublas)" --json "$result"
  noted workloads 220 python3 bench/gpu/workloads.py --seconds 170 --ceilings "$result" \
    --json "$result"
}

peers() {
  noted peers 450 python3 bench/gpu/peers.py --json "$result" --seconds 400
}

transformers() {
  noted transformers 470 python3 bench/gpu/transformers_check.py --json "$result" --seconds 420
}

load_or_build
meta
for part in "$@"; do
  case $part in
    check | bits | sanitize | bench | peers | transformers) "$part" ;;
    *) echo "no part: $part" && failed=$((failed + 1)) ;;
  esac
done
say "done, $failed failed"
[ "$failed" -eq 0 ]
