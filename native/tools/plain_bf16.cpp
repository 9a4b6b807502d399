#include "tools/plain_bf16.h"

#include <algorithm>

#include "backend/reference/ops.h"
#include "weights/tensor_source.h"

namespace flashvsr::tools {
namespace {

using namespace reference;

constexpr std::int64_t kRun = 1 << 14;

float* F(const Tensor& tensor) { return static_cast<float*>(tensor.data); }

class PlainExecutor final : public Executor {
 public:
  PlainExecutor(std::shared_ptr<const ReferenceModel> model, const Geometry& geometry, std::unique_ptr<Executor> inner)
      : model_(std::move(model)),
        geometry_(geometry),
        threads_(model_->threads()),
        dim_(model_->dims().dim),
        inner_(std::move(inner)) {
    for (const BlockWeights& block : model_->blocks) {
      promptKeys_.push_back(block.promptKeys);
      promptValues_.push_back(block.promptValues);
      round(promptKeys_.back().data(), static_cast<std::int64_t>(promptKeys_.back().size()));
      round(promptValues_.back().data(), static_cast<std::int64_t>(promptValues_.back().size()));
    }
  }

  std::byte* arena() override { return inner_->arena(); }
  std::shared_ptr<std::uint8_t[]> allocateHost(std::size_t bytes) override { return inner_->allocateHost(bytes); }
  void upload(const Tensor& to, const void* host) override { inner_->upload(to, host); }
  void download(void* host, const Tensor& from) override { inner_->download(host, from); }
  void fill(const Tensor& tensor, std::uint8_t byte) override { inner_->fill(tensor, byte); }
  void copy(const Tensor& to, const Tensor& from) override { inner_->copy(to, from); }
  std::vector<float> read(const Tensor& tensor) override { return inner_->read(tensor); }
  void write(const Tensor& tensor, std::span<const float> values) override { inner_->write(tensor, values); }
  void mark(Stage stage) override { inner_->mark(stage); }
  std::unique_ptr<Fence> fence() override { return inner_->fence(); }
  void after(const Fence& fence) override { inner_->after(fence); }

  void run(const ImportPicture& op) override { inner_->run(op); }
  void run(const Noise& op) override { inner_->run(op); }
  void run(const SelectBlocks& op) override { inner_->run(op); }
  void run(const DecoderOutput& op) override { inner_->run(op); }
  void run(const FinishPicture& op) override { inner_->run(op); }
  void run(const UnshuffleFrame& op) override { delegate(op, op.out); }
  void run(const SparseAttention& op) override { delegate(op, op.out); }
  void run(const DecoderInput& op) override { delegate(op, op.out); }
  void run(const DecoderGrow& op) override { delegate(op, op.out); }
  void run(const CausalConvolution& op) override {
    inner_->run(op);
    for (const Tensor& output : op.outputs) round(output);
    if (op.tokens) round(op.tokens);
  }
  void run(const DecoderConvolution& op) override {
    DecoderConvolution bare = op;
    bare.residual = {};
    bare.relu = op.relu && !op.residual;
    delegate(bare, op.out);
    if (!op.residual) return;
    float *out = F(op.out), *residual = F(op.residual);
    each(op.out.elements(), [&](std::int64_t i) {
      const float sum = Bf16(out[i] + residual[i]);
      out[i] = op.relu ? std::max(sum, 0.0F) : sum;
    });
  }
  void run(const PatchEmbed& op) override {
    const std::int64_t tokens = op.x.shape[2];
    std::vector<float> rows(static_cast<std::size_t>(tokens * op.noise.shape[0] * 4));
    PatchRows(threads_, F(op.noise), op.noise.shape[0], op.noise.shape[1], geometry_.latentHeight(),
              geometry_.latentWidth(), rows.data());
    round(rows.data(), static_cast<std::int64_t>(rows.size()));
    linear(rows.data(), tokens, model_->patchEmbedding, F(op.x));
  }
  void run(const AddProjected& op) override {
    if (op.projected) return inner_->run(op);
    addLinear(F(op.features), op.features.shape[2], model_->projected[static_cast<std::size_t>(op.index)], nullptr,
              F(op.x));
  }
  void run(const AttentionInput& op) override {
    const BlockWeights& block = blockOf(op.layer);
    const std::int64_t tokens = op.x.shape[2], group = geometry_.groupTokens(), groups = tokens / group;
    const std::vector<float> normed =
        modulated(F(op.x), tokens, nullptr, nullptr, &block.modulation[1], &block.modulation[0]);
    const auto turned = [&](const float* from, std::int64_t rows, const LinearWeights& weights,
                            const std::vector<float>& norm, std::int64_t firstGroup, float* to) {
      linear(from, rows, weights, to);
      RmsNorm(threads_, to, rows, dim_, norm.data());
      round(to, rows * dim_);
      Rope(threads_, to, rows / group * 2, geometry_.tokenRows(), geometry_.tokenColumns(), dim_,
           F(op.rope.frames) + firstGroup * 2 * 22 * 2, F(op.rope.rows), F(op.rope.columns));
      round(to, rows * dim_);
    };
    turned(normed.data(), tokens, block.q, block.normQ, 0, F(op.q));
    WindowMeans(threads_, F(op.q), groups * geometry_.windows(), dim_, F(op.queryMeans));
    for (std::int64_t g = 0; g < groups; ++g) {
      const KvSlot& slot = op.slots[static_cast<std::size_t>(g)];
      const float* const from = normed.data() + g * group * dim_;
      turned(from, group, block.k, block.normK, g, F(slot.keys));
      WindowMeans(threads_, F(slot.keys), geometry_.windows(), dim_, F(slot.means));
      linear(from, group, block.v, F(slot.values));
    }
  }
  void run(const AttentionOutput& op) override {
    const BlockWeights& block = blockOf(op.layer);
    addLinear(F(op.attention), op.x.shape[2], block.o, block.modulation[2].data(), F(op.x));
  }
  void run(const CrossAttention& op) override {
    const BlockWeights& block = blockOf(op.layer);
    const std::size_t layer = static_cast<std::size_t>(op.layer);
    const std::int64_t tokens = op.x.shape[2];
    const std::vector<float> normed =
        modulated(F(op.x), tokens, block.norm3Weight.data(), block.norm3Bias.data(), nullptr, nullptr);
    linear(normed.data(), tokens, block.crossQ, F(op.b));
    RmsNorm(threads_, F(op.b), tokens, dim_, block.crossNormQ.data());
    round(F(op.b), tokens * dim_);
    DenseAttend(threads_, model_->dims().heads, tokens, model_->dims().textLen, F(op.b), promptKeys_[layer].data(),
                promptValues_[layer].data(), F(op.a));
    round(F(op.a), tokens * dim_);
    addLinear(F(op.a), tokens, block.crossO, nullptr, F(op.x));
  }
  void run(const FeedForward& op) override {
    const BlockWeights& block = blockOf(op.layer);
    const std::int64_t tokens = op.x.shape[2];
    const std::vector<float> normed =
        modulated(F(op.x), tokens, nullptr, nullptr, &block.modulation[4], &block.modulation[3]);
    linear(normed.data(), tokens, block.ffnIn, F(op.hidden));
    float* const hidden = F(op.hidden);
    each(tokens * model_->dims().ffn, [&](std::int64_t i) { hidden[i] = Bf16(GeluTanh(hidden[i])); });
    addLinear(hidden, tokens, block.ffnOut, block.modulation[5].data(), F(op.x));
  }
  void run(const Head& op) override {
    const std::int64_t tokens = op.x.shape[2];
    const std::vector<float> normed =
        modulated(F(op.x), tokens, nullptr, nullptr, &model_->headScale, &model_->headShift);
    std::vector<float> rows(static_cast<std::size_t>(tokens * op.noise.shape[0] * 4));
    linear(normed.data(), tokens, model_->head, rows.data());
    SubtractPatches(threads_, rows.data(), F(op.noise), op.noise.shape[0], op.noise.shape[1], geometry_.latentHeight(),
                    geometry_.latentWidth(), F(op.latent));
  }

 private:
  static float Bf16(float value) { return BFloat16ToFloat(FloatToBFloat16(value)); }

  void each(std::int64_t count, const std::function<void(std::int64_t)>& what) {
    threads_.runRanges((count + kRun - 1) / kRun, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * kRun; i < std::min(end * kRun, count); ++i) what(i);
    });
  }
  void round(float* values, std::int64_t count) {
    threads_.runRanges((count + kRun - 1) / kRun, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin * kRun; i < std::min(end * kRun, count); ++i) values[i] = Bf16(values[i]);
    });
  }
  void round(const Tensor& tensor) { round(F(tensor), tensor.elements()); }

  template <typename Op>
  void delegate(const Op& op, const Tensor& out) {
    inner_->run(op);
    round(out);
  }

  const BlockWeights& blockOf(int layer) const { return model_->blocks[static_cast<std::size_t>(layer)]; }

  // LN, rounded; then modulation, rounded.
  std::vector<float> modulated(const float* x, std::int64_t rows, const float* weight, const float* bias,
                               const std::vector<float>* scale, const std::vector<float>* shift) {
    std::vector<float> out(static_cast<std::size_t>(rows * dim_));
    LayerNorm(threads_, x, rows, dim_, weight, bias, nullptr, nullptr, out.data());
    round(out.data(), rows * dim_);
    if (scale == nullptr) return out;
    each(rows * dim_, [&](std::int64_t i) {
      const std::size_t column = static_cast<std::size_t>(i % dim_), at = static_cast<std::size_t>(i);
      out[at] = Bf16(out[at] * (1.0F + (*scale)[column]) + (*shift)[column]);
    });
    return out;
  }
  void linear(const float* x, std::int64_t rows, const LinearWeights& weights, float* out) {
    Linear(threads_, x, rows, weights.weight, weights.biasData(), reference::Activation::None, out);
    round(out, rows * weights.weight.n());
  }
  // x += gate * linear(y), each of the three rounded.
  void addLinear(const float* y, std::int64_t rows, const LinearWeights& weights, const float* gate, float* x) {
    const std::int64_t width = weights.weight.n();
    std::vector<float> out(static_cast<std::size_t>(rows * width));
    linear(y, rows, weights, out.data());
    each(rows * width, [&](std::int64_t i) {
      const float value = out[static_cast<std::size_t>(i)];
      x[i] = Bf16(x[i] + (gate != nullptr ? Bf16(gate[i % width] * value) : value));
    });
  }

  std::shared_ptr<const ReferenceModel> model_;
  Geometry geometry_;
  Threads& threads_;
  std::int64_t dim_;
  std::unique_ptr<Executor> inner_;
  std::vector<std::vector<float>> promptKeys_, promptValues_;
};

class PlainModel final : public PreparedModel {
 public:
  explicit PlainModel(std::shared_ptr<ReferenceModel> model) : model_(std::move(model)) {}
  const ModelDims& dims() const override { return model_->dims(); }
  std::int64_t bytes() const override { return model_->bytes(); }
  std::int64_t scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const override {
    return model_->scratchBytes(geometry, limits);
  }
  std::unique_ptr<Executor> createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                           std::int64_t arenaBytes) override {
    return std::make_unique<PlainExecutor>(model_, geometry, model_->createExecutor(geometry, limits, arenaBytes));
  }
  std::vector<float> readConstant(const std::string& name) const override { return model_->readConstant(name); }

 private:
  std::shared_ptr<ReferenceModel> model_;
};

}  // namespace

std::shared_ptr<PreparedModel> MakePlainBf16(std::shared_ptr<PreparedModel> model) {
  auto reference = std::dynamic_pointer_cast<ReferenceModel>(std::move(model));
  if (!reference) FailInternal("plain bf16 is made of a model of the reference backend");
  return std::make_shared<PlainModel>(std::move(reference));
}

}  // namespace flashvsr::tools
