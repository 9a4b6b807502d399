// One warp, one row: what the norms share. The row is read once, all of its loads in flight together, and stays in
// registers.
#pragma once

#include "kernels/common/element.cuh"

namespace flashvsr::kernels {

/// `vectors` groups of 8 elements, group lane + 32*i in lane's register i. Longer rows than 256 * kVectors are right
/// but read again for every walk.
template <typename T, int kVectors>
struct WarpRow {
  const T* at;
  int vectors, lane;
  Raw8<T> raw[kVectors];

  __device__ __forceinline__ void load(const T* row, int width) {
    at = row;
    vectors = width / 8;
    lane = threadIdx.x & 31;
#pragma unroll
    for (int i = 0; i < kVectors; ++i)
      if (lane + 32 * i < vectors) raw[i].load(row + (lane + 32 * i) * 8);
  }
  /// visit(float e[8], group, register)
  template <typename Visit>
  __device__ __forceinline__ void each(const Visit& visit) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (lane + 32 * i < vectors) {
        float e[8];
        raw[i].get(e);
        visit(e, lane + 32 * i, i);
      }
    }
    for (int v = lane + 32 * kVectors; v < vectors; v += 32) {
      float e[8];
      Load8(at + v * 8, e);
      visit(e, v, kVectors - 1);
    }
  }
  /// Sum over the row of (x - offset) or its square; every lane gets it.
  __device__ __forceinline__ float sum() const {
    float total = 0.0f;
    each([&](const float e[8], int, int) {
#pragma unroll
      for (int j = 0; j < 8; ++j) total += e[j];
    });
    return WarpSum(total);
  }
  __device__ __forceinline__ float squares(float offset = 0.0f) const {
    float total = 0.0f;
    each([&](const float e[8], int, int) {
#pragma unroll
      for (int j = 0; j < 8; ++j) total += (e[j] - offset) * (e[j] - offset);
    });
    return WarpSum(total);
  }
};

/// Stores 8 outputs: e4m3 times `scale`, other types as they are.
template <typename Out>
__device__ __forceinline__ void Store8Scaled(Out* p, float e[8], float) {
  Store8(p, e);
}
template <>
__device__ __forceinline__ void Store8Scaled<Fp8>(Fp8* p, float e[8], float scale) {
#pragma unroll
  for (int j = 0; j < 8; ++j) e[j] *= scale;
  Store8(p, e);
}

}  // namespace flashvsr::kernels
