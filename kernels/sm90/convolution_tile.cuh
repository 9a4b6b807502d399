// The halo convolution's tiles, rings and barriers: what its roles agree on.
#pragma once

#include <cuda.h>

#include "kernels/convolution.h"
#include "kernels/sm90/tma.cuh"

namespace flashvsr::kernels::convolution {

constexpr int kThreads = 384, kFixers = 96;
constexpr int kTileN = 128, kBlockChannels = 64, kWeightBytes = kTileN * 128;
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads);
constexpr int kFewMaps = 2, kManyMaps = kMaxConvolutionFrames;

/// A warpgroup's staging area: its sub-tile's 128 pixels by 128 channels, as two boxes of 64 channels.
constexpr int kStagedBoxBytes = 128 * 128, kStagedGroupBytes = 2 * kStagedBoxBytes;

/// Shared memory by kernel size: boxes of both warpgroups, weights, the staging areas of the short variant, barriers.
template <int kKernel, bool kStaged>
struct Rings {
  static constexpr int kBoxRows = (16 + kKernel - 1) * (8 + kKernel - 1);
  static constexpr int kBoxBytes = static_cast<int>((kBoxRows * 128 + 1023) / 1024 * 1024);
  static constexpr int kPixelStages = kKernel == 2 && !kStaged ? 3 : 2;
  static constexpr int kWeightStages = kStaged ? (kKernel == 2 ? 5 : 4) : (kKernel == 2 ? 6 : 8);
  static constexpr int kPixels = kPixelStages * 2 * kBoxBytes, kWeights = kWeightStages * kWeightBytes;
  static constexpr int kStaging = kStaged ? 2 * kStagedGroupBytes : 0;
  static constexpr int kSharedBytes = kPixels + kWeights + kStaging + 8 * (3 * kPixelStages + 2 * kWeightStages + 4);
  static_assert(kSharedBytes <= 232448);
};

template <int kMaps>
struct Maps {
  CUtensorMap weight;  // (channels of all taps and sources, output channels of all phases), boxes of 64 x 128
  CUtensorMap
      input[kMaps];  // [source * inputs + frame]: (channels, width, height), boxes of 64 x a sub-tile with its halo
  CUtensorMap output, residual;  // short: (channels, outStep, width, outStep, height), boxes of 64 x 1 x columns x 1 x
                                 // rows of a sub-tile
};

struct Shape {
  const float* bias;
  const void* residual[kMaxConvolutionFrames];
  void* output[kMaxConvolutionFrames];
  int inputs, kernelT, strideT;
  int sources, blocks[2], packed[2];  // 64-channel blocks; packed channels (convolution.h)
  int height, width, outChannels, ldOut, outStep, outY, outX, padY, padX, phases;
  int tileRows, tileColumns, subsAcross, subsPerFrame, subs;  // sub-tiles
  int tiles, tilesM, tilesN, tilesNPhase;
  bool channelsFirst;  // consecutive blocks share pixels, not weights
  bool replicate, relu;
};

/// Where a tile lies. Both warpgroups share its output channels.
struct Place {
  int phase, column;  // first output channel within the phase

  __device__ __forceinline__ Place(const Shape& p, int tile, int& tileM) {
    int tileN;
    if (p.channelsFirst) {
      tileM = tile / p.tilesN, tileN = tile - tileM * p.tilesN;
    } else {
      tileN = tile / p.tilesM, tileM = tile - tileN * p.tilesM;
    }
    phase = tileN / p.tilesNPhase;
    column = (tileN - phase * p.tilesNPhase) * kTileN;
  }
  /// Which of the outStep x outStep pixels of a position this tile writes.
  __device__ __forceinline__ int outY(const Shape& p) const { return p.phases > 1 ? phase >> 1 : p.outY; }
  __device__ __forceinline__ int outX(const Shape& p) const { return p.phases > 1 ? phase & 1 : p.outX; }
};

/// A warpgroup's sub-tile; the one after the last repeats it and is not stored.
struct SubTile {
  int frame, y, x;
  bool real;

  __device__ __forceinline__ SubTile(const Shape& p, int tileM, int group) {
    int sub = tileM * 2 + group;
    real = sub < p.subs;
    sub = min(sub, p.subs - 1);
    frame = sub / p.subsPerFrame;
    sub -= frame * p.subsPerFrame;
    const int down = sub / p.subsAcross;
    y = down * p.tileRows;
    x = (sub - down * p.subsAcross) * p.tileColumns;
  }
};

/// Slot and parity of a ring's next use.
template <int kStages>
struct Cursor {
  int slot = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    const bool wrap = slot + 1 == kStages;
    slot = wrap ? 0 : slot + 1;
    parity ^= wrap ? 1 : 0;
  }
};

struct Barriers {
  uint32_t landed, ready, freePixels;  // one a pixel stage: copied, borders repaired, read
  uint32_t fullWeights, freeWeights;   // one a weight stage
  uint32_t open, staged;  // one a warpgroup: its staging area may be used (residuals have landed), holds results
};

}  // namespace flashvsr::kernels::convolution
