#!/bin/sh
# Says, a line each, which of the tools that Hearth is built with are here: check_tools.sh CXX
# Fails when one that nothing can replace is missing.
set -u
failed=0

found() { echo "✓ $1"; }
missing() { echo "✗ $1: install $2" >&2; }

# The first number of a version such as 12.2.0.
major() { echo "${1%%.*}"; }

cxx=$1
version=$($cxx -dumpfullversion 2>/dev/null || $cxx -dumpversion 2>/dev/null)
# clang answers -dumpversion alone, and calls itself clang in --version.
case "$($cxx --version 2>/dev/null)" in *clang*) oldest=14 ;; *) oldest=12 ;; esac
if [ -z "$version" ]; then
  missing "$cxx" "g++ 12 or newer (Debian, Ubuntu: apt-get install g++)"
  failed=1
elif [ "$(major "$version")" -lt "$oldest" ]; then
  missing "$cxx $version is older than $oldest" "a newer one and name it: make CXX=g++-12"
  failed=1
else
  found "$cxx $version"
fi

if command -v git >/dev/null; then
  found "git"
else
  missing "git" "git, so that the library can tell which commit it was built from"
fi

if python3 -m pip --version >/dev/null 2>&1; then
  found "python3 with pip"
else
  missing "python3 with pip" "python3-pip, the second way to fetch the default model"
fi

exit $failed
