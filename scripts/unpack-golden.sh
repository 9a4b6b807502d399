#!/usr/bin/env bash
# Unpacks testdata/golden/**/*.gz beside themselves, where they are missing or older. CMake (with FLASHVSR_TOOLS) and vitest call
# this. The files are kept compressed because the repository stays under 20 MB.
set -euo pipefail
cd "$(dirname "$0")/../testdata/golden"
find . -name '*.gz' | while read -r packed; do
  file=${packed%.gz}
  [ -e "$file" ] && [ ! "$packed" -nt "$file" ] && continue
  # Two callers may do this at once: the file appears whole or not at all.
  gzip -dc "$packed" >"$file.$$"
  mv -f "$file.$$" "$file"
done
