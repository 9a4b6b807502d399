// Which tensors a model has and which sizes their shapes state (flashvsr-model.md sections 1, 2, 5, 6).
#include <algorithm>
#include <string>

#include "weights/model_inventory.h"
#include "weights/wan_layers.h"

namespace flashvsr {

namespace {

using Shape = std::vector<std::int64_t>;

// Unknown sizes stay unknown through arithmetic.
std::int64_t Times(std::int64_t factor, std::int64_t size) {
  return size == kUnknownSize ? kUnknownSize : factor * size;
}

class InventoryBuilder {
 public:
  explicit InventoryBuilder(std::string part, std::vector<TensorSpec>& specs) : part_(std::move(part)), specs_(specs) {}

  void add(const std::string& name, Shape shape) { specs_.push_back({part_, name, std::move(shape)}); }
  // weight (shape) and, when `bias`, bias (first extent).
  void layer(const std::string& name, const Shape& shape, bool bias = true) {
    add(name + ".weight", shape);
    if (bias) add(name + ".bias", {shape[0]});
  }
  void linear(const std::string& name, std::int64_t out, std::int64_t in) { layer(name, {out, in}); }

 private:
  std::string part_;
  std::vector<TensorSpec>& specs_;
};

void AddAttention(InventoryBuilder& add, const std::string& name, std::int64_t dim) {
  for (const char* product : {"q", "k", "v", "o"}) add.linear(name + "." + product, dim, dim);
  add.add(name + ".norm_q.weight", {dim});
  add.add(name + ".norm_k.weight", {dim});
}

void AddTransformer(const ModelDims& dims, std::vector<TensorSpec>& specs) {
  InventoryBuilder add("transformer", specs);
  const std::int64_t dim = dims.dim;
  add.layer("patch_embedding", {dim, dims.latentChannels, 1, 2, 2});
  add.linear("text_embedding.0", dim, dims.textDim);
  add.linear("text_embedding.2", dim, dim);
  add.linear("time_embedding.0", dim, dims.freqDim);
  add.linear("time_embedding.2", dim, dim);
  add.linear("time_projection.1", Times(6, dim), dim);
  for (std::int64_t index = 0; index < std::max<std::int64_t>(dims.layers, 1); ++index) {
    const std::string block = "blocks." + std::to_string(index);
    add.add(block + ".modulation", {1, 6, dim});
    AddAttention(add, block + ".self_attn", dim);
    AddAttention(add, block + ".cross_attn", dim);
    add.layer(block + ".norm3", {dim});
    add.linear(block + ".ffn.0", dims.ffn, dim);
    add.linear(block + ".ffn.2", dim, dims.ffn);
  }
  add.add("head.modulation", {1, 2, dim});
  add.linear("head.head", Times(4, dims.latentChannels), dim);
}

void AddProjector(const ModelDims& dims, std::vector<TensorSpec>& specs) {
  InventoryBuilder add("projector", specs);
  const auto [first, second] = dims.lqHidden;
  add.layer("conv1", {first, kUnshuffledChannels, 4, 3, 3});
  add.add("norm1.gamma", {first, 1, 1, 1});
  add.layer("conv2", {second, first, 4, 3, 3});
  add.add("norm2.gamma", {second, 1, 1, 1});
  for (std::int64_t index = 0; index < std::max<std::int64_t>(dims.lqLayers, 1); ++index) {
    add.linear("linear_layers." + std::to_string(index), dims.dim, second);
  }
}

void AddDecoder(const ModelDims& dims, std::vector<TensorSpec>& specs) {
  InventoryBuilder add("decoder", specs);
  const auto& channels = dims.decoderChannels;
  const auto convolution = [&](int index, std::int64_t out, std::int64_t in, bool bias) {
    add.layer(std::to_string(index), {out, in, 3, 3}, bias);
  };
  const std::int64_t input =
      dims.latentChannels == kUnknownSize ? kUnknownSize : kUnshuffledChannels + dims.latentChannels;
  convolution(1, channels[0], input, true);
  convolution(3, channels[0], channels[0], false);
  for (int stage = 0; stage < 3; ++stage) {
    const std::int64_t width = channels[static_cast<std::size_t>(stage)];
    const std::int64_t next = channels[static_cast<std::size_t>(stage) + 1];
    const int first = 5 + 6 * stage;  // 3 MemBlocks, upsampling, TGrow, convolution
    for (int block = first; block < first + 3; ++block) {
      const std::string name = std::to_string(block) + ".conv.";
      add.layer(name + "0", {width, Times(2, width), 3, 3});
      add.layer(name + "2", {width, width, 3, 3});
      add.layer(name + "4", {width, width, 3, 3});
    }
    add.layer(std::to_string(first + 4) + ".conv", {Times(stage == 0 ? 1 : 2, width), width, 1, 1}, false);
    convolution(first + 5, next, width, false);
  }
  convolution(24, channels[3], channels[3], false);
  convolution(26, 3, channels[3], true);
}

void AddWan(const ModelDims& dims, std::vector<TensorSpec>& specs) {
  InventoryBuilder add("wan", specs);
  for (const WanConvolutionSpec& spec : WanConvolutions(dims.wanWidth, dims.latentChannels)) {
    if (!spec.norm.empty()) add.add(spec.norm, spec.flatNorm ? Shape{spec.in, 1, 1} : Shape{spec.in, 1, 1, 1});
    const std::int64_t side = spec.side;
    add.layer(spec.name,
              spec.flat ? Shape{spec.out, spec.in, side, side} : Shape{spec.out, spec.in, spec.time, side, side});
  }
}

// Extent `axis` of a tensor, when it is there with the right number of dimensions.
std::int64_t Extent(const TensorSource& source, std::string_view name, std::size_t rank, std::size_t axis) {
  const TensorView* view = source.find(name);
  return view == nullptr || view->shape.size() != rank ? kUnknownSize : view->shape[axis];
}

// One more than the largest index among names that start with `prefix` and go on with an index and a dot.
std::int64_t CountIndexed(const TensorSource& source, std::string_view prefix) {
  std::int64_t count = 0;
  for (std::string_view name : source.names()) {
    if (!name.starts_with(prefix)) continue;
    name.remove_prefix(prefix.size());
    std::int64_t index = 0;
    std::size_t digits = 0;
    while (digits < name.size() && digits < 5 && name[digits] >= '0' && name[digits] <= '9') {
      index = index * 10 + (name[digits++] - '0');
    }
    if (digits == 0 || digits >= name.size() || name[digits] != '.' || index >= kMaxLayers) continue;
    count = std::max(count, index + 1);
  }
  return count;
}

}  // namespace

std::vector<TensorSpec> ExpectedTensors(const ModelDims& dims) {
  std::vector<TensorSpec> specs;
  AddTransformer(dims, specs);
  AddProjector(dims, specs);
  AddDecoder(dims, specs);
  specs.push_back({"prompt", "embedding", {1, dims.textLen, dims.textDim}});
  if (dims.wanWidth != 0) AddWan(dims, specs);
  return specs;
}

ModelDims DetectDims(const ModelSources& sources) {
  const TensorSource& transformer = *sources.transformer;
  const TensorSource& projector = *sources.projector;
  const TensorSource& decoder = *sources.decoder;
  ModelDims dims;
  dims.dim = Extent(transformer, "patch_embedding.weight", 5, 0);
  dims.latentChannels = Extent(transformer, "patch_embedding.weight", 5, 1);
  dims.heads = dims.dim == kUnknownSize ? kUnknownSize : dims.dim / ModelDims::kHeadWidth;
  dims.ffn = Extent(transformer, "blocks.0.ffn.0.weight", 2, 0);
  dims.layers = CountIndexed(transformer, "blocks.");
  dims.textDim = Extent(transformer, "text_embedding.0.weight", 2, 1);
  dims.freqDim = Extent(transformer, "time_embedding.0.weight", 2, 1);
  dims.textLen = Extent(*sources.prompt, "embedding", 3, 1);
  dims.lqHidden = {Extent(projector, "conv1.weight", 5, 0), Extent(projector, "conv2.weight", 5, 0)};
  dims.lqLayers = CountIndexed(projector, "linear_layers.");
  dims.decoderChannels = {Extent(decoder, "1.weight", 4, 0), Extent(decoder, "10.weight", 4, 0),
                          Extent(decoder, "16.weight", 4, 0), Extent(decoder, "22.weight", 4, 0)};
  if (sources.wan != nullptr) dims.wanWidth = Extent(*sources.wan, "decoder.head.2.weight", 5, 1);
  return dims;
}

std::vector<std::string> DimsProblems(const ModelDims& dims) {
  std::vector<std::string> problems;
  const auto check = [&](bool fine, std::string_view what, std::int64_t size, std::string_view rule) {
    if (size != kUnknownSize && !fine) {
      problems.push_back(std::string(what) + " is " + std::to_string(size) + "; it must be " + std::string(rule));
    }
  };
  const auto positive = [&](std::string_view what, std::int64_t size) { check(size > 0, what, size, "positive"); };
  check(dims.dim > 0 && dims.dim % ModelDims::kHeadWidth == 0, "dim", dims.dim, "a positive multiple of 128");
  check(dims.freqDim > 0 && dims.freqDim % 2 == 0, "freq_dim", dims.freqDim, "positive and even");
  check(dims.lqLayers <= std::max<std::int64_t>(dims.layers, 1), "lq_layers", dims.lqLayers,
        "at most the number of blocks");
  positive("ffn", dims.ffn);
  positive("text_dim", dims.textDim);
  positive("text_len", dims.textLen);
  positive("latent channels", dims.latentChannels);
  for (const std::int64_t size : dims.lqHidden) positive("lq_hidden", size);
  for (const std::int64_t size : dims.decoderChannels) positive("decoder channels", size);
  if (dims.wanWidth != 0) {
    positive("the Wan decoder's width", dims.wanWidth);
    check(dims.latentChannels == static_cast<std::int64_t>(kWanMean.size()), "latent channels", dims.latentChannels,
          "16, as the Wan decoder has them");
  }
  return problems;
}

}  // namespace flashvsr
