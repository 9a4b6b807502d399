// Two warpgroups, each 128x128 of a 256x128 tile (two m64n128 accumulators), over k-blocks of 64 in 4 stages (192 KB:
// one block an SM). Every thread copies with cp.async, so that the implicit convolution's gather is the same code as in
// the portable product; wgmma of a block runs while the next blocks are copied, and a stage is written again two blocks
// after it was read, when one barrier has shown that both warpgroups are done with it.
#include "kernels/sm90/gemm_sm90.h"

#include "kernels/common/epilogue.cuh"
#include "kernels/common/operand_rows.cuh"
#include "kernels/sm90/hopper.h"
#include "kernels/sm90/wgmma.cuh"

namespace flashvsr::kernels {

struct HopperTile {
  static constexpr int kBm = 256, kBn = 128, kBk = 64, kStages = 4, kThreads = 256;
  static constexpr bool kBranchFree = true;
  static constexpr int kRowChunks = kBk / 8, kRowsPerPass = kThreads / kRowChunks;
  static constexpr int kPassesA = kBm / kRowsPerPass, kPassesB = kBn / kRowsPerPass;
  static constexpr int kBytesA = kBm * kBk * 2, kBytesB = kBn * kBk * 2;
  static constexpr int kSharedBytes = kStages * (kBytesA + kBytesB);
};

#ifdef FLASHVSR_SM90

namespace {

template <typename Rows>
__global__ void __launch_bounds__(HopperTile::kThreads, 1)
    HopperGemmKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ GemmWeight weight,
                     const __grid_constant__ GemmEpilogue epilogue, int tilesM, int tilesN) {
  // This block's tile
  using Tile = HopperTile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const int thread = threadIdx.x, lane = thread & 31, warpInGroup = (thread >> 5) & 3, group = thread >> 7;
  int tileM, tileN;
  TileOfBlock(blockIdx.x, tilesM, tilesN, tileM, tileN);
  const int m0 = tileM * Tile::kBm, n0 = tileN * Tile::kBn;
  const int copyRow = thread / Tile::kRowChunks, copyChunk = thread % Tile::kRowChunks;
  const uint32_t sharedA = SharedAddress(shared), sharedB = sharedA + Tile::kStages * Tile::kBytesA;

  // Copies
  Rows rows;
  rows.template Start<Tile>(rowParams, m0 + copyRow, copyChunk);
  const Bf16* const weights = static_cast<const Bf16*>(weight.data) + (n0 + copyRow) * weight.ld + copyChunk * 8;
  const int64_t passStride = static_cast<int64_t>(Tile::kRowsPerPass) * weight.ld;
  const auto issue = [&](int stage, int block) {
    rows.template Copy<Tile>(rowParams, sharedA + stage * Tile::kBytesA, copyRow, copyChunk, block);
    const bool column = block * Tile::kBk + copyChunk * 8 < weight.k;
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      const int row = copyRow + i * Tile::kRowsPerPass;
      const bool valid = column && n0 + row < weight.n;
      CopyAsync16(sharedB + stage * Tile::kBytesB + SwizzledOffset<8>(row, copyChunk),
                  valid ? weights + i * passStride + block * Tile::kBk : static_cast<const Bf16*>(weight.data), valid);
    }
  };

  // Fill the pipeline
  const int blocks = (weight.k + Tile::kBk - 1) / Tile::kBk;
#pragma unroll
  for (int stage = 0; stage < Tile::kStages - 2; ++stage) {
    if (stage < blocks) issue(stage, stage);
    CommitCopies();
  }

  // Main loop: wgmma of a block while the next blocks are copied
  float acc[2][16][4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 16; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;

  for (int block = 0; block < blocks; ++block) {
    const int stage = block % Tile::kStages;
    WaitCopies<Tile::kStages - 3>();
    FenceAsyncProxy();
    __syncthreads();  // this block is there; all threads are done with the products of two blocks ago
    const uint64_t a = DescribeRowsAlongK(sharedA + stage * Tile::kBytesA + group * 128 * 128);
    const uint64_t b = DescribeRowsAlongK(sharedB + stage * Tile::kBytesB);
    WgmmaFence();
#pragma unroll
    for (int step = 0; step < Tile::kBk / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i) Wgmma128(acc[i], a + i * (64 * 128 >> 4) + step * 2, b + step * 2, 1);
    }
    WgmmaCommit();
    const int next = block + Tile::kStages - 2;
    if (next < blocks) issue(next % Tile::kStages, next);
    CommitCopies();
    WgmmaWait<1>();  // the products of the block before
  }
  WgmmaWait<0>();
  // Epilogue
  StoreTile<2, 16, Rows, Bf16>(rowParams, weight, epilogue, acc, m0 + group * 128 + warpInGroup * 16, 64, n0, lane);
}

template <typename Rows>
cudaError_t Launch(const typename Rows::Params& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                   cudaStream_t stream) {
  using Tile = HopperTile;
  const int tilesM = static_cast<int>(CeilDiv(rows.m, Tile::kBm)),
            tilesN = static_cast<int>(CeilDiv(weight.n, Tile::kBn));
  auto* kernel = HopperGemmKernel<Rows>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
  if (error != cudaSuccess) return error;
  kernel<<<tilesM * tilesN, Tile::kThreads, Tile::kSharedBytes, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

}  // namespace

bool Sm90SuitsGemm(int m, int n, int k) {
  if (n < 96 || k < 128 || CeilDiv(m, HopperTile::kBm) * CeilDiv(n, HopperTile::kBn) < 64) return false;
  return Sm90Present();
}
cudaError_t LaunchGemmSm90(const MatrixOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           cudaStream_t stream) {
  return Launch<MatrixRows>(rows, weight, epilogue, stream);
}
cudaError_t LaunchGemmSm90(const PixelOperand& rows, const GemmWeight& weight, const GemmEpilogue& epilogue,
                           cudaStream_t stream) {
  return Launch<PixelRows>(rows, weight, epilogue, stream);
}

#else  // built without 9.0 among the architectures

bool Sm90SuitsGemm(int, int, int) { return false; }
cudaError_t LaunchGemmSm90(const MatrixOperand&, const GemmWeight&, const GemmEpilogue&, cudaStream_t) {
  return cudaErrorNotSupported;
}
cudaError_t LaunchGemmSm90(const PixelOperand&, const GemmWeight&, const GemmEpilogue&, cudaStream_t) {
  return cudaErrorNotSupported;
}

#endif

}  // namespace flashvsr::kernels
