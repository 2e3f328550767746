# Puts what bundle.sh packed to where programs look for it. Sourced on the GPU machine, in the
# repository's root, by run.sh; does nothing that is done already, and takes what has arrived so far.
#
#   /tmp/hearth/deno, /tmp/hearth/build/…   executables, and the library, which build/ gets too
#   node_modules, deno.json                 a link to /tmp/hearth/node_modules, and told to use it
#   ~/.cache/hearth/models/                 the default model, once both halves are there
hearth=/tmp/hearth
mkdir -p "$hearth/build" "$hearth/deno_dir"

unxz_to() { # FILE.xz TARGET: only when it changed
  local sum
  sum=$(cksum <"$1")
  if [ -e "$2" ] && [ "$sum" = "$(cat "$2.sum" 2>/dev/null)" ]; then return; fi
  if command -v xz >/dev/null; then
    xz -dc "$1" >"$2.new"
  else
    python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"), 1 << 20)' "$1" "$2.new"
  fi
  chmod +x "$2.new"
  mv -f "$2.new" "$2"
  echo "$sum" >"$2.sum"
}

if [ -e .gpu/tools/deno.xz ]; then unxz_to .gpu/tools/deno.xz "$hearth/deno"; fi
if [ -e .gpu/tools/node_modules.tar.xz ] && [ ! -e "$hearth/node_modules/.unpacked" ]; then
  rm -rf "$hearth/node_modules"
  mkdir -p "$hearth/node_modules"
  python3 -c 'import sys, tarfile
tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter="fully_trusted")' \
    .gpu/tools/node_modules.tar.xz "$hearth/node_modules"
  touch "$hearth/node_modules/.unpacked"
fi
if [ -e "$hearth/node_modules/.unpacked" ] && [ ! -e node_modules ]; then
  ln -sfn "$hearth/node_modules" node_modules
fi
# What is there is used as it is: installing would ask the network. Programs that tests start, too.
sed -i 's/"nodeModulesDir": "auto"/"nodeModulesDir": "manual"/' deno.json
for file in .gpu/build/*.xz; do
  if [ -e "$file" ]; then unxz_to "$file" "$hearth/build/$(basename "$file" .xz)"; fi
done
if [ -e .gpu/build/commit ]; then cp .gpu/build/commit "$hearth/build/commit"; fi

models=${XDG_CACHE_HOME:-$HOME/.cache}/hearth/models
mkdir -p "$models" "$hearth/model"
for part in .gpu/model1/*.1 .gpu/model2/*.2; do
  if [ -e "$part" ]; then cp -u "$part" "$hearth/model/"; fi
done
for first in "$hearth"/model/*.1; do
  second=${first%.1}.2
  target=$models/$(basename "${first%.1}")
  if [ -e "$first" ] && [ -e "$second" ] && [ ! -e "$target" ]; then
    cat "$first" "$second" >"$target.new" && mv -f "$target.new" "$target"
  fi
done

export PATH=$hearth:$PATH DENO_DIR=$hearth/deno_dir DENO_NO_UPDATE_CHECK=1 NO_COLOR=1
# Where tests look for the library, and may open it.
if [ -e "$hearth/build/libhearth.so" ]; then
  mkdir -p build
  cmp -s "$hearth/build/libhearth.so" build/libhearth.so || cp -f "$hearth/build/libhearth.so" build/
fi
export HEARTH_LIBRARY=$PWD/build/libhearth.so
