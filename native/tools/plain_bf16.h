// "Plain bf16": what the quality gate measures the fast path against. The reference's own operations, nothing folded,
// sums in double, and every tensor that the official code holds in bf16 rounded to bf16, once an operation as PyTorch
// writes them:
//   LN, then times (1 + scale) + shift | linear layer with bias | RMS norm | rope | attention | GELU | gate | residual
//   | convolution with bias | its residual | ReLU (rounds nothing) | prompt keys and values
// Left in fp32, as the fast path has them: noise, latents, decoded pictures, softmax, masks' scores. Inside the
// projector's convolutions (before norm and SiLU) and the decoder's growth (after TGrow) nothing is rounded: plain is a
// little better than bf16 code can be, so the gate is a little stricter.
#pragma once

#include "backend/reference/reference_model.h"

namespace flashvsr::tools {

// The same weights, computed so. `model` comes from the reference backend's prepare() in fp32.
std::shared_ptr<PreparedModel> MakePlainBf16(std::shared_ptr<PreparedModel> model);

}  // namespace flashvsr::tools
