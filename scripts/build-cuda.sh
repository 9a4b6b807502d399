#!/usr/bin/env bash
# Builds the CUDA library and the addon beside it: `npm start -- --model flashvsr-v1.1 --device cuda` then uses the GPU.
# Needs nvcc 13 (CUDA toolkit), CMake and a C++20 compiler. A GPU is not needed to build.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v nvcc >/dev/null || { echo "nvcc is missing: install the CUDA toolkit 13 and put its bin folder on the PATH" >&2; exit 1; }
FLASHVSR_CUDA=1 FLASHVSR_REQUIRE_ADDON=1 exec node scripts/build-addon.mjs --force "$@"
