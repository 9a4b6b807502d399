#include "engine/synthetic_weights.h"

#include <cmath>
#include <cstring>

#include "kernels/common/philox.h"
#include "weights/memory_model.h"

namespace flashvsr {
namespace {

// How a tensor's values are distributed: mean + deviation * normal.
struct Statistics {
  double mean = 0, deviation = 0;
};

Statistics StatisticsOf(const TensorSpec& spec) {
  const std::string& name = spec.name;
  const auto has = [&](std::string_view part) { return name.find(part) != std::string::npos; };
  if ((has("norm") && name.ends_with(".weight")) || name.ends_with(".gamma")) return {1.0, 0.1};
  if (spec.part == "prompt") return {0.0, 1.0};
  if (name.ends_with("modulation"))
    return {0.0, 0.3 / std::sqrt(static_cast<double>(spec.shape.size() > 1 ? spec.shape[1] : 1))};
  if (name.ends_with(".bias")) return {0.0, 0.02};
  double fanIn = 1;
  for (std::size_t i = 1; i < spec.shape.size(); ++i) fanIn *= static_cast<double>(spec.shape[i]);
  // The decoder's ReLUs halve the power of what passes them; no ReLU stands before the convolutions after TGrow.
  // MemBlocks add little to what they carry and the last convolution ends near a picture's contrast, as in a trained
  // decoder: errors in decibels would say nothing about pictures a hundred times too strong.
  double gain = 1.0;
  if (spec.part == "decoder") {
    gain = 2.0;
    if (has(".conv.4.")) gain = 0.1;
    if (name == "10.weight" || name == "16.weight" || name == "22.weight") gain = 1.0;
    if (name == "26.weight") gain = 0.1;
  }
  // SiLU leaves a third of a norm's power; residual branches add little, and the head ends near a picture's contrast.
  if (spec.part == "wan") {
    if (has(".residual.2.")) gain = 2.8;
    if (has(".residual.6.") || has(".proj.")) gain = 0.2;
    if (has(".head.")) gain = 0.5;
  }
  return {0.0, std::sqrt(gain / fanIn)};
}

}  // namespace

ModelDims OfficialDims(std::int64_t layers) {
  return {.dim = 1536,
          .heads = 12,
          .ffn = 8960,
          .layers = layers,
          .textDim = 4096,
          .textLen = 512,
          .freqDim = 256,
          .lqHidden = {2048, 3072},
          .lqLayers = 1,
          .decoderChannels = {512, 256, 128, 128},
          .latentChannels = 16,
          .wanWidth = 0};
}

ModelDims MicroDims() {
  return {.dim = 256,
          .heads = 2,
          .ffn = 384,
          .layers = 2,
          .textDim = 64,
          .textLen = 32,
          .freqDim = 64,
          .lqHidden = {16, 24},
          .lqLayers = 1,
          .decoderChannels = {32, 24, 24, 16},
          .latentChannels = 16,
          .wanWidth = 0};
}

std::shared_ptr<const ModelWeights> MakeSyntheticWeights(const ModelDims& dims, std::uint64_t seed, Threads& threads,
                                                         float outliers) {
  MemoryModel model;
  std::uint32_t index = 0;
  for (const TensorSpec& spec : ExpectedTensors(dims)) {
    const std::int64_t count = ElementsOf(spec.shape);
    const Statistics statistics = StatisticsOf(spec);
    const std::int64_t columns = count / spec.shape[0];
    const bool makes = spec.name.find("self_attn.v.") != std::string::npos,
               reads = spec.name.ends_with("self_attn.o.weight");
    const auto factor = [&](std::int64_t element) {
      if (makes && element / columns % 61 == 0) return outliers;
      return reads && element % columns % 61 == 0 ? 1.0F / outliers : 1.0F;
    };
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * 2);
    threads.runRanges((count + 3) / 4, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t quad = begin; quad < end; ++quad) {
        const Philox4 bits = Philox({{static_cast<std::uint32_t>(quad), static_cast<std::uint32_t>(PhiloxUse::Weights),
                                      index, static_cast<std::uint32_t>(quad >> 32)}},
                                    static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
        for (std::int64_t i = 0; i < 4 && quad * 4 + i < count; ++i) {
          // Sum of four uniform 8-bit numbers: bell-shaped, variance 4 * (256^2 - 1) / 12, and forty times cheaper than
          // a logarithm and a cosine for 1.7 thousand million weights.
          const std::uint32_t word = bits.v[i];
          const int sum = static_cast<int>((word & 255) + ((word >> 8) & 255) + ((word >> 16) & 255) + (word >> 24));
          const double normal = (sum - 510) / 147.80;
          const std::uint16_t value = FloatToBFloat16(
              static_cast<float>(statistics.mean + statistics.deviation * normal) * factor(quad * 4 + i));
          std::memcpy(bytes.data() + (quad * 4 + i) * 2, &value, 2);
        }
      }
    });
    model.part(spec.part).Add(spec.name, DType::BF16, spec.shape, std::move(bytes));
    ++index;
  }
  LoadOptions options;
  options.variant = dims.variant;
  options.checkFinite = false;  // made finite a moment ago
  return ModelWeights::FromSources(model.sources(), options);
}

}  // namespace flashvsr
