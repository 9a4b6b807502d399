#!/usr/bin/env bash
# Formats the C++ and CUDA code (.clang-format), or with --check names the files that differ and ends with 1.
# Needs clang-format 14 (Debian 12: apt-get install clang-format): other versions format some lines differently. Without it, says so
# and ends with 0, so that machines without a C++ toolchain can run `npm run check`; CI installs it.
set -euo pipefail
cd "$(dirname "$0")/.."
for candidate in ${CLANG_FORMAT:-} clang-format-14 clang-format; do
  if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q 'version 14\.'; then format=$candidate && break; fi
done
if [ -z "${format:-}" ]; then
  echo "skipped  format of C++ and CUDA: clang-format 14 is not here (apt-get install clang-format)"
  exit 0
fi
mapfile -t files < <(git ls-files --cached --others --exclude-standard native kernels | grep -E '\.(h|cuh|cpp|cu)$')
if [ "${1:-}" != --check ]; then exec "$format" -i "${files[@]}"; fi
differing=()
for file in "${files[@]}"; do cmp -s "$file" <("$format" "$file") || differing+=("$file"); done
if [ ${#differing[@]} -gt 0 ]; then
  printf 'not formatted: %s\n' "${differing[@]}" >&2
  echo "run: npm run format" >&2
  exit 1
fi
echo "C++ and CUDA: ${#files[@]} files are formatted"
