#include "../rope.h"

#include "../window_order.h"
#include "element.cuh"

namespace flashvsr::kernels {
namespace {

constexpr int kWarps = 4, kFramePairs = 22, kSidePairs = 21;

/// One warp a token. Vector v of 8 elements lies at pair 4*(v % 16) of its head, and v % 16 is the same for all vectors of a
/// lane (they are 32 apart): each lane needs four angles only.
template <typename T>
__global__ void __launch_bounds__(kWarps * 32) RmsRopeKernel(const __grid_constant__ RmsRopeParams p) {
  const int lane = threadIdx.x & 31;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kWarps + (threadIdx.x >> 5);
  if (token >= p.tokens) return;
  const T* const x = static_cast<const T*>(p.x) + token * p.ldx;
  T* const out = static_cast<T*>(p.out) + token * p.width;
  const TokenPosition position = PositionOfToken(p.tokenRows, p.tokenColumns, token);
  float2 angle[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int pair = (lane & 15) * 4 + i;
    const float* table;
    if (pair < kFramePairs) {
      table = p.frames + (position.frame * kFramePairs + pair) * 2;
    } else if (pair < kFramePairs + kSidePairs) {
      table = p.rows + (position.row * kSidePairs + pair - kFramePairs) * 2;
    } else {
      table = p.columns + (position.column * kSidePairs + pair - kFramePairs - kSidePairs) * 2;
    }
    angle[i] = make_float2(table[0], table[1]);
  }
  float sum = 0.0f;
  for (int v = lane; v < p.width / 8; v += 32) {
    float e[8];
    Load8(x + v * 8, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += e[j] * e[j];
  }
  const float factor = rsqrtf(WarpSum(sum) / p.width + 1e-6f);
  for (int v = lane; v < p.width / 8; v += 32) {
    float e[8], w[8];
    Load8(x + v * 8, e);
    Load8(p.weight + v * 8, w);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float re = e[2 * i] * factor * w[2 * i], im = e[2 * i + 1] * factor * w[2 * i + 1];
      e[2 * i] = re * angle[i].x - im * angle[i].y;
      e[2 * i + 1] = re * angle[i].y + im * angle[i].x;
    }
    Store8(out + v * 8, e);
  }
}

/// One thread owns 8 columns of one window and adds its 128 rows in order.
template <typename T>
__global__ void __launch_bounds__(64) WindowMeansKernel(const __grid_constant__ WindowMeansParams p) {
  const int vector = blockIdx.y * 64 + threadIdx.x;
  if (vector * 8 >= p.width) return;
  const T* const x = static_cast<const T*>(p.x) + static_cast<int64_t>(blockIdx.x) * 128 * p.width + vector * 8;
  float sum[8] = {};
#pragma unroll 8
  for (int row = 0; row < 128; ++row) {
    float e[8];
    Load8(x + static_cast<int64_t>(row) * p.width, e);
#pragma unroll
    for (int j = 0; j < 8; ++j) sum[j] += e[j];
  }
#pragma unroll
  for (int j = 0; j < 8; ++j) sum[j] *= 1.0f / 128.0f;
  Store8(p.means + static_cast<int64_t>(blockIdx.x) * p.width + vector * 8, sum);
}

}  // namespace

cudaError_t LaunchRmsRope(const RmsRopeParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.out == nullptr || p.weight == nullptr || p.frames == nullptr || p.rows == nullptr ||
      p.columns == nullptr || p.tokens <= 0 || p.width <= 0 || p.width % 128 != 0 || p.ldx < p.width || p.ldx % 8 != 0 ||
      p.tokenRows % 8 != 0 || p.tokenColumns % 8 != 0)
    return cudaErrorInvalidValue;
  const unsigned blocks = static_cast<unsigned>(CeilDiv(p.tokens, kWarps));
  if (p.type == DataType::kFloat32) {
    RmsRopeKernel<float><<<blocks, kWarps * 32, 0, stream>>>(p);
  } else {
    RmsRopeKernel<Bf16><<<blocks, kWarps * 32, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

cudaError_t LaunchWindowMeans(const WindowMeansParams& p, cudaStream_t stream) {
  if (p.x == nullptr || p.means == nullptr || p.windows <= 0 || p.width <= 0 || p.width % 8 != 0) return cudaErrorInvalidValue;
  const dim3 grid(static_cast<unsigned>(p.windows), static_cast<unsigned>(CeilDiv(p.width, 512)));
  if (p.type == DataType::kFloat32) {
    WindowMeansKernel<float><<<grid, 64, 0, stream>>>(p);
  } else {
    WindowMeansKernel<Bf16><<<grid, 64, 0, stream>>>(p);
  }
  return cudaGetLastError();
}

}  // namespace flashvsr::kernels
