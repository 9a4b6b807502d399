#include "backend/cuda/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cuda/cublaslt.h"
#include "kernels/attention.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"

namespace flashvsr::cuda {
namespace {

using kernels::DataType;
using kernels::SizeOf;

constexpr std::int64_t kStagingBytes = 64 << 20;

DeviceLinear LayOutLinear(std::int64_t n, std::int64_t k, DataType type, Bump& bump, bool float8 = false) {
  DeviceLinear linear;
  linear.n = static_cast<int>(n);
  linear.k = static_cast<int>(k);
  linear.type = float8 ? DataType::kFloat8 : type;
  linear.weight = bump.bytes(n * k * SizeOf(linear.type));
  linear.bias = bump.floats(n);
  linear.biasStored = bump.bytes(n * SizeOf(type));
  if (float8) linear.outputScaleStored = bump.floats(1);
  return linear;
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

// Copies tensors to the device piece by piece and packs them there.
class Loader {
 public:
  Loader(const ModelWeights& weights, DataType type, const LoadProgress& progress)
      : weights_(weights),
        type_(type),
        progress_(progress),
        staging_(kStagingBytes, "Preparing the weights does") {}

  std::vector<float> floats(const TensorSource& part, const std::string& name) {
    const TensorView& tensor = part.checked(name);
    done(tensor.data.size());
    return ReadFloats(tensor);
  }

  void upload(float* to, std::span<const float> values) {
    Check(cudaMemcpy(to, values.data(), values.size() * 4, cudaMemcpyHostToDevice), "copying weights");
  }

  // Bias (times `scale`) in fp32 and in the weights' type.
  void bias(const DeviceLinear& to, std::span<const float> values, std::span<const float> scale,
            std::int64_t firstRow = 0) {
    std::vector<float> scaled(values.begin(), values.end());
    for (std::size_t i = 0; i < scale.size(); ++i) scaled[i] *= scale[i];
    upload(to.bias + firstRow, scaled);
    if (type_ == DataType::kFloat32) {
      upload(static_cast<float*>(to.biasStored) + firstRow, scaled);
      return;
    }
    std::vector<std::uint16_t> stored(scaled.size());
    for (std::size_t i = 0; i < scaled.size(); ++i) stored[i] = FloatToBFloat16(scaled[i]);
    Check(cudaMemcpy(static_cast<std::uint16_t*>(to.biasStored) + firstRow, stored.data(), stored.size() * 2,
                     cudaMemcpyHostToDevice),
          "copying weights");
  }

  // Rows of `name`.weight into rows firstRow.. of `to`, each times `scale`'s entry when there is a scale.
  void linear(const DeviceLinear& to, const TensorSource& part, const std::string& name,
              std::span<const float> scale = {}, std::int64_t firstRow = 0) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::int64_t rows = tensor.shape[0], columns = tensor.elements() / rows;
    float* deviceScale = nullptr;
    std::int64_t reserved = 0;
    if (!scale.empty()) {
      deviceScale = reinterpret_cast<float*>(staging_.data());
      upload(deviceScale, scale);
      reserved = (static_cast<std::int64_t>(scale.size()) * 4 + 255) / 256 * 256;
    }
    slices(tensor, rows, reserved, [&](const void* staged, std::int64_t first, std::int64_t count) {
      kernels::PackRowsParams params;
      params.in = staged;
      params.source = Source(tensor.dtype);
      params.rowScale = deviceScale != nullptr ? deviceScale + first : nullptr;
      params.out = static_cast<std::byte*>(to.weight) + (firstRow + first) * columns * SizeOf(type_);
      params.rows = count;
      params.columns = params.ldOut = columns;
      params.type = type_;
      Check(kernels::LaunchPackRows(params, nullptr), "packing weights");
    });
    bias(to, floats(part, name + ".bias"), scale, firstRow);
  }

  // The same for an e4m3 layer whose input comes from a norm (or has the bound `inputBound`) and is multiplied by
  // `columnScale` and shifted by `columnShift` on its way there: both go into the layer. `names` share one scale, their
  // rows one after the other. Returns a bound of the layer's results.
  float linear8(DeviceLinear& to, const TensorSource& part, const std::vector<std::string>& names, float inputBound,
                std::span<const float> columnScale, std::span<const float> columnShift,
                std::span<const float> rowScale = {}) {
    kernels::PackFloat8RowsParams params;
    Bump bump(staging_.data());
    const auto put = [&](std::span<const float> values) -> const float* {
      if (values.empty()) return nullptr;
      float* const at = bump.floats(static_cast<std::int64_t>(values.size()));
      upload(at, values);
      return at;
    };
    const float* const deviceRowScale = put(rowScale);
    params.columnScale = put(columnScale);
    params.columnShift = put(columnShift);
    float* const statistics = bump.floats(3 * to.n);
    const std::int64_t reserved = bump.used();
    const auto rowsOf = [&](const auto& use) {
      std::int64_t firstRow = 0;
      for (const std::string& name : names) {
        const TensorView& tensor = part.checked(name + ".weight");
        params.source = Source(tensor.dtype);
        params.columns = tensor.elements() / tensor.shape[0];
        slices(tensor, tensor.shape[0], reserved, [&](const void* staged, std::int64_t first, std::int64_t count) {
          params.in = staged;
          params.rows = count;
          params.rowScale = deviceRowScale != nullptr ? deviceRowScale + firstRow + first : nullptr;
          use(firstRow + first);
        });
        firstRow += tensor.shape[0];
      }
    };
    rowsOf([&](std::int64_t row) {
      params.largest = statistics + row;
      params.squares = statistics + to.n + row;
      params.shifts = statistics + 2 * to.n + row;
      Check(kernels::LaunchRowStatistics(params, nullptr), "packing weights");
    });
    std::vector<float> found(static_cast<std::size_t>(to.n) * 3), bias;
    Check(cudaMemcpy(found.data(), statistics, found.size() * 4, cudaMemcpyDeviceToHost), "packing weights");
    for (const std::string& name : names) {
      const std::vector<float> own = floats(part, name + ".bias");
      bias.insert(bias.end(), own.begin(), own.end());
    }
    const std::size_t n = bias.size();
    float largest = 0, bound = 0;
    for (std::size_t i = 0; i < n; ++i) {
      bias[i] = bias[i] * (rowScale.empty() ? 1.0F : rowScale[i]) + found[2 * n + i];
      largest = std::max(largest, found[i]);
      // |w x| <= ||w|| ||x||; a norm's output has length sqrt(width), which is also its elements' bound.
      bound = std::max(bound, std::sqrt(found[n + i]) * inputBound + std::abs(bias[i]));
    }
    to.inputScale = float8::ScaleFor(inputBound);
    params.scale = float8::ScaleFor(largest);
    to.scale = 1.0F / (to.inputScale * params.scale);
    counting_ = false;  // the same bytes once more
    rowsOf([&](std::int64_t row) {
      params.out = static_cast<std::byte*>(to.weight) + row * params.columns;
      Check(kernels::LaunchPackFloat8Rows(params, nullptr), "packing weights");
    });
    counting_ = true;
    this->bias(to, bias, {});
    return bound;
  }

  // Results of `to` in e4m3, none above `bound`.
  void float8Out(DeviceLinear& to, float bound) {
    to.float8Out = true;
    to.outputScale = float8::ScaleFor(bound);
    upload(to.outputScaleStored, std::span(&to.outputScale, 1));
  }

  void convolution(const DeviceConvolution& to, const TensorSource& part, const std::string& name, int sources) {
    const TensorView& tensor = part.checked(name + ".weight");
    const std::int64_t rows = tensor.shape[0], taps = tensor.elements() / (rows * tensor.shape[1]);
    const int second = sources == 2 ? to.inChannels : 0;
    const std::int64_t depth = kernels::PackedConvolutionDepth(static_cast<int>(taps), to.inChannels, second);
    slices(tensor, rows, 0, [&](const void* staged, std::int64_t first, std::int64_t count) {
      kernels::PackConvolutionParams params;
      params.in = staged;
      params.source = Source(tensor.dtype);
      params.out = static_cast<std::byte*>(to.weight) + first * depth * SizeOf(type_);
      params.outChannels = static_cast<int>(count);
      params.channels[0] = to.inChannels;
      params.channels[1] = second;
      params.taps = static_cast<int>(taps);
      params.type = type_;
      Check(kernels::LaunchPackConvolution(params, nullptr), "packing weights");
    });
    if (to.bias != nullptr) upload(to.bias, floats(part, name + ".bias"));
  }

  void grow(std::span<const DeviceConvolution> steps, const TensorSource& part, const std::string& grow,
            const std::string& convolution) {
    const TensorView& one = part.checked(grow);
    const TensorView& three = part.checked(convolution);
    const DeviceMemory growBytes(static_cast<std::int64_t>(one.data.size()), "Preparing the weights does");
    const DeviceMemory convBytes(static_cast<std::int64_t>(three.data.size()), "Preparing the weights does");
    Check(cudaMemcpy(growBytes.data(), one.data.data(), one.data.size(), cudaMemcpyHostToDevice), "copying weights");
    Check(cudaMemcpy(convBytes.data(), three.data.data(), three.data.size(), cudaMemcpyHostToDevice),
          "copying weights");
    done(one.data.size() + three.data.size());
    for (std::size_t step = 0; step < steps.size(); ++step) {
      const std::int64_t channels = steps[step].inChannels;
      kernels::FoldGrowParams params;
      params.grow = growBytes.data() + static_cast<std::int64_t>(step) * channels * channels *
                                           static_cast<std::int64_t>(DTypeSize(one.dtype));
      params.growSource = Source(one.dtype);
      params.weight = convBytes.data();
      params.weightSource = Source(three.dtype);
      params.out = steps[step].weight;
      params.outChannels = steps[step].outChannels;
      params.channels = steps[step].inChannels;
      params.type = type_;
      Check(kernels::LaunchFoldGrow(params, nullptr), "folding weights");
    }
    Check(cudaDeviceSynchronize(), "folding weights");
  }

 private:
  static kernels::SourceType Source(DType dtype) {
    switch (dtype) {
      case DType::F16:
        return kernels::SourceType::kFloat16;
      case DType::BF16:
        return kernels::SourceType::kBfloat16;
      default:
        return kernels::SourceType::kFloat32;
    }
  }

  // The first dimension's rows in pieces that fit the staging buffer after its first `reserved` bytes.
  template <typename Use>
  void slices(const TensorView& tensor, std::int64_t rows, std::int64_t reserved, const Use& use) {
    const std::int64_t rowBytes = static_cast<std::int64_t>(tensor.data.size()) / rows;
    const std::int64_t each = std::max<std::int64_t>(1, (kStagingBytes - reserved) / rowBytes);
    if (rowBytes > kStagingBytes - reserved) FailInternal("a weight's row is larger than the staging buffer");
    for (std::int64_t first = 0; first < rows; first += each) {
      const std::int64_t count = std::min(each, rows - first);
      std::byte* const staged = staging_.data() + reserved;
      // The copy waits for the kernel before it: both use the default stream.
      Check(cudaMemcpy(staged, tensor.data.data() + first * rowBytes, static_cast<std::size_t>(count * rowBytes),
                       cudaMemcpyHostToDevice),
            "copying weights");
      use(staged, first, count);
      done(static_cast<std::size_t>(count * rowBytes));
    }
  }

  void done(std::size_t bytes) {
    if (counting_) done_ += bytes;
    if (progress_ && !progress_(std::min<std::uint64_t>(done_, weights_.bytes()), weights_.bytes()))
      throw Error("engine.cancelled", ErrorScope::Engine, "Preparing the weights was cancelled.");
  }

  const ModelWeights& weights_;
  DataType type_;
  const LoadProgress& progress_;
  DeviceMemory staging_;
  std::uint64_t done_ = 0;
  bool counting_ = true;
};

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

float Largest(std::span<const float> values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

DataType TypeOf(Precision precision) { return precision == Precision::Fp32 ? DataType::kFloat32 : DataType::kBfloat16; }

Float8Plan Float8PlanOf(Precision precision, kernels::Path path) {
  if (precision != Precision::Fp8) return {};
  const float8::Scope scope = float8::ScopeFromEnvironment();
  return {true, scope != float8::Scope::FeedForward,
          scope == float8::Scope::All && path == kernels::Path::kAuto && kernels::Float8AttentionSuits()};
}

DataType CacheTypeOf(Precision precision, kernels::Path path) {
  return Float8PlanOf(precision, path).attention ? DataType::kFloat8 : TypeOf(precision);
}

void DeviceWeights::layOut(const ModelDims& dims, const Float8Plan& float8, DataType type, Bump& bump) {
  const std::int64_t dim = dims.dim, latents = dims.latentChannels;
  patchEmbedding = LayOutLinear(dim, latents * 4, type, bump);
  head = LayOutLinear(latents * 4, dim, type, bump);
  headScale = bump.floats(dim);
  headShift = bump.floats(dim);
  blocks.resize(static_cast<std::size_t>(dims.layers));
  for (DeviceBlock& block : blocks) {
    block.qk = LayOutLinear(2 * dim, dim, type, bump, float8.linear);
    for (DeviceLinear* square : {&block.v, &block.o, &block.crossQ, &block.crossO})
      *square = LayOutLinear(dim, dim, type, bump, float8.linear);
    block.ffnIn = LayOutLinear(dims.ffn, dim, type, bump, float8.feedForward);
    block.ffnOut = LayOutLinear(dim, dims.ffn, type, bump, float8.feedForward);
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
}

std::int64_t CudaModel::Bytes(const ModelDims& dims, const Float8Plan& float8, DataType type) {
  Bump bump(nullptr);
  DeviceWeights plan;
  plan.layOut(dims, float8, type, bump);
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
  float8_ = Float8PlanOf(precision, path_);
  memory_ = DeviceMemory(Bytes(dims_, float8_, type_), "The weights");
  Bump bump(memory_.data());
  weights_.layOut(dims_, float8_, type_, bump);

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
    if (float8_.linear) {
      const std::vector<float> scale = modulation(1, 1.0F), shift = modulation(0, 0.0F);
      load.linear8(block.qk, transformer, {name + ".self_attn.q", name + ".self_attn.k"}, normed, scale, shift);
      const float values = load.linear8(block.v, transformer, {name + ".self_attn.v"}, normed, scale, shift);
      if (float8_.attention) load.float8Out(block.v, values);
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
    if (float8_.linear) {
      load.linear8(block.crossQ, transformer, {name + ".cross_attn.q"}, normed, norm3Weight, norm3Bias);
      const float prompt = Largest(ReadDevice(block.promptValues, type_, dims_.textLen * dim));
      load.linear8(block.crossO, transformer, {name + ".cross_attn.o"}, prompt, {}, {});
    } else {
      load.linear(block.crossQ, transformer, name + ".cross_attn.q");
      load.linear(block.crossO, transformer, name + ".cross_attn.o");
    }
    if (float8_.feedForward) {
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
  Check(cudaDeviceSynchronize(), "preparing the weights");
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
