#!/usr/bin/env bash
# Runs every case of a golden folder through the engine, one line per tensor; exit 1 on any FAIL. Needs no Node.
#   scripts/parity.sh DIR [--device reference|cuda] [--precision bf16|fp32|fp8|int8] [--case NAME] [--threads N]
# Builds what it needs first (CMake, a C++20 compiler; nvcc for --device cuda). BUILD: the build folder.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
case " $* " in
  *" --device cuda "*)
    BUILD=${BUILD:-build/gpu}
    archs=${ARCHS:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)}
    options=(-DFLASHVSR_CUDA=ON "-DFLASHVSR_CUDA_ARCHS=$archs" "-DCMAKE_CUDA_ARCHITECTURES=$archs")
    extra=(--library "$BUILD/backend/cuda/libflashvsr_cuda.so")
    ;;
  *)
    BUILD=${BUILD:-build/native}
    options=()
    extra=()
    ;;
esac
mkdir -p "$BUILD"
if ! { cmake -S native -B "$BUILD" "${options[@]}" && cmake --build "$BUILD" -j "$jobs"; } >"$BUILD/build.log" 2>&1; then
  tail -40 "$BUILD/build.log"
  echo "the build failed; all of it is in $BUILD/build.log" >&2
  exit 1
fi
exec "$BUILD/tools/flashvsr_parity" "$@" "${extra[@]}"
