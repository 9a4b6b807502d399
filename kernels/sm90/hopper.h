// The condition of every launcher in sm90/. Host only.
#pragma once

#include <cuda_runtime_api.h>

namespace flashvsr::kernels {

/// The current device is a Hopper. Only where there is code for it (FLASHVSR_SM90).
inline bool Sm90Present() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
}

}  // namespace flashvsr::kernels
