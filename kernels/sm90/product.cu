// Two consumer warpgroups, each 128x128 of a 256x128 tile (two m64n128 accumulators), and one producer warpgroup that copies with
// cp.async, so that the implicit convolution's gather is the same code as in the portable product and has registers of its own.
// k-blocks of 64 in 3 stages; a pair of barriers a stage says "full" (all copies of its 128 threads have landed) and "empty" (the 8
// consumer warps are done with it). Blocks stay on their SM and walk tiles, so that the copies of the next tile run under the way
// out of this one, which has shared memory of its own: 144 + 68 KB, one block an SM.
#include "product.h"

#include "wgmma.cuh"

namespace flashvsr::kernels {

struct HopperTile {
  static constexpr int kBm = 256, kBn = 128, kBk = 64, kStages = 3, kProducers = 128, kThreads = 256 + kProducers;
  static constexpr int kRowChunks = kBk / 8, kRowsPerPass = kProducers / kRowChunks;
  static constexpr int kPassesA = kBm / kRowsPerPass, kPassesB = kBn / kRowsPerPass;
  static constexpr int kBytesA = kBm * kBk * 2, kBytesB = kBn * kBk * 2;
  static constexpr int kStaging = kStages * (kBytesA + kBytesB), kStagingBytes = 8 * StagingBytes<16>();
  static constexpr int kBarriers = kStaging + kStagingBytes, kSharedBytes = kBarriers + kStages * 16;
  // Registers: the block gets 168 a thread at launch, 64512 in all; what the roles take must not be more, or they wait for ever.
  static constexpr int kProducerRegisters = 120, kConsumerRegisters = 192;
  static_assert(kProducers * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads && kSharedBytes <= 227 * 1024);
};

#ifdef FLASHVSR_SM90

namespace {

template <typename Rows>
__global__ void __launch_bounds__(HopperTile::kThreads, 1)
    HopperProductKernel(const __grid_constant__ typename Rows::Params rowParams, const __grid_constant__ ProductWeight weight,
                        const __grid_constant__ ProductEpilogue epilogue, int tilesM, int tilesN) {
  using Tile = HopperTile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const int lane = threadIdx.x & 31, warpInGroup = (threadIdx.x >> 5) & 3, group = threadIdx.x >> 7;
  const int tiles = tilesM * tilesN;
  const uint32_t sharedA = SharedAddress(shared), sharedB = sharedA + Tile::kStages * Tile::kBytesA;
  const uint32_t full = sharedA + Tile::kBarriers, empty = full + Tile::kStages * 8;
  const int blocks = (weight.k + Tile::kBk - 1) / Tile::kBk;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Tile::kStages; ++stage) {
      BarrierInit(full + stage * 8, Tile::kProducers);
      BarrierInit(empty + stage * 8, 8);
    }
    FenceAsyncProxy();
  }
  __syncthreads();

  if (group == 2) {
    GiveRegisters<Tile::kProducerRegisters>();
    const int thread = threadIdx.x - 256, copyRow = thread / Tile::kRowChunks, copyChunk = thread % Tile::kRowChunks;
    const int64_t passStride = static_cast<int64_t>(Tile::kRowsPerPass) * weight.ld;
    int stage = 0, round = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      int tileM, tileN;
      TileOfBlock(tile, tilesM, tilesN, tileM, tileN);
      const int n0 = tileN * Tile::kBn;
      Rows rows;
      rows.template Start<Tile>(rowParams, tileM * Tile::kBm + copyRow, copyChunk);
      const Bf16* const weights = static_cast<const Bf16*>(weight.data) + (n0 + copyRow) * weight.ld + copyChunk * 8;
      for (int block = 0; block < blocks; ++block) {
        if (round > 0) BarrierWait(empty + stage * 8, (round - 1) & 1);
        rows.template Copy<Tile>(rowParams, sharedA + stage * Tile::kBytesA, copyRow, copyChunk, block);
        const bool column = block * Tile::kBk + copyChunk * 8 < weight.k;
#pragma unroll
        for (int i = 0; i < Tile::kPassesB; ++i) {
          const int row = copyRow + i * Tile::kRowsPerPass;
          const bool valid = column && n0 + row < weight.n;
          CopyAsync16(sharedB + stage * Tile::kBytesB + SwizzledOffset<8>(row, copyChunk),
                      valid ? weights + i * passStride + block * Tile::kBk : static_cast<const Bf16*>(weight.data), valid);
        }
        BarrierArriveAfterCopies(full + stage * 8);
        if (++stage == Tile::kStages) stage = 0, ++round;
      }
    }
    CommitCopies();
    WaitCopies<0>();
  } else {
    TakeRegisters<Tile::kConsumerRegisters>();
    float acc[2][16][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 16; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;
    float* const staging = reinterpret_cast<float*>(shared + Tile::kStaging + (threadIdx.x >> 5) * StagingBytes<16>());
    int stage = 0, round = 0;
    for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      uint32_t before = 0;  // "empty" of the block before
      for (int block = 0; block < blocks; ++block) {
        BarrierWait(full + stage * 8, round & 1);
        FenceAsyncProxy();  // the copies were ordinary writes
        const uint64_t a = DescribeRowsAlongK(sharedA + stage * Tile::kBytesA + group * 128 * 128);
        const uint64_t b = DescribeRowsAlongK(sharedB + stage * Tile::kBytesB);
        WgmmaFence();
#pragma unroll
        for (int step = 0; step < Tile::kBk / 16; ++step) {
#pragma unroll
          for (int i = 0; i < 2; ++i) Wgmma128(acc[i], a + i * (64 * 128 >> 4) + step * 2, b + step * 2, block | step);
        }
        WgmmaCommit();
        WgmmaWait<1>();  // the products of the block before
        if (block > 0 && lane == 0) BarrierArrive(before);
        before = empty + stage * 8;
        if (++stage == Tile::kStages) stage = 0, ++round;
      }
      WgmmaWait<0>();
      if (lane == 0) BarrierArrive(before);
      int tileM, tileN;
      TileOfBlock(tile, tilesM, tilesN, tileM, tileN);
      StoreTile<2, 16, Rows, Bf16>(rowParams, weight, epilogue, acc, tileM * Tile::kBm + group * 128 + warpInGroup * 16, 64,
                                   tileN * Tile::kBn, lane, staging);
    }
  }
}

template <typename Rows>
cudaError_t Launch(const typename Rows::Params& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                   cudaStream_t stream) {
  using Tile = HopperTile;
  const int tilesM = static_cast<int>(CeilDiv(m, Tile::kBm)), tilesN = static_cast<int>(CeilDiv(weight.n, Tile::kBn));
  auto* kernel = HopperProductKernel<Rows>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes);
  if (error != cudaSuccess) return error;
  int device = 0, processors = 0;
  cudaGetDevice(&device);
  if (const cudaError_t failed = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device); failed != cudaSuccess) return failed;
  const int blocks = tilesM * tilesN < processors ? tilesM * tilesN : processors;
  kernel<<<blocks, Tile::kThreads, Tile::kSharedBytes, stream>>>(rows, weight, epilogue, tilesM, tilesN);
  return cudaGetLastError();
}

}  // namespace

bool Sm90Suits(int m, int n, int k) {
  if (n < 96 || k < 128 || CeilDiv(m, HopperTile::kBm) * CeilDiv(n, HopperTile::kBn) < 64) return false;
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
}
cudaError_t LaunchProductSm90(const MatrixParams& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                              cudaStream_t stream) {
  return Launch<MatrixRows>(rows, weight, epilogue, m, stream);
}
cudaError_t LaunchProductSm90(const PixelParams& rows, const ProductWeight& weight, const ProductEpilogue& epilogue, int m,
                              cudaStream_t stream) {
  return Launch<PixelRows>(rows, weight, epilogue, m, stream);
}

#else  // built without 9.0 among the architectures

bool Sm90Suits(int, int, int) { return false; }
cudaError_t LaunchProductSm90(const MatrixParams&, const ProductWeight&, const ProductEpilogue&, int, cudaStream_t) {
  return cudaErrorNotSupported;
}
cudaError_t LaunchProductSm90(const PixelParams&, const ProductWeight&, const ProductEpilogue&, int, cudaStream_t) {
  return cudaErrorNotSupported;
}

#endif

}  // namespace flashvsr::kernels
