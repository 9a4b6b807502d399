#!/usr/bin/env bash
# clang-tidy (.clang-tidy) over the native product code: addon, engine, reference backend, weights. About two minutes on two cores.
#   scripts/lint-native.sh [FILE]...
# Needs clang-tidy (Debian: apt-get install clang-tidy). Without it, says so and ends with 0; CI installs it.
set -euo pipefail
cd "$(dirname "$0")/.."
for candidate in ${CLANG_TIDY:-} clang-tidy-14 clang-tidy; do
  if command -v "$candidate" >/dev/null; then tidy=$candidate && break; fi
done
if [ -z "${tidy:-}" ]; then
  echo "skipped  lint of C++: clang-tidy is not here (apt-get install clang-tidy)"
  exit 0
fi
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
  mapfile -t files < <(git ls-files native/addon native/engine native/backend/reference native/weights | grep '\.cpp$' | grep -vE '/(test|fuzz)/')
fi
flags="-std=c++20 -Inative -I. -isystem node_modules/node-addon-api -isystem node_modules/node-api-headers/include"
flags="$flags -DNAPI_VERSION=8 -DNAPI_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED"
# shellcheck disable=SC2086
printf '%s\n' "${files[@]}" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -I{} sh -c '
  out=$("$0" --quiet "$1" -- '"$flags"' 2>/dev/null) && exit 0
  printf "%s\n" "$out"
  exit 1' "$tidy" {}
echo "C++: ${#files[@]} files are clean"
