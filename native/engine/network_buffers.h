// Every tensor of one stream, in the order it lies in the arena:
//
//   kept from chunk to chunk    cache | lq | output | memory | latent | unshuffled, causal | rope
//
//   work, one place for both    denoise   x | features (until they are added to x)
//   (ArenaLayout::rewind)                 x | q | attention | hidden | queryMeans | mask | noise
//                               reveal    decoded | matched | decoderInput | blockA, blockB of stage 0
//                                                                          | blockA, blockB of stage 1
//                                                                          | blockA, blockB of stage 2
//                                                                          | fullA, fullB
//
// With the Wan2.1 decoder its own tensors (engine/wan_decoder.h) stand in the places of memory and of decoderInput and
// the blocks.
//
// Lines that start below each other share memory. A tensor may join a line only if nothing on the other lines is read
// after it is written: denoise and reveal of a chunk do not overlap, and one stage's blocks are done before the next's.
// With several projected layers the features are read by later blocks too, so q follows them instead.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "engine/network.h"
#include "engine/wan_decoder.h"

namespace flashvsr {

inline constexpr int kLqSlots = kFirstChunkFrames;  // LQ pictures: chunk 0 holds 25 at once
inline constexpr int kUnshuffledSlots = 10;         // projector: 8 new frames + 2 earlier ones
inline constexpr int kCausalSlots = 6;              // first convolution: 4 new outputs + 2 earlier ones
inline constexpr std::array<int, 3> kGrowSteps{1, 2, 2};
inline constexpr std::array<int, 3> kFirstMemBlock{5, 11, 17};

struct Network::Buffers {
  Buffers(ArenaLayout& layout, const NetworkOptions& options, const ModelDims& dims);
  void takeTinyWork(ArenaLayout& layout, const Geometry& g, const ModelDims& dims);

  // The first f latent frames' worth of a (16, 6, H/8, W/8) tensor, as (16, f, H/8, W/8).
  static Tensor Frames(const Tensor& full, std::int64_t frames) {
    Tensor part = full;
    part.shape[1] = frames;
    return part;
  }

  // Kept from chunk to chunk.
  KvCache cache;
  std::int64_t cacheBytes = 0;
  std::array<Tensor, kLqSlots> lq;
  std::array<Tensor, kUnshuffledSlots> unshuffled;
  std::array<Tensor, kCausalSlots> causal;
  RopeTables rope;                                // frames: (6, 22, 2)
  std::array<std::array<Tensor, 4>, 3> memory;    // [stage]: the past of its three MemBlocks and one spare
  Tensor latent;                                  // (16, 6, H/8, W/8)
  std::array<Tensor, kFirstChunkOutputs> output;  // bytes of finished pictures
  Tensor projected;                               // debug only: (3 groups, dim)
  std::int64_t pictureBytes = 0, decoderBytes = 0;

  // Work of the denoise stage and of the reveal stage; the two share their place.
  Tensor features, x, q, attention, hidden, queryMeans, mask, noise;
  Tensor decoderInput;
  std::array<Tensor, 3> blockA, blockB;  // between a MemBlock's convolutions, by stage; all of them and
  Tensor fullA, fullB;                   // these, (H, W, c3), share their place
  Tensor decoded, matched;               // (3, H, W)
  std::optional<WanDecoder> wan;
  std::int64_t workspaceBytes = 0;
};

}  // namespace flashvsr
