// One tensor-core gemm for linear layers and convolutions: d = epilogue(rows * weight^T).
//
// Shape of the kernel. A block computes a kBm x kBn tile over the whole reduction; cp.async keeps kStages k-blocks of
// 32 in flight; warps own 64x64 (or smaller) tiles so that shared-memory reads stay below the tensor cores' appetite;
// fragments are double-buffered in registers across k-blocks. Where the rows of the left operand lie is the `Rows`
// type's business (a matrix, or pixels of frames under a moving tap), so both share every line that touches a tensor
// core. 8-bit operands are the same bytes to everything but the multiply: a row of k of them goes through as a row of
// k/2 bf16.
#pragma once

#include "kernels/common/epilogue.cuh"
#include "kernels/common/operand_rows.cuh"
#include "kernels/smxx/gemm_smxx.h"

namespace flashvsr::kernels {

template <int kBmValue, int kBnValue, int kWmValue, int kWnValue, int kStagesValue>
struct GemmTileShape {
  static constexpr int kBm = kBmValue, kBn = kBnValue, kWm = kWmValue, kWn = kWnValue, kStages = kStagesValue;
  static constexpr int kWarpsM = kBm / kWm, kWarpsN = kBn / kWn;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kBk = kBlockK, kRowChunks = kBk / 8;  // 64-byte rows in shared memory
  static constexpr bool kBranchFree = false;
  static constexpr int kRowsPerPass = kThreads / kRowChunks;
  static constexpr int kPassesA = kBm / kRowsPerPass;
  static constexpr int kPassesB = (kBn + kRowsPerPass - 1) / kRowsPerPass;
  static constexpr int kBytesA = kBm * kBlockK * 2, kBytesB = kBn * kBlockK * 2;
  static constexpr int kSharedBytes = kStages * (kBytesA + kBytesB);
  static_assert(kBm % kRowsPerPass == 0 && kWm % 16 == 0 && kWn % 16 == 0 && kSharedBytes <= 99 * 1024);
};

/// What a tensor-core instruction multiplies, and what it sums in.
struct Bf16Product {
  using Sum = float;
  static constexpr bool kScaled = false;
  static __device__ __forceinline__ void Add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MultiplyAdd(d, a, b0, b1);
  }
};
struct Float8Product {
  using Sum = float;
  static constexpr bool kScaled = false;
  static __device__ __forceinline__ void Add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MultiplyAddFloat8(d, a, b0, b1);
  }
};
struct Int8Product {
  using Sum = int32_t;
  static constexpr bool kScaled = true;  // by row and column
  static __device__ __forceinline__ void Add(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MultiplyAddInt8(d, a, b0, b1);
  }
};

/// int8: sums times the scales of their row and column, in place of which the epilogue has fp32 sums. Layout:
/// StoreTile.
template <int kMt, int kNt>
__device__ __forceinline__ void ScaleSums(const GemmEpilogue& epilogue, int m, int n,
                                          const int32_t (&sums)[kMt][kNt][4], float (&scaled)[kMt][kNt][4],
                                          int firstRow, int firstColumn, int lane) {
  float columns[kNt][2];
#pragma unroll
  for (int j = 0; j < kNt; ++j)
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int column = firstColumn + j * 8 + (lane & 3) * 2 + c;
      columns[j][c] = column < n ? epilogue.columnScales[column] : 0.0f;
    }
#pragma unroll
  for (int i = 0; i < kMt; ++i)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = firstRow + i * 16 + half * 8 + (lane >> 2);
      const float scale = row < m ? epilogue.rowScales[row] : 0.0f;
#pragma unroll
      for (int j = 0; j < kNt; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          scaled[i][j][half * 2 + c] = static_cast<float>(sums[i][j][half * 2 + c]) * scale * columns[j][c];
    }
}

template <typename Tile, typename Rows, typename Out, typename Product>
__global__ void __launch_bounds__(Tile::kThreads)
    GemmKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ GemmWeight weight,
               const __grid_constant__ GemmEpilogue epilogue, int tilesM, int tilesN) {
  extern __shared__ __align__(1024) unsigned char shared[];
  constexpr int kMt = Tile::kWm / 16, kNt = Tile::kWn / 8, kStages = Tile::kStages;

  // This block's tile
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int warpM = warp % Tile::kWarpsM, warpN = warp / Tile::kWarpsM;
  int tileM, tileN;
  TileOfBlock(blockIdx.x, tilesM, tilesN, tileM, tileN);
  const int m0 = tileM * Tile::kBm, n0 = tileN * Tile::kBn;

  // Copies: a thread moves one 16-byte chunk of several rows, k-block after k-block
  const int copyRow = thread >> 2, copyChunk = thread & 3;
  const uint32_t sharedA = SharedAddress(shared), sharedB = sharedA + kStages * Tile::kBytesA;

  Rows rows;
  rows.template Start<Tile>(rowParams, m0 + copyRow, copyChunk);
  const Bf16* const weights = static_cast<const Bf16*>(weight.data);

  const auto issue = [&](int stage, int block) {
    rows.template Copy<Tile>(rowParams, sharedA + stage * Tile::kBytesA, copyRow, copyChunk, block);
    const int column = block * kBlockK + copyChunk * 8;
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      const int row = copyRow + i * Tile::kRowsPerPass;
      if (Tile::kBn % Tile::kRowsPerPass == 0 || row < Tile::kBn) {
        const bool valid = n0 + row < weight.n && column < weight.k;
        const Bf16* source = valid ? weights + (n0 + row) * weight.ld + column : weights;
        CopyAsync16(sharedB + stage * Tile::kBytesB + SwizzledOffset<4>(row, copyChunk), source, valid);
      }
    }
  };

  // Fill the pipeline
  const int blocks = (weight.k + kBlockK - 1) / kBlockK;
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    if (stage < blocks) issue(stage, stage);
    CommitCopies();
  }

  // Fragments. ldmatrix addresses: lane i gives row i%16 of A and, for B, row (i&7) + 8*(i/16); the k step flips chunk
  // bit 1.
  const int rowA = warpM * Tile::kWm + (lane & 15);
  const int rowB = warpN * Tile::kWn + (lane & 7) + ((lane >> 4) << 3);
  const uint32_t offsetA = SwizzledOffset<4>(rowA, lane >> 4);
  const uint32_t offsetB = SwizzledOffset<4>(rowB, (lane >> 3) & 1);

  typename Product::Sum acc[kMt][kNt][4];
#pragma unroll
  for (int i = 0; i < kMt; ++i)
#pragma unroll
    for (int j = 0; j < kNt; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0;

  uint32_t a[2][kMt][4], b[2][kNt][2];
  const auto loadFragments = [&](int buffer, int stage, int step) {
    const uint32_t flip = step * 32;
    const uint32_t baseA = sharedA + stage * Tile::kBytesA + (offsetA ^ flip);
    const uint32_t baseB = sharedB + stage * Tile::kBytesB + (offsetB ^ flip);
#pragma unroll
    for (int i = 0; i < kMt; ++i)
      LoadMatrix4(baseA + i * 16 * 64, a[buffer][i][0], a[buffer][i][1], a[buffer][i][2], a[buffer][i][3]);
#pragma unroll
    for (int j = 0; j < kNt; j += 2)
      LoadMatrix4(baseB + j * 8 * 64, b[buffer][j][0], b[buffer][j][1], b[buffer][j + 1][0], b[buffer][j + 1][1]);
  };

  // Main loop
  WaitCopies<kStages - 2>();
  __syncthreads();
  loadFragments(0, 0, 0);
  int readStage = 0, writeStage = kStages - 1;
  for (int block = 0; block < blocks; ++block) {
    // Step 0: fetch the second half of this k-block, start the copy kStages-1 blocks ahead into the stage everyone has
    // left.
    loadFragments(1, readStage, 1);
    if (block + kStages - 1 < blocks) issue(writeStage, block + kStages - 1);
    CommitCopies();
    writeStage = writeStage + 1 == kStages ? 0 : writeStage + 1;
#pragma unroll
    for (int i = 0; i < kMt; ++i)
#pragma unroll
      for (int j = 0; j < kNt; ++j) Product::Add(acc[i][j], a[0][i], b[0][j][0], b[0][j][1]);
    // Step 1: the next k-block must have landed; its first half is fetched under this half's products.
    WaitCopies<kStages - 2>();
    __syncthreads();
    readStage = readStage + 1 == kStages ? 0 : readStage + 1;
    if (block + 1 < blocks) loadFragments(0, readStage, 0);
#pragma unroll
    for (int i = 0; i < kMt; ++i)
#pragma unroll
      for (int j = 0; j < kNt; ++j) Product::Add(acc[i][j], a[1][i], b[1][j][0], b[1][j][1]);
  }

  // Epilogue
  const int firstRow = m0 + warpM * Tile::kWm, firstColumn = n0 + warpN * Tile::kWn;
  if constexpr (Product::kScaled) {
    float scaled[kMt][kNt][4];
    ScaleSums<kMt, kNt>(epilogue, rowParams.m, weight.n, acc, scaled, firstRow, firstColumn, lane);
    StoreTile<kMt, kNt, Rows, Out>(rowParams, weight, epilogue, scaled, firstRow, 16, firstColumn, lane);
  } else {
    StoreTile<kMt, kNt, Rows, Out>(rowParams, weight, epilogue, acc, firstRow, 16, firstColumn, lane);
  }
}

/// The plain twin: fp32 (debugging), and bf16 of widths that 16-byte copies cannot read. 64x64 tile, 16 threads a side,
/// each 4x4 fp32 sums over k in order.
template <typename Rows, typename In, typename Out>
__global__ void __launch_bounds__(256)
    PlainGemmKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ GemmWeight weight,
                    const __grid_constant__ GemmEpilogue epilogue, int tilesM, int tilesN) {
  constexpr int kTile = 64, kDepth = 16;
  __shared__ float sharedA[kDepth][kTile + 1], sharedB[kDepth][kTile + 1];
  int tileM, tileN;
  TileOfBlock(blockIdx.x, tilesM, tilesN, tileM, tileN);
  const int m0 = tileM * kTile, n0 = tileN * kTile;
  const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
  const In* const weights = static_cast<const In*>(weight.data);
  float acc[4][4] = {};
  for (int k0 = 0; k0 < weight.k; k0 += kDepth) {
    for (int i = threadIdx.x; i < kTile * kDepth; i += 256) {
      const int row = i / kDepth, k = k0 + i % kDepth;
      sharedA[i % kDepth][row] = Rows::template At<In>(rowParams, m0 + row, k);
      sharedB[i % kDepth][row] =
          n0 + row < weight.n && k < weight.k ? ToFloat(weights[(n0 + row) * weight.ld + k]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] += sharedA[k][ty * 4 + i] * sharedB[k][tx * 4 + j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    Out* out = nullptr;
    const Out* residual = nullptr;
    if (!Rows::template OutputRow<Out>(rowParams, m0 + ty * 4 + i, out, residual)) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int column = n0 + tx * 4 + j;
      if (column >= weight.n) continue;
      float v = acc[i][j];
      if (epilogue.bias != nullptr) v += epilogue.bias[column];
      if (!epilogue.activationLast) v = Activate(v, epilogue.activation);
      if (residual != nullptr) v += ToFloat(residual[column]);
      if (epilogue.activationLast) v = Activate(v, epilogue.activation);
      out[column] = FromFloat<Out>(v);
    }
  }
}

template <typename Tile, typename Rows, typename Out, typename Product = Bf16Product>
cudaError_t LaunchTile(const typename Rows::Params& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                       cudaStream_t stream) {
  const int tilesM = static_cast<int>(CeilDiv(rows.m, Tile::kBm)),
            tilesN = static_cast<int>(CeilDiv(weight.n, Tile::kBn));
  auto* kernel = GemmKernel<Tile, Rows, Out, Product>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
  if (error != cudaSuccess) return error;
  kernel<<<tilesM * tilesN, Tile::kThreads, Tile::kSharedBytes, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

using LargeTile = GemmTileShape<256, 128, 64, 64, 4>;  // 8 warps, 96 KB
using SmallTile = GemmTileShape<64, 64, 32, 32, 4>;    // 4 warps, 32 KB
using ThinTile = GemmTileShape<256, 16, 32, 16, 4>;    // 8 warps, 68 KB

template <typename Rows, typename Out>
cudaError_t LaunchTileOf(GemmTile tile, const typename Rows::Params& rows, const GemmWeight& weight,
                         const GemmEpilogue& epilogue, cudaStream_t stream) {
  switch (tile) {
    case GemmTile::kThin:
      return LaunchTile<ThinTile, Rows, Out>(rows, weight, epilogue, stream);
    case GemmTile::kLarge:
      return LaunchTile<LargeTile, Rows, Out>(rows, weight, epilogue, stream);
    default:
      return LaunchTile<SmallTile, Rows, Out>(rows, weight, epilogue, stream);
  }
}

template <typename Rows, typename In, typename Out>
cudaError_t LaunchPlainOf(const typename Rows::Params& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                          cudaStream_t stream) {
  const int tilesM = static_cast<int>(CeilDiv(rows.m, 64)), tilesN = static_cast<int>(CeilDiv(weight.n, 64));
  PlainGemmKernel<Rows, In, Out><<<tilesM * tilesN, 256, 0, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

template <typename Rows>
cudaError_t LaunchPlain(const typename Rows::Params& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                        DataType type, DataType outputType, cudaStream_t stream) {
  if (type == DataType::kFloat32) return LaunchPlainOf<Rows, float, float>(rows, weight, epilogue, stream);
  return outputType == DataType::kFloat32 ? LaunchPlainOf<Rows, Bf16, float>(rows, weight, epilogue, stream)
                                          : LaunchPlainOf<Rows, Bf16, Bf16>(rows, weight, epilogue, stream);
}

}  // namespace flashvsr::kernels
