#include "kernels/shuffle.h"

#include "kernels/common/element.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float PixelToUnit(uint8_t x) { return static_cast<float>(x) / 255.0f * 2.0f - 1.0f; }
__device__ __forceinline__ float SoftClamp(float x) { return tanhf(x / 3.0f) * 3.0f; }

/// One thread a row of 16 pixels of one token: 48 bytes in, three runs of 16 channels out.
template <typename T>
__global__ void __launch_bounds__(kThreads) UnshuffleKernel(const __grid_constant__ UnshuffleParams p) {
  const int index = blockIdx.x * kThreads + threadIdx.x;
  const int columns = p.width / 16;
  if (index >= p.height * columns) return;
  const int row = index % 16, token = index / 16, x = token % columns, y = token / columns;
  const uint4* const from =
      reinterpret_cast<const uint4*>(p.frame + (static_cast<int64_t>(y * 16 + row) * p.width + x * 16) * 3);
  uint4 raw[3] = {from[0], from[1], from[2]};
  const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(raw);
  T* const out = static_cast<T*>(p.out) + static_cast<int64_t>(token) * 768 + row * 16;
#pragma unroll
  for (int c = 0; c < 3; ++c) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float v[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) v[j] = PixelToUnit(bytes[(half * 8 + j) * 3 + c]);
      Store8(out + c * 256 + half * 8, v);
    }
  }
}

/// One thread a row of 8 pixels of one frame: 24 bytes in, three runs of 8 channels out. The thread of row 0, frame 0
/// adds the latent's channels.
template <typename T>
__global__ void __launch_bounds__(kThreads) DecoderInputKernel(const __grid_constant__ DecoderInputParams p) {
  __shared__ float unit[256];
  static_assert(kThreads == 256);
  unit[threadIdx.x] = SoftClamp(PixelToUnit(static_cast<uint8_t>(threadIdx.x)));
  __syncthreads();
  const int index = blockIdx.x * kThreads + threadIdx.x;
  const int rows = p.height / 8, columns = p.width / 8;
  if (index >= rows * columns * 32) return;
  const int row = index % 8, frame = index / 8 % 4, place = index / 32, x = place % columns, y = place / columns;
  const uint2* const from =
      reinterpret_cast<const uint2*>(p.frames[frame] + (static_cast<int64_t>(y * 8 + row) * p.width + x * 8) * 3);
  uint2 raw[3] = {from[0], from[1], from[2]};
  const uint8_t* const bytes = reinterpret_cast<const uint8_t*>(raw);
  T* const out = static_cast<T*>(p.out) + static_cast<int64_t>(place) * (768 + p.channels);
#pragma unroll
  for (int c = 0; c < 3; ++c) {
    T* const to = out + ((c * 4 + frame) * 8 + row) * 8;
    float v[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] = unit[bytes[j * 3 + c]];
    if (p.channels % 8 == 0) {
      Store8(to, v);
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) to[j] = FromFloat<T>(v[j]);
    }
  }
  for (int c = index % 32; c < p.channels; c += 32) {
    const float v = p.latent[((static_cast<int64_t>(c) * p.latentFrames + p.latentFrame) * rows + y) * columns + x];
    out[768 + c] = FromFloat<T>(SoftClamp(v));
  }
}

}  // namespace

cudaError_t LaunchUnshuffle(const UnshuffleParams& p, cudaStream_t stream) {
  if (p.frame == nullptr || p.out == nullptr || p.height <= 0 || p.width <= 0 || p.height % 16 != 0 ||
      p.width % 16 != 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(static_cast<int64_t>(p.height) * (p.width / 16), kThreads));
  if (p.type == DataType::kFloat32) {
    UnshuffleKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    UnshuffleKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchDecoderInput(const DecoderInputParams& p, cudaStream_t stream) {
  if (p.latent == nullptr || p.out == nullptr || p.channels <= 0 || p.latentFrame < 0 ||
      p.latentFrame >= p.latentFrames || p.height <= 0 || p.width <= 0 || p.height % 8 != 0 || p.width % 8 != 0)
    return cudaErrorInvalidValue;
  for (const uint8_t* frame : p.frames)
    if (frame == nullptr) return cudaErrorInvalidValue;
  const unsigned blocks =
      static_cast<unsigned>(CeilDiv(static_cast<int64_t>(p.height / 8) * (p.width / 8) * 32, kThreads));
  if (p.type == DataType::kFloat32) {
    DecoderInputKernel<float><<<blocks, kThreads, 0, stream>>>(p);
  } else {
    DecoderInputKernel<Bf16><<<blocks, kThreads, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
