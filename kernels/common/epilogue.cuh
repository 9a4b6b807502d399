// The epilogue that the tensor-core gemms share: bias, activation, residual, and whole 16-byte stores.
#pragma once

#include "kernels/common/element.cuh"
#include "kernels/common/gemm_operands.h"
#include "kernels/common/mma.cuh"

namespace flashvsr::kernels {

__device__ __forceinline__ float Activate(float x, Activation activation) {
  switch (activation) {
    case Activation::kGeluTanh: {
      // 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
      const float u = 0.7978845608028654f * (x + 0.044715f * x * x * x);
      return __fdividef(x, 1.0f + __expf(-2.0f * u));
    }
    case Activation::kSilu:
      return __fdividef(x, 1.0f + __expf(-x));
    case Activation::kRelu:
      return fmaxf(x, 0.0f);
    default:
      return x;
  }
}

template <typename T>
inline constexpr bool kIsFp8 = false;
template <>
inline constexpr bool kIsFp8<Fp8> = true;

__device__ __forceinline__ void Activate8(float v[8], Activation activation) {
  if (activation == Activation::kNone) return;
  if (activation == Activation::kRelu) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = fmaxf(v[i], 0.0f);
  } else if (activation == Activation::kGeluTanh) {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = Activate(v[i], Activation::kGeluTanh);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = Activate(v[i], Activation::kSilu);
  }
}

/// The ragged edge, and rows that are not 16-byte aligned: one element at a time. `v` has its bias.
template <typename Out>
__device__ __noinline__ void FinishEdge(const GemmEpilogue& e, float4 low, float4 high, Out* out, const Out* residual,
                                        int columns) {
  const float v[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (i >= columns) continue;
    float x = v[i];
    if (!e.activationLast) x = Activate(x, e.activation);
    if constexpr (!kIsFp8<Out>) {
      if (residual != nullptr) x += ToFloat(residual[i]);
    }
    if (e.activationLast) x = Activate(x, e.activation);
    if (kIsFp8<Out>) x *= e.outputScale;
    out[i] = FromFloat<Out>(x);
  }
}

/// Tile of this block: groups of 8 row tiles walk all column tiles, so that both operands stay in L2.
__device__ __forceinline__ void TileOfBlock(int block, int tilesM, int tilesN, int& tileM, int& tileN) {
  constexpr int kGroup = 8;
  const int perGroup = kGroup * tilesN;
  const int group = block / perGroup;
  const int first = group * kGroup;
  const int size = min(kGroup, tilesM - first);
  const int inside = block - group * perGroup;
  tileM = first + inside % size;
  tileN = inside / size;
}

/// Transposes 4 words across the 4 lanes of a quad: lane q ends with word q of lanes 0..3. Its own inverse.
__device__ __forceinline__ void TransposeWords(uint32_t (&w)[4], int lane) {
#pragma unroll
  for (int s = 1; s <= 2; s <<= 1) {
    const bool upper = (lane & s) != 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & s) continue;
      const int k = j | s;
      const uint32_t got = __shfl_xor_sync(0xffffffffu, upper ? w[j] : w[k], s);
      w[j] = upper ? got : w[j];
      w[k] = upper ? w[k] : got;
    }
  }
}

/// Transposes 4 float2 across the 4 lanes of a quad: lane q ends with element q of lanes 0..3.
__device__ __forceinline__ void TransposeQuad(float2 e[4], int lane) {
#pragma unroll
  for (int s = 1; s <= 2; s <<= 1) {
    const bool upper = (lane & s) != 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & s) continue;
      const int k = j | s;
      float2 send = upper ? e[j] : e[k];
      send.x = __shfl_xor_sync(0xffffffffu, send.x, s);
      send.y = __shfl_xor_sync(0xffffffffu, send.y, s);
      if (upper) {
        e[j] = send;
      } else {
        e[k] = send;
      }
    }
  }
}

/// Finishes and stores a warp's accumulators: kMt tiles of 16 rows, `rowStep` apart, from row `firstRow`; kNt tiles of
/// 8 columns from column `firstOfTile`. Both tensor-core paths leave their sums in this layout.
template <int kMt, int kNt, typename Rows, typename Out>
__device__ __forceinline__ void StoreTile(const typename Rows::Params& rowParams, const GemmWeight& weight,
                                          const GemmEpilogue& epilogue, const float (&acc)[kMt][kNt][4], int firstRow,
                                          int rowStep, int firstOfTile, int lane) {
  // A lane finishes 8 consecutive columns of a row at a time, the same columns for every row: their bias is loaded
  // once. The residuals of one m-tile are all in flight before the first store (stores and loads may alias, so the
  // order is fixed here).
  constexpr int kGroups = (kNt + 3) / 4;
  const int quadLane = lane & 3;
  float bias[kGroups][8];
  int columns[kGroups];  // left of this lane's 8: >= 8 whole, <= 0 nothing
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    const int nt = group * 4 + quadLane, column = firstOfTile + nt * 8;
    columns[group] = nt < kNt ? weight.n - column : 0;
#pragma unroll
    for (int c = 0; c < 8; ++c) bias[group][c] = 0.0f;
    if (epilogue.bias == nullptr) continue;
    if (columns[group] >= 8 && epilogue.vectorised) {
      Load8(epilogue.bias + column, bias[group]);
    } else {
#pragma unroll
      for (int c = 0; c < 8; ++c)
        if (c < columns[group]) bias[group][c] = epilogue.bias[column + c];
    }
  }
  const int firstColumn = firstOfTile + quadLane * 8;
#pragma unroll
  for (int i = 0; i < kMt; ++i) {
    Out* out[2] = {nullptr, nullptr};
    const Out* residual[2] = {nullptr, nullptr};
    bool inside[2];
    Raw8<Out> add[2][kGroups];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int m = firstRow + i * rowStep + half * 8 + (lane >> 2);
      inside[half] = Rows::template OutputRow<Out>(rowParams, m, out[half], residual[half]);
      if (inside[half] && residual[half] != nullptr && epilogue.vectorised) {
#pragma unroll
        for (int group = 0; group < kGroups; ++group)
          if (columns[group] >= 8) add[half][group].load(residual[half] + firstColumn + group * 32);
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int group = 0; group < kGroups; ++group) {
        float2 e[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int nt = group * 4 + j;
          e[j] = nt < kNt ? make_float2(acc[i][nt < kNt ? nt : 0][2 * half], acc[i][nt < kNt ? nt : 0][2 * half + 1])
                          : make_float2(0.0f, 0.0f);
        }
        TransposeQuad(e, lane);
        float v[8] = {e[0].x, e[0].y, e[1].x, e[1].y, e[2].x, e[2].y, e[3].x, e[3].y};
#pragma unroll
        for (int c = 0; c < 8; ++c) v[c] = fmaf(v[c], epilogue.scale, bias[group][c]);
        if (!inside[half]) continue;
        const int column = firstColumn + group * 32;
        if (columns[group] >= 8 && epilogue.vectorised) {
          if (!epilogue.activationLast) Activate8(v, epilogue.activation);
          if (residual[half] != nullptr) add[half][group].add(v);
          if (epilogue.activationLast) Activate8(v, epilogue.activation);
          if (kIsFp8<Out>) {
#pragma unroll
            for (int c = 0; c < 8; ++c) v[c] *= epilogue.outputScale;
          }
          Store8(out[half] + column, v);
        } else if (columns[group] > 0) {
          FinishEdge<Out>(epilogue, make_float4(v[0], v[1], v[2], v[3]), make_float4(v[4], v[5], v[6], v[7]),
                          out[half] + column, residual[half] != nullptr ? residual[half] + column : nullptr,
                          columns[group]);
        }
      }
    }
  }
}

}  // namespace flashvsr::kernels
