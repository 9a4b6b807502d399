#!/usr/bin/env bash
# The engine's speed on this machine's GPU with synthetic weights of the official sizes; writes bench/results/engine-*.json.
#   scripts/bench-engine.sh [--size HxW]... [any other argument of flashvsr_bench]      default: --size 768x1408
# Environment: BUILD, NO_BUILD as in scripts/test-gpu.sh; PATHS ("auto portable"); RESULTS (default bench/results);
#   COMMIT (default: git's); CEILING (measured bf16 TFLOP/s of the card, default 798, an H100 80GB).
set -uo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/gpu}
RESULTS=${RESULTS:-bench/results}
COMMIT=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
if [ -z "${NO_BUILD:-}" ]; then
  archs=${ARCHS:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
  cmake -S native -B "$BUILD" -DFLASHVSR_CUDA=ON "-DFLASHVSR_CUDA_ARCHS=$archs" "-DCMAKE_CUDA_ARCHITECTURES=$archs" >/dev/null &&
    cmake --build "$BUILD" -j "$(nproc)" >"$BUILD/build.log" 2>&1 || { tail -40 "$BUILD/build.log"; echo "the build failed"; exit 1; }
fi
mkdir -p "$RESULTS"
arguments=("$@")
case " $* " in *" --size "*) ;; *) arguments+=(--size 768x1408) ;; esac
status=0
for path in ${PATHS:-auto}; do
  FLASHVSR_CUDA_PATH=$path "$BUILD/tools/flashvsr_bench" --synthetic --device cuda --library "$BUILD/backend/cuda/libflashvsr_cuda.so" \
    --path "$path" --commit "$COMMIT" --ceiling "${CEILING:-798}" --json "$RESULTS/engine-$path-$COMMIT.json" "${arguments[@]}" || status=1
done
exit $status
