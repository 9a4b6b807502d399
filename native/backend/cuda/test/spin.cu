#include "backend/cuda/test/spin.h"

namespace flashvsr::kernels {
namespace {

__global__ void __launch_bounds__(1024) SpinKernel(const volatile int* stop) {
  while (*stop == 0) {
  }
}

}  // namespace

cudaError_t LaunchSpin(const int* stop, cudaStream_t stream) {
  int device = 0, multiprocessors = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
      error != cudaSuccess)
    return error;
  SpinKernel<<<multiprocessors * 2, 1024, 0, stream>>>(stop);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
