#include "kernels/patch.h"

#include "kernels/common/element.cuh"
#include "kernels/common/philox.h"
#include "kernels/window_order.h"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads) PatchRowsKernel(const __grid_constant__ PatchRowsParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int width = p.channels * 4;
  const int64_t tokens = static_cast<int64_t>(p.frames) * (p.height / 2) * (p.width / 2);
  if (index >= tokens * width) return;
  const int element = static_cast<int>(index % width), c = element / 4, i = element / 2 % 2, j = element % 2;
  const TokenPosition at = PositionOfToken(p.height / 2, p.width / 2, index / width);
  const float value = p.latent[((static_cast<int64_t>(c) * p.frames + at.frame) * p.height + at.row * 2 + i) * p.width +
                               at.column * 2 + j];
  static_cast<T*>(p.rows)[index] = FromFloat<T>(value);
}

__global__ void __launch_bounds__(kThreads) SubtractPatchesKernel(const __grid_constant__ SubtractPatchesParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= static_cast<int64_t>(p.channels) * p.frames * p.height * p.width) return;
  const int x = static_cast<int>(index % p.width);
  int64_t rest = index / p.width;
  const int y = static_cast<int>(rest % p.height);
  rest /= p.height;
  const int frame = static_cast<int>(rest % p.frames), c = static_cast<int>(rest / p.frames);
  const int64_t token = TokenOfPosition(p.height / 2, p.width / 2, frame, y / 2, x / 2);
  p.out[index] = p.base[index] - p.rows[token * p.channels * 4 + (y % 2 * 2 + x % 2) * p.channels + c];
}

__global__ void __launch_bounds__(kThreads) NoiseKernel(const __grid_constant__ NoiseParams p) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t quads = static_cast<int64_t>(p.height) * p.width / 4;  // of one channel and frame
  if (index >= quads * p.channels * p.frames) return;
  const int64_t plane = index / quads, quad = index % quads;
  const int channel = static_cast<int>(plane / p.frames), frame = static_cast<int>(plane % p.frames);
  float out[4];
  NoiseNormals(p.seed, p.position + frame, static_cast<uint32_t>(channel * quads + quad), out);
  *reinterpret_cast<float4*>(p.out + index * 4) = make_float4(out[0], out[1], out[2], out[3]);
}

unsigned Blocks(int64_t count) { return static_cast<unsigned>(CeilDiv(count, kThreads)); }

}  // namespace

cudaError_t LaunchPatchRows(const PatchRowsParams& p, cudaStream_t stream) {
  if (p.latent == nullptr || p.rows == nullptr || p.channels <= 0 || p.frames <= 0 || p.frames % 2 != 0 ||
      p.height <= 0 || p.width <= 0 || p.height % 16 != 0 || p.width % 16 != 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = Blocks(static_cast<int64_t>(p.channels) * p.frames * p.height * p.width);
  if (p.type == DataType::kFloat32) {
    PatchRowsKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    PatchRowsKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchSubtractPatches(const SubtractPatchesParams& p, cudaStream_t stream) {
  if (p.rows == nullptr || p.base == nullptr || p.out == nullptr || p.channels <= 0 || p.frames <= 0 ||
      p.frames % 2 != 0 || p.height <= 0 || p.width <= 0 || p.height % 16 != 0 || p.width % 16 != 0)
    return cudaErrorInvalidValue;
  SubtractPatchesKernel<<<Blocks(static_cast<int64_t>(p.channels) * p.frames * p.height * p.width), kThreads, 0,
                          stream>>>(p);
  return cudaGetLastError();
}

cudaError_t LaunchNoise(const NoiseParams& p, cudaStream_t stream) {
  const int64_t plane = static_cast<int64_t>(p.height) * p.width;
  if (p.out == nullptr || p.channels <= 0 || p.frames <= 0 || plane <= 0 || plane % 4 != 0)
    return cudaErrorInvalidValue;
  NoiseKernel<<<Blocks(plane / 4 * p.channels * p.frames), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
