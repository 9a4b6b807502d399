#!/bin/sh
# Fuzzes the weight readers with libFuzzer under address and undefined behaviour sanitizers.
#   scripts/fuzz-weights.sh [seconds per reader, default 60] [safetensors|torch|pickle ...]
# Needs clang++ with libFuzzer (Debian: clang-19 libclang-rt-19-dev); CXX names another one. What it finds stays in
# build/fuzz/<reader>/ and the script ends with 1; new coverage goes to build/fuzz/<reader>/corpus, never into the tree.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -gt 0 ] && shift
readers=${*:-safetensors torch pickle}
for candidate in ${CXX:-} clang++-19 clang++-18 clang++-16 clang++; do
  if command -v "$candidate" >/dev/null 2>&1; then compiler=$candidate && break; fi
done
[ -n "${compiler:-}" ] || { echo "fuzz-weights: no clang++ found; install clang with libFuzzer or set CXX" >&2; exit 2; }

flags="-std=c++20 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -Inative"
for reader in $readers; do
  out=build/fuzz/$reader
  mkdir -p "$out/corpus"
  # shellcheck disable=SC2086
  "$compiler" $flags -fsanitize=fuzzer native/weights/*.cpp "native/weights/fuzz/${reader}_fuzz.cpp" -o "$out/fuzz"
  echo "== $reader: $seconds s"
  "$out/fuzz" -max_total_time="$seconds" -timeout=300 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="$out/" "$out/corpus" "native/weights/fuzz/corpus/$reader" 2>"$out/log" || {
    tail -40 "$out/log" >&2
    exit 1
  }
  grep -E 'stat::(number_of_executed_units|peak_rss_mb)|DONE' "$out/log"
done
