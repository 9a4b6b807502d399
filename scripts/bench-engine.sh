#!/usr/bin/env bash
# The engine's benchmark on this machine's GPU with synthetic weights of the official sizes: every part of flashvsr_bench, then the
# quality gate. About four minutes on an H100. Writes bench/results/engine-COMMIT.json and engine-quality-COMMIT.json.
#   scripts/bench-engine.sh [PART]... [any option of flashvsr_bench]
#   parts: sizes first cold latency two ladder portable fp8 int8 portable-int8 quality (default: all), report (rows for the issue template; a minute)     options: --size 768x1408, --seconds 5, ...
# Environment: BUILD, NO_BUILD as in scripts/test-gpu.sh; RESULTS (default bench/results); COMMIT (default: git's);
#   FLASHVSR_CUDA_PATH (auto portable sm90) for all parts but `portable`; QUALITY: options of flashvsr_quality.
set -uo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/gpu}
RESULTS=${RESULTS:-bench/results}
COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
if [ -z "${NO_BUILD:-}" ]; then
  archs=${ARCHS:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
  generator=()
  command -v ninja >/dev/null && [ ! -f "$BUILD/Makefile" ] && generator=(-G Ninja)
  mkdir -p "$BUILD"
  cmake -S native -B "$BUILD" "${generator[@]}" -DFLASHVSR_CUDA=ON "-DFLASHVSR_CUDA_ARCHS=$archs" "-DCMAKE_CUDA_ARCHITECTURES=$archs" >/dev/null &&
    cmake --build "$BUILD" -j "$(nproc)" >"$BUILD/build.log" 2>&1 || { tail -40 "$BUILD/build.log"; echo "the build failed"; exit 1; }
fi
mkdir -p "$RESULTS"
LIBRARY=$BUILD/backend/cuda/libflashvsr_cuda.so
parts=()
quality=
while [ $# -gt 0 ] && [ "${1#--}" = "$1" ]; do
  if [ "$1" = quality ]; then quality=1; else parts+=(--part "$1"); fi
  shift
done
status=0
if [ ${#parts[@]} -gt 0 ] || [ -z "$quality" ]; then
  timeout 400 "$BUILD/tools/flashvsr_bench" --synthetic --device cuda --library "$LIBRARY" --commit "$COMMIT" --json "$RESULTS/engine-$COMMIT.json" "${parts[@]}" "$@" || status=1
fi
case " ${parts[*]} " in
  *" report "*) # what the table does not say
    nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,power.limit --format=csv,noheader 2>/dev/null
    echo "commit $COMMIT, $(nvcc --version 2>/dev/null | grep -o 'release [0-9.]*'), $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
    ;;
esac
if [ ${#parts[@]} -eq 0 ] || [ -n "$quality" ]; then
  # shellcheck disable=SC2086
  timeout 300 "$BUILD/tools/flashvsr_quality" --device cuda --library "$LIBRARY" --commit "$COMMIT" --json "$RESULTS/engine-quality-$COMMIT.json" ${QUALITY:-} || status=1
fi
exit $status
