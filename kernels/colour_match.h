// Colour match of a decoded picture to its LQ frame over the content rectangle (flashvsr-model.md section 7).
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

enum class ColourMatchKind : int { kNone = 0, kAdain = 1, kWavelet = 2 };

struct ColourMatchParams {
  ColourMatchKind kind = ColourMatchKind::kAdain;
  const float* decoded = nullptr;  ///< (3, height, width)
  const uint8_t* frame = nullptr;  ///< (height, width, 3): the LQ frame
  float* out = nullptr;            ///< (3, height, width); only the content rectangle is written
  int width = 0, height = 0, contentWidth = 0, contentHeight = 0;
  void* scratch = nullptr;  ///< ColourMatchScratchBytes
};

/// Bytes of scratch for one picture.
int64_t ColourMatchScratchBytes(ColourMatchKind kind, int contentWidth, int contentHeight);

/// Deterministic: sums in double, each block its rows in order, then the blocks in order.
cudaError_t LaunchColourMatch(const ColourMatchParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
