#include "backend/reference/reference_model.h"

#include <algorithm>
#include <cmath>

#include "backend/float8.h"
#include "backend/int8.h"
#include "backend/reference/decoder_ops.h"
#include "backend/reference/projector_ops.h"
#include "backend/reference/token_ops.h"
#include "common/error.h"

namespace flashvsr::reference {
namespace {

float Largest(const std::vector<float>& values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Reads tensors of one part and counts what has been read.
class Reader {
 public:
  Reader(const ModelWeights& weights, Threads& threads, const LoadProgress& progress)
      : weights_(weights),
        threads_(threads),
        progress_(progress) {}

  std::vector<float> floats(const TensorSource& part, const std::string& name) {
    const TensorView& tensor = part.checked(name);
    std::vector<float> values = ReadFloats(tensor);
    done_ += tensor.data.size();
    if (progress_ && !progress_(done_, weights_.bytes()))
      throw Error("engine.cancelled", ErrorScope::Engine, "Preparing the weights was cancelled.");
    return values;
  }
  LinearWeights linear(const TensorSource& part, const std::string& name, bool bias = true) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::int64_t n = tensor.shape[0], k = tensor.elements() / n;
    LinearWeights weights;
    weights.weight = PackedMatrix(floats(part, name + ".weight"), n, k, &threads_);
    if (bias) weights.bias = floats(part, name + ".bias");
    return weights;
  }
  // An 8-bit layer before it is rounded: `columnScale` and `columnShift` (from the norm before it), `gate` (after it)
  // are folded in.
  struct Folded {
    std::int64_t n = 0, k = 0;
    std::vector<float> weight, bias;
    std::vector<float> largest, bounds;  // by output: the largest weight, and of its results behind a norm
  };
  Folded fold(const TensorSource& part, const std::string& name, std::span<const float> columnScale,
              std::span<const float> columnShift, std::span<const float> gate) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::size_t n = static_cast<std::size_t>(tensor.shape[0]),
                      k = static_cast<std::size_t>(tensor.elements()) / n;
    Folded folded{tensor.shape[0],
                  static_cast<std::int64_t>(k),
                  floats(part, name + ".weight"),
                  floats(part, name + ".bias"),
                  std::vector<float>(n),
                  std::vector<float>(n)};
    std::vector<float>&weight = folded.weight, &bias = folded.bias, &largest = folded.largest, &bounds = folded.bounds;
    threads_.runRanges(folded.n, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::size_t i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
        double squares = 0, shift = 0;
        for (std::size_t j = 0; j < k; ++j) {
          float& w = weight[i * k + j];
          if (!gate.empty()) w *= gate[i];
          if (!columnShift.empty()) shift += static_cast<double>(w) * columnShift[j];
          if (!columnScale.empty()) w *= columnScale[j];
          largest[i] = std::max(largest[i], std::abs(w));
          squares += static_cast<double>(w) * w;
        }
        bias[i] = bias[i] * (gate.empty() ? 1.0F : gate[i]) + static_cast<float>(shift);
        bounds[i] = static_cast<float>(std::sqrt(squares)) * float8::NormBound(folded.k) + std::abs(bias[i]);
      }
    });
    return folded;
  }
  // An e4m3 layer. `bound` becomes a bound of its results where its input is a norm's output.
  LinearWeights linear8(const TensorSource& part, const std::string& name, std::span<const float> columnScale,
                        std::span<const float> columnShift, std::span<const float> gate, float& bound) {
    Folded folded = fold(part, name, columnScale, columnShift, gate);
    const float scale = float8::ScaleFor(Largest(folded.largest));
    RoundFloat8(threads_, folded.weight.data(), static_cast<std::int64_t>(folded.weight.size()), scale);
    bound = Largest(folded.bounds);
    return {PackedMatrix(folded.weight, folded.n, folded.k, &threads_), std::move(folded.bias)};
  }
  // An int8 layer; `rotate` turns its weights by Hadamard blocks first.
  LinearWeights linearInt8(const TensorSource& part, const std::string& name, std::span<const float> columnScale,
                           std::span<const float> columnShift, std::span<const float> gate, bool rotate) {
    Folded folded = fold(part, name, columnScale, columnShift, gate);
    if (rotate) RotateRows(threads_, folded.weight.data(), folded.n, folded.k, int8::RotationOf(folded.k));
    RoundInt8(threads_, folded.weight.data(), folded.n, folded.k);
    return {PackedMatrix(folded.weight, folded.n, folded.k, &threads_), std::move(folded.bias)};
  }
  LinearWeights convolution3x3(const TensorSource& part, const std::string& name, bool bias) {
    const TensorView& tensor = part.checked(name + ".weight");
    LinearWeights weights;
    weights.weight =
        PackConvolutionWeights(floats(part, name + ".weight"), tensor.shape[0], tensor.shape[1], &threads_);
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

std::vector<float> OnePlus(std::vector<float> scale) {
  for (float& v : scale) v += 1.0F;
  return scale;
}

// One block's int8 layers in place of the plain ones; what was folded into them becomes neutral.
void ToInt8(Reader& read, const TensorSource& transformer, const std::string& name, bool rotate, BlockWeights& block) {
  const std::span<const float> none;
  auto& [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = block.modulation;
  const auto layer = [&](const char* part, std::span<const float> scale, std::span<const float> shift,
                         std::span<const float> gate) {
    return read.linearInt8(transformer, name + part, scale, shift, gate, rotate);
  };
  block.int8 = true;
  const std::vector<float> factorA = OnePlus(scaleA);
  block.q = layer(".self_attn.q", factorA, shiftA, none);
  block.k = layer(".self_attn.k", factorA, shiftA, none);
  block.v = layer(".self_attn.v", factorA, shiftA, none);
  block.o = layer(".self_attn.o", none, none, gateA);
  block.crossQ = layer(".cross_attn.q", block.norm3Weight, block.norm3Bias, none);
  block.crossO = layer(".cross_attn.o", none, none, none);
  block.ffnIn = layer(".ffn.0", OnePlus(scaleM), shiftM, none);
  block.ffnOut = layer(".ffn.2", none, none, gateM);
  for (std::vector<float>* neutral : {&shiftA, &scaleA, &shiftM, &scaleM, &block.norm3Bias})
    neutral->assign(neutral->size(), 0.0F);
  for (std::vector<float>* neutral : {&gateA, &gateM, &block.norm3Weight}) neutral->assign(neutral->size(), 1.0F);
}

// One block's e4m3 layers in place of the plain ones; what was folded into them becomes neutral.
void ToFloat8(Reader& read, const TensorSource& transformer, const std::string& name, std::int64_t dim,
              float8::Scope scope, BlockWeights& block) {
  const std::span<const float> none;
  const float normed = float8::NormBound(dim);
  float bound = 0, unused = 0;
  auto& [shiftA, scaleA, gateA, shiftM, scaleM, gateM] = block.modulation;
  block.feedForwardScale = float8::ScaleFor(normed);
  block.ffnIn = read.linear8(transformer, name + ".ffn.0", OnePlus(scaleM), shiftM, none, bound);
  block.hiddenScale = float8::ScaleFor(bound);
  block.ffnOut = read.linear8(transformer, name + ".ffn.2", none, none, gateM, unused);
  scaleM.assign(scaleM.size(), 0.0F);
  shiftM = scaleM;
  gateM.assign(gateM.size(), 1.0F);
  if (scope == float8::Scope::FeedForward) return;
  block.normedScale = float8::ScaleFor(normed);
  block.q = read.linear8(transformer, name + ".self_attn.q", OnePlus(scaleA), shiftA, none, unused);
  block.k = read.linear8(transformer, name + ".self_attn.k", OnePlus(scaleA), shiftA, none, unused);
  block.v = read.linear8(transformer, name + ".self_attn.v", OnePlus(scaleA), shiftA, none, bound);
  block.attentionScale = float8::ScaleFor(bound);
  block.o = read.linear8(transformer, name + ".self_attn.o", none, none, gateA, unused);
  scaleA = shiftA = std::vector<float>(scaleA.size(), 0.0F);
  gateA.assign(gateA.size(), 1.0F);
  block.crossQ = read.linear8(transformer, name + ".cross_attn.q", block.norm3Weight, block.norm3Bias, none, unused);
  block.norm3Weight.assign(block.norm3Weight.size(), 1.0F);
  block.norm3Bias.assign(block.norm3Bias.size(), 0.0F);
  block.promptScale = float8::ScaleFor(Largest(block.promptValues));
  block.crossO = read.linear8(transformer, name + ".cross_attn.o", none, none, none, unused);
  if (scope == float8::Scope::Linear) return;
  block.queryScale = float8::ScaleFor(normed * Largest(block.normQ));
  block.keyScale = float8::ScaleFor(normed * Largest(block.normK));
  block.valueScale = block.attentionScale;
}

}  // namespace

ReferenceModel::ReferenceModel(std::shared_ptr<Threads> threads, const ModelWeights& weights,
                               const ModelConstants& constants, Precision precision, const LoadProgress& progress)
    : dims_(weights.dims()),
      constants_(constants),
      threads_(std::move(threads)),
      rotate_(int8::RotationWanted()) {
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
    Linear(*threads_, constants.context.data(), dims_.textLen, crossK.weight, crossK.biasData(), Activation::None,
           block.promptKeys.data());
    RmsNorm(*threads_, block.promptKeys.data(), dims_.textLen, dims_.dim, normK.data());
    Linear(*threads_, constants.context.data(), dims_.textLen, crossV.weight, crossV.biasData(), Activation::None,
           block.promptValues.data());
    block.ffnIn = read.linear(transformer, name + ".ffn.0");
    block.ffnOut = read.linear(transformer, name + ".ffn.2");
    if (precision == Precision::Fp8)
      ToFloat8(read, transformer, name, dims_.dim, float8::ScopeFromEnvironment(), block);
    if (precision == Precision::Int8) ToInt8(read, transformer, name, rotate_, block);
    for (const LinearWeights* w :
         {&block.q, &block.k, &block.v, &block.o, &block.crossQ, &block.crossO, &block.ffnIn, &block.ffnOut})
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
    const TensorView& weight = projector.checked(conv + ".weight");
    CausalWeights& out = causal[static_cast<std::size_t>(i)];
    out.weight =
        PackCausalWeights(read.floats(projector, conv + ".weight"), weight.shape[0], weight.shape[1], threads_.get());
    out.bias = read.floats(projector, conv + ".bias");
    out.gamma = read.floats(projector, "norm" + std::to_string(i + 1) + ".gamma");
    bytes_ += out.weight.bytes();
  }
  for (std::int64_t i = 0; i < dims_.lqLayers; ++i) {
    projected.push_back(read.linear(projector, "linear_layers." + std::to_string(i)));
    bytes_ += projected.back().weight.bytes();
  }

  const TensorSource& decoderPart = weights.decoder();
  const auto plain = [&](int layer, bool bias) {
    decoder[{layer, -1}] = read.convolution3x3(decoderPart, std::to_string(layer), bias);
  };
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

  if (!hasWan()) return;
  for (const WanConvolutionSpec& spec : WanConvolutions(dims_.wanWidth, dims_.latentChannels)) {
    WanWeights& out = wan[{spec.block, spec.part}];
    out.weight = PackedMatrix::FromConvolution(read.floats(weights.wan(), spec.name + ".weight"), spec.out, spec.in,
                                               spec.time * spec.side * spec.side, threads_.get());
    out.bias = read.floats(weights.wan(), spec.name + ".bias");
    if (!spec.norm.empty()) out.gamma = read.floats(weights.wan(), spec.norm);
    bytes_ += out.weight.bytes();
  }
}

void ReferenceModel::roundInt8(float* x, std::int64_t rows, std::int64_t width) const {
  if (rotate_) RotateRows(*threads_, x, rows, width, int8::RotationOf(width));
  RoundInt8(*threads_, x, rows, width);
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
