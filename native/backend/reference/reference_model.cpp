#include "backend/reference/reference_model.h"

#include <algorithm>

#include "backend/reference/decoder_ops.h"
#include "backend/reference/projector_ops.h"
#include "backend/reference/token_ops.h"
#include "common/error.h"

namespace flashvsr::reference {
namespace {

// Reads tensors of one part and counts what has been read.
class Reader {
 public:
  Reader(const ModelWeights& weights, Threads& threads, const LoadProgress& progress)
      : weights_(weights), threads_(threads), progress_(progress) {}

  const TensorView& view(const TensorSource& part, const std::string& name) const {
    const TensorView* found = part.find(name);
    if (found == nullptr) FailInternal("checked weights lack the tensor " + name);
    return *found;
  }
  std::vector<float> floats(const TensorSource& part, const std::string& name) {
    const TensorView& tensor = view(part, name);
    std::vector<float> values = ReadFloats(tensor);
    done_ += tensor.data.size();
    if (progress_ && !progress_(done_, weights_.bytes()))
      throw Error("engine.cancelled", ErrorScope::Engine, "Preparing the weights was cancelled.");
    return values;
  }
  LinearWeights linear(const TensorSource& part, const std::string& name, bool bias = true) {
    const TensorView& tensor = view(part, name + ".weight");
    const std::int64_t n = tensor.shape[0], k = tensor.elements() / n;
    LinearWeights weights;
    weights.weight = PackedMatrix(floats(part, name + ".weight"), n, k, &threads_);
    if (bias) weights.bias = floats(part, name + ".bias");
    return weights;
  }
  LinearWeights convolution3x3(const TensorSource& part, const std::string& name, bool bias) {
    const TensorView& tensor = view(part, name + ".weight");
    LinearWeights weights;
    weights.weight = PackConvolutionWeights(floats(part, name + ".weight"), tensor.shape[0], tensor.shape[1], &threads_);
    if (bias) weights.bias = floats(part, name + ".bias");
    return weights;
  }

 private:
  const ModelWeights& weights_;
  Threads& threads_;
  const LoadProgress& progress_;
  std::uint64_t done_ = 0;
};

std::vector<float> Sum(std::span<const float> a, std::span<const float> b) {
  std::vector<float> out(a.begin(), a.end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] += b[i];
  return out;
}

}  // namespace

ReferenceModel::ReferenceModel(std::shared_ptr<Threads> threads, const ModelWeights& weights,
                               const ModelConstants& constants, const LoadProgress& progress)
    : dims_(weights.dims()), constants_(constants), threads_(std::move(threads)) {
  Reader read(weights, *threads_, progress);
  const TensorSource& transformer = weights.transformer();
  const std::size_t dim = static_cast<std::size_t>(dims_.dim);
  patchEmbedding = read.linear(transformer, "patch_embedding");
  for (std::int64_t i = 0; i < dims_.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i);
    BlockWeights block;
    const std::vector<float> modulation = Sum(read.floats(transformer, name + ".modulation"), constants.timeModulation);
    for (std::size_t part = 0; part < 6; ++part)
      block.modulation[part].assign(modulation.begin() + static_cast<std::ptrdiff_t>(part * dim),
                                    modulation.begin() + static_cast<std::ptrdiff_t>((part + 1) * dim));
    block.q = read.linear(transformer, name + ".self_attn.q");
    block.k = read.linear(transformer, name + ".self_attn.k");
    block.v = read.linear(transformer, name + ".self_attn.v");
    block.o = read.linear(transformer, name + ".self_attn.o");
    block.normQ = read.floats(transformer, name + ".self_attn.norm_q.weight");
    block.normK = read.floats(transformer, name + ".self_attn.norm_k.weight");
    block.crossQ = read.linear(transformer, name + ".cross_attn.q");
    block.crossO = read.linear(transformer, name + ".cross_attn.o");
    block.crossNormQ = read.floats(transformer, name + ".cross_attn.norm_q.weight");
    block.norm3Weight = read.floats(transformer, name + ".norm3.weight");
    block.norm3Bias = read.floats(transformer, name + ".norm3.bias");
    // The prompt never changes, so its keys and values are constants of the layer.
    const LinearWeights crossK = read.linear(transformer, name + ".cross_attn.k");
    const LinearWeights crossV = read.linear(transformer, name + ".cross_attn.v");
    const std::vector<float> normK = read.floats(transformer, name + ".cross_attn.norm_k.weight");
    block.promptKeys.resize(static_cast<std::size_t>(dims_.textLen) * dim);
    block.promptValues.resize(block.promptKeys.size());
    Linear(*threads_, constants.context.data(), dims_.textLen, crossK.weight, crossK.biasData(), Activation::None, block.promptKeys.data());
    RmsNorm(*threads_, block.promptKeys.data(), dims_.textLen, dims_.dim, normK.data());
    Linear(*threads_, constants.context.data(), dims_.textLen, crossV.weight, crossV.biasData(), Activation::None, block.promptValues.data());
    block.ffnIn = read.linear(transformer, name + ".ffn.0");
    block.ffnOut = read.linear(transformer, name + ".ffn.2");
    for (const LinearWeights* w : {&block.q, &block.k, &block.v, &block.o, &block.crossQ, &block.crossO, &block.ffnIn, &block.ffnOut})
      bytes_ += w->weight.bytes();
    bytes_ += static_cast<std::int64_t>((block.promptKeys.size() * 2) * sizeof(float));
    blocks.push_back(std::move(block));
  }
  head = read.linear(transformer, "head.head");
  const std::vector<float> modulation = read.floats(transformer, "head.modulation");
  headShift = Sum(std::span(modulation).first(dim), constants.time);
  headScale = Sum(std::span(modulation).subspan(dim), constants.time);

  const TensorSource& projector = weights.projector();
  for (int i = 0; i < 2; ++i) {
    const std::string conv = "conv" + std::to_string(i + 1);
    const TensorView& weight = read.view(projector, conv + ".weight");
    CausalWeights& out = causal[static_cast<std::size_t>(i)];
    out.weight = PackCausalWeights(read.floats(projector, conv + ".weight"), weight.shape[0], weight.shape[1], threads_.get());
    out.bias = read.floats(projector, conv + ".bias");
    out.gamma = read.floats(projector, "norm" + std::to_string(i + 1) + ".gamma");
    bytes_ += out.weight.bytes();
  }
  for (std::int64_t i = 0; i < dims_.lqLayers; ++i) {
    projected.push_back(read.linear(projector, "linear_layers." + std::to_string(i)));
    bytes_ += projected.back().weight.bytes();
  }

  const TensorSource& decoderPart = weights.decoder();
  const auto plain = [&](int layer, bool bias) { decoder[{layer, -1}] = read.convolution3x3(decoderPart, std::to_string(layer), bias); };
  plain(1, true);
  plain(3, false);
  for (const int first : {5, 11, 17})
    for (int layer = first; layer < first + 3; ++layer)
      for (const int part : {0, 2, 4})
        decoder[{layer, part}] =
            read.convolution3x3(decoderPart, std::to_string(layer) + ".conv." + std::to_string(part), true);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    const std::string name = std::to_string(kGrowLayer[stage]) + ".conv";
    grow[stage] = read.linear(decoderPart, name, false).weight;
    bytes_ += grow[stage].bytes();
    plain(kGrowConvolution[stage], false);
  }
  plain(24, false);
  plain(26, true);
  for (const auto& [key, layer] : decoder) bytes_ += layer.weight.bytes();
}

std::vector<float> ReferenceModel::readConstant(const std::string& name) const {
  if (name == "time") return constants_.time;
  if (name == "time_modulation") return constants_.timeModulation;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (name == "cross_k." + std::to_string(i)) return blocks[i].promptKeys;
    if (name == "cross_v." + std::to_string(i)) return blocks[i].promptValues;
  }
  return {};
}

}  // namespace flashvsr::reference
