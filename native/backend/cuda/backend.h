// The CUDA backend's one entry.
#pragma once

#include "backend/backend.h"

namespace flashvsr::cuda {

// As CreateCudaBackendFunction (native/backend/backend.h). FLASHVSR_CUDA_PATH=portable in the environment leaves cuBLASLt out;
// FLASHVSR_CUBLASLT names the library file instead of the loader's choice.
Backend* CreateBackend(int abiVersion, int deviceIndex, char* reason, std::size_t reasonBytes);

}  // namespace flashvsr::cuda
