// A kernel that takes the whole card and never ends.
#pragma once

#include <cuda_runtime_api.h>

namespace flashvsr::kernels {

/// Runs until *stop (mapped host memory) is not 0.
cudaError_t LaunchSpin(const int* stop, cudaStream_t stream);

}  // namespace flashvsr::kernels
