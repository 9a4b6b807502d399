#include "engine/constants.h"

#include <cmath>

#include "backend/reference/token_ops.h"
#include "common/error.h"

namespace flashvsr {
namespace {

constexpr double kTimestep = 1000.0;

std::vector<float> Apply(const TensorSource& part, const std::string& name, const std::vector<float>& x,
                         std::int64_t rows, reference::Activation activation, Threads& threads) {
  const TensorView* weight = part.find(name + ".weight");
  const TensorView* bias = part.find(name + ".bias");
  if (weight == nullptr || bias == nullptr) FailInternal("checked weights lack the tensor " + name);
  const std::int64_t n = weight->shape[0], k = weight->shape[1];
  const reference::PackedMatrix packed(ReadFloats(*weight), n, k, &threads);
  const std::vector<float> biasValues = ReadFloats(*bias);
  std::vector<float> out(static_cast<std::size_t>(rows * n));
  reference::Linear(threads, x.data(), rows, packed, biasValues.data(), activation, out.data());
  return out;
}

}  // namespace

ModelConstants ComputeModelConstants(const ModelWeights& weights, Threads& threads) {
  const ModelDims& dims = weights.dims();
  const TensorSource& transformer = weights.transformer();
  const std::int64_t half = dims.freqDim / 2;
  std::vector<float> sinusoid(static_cast<std::size_t>(dims.freqDim));
  for (std::int64_t i = 0; i < half; ++i) {
    const double angle = kTimestep * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
    sinusoid[static_cast<std::size_t>(i)] = static_cast<float>(std::cos(angle));
    sinusoid[static_cast<std::size_t>(half + i)] = static_cast<float>(std::sin(angle));
  }
  using reference::Activation;
  ModelConstants constants;
  std::vector<float> hidden = Apply(transformer, "time_embedding.0", sinusoid, 1, Activation::Silu, threads);
  constants.time = Apply(transformer, "time_embedding.2", hidden, 1, Activation::None, threads);
  std::vector<float> active = constants.time;
  for (float& value : active) value = reference::Silu(value);
  constants.timeModulation = Apply(transformer, "time_projection.1", active, 1, Activation::None, threads);
  const TensorView* prompt = weights.prompt().find("embedding");
  if (prompt == nullptr) FailInternal("checked weights lack the prompt");
  hidden = Apply(transformer, "text_embedding.0", ReadFloats(*prompt), dims.textLen, Activation::GeluTanh, threads);
  constants.context = Apply(transformer, "text_embedding.2", hidden, dims.textLen, Activation::None, threads);
  return constants;
}

}  // namespace flashvsr
