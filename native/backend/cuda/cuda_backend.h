// The CUDA backend's one entry.
#pragma once

#include "backend/backend.h"

namespace flashvsr::cuda {

// As CreateCudaBackendFunction (native/backend/backend.h). FLASHVSR_CUDA_PATH=portable in the environment leaves out
// cuBLASLt and every kernel of newer architectures than sm_80; FLASHVSR_CUBLASLT names the library file instead of the
// loader's choice.
Backend* CreateBackend(int abiVersion, int deviceIndex, char* reason, std::size_t reasonBytes);

// As CountCudaDevicesFunction.
int CountDevices();

}  // namespace flashvsr::cuda
