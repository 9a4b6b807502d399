// What a launch that chose between several kernels reports back.
#pragma once

#include <cuda_runtime_api.h>

namespace flashvsr::kernels {

/// What computes: a portable kernel (instructions of sm_80), a Hopper kernel, or the vendor's library
/// (native/backend/cuda).
enum class Taken : int { kPortable = 0, kSm90 = 1, kVendor = 2 };

/// `error` as of the launch; `by` means something only when it is cudaSuccess.
struct Launched {
  cudaError_t error = cudaSuccess;
  Taken by = Taken::kPortable;
};

}  // namespace flashvsr::kernels
