#!/bin/sh
# Links a Deno that fits, the PATH's or one from npm: setup_deno.sh VERSION LINK
# VERSION is the oldest that fits and the one that npm installs; the next major version fits no more.
set -eu
version=$1
link=$2
folder=$(dirname "$link")
mkdir -p "$folder"

# True for the same major version and no older minor and patch.
fits() {
  IFS=. read -r major minor patch <<END
$1
END
  IFS=. read -r want_major want_minor want_patch <<END
$version
END
  [ "$major" -eq "$want_major" ] && [ $((minor * 1000 + patch)) -ge $((want_minor * 1000 + want_patch)) ]
}

here=$(command -v deno || true)
if [ -n "$here" ]; then
  here_version=$(deno --version | sed -n 's/^deno \([0-9.]*\).*/\1/p')
  if fits "$here_version"; then
    ln -sfn "$here" "$link"
    echo "✓ deno $here_version ($here)"
    exit 0
  fi
  echo "✗ deno $here_version ($here) does not fit: $version or newer, same major version"
fi

if ! command -v npm >/dev/null; then
  echo "✗ deno: install deno $version, or node with npm, which can install it" >&2
  exit 1
fi
echo "install deno $version from npm into $folder"
# Without scripts: the platform's own package has the executable, deno's postinstall only copies it.
npm install --prefix "$folder" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
  "deno@$version" >/dev/null
ln -sfn "$(cd "$folder" && ls "$PWD"/node_modules/@deno/*/deno)" "$link"
echo "✓ deno $version from npm"
