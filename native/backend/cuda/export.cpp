#include "backend/cuda/cuda_backend.h"

extern "C" __attribute__((visibility("default"))) flashvsr::Backend* flashvsr_create_cuda_backend(
    int abiVersion, int deviceIndex, char* reason, std::size_t reasonBytes) {
  return flashvsr::cuda::CreateBackend(abiVersion, deviceIndex, reason, reasonBytes);
}

extern "C" __attribute__((visibility("default"))) int flashvsr_count_cuda_devices() {
  return flashvsr::cuda::CountDevices();
}
