// The halo convolution's roles and the kernel (convolution.cu says how it works).
#pragma once

#include "kernels/sm90/convolution_epilogue.cuh"

namespace flashvsr::kernels::convolution {

/// Copies pixels, weights or both of all this block's tiles into the rings, as far ahead as they are free; one thread.
/// Where one thread does both, pixels come no further ahead than the weights before them: enough with 8 stages of
/// weights. With 4, another thread fetches them as soon as the step before last is done.
template <int kKernel, bool kStaged, bool kOfPixels, bool kOfWeights, int kMaps>
__device__ __forceinline__ void Produce(const Maps<kMaps>& maps, const Shape& p, uint32_t pixels, uint32_t weights,
                                        const Barriers& barriers) {
  using Ring = Rings<kKernel, kStaged>;
  constexpr int kTaps = kKernel * kKernel;
  constexpr uint32_t kCopied = Ring::kBoxRows * 128;
  const int perTap = p.packed[0] + p.packed[1];
  Cursor<Ring::kPixelStages> a;
  Cursor<Ring::kWeightStages> b;
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int tileM;
    const Place place(p, tile, tileM);
    const SubTile first(p, tileM, 0), second(p, tileM, 1);
    const int padY = p.padY - (p.phases > 1 ? place.phase >> 1 : 0),
              padX = p.padX - (p.phases > 1 ? place.phase & 1 : 0);
    const int row = place.phase * p.outChannels + place.column;
    for (int t = 0; t < p.kernelT; ++t) {
      for (int source = 0; source < p.sources; ++source) {
        const CUtensorMap* const frames = maps.input + source * p.inputs + t;
        for (int block = 0; block < p.blocks[source]; ++block) {
          const int channel = block * kBlockChannels;
          if constexpr (kOfPixels) {
            BarrierWait(barriers.freePixels + a.slot * 8, a.parity ^ 1);
            const uint32_t landed = barriers.landed + a.slot * 8, box = pixels + a.slot * 2 * Ring::kBoxBytes;
            BarrierExpect(landed, 2 * kCopied);
            CopyBox(box, frames + first.frame * p.strideT, landed, channel, first.x - padX, first.y - padY);
            CopyBox(box + Ring::kBoxBytes, frames + second.frame * p.strideT, landed, channel, second.x - padX,
                    second.y - padY);
            a.advance();
          }
          if constexpr (kOfWeights) {
            int column = t * kTaps * perTap + source * p.packed[0] + channel;
            for (int tap = 0; tap < kTaps; ++tap, column += perTap) {
              BarrierWait(barriers.freeWeights + b.slot * 8, b.parity ^ 1);
              BarrierExpect(barriers.fullWeights + b.slot * 8, kWeightBytes);
              CopyBox(weights + b.slot * kWeightBytes, &maps.weight, barriers.fullWeights + b.slot * 8, column, row);
              b.advance();
            }
          }
        }
      }
    }
  }
}

/// Replicated borders: the copy engine wrote zeros around the picture; copies the border pixels there.
template <int kKernel>
__device__ __forceinline__ void Repair(const Shape& p, unsigned char* pixels, const Barriers& barriers, int thread) {
  using Ring = Rings<kKernel, false>;
  Cursor<Ring::kPixelStages> a;
  const int rows = p.tileRows + kKernel - 1, columns = p.tileColumns + kKernel - 1;
  const int steps = p.kernelT * (p.blocks[0] + p.blocks[1]);
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    int tileM;
    const Place place(p, tile, tileM);
    for (int step = 0; step < steps; ++step) {
      BarrierWait(barriers.landed + a.slot * 8, a.parity);
      if (p.replicate) {
#pragma unroll 1
        for (int group = 0; group < 2; ++group) {
          const SubTile sub(p, tileM, group);
          const int y0 = sub.y - p.padY, x0 = sub.x - p.padX;
          unsigned char* const box = pixels + (a.slot * 2 + group) * Ring::kBoxBytes;
          // The two rows above and below the picture, then the two columns beside it, as far as they lie in the box.
          const int cells = 2 * (columns + rows);
#pragma unroll 1
          for (int i = thread; i < cells * 8; i += kFixers) {
            const int chunk = i & 7;
            int cell = i >> 3, hy, hx;
            if (cell < 2 * columns) {
              hy = (cell < columns ? -1 : p.height) - y0;
              hx = cell < columns ? cell : cell - columns;
            } else {
              cell -= 2 * columns;
              hx = (cell < rows ? -1 : p.width) - x0;
              hy = cell < rows ? cell : cell - rows;
            }
            if (hy < 0 || hy >= rows || hx < 0 || hx >= columns) continue;
            const int fromY = min(max(y0 + hy, 0), p.height - 1) - y0, fromX = min(max(x0 + hx, 0), p.width - 1) - x0;
            // Cells further out than one pixel feed no output.
            if (abs(fromY - hy) > 1 || abs(fromX - hx) > 1) continue;
            const int to = hy * columns + hx, from = fromY * columns + fromX;
            *reinterpret_cast<uint4*>(box + SwizzledOffset<8>(to, chunk)) =
                *reinterpret_cast<const uint4*>(box + SwizzledOffset<8>(from, chunk));
          }
        }
        FenceAsyncProxy();
      }
      BarrierArrive(barriers.ready + a.slot * 8);
      a.advance();
    }
  }
}

/// kMaps > kFewMaps: frames in time, whose borders may be replicated. kStaged: the short variant, whose other producer
/// warps serve the staging areas and fetch pixels; the deep one has their room for weights.
template <int kKernel, int kMaps, bool kStaged>
__global__ void __launch_bounds__(kThreads, 1)
    HopperConvolutionKernel(const __grid_constant__ Maps<kMaps> maps, const __grid_constant__ Shape p) {
  using Ring = Rings<kKernel, kStaged>;
  constexpr int kTaps = kKernel * kKernel;
  constexpr bool kRepair = kMaps > kFewMaps;
  static_assert(!(kStaged && kRepair), "the warps that would repair serve the staging areas");
  // Shared memory and barriers
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t pixels = SharedAddress(shared), weights = pixels + Ring::kPixels, staging = weights + Ring::kWeights;
  Barriers barriers;
  barriers.landed = staging + Ring::kStaging;
  barriers.ready = barriers.landed + 8 * Ring::kPixelStages;
  barriers.freePixels = barriers.ready + 8 * Ring::kPixelStages;
  barriers.fullWeights = barriers.freePixels + 8 * Ring::kPixelStages;
  barriers.freeWeights = barriers.fullWeights + 8 * Ring::kWeightStages;
  barriers.open = barriers.freeWeights + 8 * Ring::kWeightStages;
  barriers.staged = barriers.open + 16;
  const int lane = threadIdx.x & 31;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0);  // uniform, and the compiler can see it
  const int group = warp >> 2;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Ring::kPixelStages; ++i) {
      BarrierInit(barriers.landed + i * 8, 1);
      BarrierInit(barriers.ready + i * 8, kFixers);
      BarrierInit(barriers.freePixels + i * 8, 8);
    }
    for (int i = 0; i < Ring::kWeightStages; ++i) {
      BarrierInit(barriers.fullWeights + i * 8, 1);
      BarrierInit(barriers.freeWeights + i * 8, 8);
    }
    for (int i = 0; i < 2; ++i) {
      BarrierInit(barriers.open + i * 8, 1);
      BarrierInit(barriers.staged + i * 8, 4);  // warps
    }
    FenceBarrierInit();
    FenceAsyncProxy();
  }
  __syncthreads();

  // Producer warpgroup: copies, border repair, staging
  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    if (warp == 8) {
      if (lane == 0) Produce<kKernel, kStaged, !kStaged, true>(maps, p, pixels, weights, barriers);
    } else if (kStaged) {
      const int served = warp - 9;
      if (lane == 0 && served < 2)
        ServeStaging(maps, p, staging + served * kStagedGroupBytes, barriers.open + served * 8,
                     barriers.staged + served * 8, served);
      if (lane == 0 && served == 2) Produce<kKernel, kStaged, true, false>(maps, p, pixels, weights, barriers);
    } else if (kRepair) {
      Repair<kKernel>(p, shared, barriers, threadIdx.x - 288);
    }
    return;
  }

  // Consumer warpgroups: one sub-tile of 128 pixels x 128 channels each
  TakeRegisters<kConsumerRegisters>();
  float acc[2][16][4];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int j = 0; j < 16; ++j)
#pragma unroll
      for (int c = 0; c < 4; ++c) acc[i][j][c] = 0.0f;
  const int pitch = p.tileColumns + kKernel - 1;
  const uint64_t firstA = DescribeRows(pixels + group * Ring::kBoxBytes, pitch * 128),
                 firstB = DescribeRowsAlongK(weights);
  const int secondHalf = p.tileRows == 16 ? pitch * 64 : 64;  // 8 rows down or 8 pixels across, in 16 bytes
  const int steps = p.kernelT * (p.blocks[0] + p.blocks[1]);
  Cursor<Ring::kPixelStages> a;
  Cursor<Ring::kWeightStages> b;
  const StagedRows rows(p, staging + group * kStagedGroupBytes, warp & 3, lane);
  int parity = 0;  // of the staging area's turns
  for (int tile = blockIdx.x; tile < p.tiles; tile += gridDim.x) {
    // Main loop: 64 channels a step, all taps of a step from one box of pixels
    int lastA = 0, lastB = 0;
    for (int step = 0; step < steps; ++step) {
      BarrierWait(barriers.landed + a.slot * 8, a.parity);
      if (kRepair) BarrierWait(barriers.ready + a.slot * 8, a.parity);
      const uint64_t box = firstA + a.slot * (2 * Ring::kBoxBytes >> 4);
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        BarrierWait(barriers.fullWeights + b.slot * 8, b.parity);
        const uint64_t rowA = box + (tap / kKernel * pitch + tap % kKernel) * 8,
                       rowB = firstB + b.slot * (kWeightBytes >> 4);
        WgmmaFence();
        if constexpr (kStaged) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int k = 0; k < kBlockChannels / 16; ++k)
              Wgmma128(acc[i], rowA + i * secondHalf + k * 2, rowB + k * 2, tap > 0 || k > 0 ? 1 : step > 0);
            WgmmaCommit();
          }
          WgmmaWait<2>();  // the tap before
        } else {
#pragma unroll
          for (int k = 0; k < kBlockChannels / 16; ++k) {
            const int accumulate = tap > 0 || k > 0 ? 1 : step > 0;
            Wgmma128(acc[0], rowA + k * 2, rowB + k * 2, accumulate);
            Wgmma128(acc[1], rowA + secondHalf + k * 2, rowB + k * 2, accumulate);
          }
          WgmmaCommit();
          WgmmaWait<1>();  // the tap before
        }
        if (lane == 0 && (tap > 0 || step > 0)) BarrierArrive(barriers.freeWeights + lastB * 8);
        if (tap == 0 && lane == 0 && step > 0) BarrierArrive(barriers.freePixels + lastA * 8);
        lastB = b.slot;
        b.advance();
      }
      lastA = a.slot;
      a.advance();
    }
    // Epilogue: what it needs besides the sums is fetched and computed while the last tap is multiplied
    int tileM;
    const Place place(p, tile, tileM);
    const auto release = [&] {
      if (lane == 0) {
        BarrierArrive(barriers.freeWeights + lastB * 8);
        BarrierArrive(barriers.freePixels + lastA * 8);
      }
    };
    if constexpr (kStaged) {
      const uint32_t open = barriers.open + group * 8, staged = barriers.staged + group * 8;
      if (p.residual[0] != nullptr) {
        if (p.relu) StageTile<true, true>(p, place, rows, open, staged, parity, acc, lane, release);
        else StageTile<true, false>(p, place, rows, open, staged, parity, acc, lane, release);
      } else {
        if (p.relu) StageTile<false, true>(p, place, rows, open, staged, parity, acc, lane, release);
        else StageTile<false, false>(p, place, rows, open, staged, parity, acc, lane, release);
      }
      parity ^= 1;
    } else {
      const SubTile sub(p, tileM, group);
      float2 bias[16];
      LoadBias(p, place.column, lane, bias);
      int64_t offset[2][2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) offset[i][half] = OutputOffset(p, sub, place, i, half, warp & 3, lane);
      WgmmaWait<0>();
      release();
      Store(p, sub, place, bias, offset, acc, lane);
    }
  }
}

}  // namespace flashvsr::kernels::convolution
