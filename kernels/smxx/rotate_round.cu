// One block a row, one warp 256 elements (a Hadamard block, or several shorter ones) at a time: lane l holds elements
// 8l to 8l+7, so three of the eight butterflies are a thread's own and five are shuffles. The row is read once and
// stays in registers until its largest element is known.
#include <cmath>

#include "kernels/common/element.cuh"
#include "kernels/rotate_round.h"

namespace flashvsr::kernels {
namespace {

constexpr int kWarps = 8, kMostHeld = 5;

/// `Combine` over all threads of the block, in the same order every time; every thread gets it.
template <typename Warp, typename Combine>
__device__ __forceinline__ float BlockReduce(float own, float (&shared)[kWarps], const Warp& warp,
                                             const Combine& combine) {
  own = warp(own);
  __syncthreads();  // who still reads the reduction before
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = own;
  __syncthreads();
  float all = shared[0];
#pragma unroll
  for (int i = 1; i < kWarps; ++i) all = combine(all, shared[i]);
  return all;
}

/// Butterflies of 1, 2, 4 in the thread and 8 to 128 between lanes, as far as blocks of `length` go, then `factor`, one
/// over the root of it.
__device__ __forceinline__ void Rotate(float (&v)[8], int lane, int length, float factor) {
#pragma unroll
  for (int span = 1; span < 8; span *= 2) {
    if (span >= length) break;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i & span) continue;
      const float low = v[i], high = v[i | span];
      v[i] = low + high;
      v[i | span] = low - high;
    }
  }
#pragma unroll
  for (int span = 1; span < 32; span *= 2) {
    if (8 * span >= length) break;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const float other = __shfl_xor_sync(0xffffffffu, v[i], span);
      v[i] = lane & span ? other - v[i] : v[i] + other;
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) v[i] *= factor;
}

__device__ __forceinline__ uint32_t PackInt8(const float* v, float inverse) {
  uint32_t word = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) word |= (static_cast<uint32_t>(__float2int_rn(v[i] * inverse)) & 0xffu) << (8 * i);
  return word;
}

template <typename T, int kHeld>
__global__ void __launch_bounds__(kWarps * 32)
    RotateRoundKernel(const __grid_constant__ RotateRoundParams p, float factorOfBlocks) {
  __shared__ float partial[kWarps];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const T* const x = static_cast<const T*>(p.x) + static_cast<int64_t>(blockIdx.x) * p.width;
  int8_t* const out = static_cast<int8_t*>(p.out) + blockIdx.x * p.ldOut;
  // Where this thread's piece h of the row begins. Pieces past its end are zeros, which no block of the row contains.
  const auto column = [&](int h) { return (warp + h * kWarps) * kLongestRotation + lane * 8; };
  const auto sum = [](float a, float b) { return a + b; };
  const auto largest = [](float a, float b) { return fmaxf(a, b); };

  // Read
  float v[kHeld][8];
#pragma unroll
  for (int h = 0; h < kHeld; ++h) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[h][i] = 0.0f;
    if (column(h) < p.width) Load8(x + column(h), v[h]);
  }
  // Norm
  if (p.norm) {
    float total = 0.0f, squares = 0.0f;
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
#pragma unroll
      for (int i = 0; i < 8; ++i) total += v[h][i];
    const float mean = BlockReduce(total, partial, WarpSum, sum) / static_cast<float>(p.width);
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
      if (column(h) < p.width) {
#pragma unroll
        for (int i = 0; i < 8; ++i) v[h][i] -= mean, squares += v[h][i] * v[h][i];
      }
    const float variance = BlockReduce(squares, partial, WarpSum, sum) / static_cast<float>(p.width);
    const float factor = rsqrtf(variance + 1e-6f);
#pragma unroll
    for (int h = 0; h < kHeld; ++h)
#pragma unroll
      for (int i = 0; i < 8; ++i) v[h][i] *= factor;
  }
  // Turn, and find the largest
  float most = 0.0f;
#pragma unroll
  for (int h = 0; h < kHeld; ++h) {
    if (column(h) - lane * 8 >= p.width) continue;  // the same for a whole warp
    Rotate(v[h], lane, p.rotation, factorOfBlocks);
#pragma unroll
    for (int i = 0; i < 8; ++i) most = fmaxf(most, fabsf(v[h][i]));
  }
  most = BlockReduce(most, partial, WarpMax, largest);
  // Round and store
  const float scale = most > 0.0f ? __fdiv_rn(most, 127.0f) : 1.0f, inverse = __frcp_rn(scale);
  if (threadIdx.x == 0) p.scales[blockIdx.x] = scale;
#pragma unroll
  for (int h = 0; h < kHeld; ++h)
    if (column(h) < p.width)
      *reinterpret_cast<uint2*>(out + column(h)) = make_uint2(PackInt8(v[h], inverse), PackInt8(v[h] + 4, inverse));
}

template <typename T>
cudaError_t Launch(const RotateRoundParams& p, cudaStream_t stream) {
  constexpr int kOnce = kWarps * kLongestRotation;
  const auto kernel = p.width <= kOnce       ? RotateRoundKernel<T, 1>
                      : p.width <= 2 * kOnce ? RotateRoundKernel<T, 2>
                                             : RotateRoundKernel<T, kMostHeld>;
  kernel<<<static_cast<unsigned>(p.rows), kWarps * 32, 0, stream>>>(p,
                                                                    1.0f / std::sqrt(static_cast<float>(p.rotation)));
  return cudaGetLastError();
}

}  // namespace

cudaError_t LaunchRotateRound(const RotateRoundParams& p, cudaStream_t stream) {
  static_assert(kWidestRotateRound == kMostHeld * kWarps * kLongestRotation);
  const bool aligned = reinterpret_cast<uintptr_t>(p.x) % 16 == 0 && reinterpret_cast<uintptr_t>(p.out) % 8 == 0;
  const bool turns = p.rotation > 0 && p.rotation <= kLongestRotation && (p.rotation & (p.rotation - 1)) == 0 &&
                     p.width % p.rotation == 0;
  const bool room = p.ldOut >= p.width && p.ldOut % 8 == 0 && (p.out != p.x || p.ldOut == p.width * SizeOf(p.type));
  if (p.x == nullptr || p.out == nullptr || p.scales == nullptr || p.rows <= 0 || p.rows > 0x7fffffff || p.width <= 0 ||
      p.width % 16 != 0 || p.width > kWidestRotateRound || !turns || !room || !aligned)
    return cudaErrorInvalidValue;
  if (p.type == DataType::kFloat32) return Launch<float>(p, stream);
  return p.type == DataType::kBfloat16 ? Launch<Bf16>(p, stream) : cudaErrorInvalidValue;
}

}  // namespace flashvsr::kernels
