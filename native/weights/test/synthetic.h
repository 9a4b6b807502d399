// Whole models in memory, of any size and type, with any one tensor tampered with.
#pragma once

#include <functional>
#include <vector>

#include "weights/memory_model.h"
#include "weights/model_weights.h"

namespace flashvsr::test {

inline ModelDims SmallDims() {
  return {.dim = 128,
          .heads = 1,
          .ffn = 64,
          .layers = 2,
          .textDim = 32,
          .textLen = 16,
          .freqDim = 32,
          .lqHidden = {8, 8},
          .lqLayers = 1,
          .decoderChannels = {8, 8, 8, 8},
          .latentChannels = 16};
}

struct Tampering {
  bool leaveOut = false;
  std::vector<std::int64_t> shape;  // `values` must fit it
  DType dtype = DType::F32;
  std::vector<float> values;
};
using Tamper = std::function<void(const TensorSpec&, Tampering&)>;

inline void FillSynthetic(const ModelDims& dims, DType dtype,
                          const std::function<void(const TensorSpec&, DType, std::span<const float>)>& add,
                          const Tamper& tamper = {}) {
  std::uint32_t state = 1;
  for (TensorSpec spec : ExpectedTensors(dims)) {
    Tampering change;
    change.shape = spec.shape;
    change.dtype = dtype;
    change.values.resize(static_cast<std::size_t>(ElementsOf(spec.shape)));
    for (float& value : change.values) {
      state = state * 1664525u + 1013904223u;
      value = (static_cast<float>(state >> 8) / 16777216.0f - 0.5f) * 0.1f;
    }
    if (tamper) tamper(spec, change);
    if (change.leaveOut) continue;
    change.values.resize(static_cast<std::size_t>(ElementsOf(change.shape)));
    spec.shape = change.shape;
    add(spec, change.dtype, change.values);
  }
}

inline ModelSources Synthetic(const ModelDims& dims, DType dtype, const Tamper& tamper = {}) {
  MemoryModel model;
  FillSynthetic(
      dims, dtype,
      [&](const TensorSpec& spec, DType type, std::span<const float> values) {
        model.part(spec.part).AddFloats(spec.name, type, spec.shape, values);
      },
      tamper);
  return model.sources();
}

}  // namespace flashvsr::test
