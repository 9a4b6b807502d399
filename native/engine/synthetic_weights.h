// A model of any sizes made from a seed, in memory: for benches, for tests at official widths, for trying the product
// without the 3.5 GB download. Its statistics are natural (norms near 1, projections 1/sqrt(fan-in), small biases and
// modulations), so that numerical errors show; its pictures are not.
#pragma once

#include <memory>

#include "common/threads.h"
#include "weights/model_weights.h"

namespace flashvsr {

// FlashVSR-Tiny as published (flashvsr-model.md section 1), with `layers` blocks of the 30.
ModelDims OfficialDims(std::int64_t layers = 30);
// The published Wan2.1 decoder's width, for ModelDims::wanWidth.
inline constexpr std::int64_t kOfficialWanWidth = 96;
// The goldens' size: seconds on a CPU.
ModelDims MicroDims();

// `outliers`, a power of two: every 61st channel of attention's values is that many times as large, and the layer that
// reads it has weights that much smaller there, so the network is the same function, and harder to hold in 8 bits. BF16
// tensors; element i of the n-th expected tensor is a function of (seed, n, i) alone (Philox). Official size: 3.5
// GB and some seconds.
std::shared_ptr<const ModelWeights> MakeSyntheticWeights(const ModelDims& dims, std::uint64_t seed, Threads& threads,
                                                         float outliers = 1.0F);

}  // namespace flashvsr
