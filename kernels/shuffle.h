// Bytes of a picture into network features: the projector's 16x16 unshuffle and the decoder's conditioned input.
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

/// out (height/16, width/16, 768): pixels scaled to [-1, 1], channel (c*16 + row)*16 + column.
struct UnshuffleParams {
  const uint8_t* frame = nullptr;  ///< (height, width, 3)
  void* out = nullptr;             ///< of `type`
  int height = 0, width = 0;       ///< multiples of 16
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchUnshuffle(const UnshuffleParams& params, cudaStream_t stream);

/// out (height/8, width/8, 768 + channels) = tanh(v/3)*3 of 4 frames unshuffled (4,8,8), channel ((c*4 + frame)*8 +
/// row)*8 + column, then the latent frame's channels.
struct DecoderInputParams {
  const uint8_t* frames[4] = {};  ///< each (height, width, 3)
  const float* latent = nullptr;  ///< (channels, latentFrames, height/8, width/8)
  int channels = 0, latentFrames = 0, latentFrame = 0;
  void* out = nullptr;        ///< of `type`
  int height = 0, width = 0;  ///< multiples of 8
  DataType type = DataType::kBfloat16;
};
cudaError_t LaunchDecoderInput(const DecoderInputParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
