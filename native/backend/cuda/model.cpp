#include "backend/cuda/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/weight_loader.h"
#include "kernels/attention.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"

namespace flashvsr::cuda {
namespace {

using kernels::DataType;
using kernels::SizeOf;

// `operands`: what it multiplies; `type`: of activations.
DeviceLinear LayOutLinear(std::int64_t n, std::int64_t k, DataType operands, DataType type, Bump& bump) {
  DeviceLinear linear;
  linear.n = static_cast<int>(n);
  linear.k = static_cast<int>(k);
  linear.type = operands;
  linear.weight = bump.bytes(n * k * SizeOf(linear.type));
  linear.bias = bump.floats(n);
  linear.biasStored = bump.bytes(n * SizeOf(type));
  if (linear.float8()) linear.outputScaleStored = bump.floats(1);
  if (linear.int8()) linear.columnScales = bump.floats(n);
  return linear;
}
DeviceLinear LayOutLinear(std::int64_t n, std::int64_t k, DataType type, Bump& bump) {
  return LayOutLinear(n, k, type, type, bump);
}

// `sources` inputs of `in` channels each.
DeviceConvolution LayOutConvolution(std::int64_t out, std::int64_t in, int sources, int taps, bool bias, DataType type,
                                    Bump& bump) {
  DeviceConvolution convolution;
  convolution.inChannels = static_cast<int>(in);
  convolution.outChannels = static_cast<int>(out);
  convolution.weight = bump.bytes(
      out * kernels::PackedConvolutionDepth(taps, convolution.inChannels, sources == 2 ? convolution.inChannels : 0) *
      SizeOf(type));
  if (bias) convolution.bias = bump.floats(out);
  return convolution;
}

// The prompt's keys and values of one block: products of the constant context.
void MakePrompt(Loader& load, const TensorSource& transformer, const std::string& name, const ModelDims& dims,
                DataType type, const void* context, void* weightBytes, float* keys, const DeviceBlock& block) {
  Bump bump(static_cast<std::byte*>(weightBytes));
  const DeviceLinear layer = LayOutLinear(dims.dim, dims.dim, type, bump);
  float* const norm = bump.floats(dims.dim);
  const LinearRunner runner(type, kernels::Path::kPortable, nullptr, nullptr);
  LinearCall call;
  call.a = context;
  call.lda = dims.dim;
  call.rows = dims.textLen;
  call.weight = &layer;
  call.ldd = dims.dim;
  load.linear(layer, transformer, name + ".cross_attn.k");
  load.upload(norm, load.floats(transformer, name + ".cross_attn.norm_k.weight"));
  call.out = keys;
  call.floatOut = true;
  Check(runner.run(call, nullptr).error, "prompt keys");
  kernels::RmsNormParams rms;
  rms.x = keys;
  rms.out = block.promptKeys;
  rms.weight = norm;
  rms.rows = dims.textLen;
  rms.width = static_cast<int>(dims.dim);
  rms.inputType = DataType::kFloat32;
  rms.type = type;
  Check(kernels::LaunchRmsNorm(rms, nullptr), "prompt keys");
  load.linear(layer, transformer, name + ".cross_attn.v");
  call.out = block.promptValues;
  call.floatOut = false;
  Check(runner.run(call, nullptr).error, "prompt values");
}

std::vector<float> Slice(const std::vector<float>& a, const std::vector<float>& b, std::int64_t part, std::int64_t dim,
                         float add) {
  std::vector<float> out(static_cast<std::size_t>(dim));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t at = static_cast<std::size_t>(part * dim) + i;
    out[i] = a[at] + b[at] + add;
  }
  return out;
}

// All linear layers of a block; `modulation(part, add)` as in the norms and gates that are folded into them.
template <typename Modulation>
void LoadInt8(Loader& load, const TensorSource& transformer, const std::string& name, const Modulation& modulation,
              DeviceBlock& block) {
  const std::string self = name + ".self_attn.", cross = name + ".cross_attn.";
  const std::vector<float> scale = modulation(1, 1.0F), shift = modulation(0, 0.0F);
  load.linearInt8(block.qk, transformer, {self + "q", self + "k"}, scale, shift);
  load.linearInt8(block.v, transformer, {self + "v"}, scale, shift);
  load.linearInt8(block.o, transformer, {self + "o"}, {}, {}, modulation(2, 0.0F));
  load.linearInt8(block.crossQ, transformer, {cross + "q"}, load.floats(transformer, name + ".norm3.weight"),
                  load.floats(transformer, name + ".norm3.bias"));
  load.linearInt8(block.crossO, transformer, {cross + "o"});
  load.linearInt8(block.ffnIn, transformer, {name + ".ffn.0"}, modulation(4, 1.0F), modulation(3, 0.0F));
  load.linearInt8(block.ffnOut, transformer, {name + ".ffn.2"}, {}, {}, modulation(5, 0.0F));
}

float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

DataType TypeOf(Precision precision) { return precision == Precision::Fp32 ? DataType::kFloat32 : DataType::kBfloat16; }

EightBitPlan EightBitPlanOf(Precision precision, kernels::Path path) {
  if (precision == Precision::Int8) return {.int8 = true};
  if (precision != Precision::Fp8) return {};
  const float8::Scope scope = float8::ScopeFromEnvironment();
  return {false, true, scope != float8::Scope::FeedForward,
          scope == float8::Scope::All && path == kernels::Path::kAuto && kernels::Float8AttentionSuits()};
}

DataType CacheTypeOf(Precision precision, kernels::Path path) {
  return EightBitPlanOf(precision, path).attention ? DataType::kFloat8 : TypeOf(precision);
}

void DeviceWeights::layOut(const ModelDims& dims, const EightBitPlan& plan, DataType type, Bump& bump) {
  const std::int64_t dim = dims.dim, latents = dims.latentChannels;
  const auto operands = [&](bool float8) { return plan.int8 ? DataType::kInt8 : float8 ? DataType::kFloat8 : type; };
  patchEmbedding = LayOutLinear(dim, latents * 4, type, bump);
  head = LayOutLinear(latents * 4, dim, type, bump);
  headScale = bump.floats(dim);
  headShift = bump.floats(dim);
  blocks.resize(static_cast<std::size_t>(dims.layers));
  for (DeviceBlock& block : blocks) {
    block.qk = LayOutLinear(2 * dim, dim, operands(plan.linear), type, bump);
    for (DeviceLinear* square : {&block.v, &block.o, &block.crossQ, &block.crossO})
      *square = LayOutLinear(dim, dim, operands(plan.linear), type, bump);
    block.ffnIn = LayOutLinear(dims.ffn, dim, operands(plan.feedForward), type, bump);
    block.ffnOut = LayOutLinear(dim, dims.ffn, operands(plan.feedForward), type, bump);
    for (float** vector : {&block.scaleA, &block.shiftA, &block.scaleM, &block.shiftM, &block.normQ, &block.normK,
                           &block.crossNormQ, &block.norm3Weight, &block.norm3Bias})
      *vector = bump.floats(dim);
    block.promptKeys = bump.bytes(dims.textLen * dim * SizeOf(type));
    block.promptValues = bump.bytes(dims.textLen * dim * SizeOf(type));
  }
  const auto& hidden = dims.lqHidden;
  causal[0] = LayOutConvolution(hidden[0], 768, 1, 36, true, type, bump);
  causal[1] = LayOutConvolution(hidden[1], hidden[0], 1, 36, true, type, bump);
  for (std::size_t i = 0; i < 2; ++i) gamma[i] = bump.floats(hidden[i]);
  projected.resize(static_cast<std::size_t>(dims.lqLayers));
  for (DeviceLinear& linear : projected) linear = LayOutLinear(dim, hidden[1], type, bump);
  const auto& c = dims.decoderChannels;
  first = LayOutConvolution(c[0], 768 + latents, 1, 9, true, type, bump);
  second = LayOutConvolution(c[0], c[0], 1, 9, false, type, bump);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    for (auto& block : memory[stage])
      for (std::size_t part = 0; part < 3; ++part)
        block[part] = LayOutConvolution(c[stage], c[stage], part == 0 ? 2 : 1, 9, true, type, bump);
    for (std::size_t step = 0; step < (stage == 0 ? 1U : 2U); ++step)
      grow[stage][step] = LayOutConvolution(4 * c[stage + 1], c[stage], 1, 4, false, type, bump);
    for (DeviceConvolution& step : grow[stage]) step.outChannels = static_cast<int>(c[stage + 1]);
  }
  beforeLast = LayOutConvolution(c[3], c[3], 1, 9, false, type, bump);
  last = LayOutConvolution(3, c[3], 1, 9, true, type, bump);
  if (dims.wanWidth > 0) layOutWan(dims, type, bump);
}

void DeviceWeights::layOutWan(const ModelDims& dims, DataType type, Bump& bump) {
  wanInput = bump.floats(dims.latentChannels * dims.latentChannels);
  wanInputBias = bump.floats(dims.latentChannels);
  for (const WanConvolutionSpec& spec : WanConvolutions(dims.wanWidth, dims.latentChannels)) {
    if (spec.block == kWanEntry && spec.part == WanPart::Second) continue;
    const bool enlarge = spec.part == WanPart::Enlarge;
    DeviceWanLayer& layer = wan[{spec.block, spec.part}];
    layer.convolution = LayOutConvolution(enlarge ? 4 * spec.out : spec.out, spec.in, 1,
                                          enlarge ? 4 : spec.time * spec.side * spec.side, true, type, bump);
    layer.convolution.outChannels = static_cast<int>(spec.out);
    layer.time = spec.time;
    layer.side = enlarge ? 2 : spec.side;
    if (!spec.norm.empty()) layer.gamma = bump.floats(spec.in);
  }
}

std::int64_t CudaModel::Bytes(const ModelDims& dims, const EightBitPlan& plan, DataType type) {
  Bump bump(nullptr);
  DeviceWeights weights;
  weights.layOut(dims, plan, type, bump);
  return bump.used();
}

CudaModel::CudaModel(int device, kernels::Path path, std::shared_ptr<CublasLt> lt, const ModelWeights& weights,
                     const ModelConstants& constants, Precision precision, const LoadProgress& progress)
    : device_(device),
      path_(path),
      lt_(std::move(lt)),
      dims_(weights.dims()),
      type_(TypeOf(precision)),
      constants_(constants) {
  Check(cudaSetDevice(device_), "choosing the device");
  eightBits_ = EightBitPlanOf(precision, path_);
  memory_ = DeviceMemory(Bytes(dims_, eightBits_, type_), "The weights");
  Bump bump(memory_.data());
  weights_.layOut(dims_, eightBits_, type_, bump);

  Loader load(weights, type_, progress);
  const TensorSource& transformer = weights.transformer();
  const std::int64_t dim = dims_.dim;
  load.linear(weights_.patchEmbedding, transformer, "patch_embedding");
  load.linear(weights_.head, transformer, "head.head");
  const std::vector<float> headModulation = load.floats(transformer, "head.modulation");
  std::vector<float> twice(constants.time);
  twice.insert(twice.end(), constants.time.begin(), constants.time.end());
  load.upload(weights_.headShift, Slice(headModulation, twice, 0, dim, 0.0F));
  load.upload(weights_.headScale, Slice(headModulation, twice, 1, dim, 1.0F));

  const DeviceMemory context(dims_.textLen * dim * SizeOf(type_), "Preparing the weights does");
  if (type_ == DataType::kFloat32) {
    load.upload(reinterpret_cast<float*>(context.data()), constants.context);
  } else {
    std::vector<std::uint16_t> rounded(constants.context.size());
    std::transform(constants.context.begin(), constants.context.end(), rounded.begin(), FloatToBFloat16);
    Check(cudaMemcpy(context.data(), rounded.data(), rounded.size() * 2, cudaMemcpyHostToDevice), "copying weights");
  }
  const DeviceMemory promptWeight(dim * dim * SizeOf(type_) + dim * 16 + 4096, "Preparing the weights does");
  const DeviceMemory promptKeys(dims_.textLen * dim * 4, "Preparing the weights does");
  for (std::int64_t i = 0; i < dims_.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i);
    DeviceBlock& block = weights_.blocks[static_cast<std::size_t>(i)];
    const std::vector<float> own = load.floats(transformer, name + ".modulation");
    const auto modulation = [&](int part, float add) { return Slice(own, constants.timeModulation, part, dim, add); };
    load.upload(block.shiftA, modulation(0, 0.0F));
    load.upload(block.scaleA, modulation(1, 1.0F));
    load.upload(block.shiftM, modulation(3, 0.0F));
    load.upload(block.scaleM, modulation(4, 1.0F));
    const float normed = float8::NormBound(dim);
    if (eightBits_.int8) {
      LoadInt8(load, transformer, name, modulation, block);
    } else if (eightBits_.linear) {
      const std::vector<float> scale = modulation(1, 1.0F), shift = modulation(0, 0.0F);
      load.linear8(block.qk, transformer, {name + ".self_attn.q", name + ".self_attn.k"}, normed, scale, shift);
      const float values = load.linear8(block.v, transformer, {name + ".self_attn.v"}, normed, scale, shift);
      if (eightBits_.attention) load.float8Out(block.v, values);
      // Attention averages values, so their bound is its results' too. No product follows the rows' norm here: only the
      // elements count.
      load.linear8(block.o, transformer, {name + ".self_attn.o"}, values, {}, {}, modulation(2, 0.0F));
    } else {
      load.linear(block.qk, transformer, name + ".self_attn.q");
      load.linear(block.qk, transformer, name + ".self_attn.k", {}, dim);
      load.linear(block.v, transformer, name + ".self_attn.v");
      load.linear(block.o, transformer, name + ".self_attn.o", modulation(2, 0.0F));
    }
    const std::vector<float> normQ = load.floats(transformer, name + ".self_attn.norm_q.weight");
    const std::vector<float> normK = load.floats(transformer, name + ".self_attn.norm_k.weight");
    load.upload(block.normQ, normQ);
    load.upload(block.normK, normK);
    // Rope turns pairs, whose length the row's bounds as well.
    block.queryScale = float8::ScaleFor(normed * Largest(normQ));
    block.keyScale = float8::ScaleFor(normed * Largest(normK));
    MakePrompt(load, transformer, name, dims_, type_, context.data(), promptWeight.data(),
               reinterpret_cast<float*>(promptKeys.data()), block);
    load.upload(block.crossNormQ, load.floats(transformer, name + ".cross_attn.norm_q.weight"));
    const std::vector<float> norm3Weight = load.floats(transformer, name + ".norm3.weight"),
                             norm3Bias = load.floats(transformer, name + ".norm3.bias");
    load.upload(block.norm3Weight, norm3Weight);
    load.upload(block.norm3Bias, norm3Bias);
    if (eightBits_.int8) continue;
    if (eightBits_.linear) {
      load.linear8(block.crossQ, transformer, {name + ".cross_attn.q"}, normed, norm3Weight, norm3Bias);
      const float prompt = Largest(ReadDevice(block.promptValues, type_, dims_.textLen * dim));
      load.linear8(block.crossO, transformer, {name + ".cross_attn.o"}, prompt, {}, {});
    } else {
      load.linear(block.crossQ, transformer, name + ".cross_attn.q");
      load.linear(block.crossO, transformer, name + ".cross_attn.o");
    }
    if (eightBits_.feedForward) {
      const float hidden =
          load.linear8(block.ffnIn, transformer, {name + ".ffn.0"}, normed, modulation(4, 1.0F), modulation(3, 0.0F));
      load.float8Out(block.ffnIn, hidden);  // |GELU(x)| <= |x|
      load.linear8(block.ffnOut, transformer, {name + ".ffn.2"}, hidden, {}, {}, modulation(5, 0.0F));
    } else {
      load.linear(block.ffnIn, transformer, name + ".ffn.0");
      load.linear(block.ffnOut, transformer, name + ".ffn.2", modulation(5, 0.0F));
    }
  }

  const TensorSource& projector = weights.projector();
  for (int i = 0; i < 2; ++i) {
    load.convolution(weights_.causal[static_cast<std::size_t>(i)], projector, "conv" + std::to_string(i + 1), 1);
    load.upload(weights_.gamma[static_cast<std::size_t>(i)],
                load.floats(projector, "norm" + std::to_string(i + 1) + ".gamma"));
  }
  for (std::int64_t i = 0; i < dims_.lqLayers; ++i)
    load.linear(weights_.projected[static_cast<std::size_t>(i)], projector, "linear_layers." + std::to_string(i));

  const TensorSource& decoder = weights.decoder();
  load.convolution(weights_.first, decoder, "1", 1);
  load.convolution(weights_.second, decoder, "3", 1);
  for (std::size_t stage = 0; stage < 3; ++stage) {
    const int base = 5 + 6 * static_cast<int>(stage);
    for (int block = 0; block < 3; ++block)
      for (int part = 0; part < 3; ++part)
        load.convolution(weights_.memory[stage][static_cast<std::size_t>(block)][static_cast<std::size_t>(part)],
                         decoder, std::to_string(base + block) + ".conv." + std::to_string(part * 2),
                         part == 0 ? 2 : 1);
    load.grow(std::span(weights_.grow[stage]).first(stage == 0 ? 1 : 2), decoder,
              std::to_string(base + 4) + ".conv.weight", std::to_string(base + 5) + ".weight");
  }
  load.convolution(weights_.beforeLast, decoder, "24", 1);
  load.convolution(weights_.last, decoder, "26", 1);
  if (hasWan()) loadWan(load, weights.wan());
  Check(cudaDeviceSynchronize(), "preparing the weights");
}

template <typename Load>
void CudaModel::loadWan(Load& load, const TensorSource& wan) {
  for (const WanConvolutionSpec& spec : WanConvolutions(dims_.wanWidth, dims_.latentChannels)) {
    if (spec.block == kWanEntry && spec.part == WanPart::Second) {
      load.upload(weights_.wanInput, load.floats(wan, spec.name + ".weight"));
      load.upload(weights_.wanInputBias, load.floats(wan, spec.name + ".bias"));
      continue;
    }
    const DeviceWanLayer& layer = weights_.wan.at({spec.block, spec.part});
    if (spec.part == WanPart::Enlarge) load.enlarge(layer.convolution, wan, spec.name);
    else load.convolution(layer.convolution, wan, spec.name, 1);
    if (layer.gamma != nullptr) load.upload(layer.gamma, load.floats(wan, spec.norm));
  }
}

CudaModel::~CudaModel() { cudaSetDevice(device_); }

std::vector<float> CudaModel::readConstant(const std::string& name) const {
  if (name == "time") return constants_.time;
  if (name == "time_modulation") return constants_.timeModulation;
  for (std::size_t i = 0; i < weights_.blocks.size(); ++i) {
    const bool keys = name == "cross_k." + std::to_string(i), values = name == "cross_v." + std::to_string(i);
    if (!keys && !values) continue;
    Check(cudaSetDevice(device_), "choosing the device");
    const DeviceBlock& block = weights_.blocks[i];
    return ReadDevice(keys ? block.promptKeys : block.promptValues, type_, dims_.textLen * dims_.dim);
  }
  return {};
}

std::vector<float> ReadDevice(const void* data, DataType type, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  if (type == DataType::kFloat32) {
    Check(cudaMemcpy(out.data(), data, out.size() * 4, cudaMemcpyDeviceToHost), "reading back");
    return out;
  }
  std::vector<std::uint16_t> bits(out.size());
  Check(cudaMemcpy(bits.data(), data, bits.size() * 2, cudaMemcpyDeviceToHost), "reading back");
  std::transform(bits.begin(), bits.end(), out.begin(), BFloat16ToFloat);
  return out;
}

}  // namespace flashvsr::cuda
