#!/usr/bin/env bash
# Packs what a bare GPU machine lacks into .gpu/, in folders small enough to travel a few at a time:
#
#   .gpu/tools   Deno and the npm packages that tests need (changes with deno.lock)
#   .gpu/build   libhearth.so, the native tests and bench, and their commit (changes with every
#                build); for racecheck tests of `make build/racecheck/gpu_tests CUDA=1
#                OUT=build/racecheck NVCCFLAGS=-DHEARTH_RACECHECK`, where they have been made
#                (wgmma.cuh says why)
#   .gpu/model1, .gpu/model2   halves of the default model, where it is in the cache folder
#
# Run it here, after `make lib build/gpu_tests build/gpu_bench` with CUDA; unpack.sh is its other
# half there.
#
#   bench/gpu/bundle.sh [FOLDER]     where libhearth.so, gpu_tests and gpu_bench lie: build
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-build}
limit=$((64 << 20)) # what one call may carry, the tracked tree included

# Ignored by this clone alone: nobody else's business.
exclude=$(git rev-parse --git-path info/exclude)
mkdir -p "$(dirname "$exclude")" .gpu/tools .gpu/build
grep -qxF /.gpu/ "$exclude" 2>/dev/null || echo /.gpu/ >>"$exclude"

# Left out: packages that only HTTP clients in tests, the bundler and type checks need.
left_out='^(ai|openai|@ai-sdk|esbuild|@esbuild|@vercel|@workflow)([@+/]|$)'
deno=$(readlink -f .tools/deno-*/deno)
if ! cmp -s deno.lock .gpu/tools/deno.lock; then
  rm -rf .gpu/tools/*
  echo "pack deno (minutes)"
  xz -9 --threads=1 --stdout "$deno" >.gpu/tools/deno.xz
  echo "pack node_modules"
  (cd node_modules && find . -mindepth 1 \( -type f -o -type l \) \
    ! -name '*.d.ts' ! -name '*.d.mts' ! -name '*.d.cts' ! -name '*.map' ! -name '*.md' \
    | sed 's|^\./||' | grep -vE "$left_out" \
    | grep -vE "^\.deno/(node_modules/)?${left_out#^}" | tar -cJf ../.gpu/tools/node_modules.tar.xz -T -)
  cp deno.lock .gpu/tools/deno.lock
fi

rm -f .gpu/build/*
racecheck=build/racecheck/gpu_tests
for file in "$folder/libhearth.so" "$folder/gpu_tests" "$folder/gpu_bench" "$racecheck"; do
  if [ -e "$file" ]; then
    name=$(basename "$file")
    [ "$file" != "$racecheck" ] || name=racecheck_tests
    xz -6 --stdout "$file" >".gpu/build/$name.xz"
  else
    echo "left out: no $file"
  fi
done
git describe --always --dirty --abbrev=12 >.gpu/build/commit

IFS=, read -r cache _ <<<"$(scripts/cache_folders.sh)"
model=$(find "$cache/models" -name '*.gguf' 2>/dev/null | head -1 || true)
if [ -n "$model" ] && [ ! -e ".gpu/model2/$(basename "$model").2" ]; then
  mkdir -p .gpu/model1 .gpu/model2
  half=$((($(stat -c %s "$model") + 1) / 2))
  head -c "$half" "$model" >".gpu/model1/$(basename "$model").1"
  tail -c +$((half + 1)) "$model" >".gpu/model2/$(basename "$model").2"
fi

tree=$(git ls-files --cached --others --exclude-standard -z | du -cb --files0-from=- | awk 'END {print $1}')
printf '%-14s %9d bytes\n' "tree" "$tree"
total() { # of the tree and folders
  local sum=$tree
  for folder in "$@"; do sum=$((sum + $(du -sb --apparent-size "$folder" | cut -f1))); done
  echo "$sum"
}
for call in ".gpu/tools .gpu/build" ".gpu/build .gpu/model1" ".gpu/model2"; do
  # shellcheck disable=SC2086
  sum=$(total $call)
  printf 'carry %-32s %9d bytes with the tree, %s\n' "$call" "$sum" \
    "$([ "$sum" -lt "$limit" ] && echo fits || echo TOO LARGE)"
done
