// The reference backend: every operation on the caller's thread (and its pool), done when the call returns.
#include <sys/mman.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <new>

#include "backend/reference/ops.h"
#include "backend/reference/reference_model.h"

namespace flashvsr::reference {
namespace {

constexpr std::int64_t kFloat = sizeof(float);

class DoneFence final : public Fence {
 public:
  explicit DoneFence(std::array<double, kStages> ms) : ms_(ms) {}
  bool done() const override { return true; }
  void wait() override {}
  std::array<double, kStages> stageMs() const override { return ms_; }

 private:
  std::array<double, kStages> ms_;
};

float* F(const Tensor& tensor) { return static_cast<float*>(tensor.data); }
std::uint8_t* B(const Tensor& tensor) { return static_cast<std::uint8_t*>(tensor.data); }
std::int64_t Bytes(const Tensor& tensor) { return tensor.elements() * (tensor.storage == Storage::Byte ? 1 : kFloat); }

class ReferenceExecutor final : public Executor {
 public:
  ReferenceExecutor(std::shared_ptr<const ReferenceModel> model, const Geometry& geometry, const ExecutorLimits& limits,
                    std::int64_t arenaBytes)
      : model_(std::move(model)),
        geometry_(geometry),
        threads_(model_->threads()),
        dim_(model_->dims().dim) {
    // Mapped, not from the heap: when the stream ends the machine has its memory back at once.
    void* mapped =
        mmap(nullptr, static_cast<std::size_t>(arenaBytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
      throw Error("engine.memory", ErrorScope::Stream,
                  "The stream needs " + std::to_string(arenaBytes >> 20) + " MiB and the machine would not give them.");
    arena_ =
        std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(mapped), Unmap{static_cast<std::size_t>(arenaBytes)});
    // Poison: a read of something that was never written must not look like a picture.
    std::memset(arena_.get(), 0xFF, static_cast<std::size_t>(arenaBytes));
    const std::int64_t tokens = limits.maxGroups * geometry.groupTokens();
    normed_.resize(static_cast<std::size_t>(tokens * dim_));
    patches_.resize(static_cast<std::size_t>(tokens * model_->dims().latentChannels * 4));
  }

  std::byte* arena() override { return arena_.get(); }
  std::shared_ptr<std::uint8_t[]> allocateHost(std::size_t bytes) override {
    return std::shared_ptr<std::uint8_t[]>(new std::uint8_t[bytes]);
  }
  void upload(const Tensor& to, const void* host) override {
    std::memcpy(to.data, host, static_cast<std::size_t>(Bytes(to)));
  }
  void download(void* host, const Tensor& from) override {
    std::memcpy(host, from.data, static_cast<std::size_t>(Bytes(from)));
  }
  void fill(const Tensor& tensor, std::uint8_t byte) override {
    std::memset(tensor.data, byte, static_cast<std::size_t>(Bytes(tensor)));
  }
  void copy(const Tensor& to, const Tensor& from) override {
    std::memcpy(to.data, from.data, static_cast<std::size_t>(Bytes(from)));
  }
  std::vector<float> read(const Tensor& tensor) override {
    if (tensor.storage == Storage::Byte) return {B(tensor), B(tensor) + tensor.elements()};
    return {F(tensor), F(tensor) + tensor.elements()};
  }
  void write(const Tensor& tensor, std::span<const float> values) override {
    if (static_cast<std::int64_t>(values.size()) != tensor.elements()) FailInternal("write: element counts differ");
    if (tensor.storage == Storage::Byte) {
      for (std::size_t i = 0; i < values.size(); ++i) B(tensor)[i] = static_cast<std::uint8_t>(values[i]);
    } else {
      std::copy(values.begin(), values.end(), F(tensor));
    }
  }

  void mark(Stage stage) override {
    closeStage();
    stage_ = static_cast<int>(stage);
    since_ = std::chrono::steady_clock::now();
  }
  std::unique_ptr<Fence> fence() override {
    closeStage();
    auto fence = std::make_unique<DoneFence>(ms_);
    ms_.fill(0);
    return fence;
  }
  void after(const Fence&) override {}  // what was called has been done

  void run(const ImportPicture& op) override {
    sourceRgb_.resize(static_cast<std::size_t>(op.width) * static_cast<std::size_t>(op.height) * 3);
    PictureToRgb(threads_, op.host, op.format, op.width, op.height, sourceRgb_.data());
    ResizeBicubic(threads_, sourceRgb_.data(), op.width, op.height, B(op.out), geometry_.contentWidth,
                  geometry_.contentHeight, geometry_.width);
    PadReplicate(threads_, B(op.out), geometry_.contentWidth, geometry_.contentHeight, geometry_.width,
                 geometry_.height);
  }
  void run(const UnshuffleFrame& op) override {
    UnshuffleBy16(threads_, B(op.frame), geometry_.height, geometry_.width, F(op.out));
  }
  void run(const CausalConvolution& op) override {
    const CausalWeights& weights = model_->causal[static_cast<std::size_t>(op.index - 1)];
    std::vector<const float*> inputs;
    for (const Tensor& input : op.inputs) inputs.push_back(F(input));
    const std::int64_t rows = geometry_.tokenRows(), columns = geometry_.tokenColumns(), channels = weights.weight.n();
    CausalConvolve(threads_, inputs, op.taps, rows, columns, weights.weight, weights.bias.data(), weights.gamma.data(),
                   [&](std::int64_t t, std::int64_t y, std::int64_t x) {
                     if (op.index == 1)
                       return F(op.outputs[static_cast<std::size_t>(t)]) + (y * columns + x) * channels;
                     return F(op.tokens) + TokenIndex(columns, geometry_.windows(), t, y, x) * channels;
                   });
  }
  void run(const PatchEmbed& op) override {
    const std::int64_t frames = op.noise.shape[1], channels = op.noise.shape[0];
    PatchRows(threads_, F(op.noise), channels, frames, geometry_.latentHeight(), geometry_.latentWidth(),
              patches_.data());
    Linear(threads_, patches_.data(), op.x.shape[2], model_->patchEmbedding.weight, model_->patchEmbedding.biasData(),
           Activation::None, F(op.x));
  }
  void run(const AddProjected& op) override {
    const LinearWeights& weights = model_->projected[static_cast<std::size_t>(op.index)];
    const std::int64_t tokens = op.features.shape[2];
    if (op.projected) {
      Linear(threads_, F(op.features), tokens, weights.weight, weights.biasData(), Activation::None, F(op.projected));
    } else {
      LinearGatedResidual(threads_, F(op.features), tokens, weights.weight, weights.biasData(), nullptr, F(op.x));
    }
  }
  void run(const AttentionInput& op) override {
    const BlockWeights& block = model_->blocks[static_cast<std::size_t>(op.layer)];
    const std::int64_t tokens = op.x.shape[2], group = geometry_.groupTokens(), groups = tokens / group;
    LayerNorm(threads_, F(op.x), tokens, dim_, nullptr, nullptr, block.modulation[1].data(), block.modulation[0].data(),
              normed_.data());
    roundOperand(block, normed_.data(), tokens, dim_, block.normedScale);
    Linear(threads_, normed_.data(), tokens, block.q.weight, block.q.biasData(), Activation::None, F(op.q));
    RmsNorm(threads_, F(op.q), tokens, dim_, block.normQ.data());
    Rope(threads_, F(op.q), groups * 2, geometry_.tokenRows(), geometry_.tokenColumns(), dim_, F(op.rope.frames),
         F(op.rope.rows), F(op.rope.columns));
    WindowMeans(threads_, F(op.q), groups * geometry_.windows(), dim_, F(op.queryMeans));
    RoundFloat8(threads_, F(op.q), tokens * dim_, block.queryScale);
    for (std::int64_t g = 0; g < groups; ++g) {
      const KvSlot& slot = op.slots[static_cast<std::size_t>(g)];
      const float* a = normed_.data() + g * group * dim_;
      Linear(threads_, a, group, block.k.weight, block.k.biasData(), Activation::None, F(slot.keys));
      RmsNorm(threads_, F(slot.keys), group, dim_, block.normK.data());
      Rope(threads_, F(slot.keys), 2, geometry_.tokenRows(), geometry_.tokenColumns(), dim_,
           F(op.rope.frames) + g * 2 * 22 * 2, F(op.rope.rows), F(op.rope.columns));
      WindowMeans(threads_, F(slot.keys), geometry_.windows(), dim_, F(slot.means));
      RoundFloat8(threads_, F(slot.keys), group * dim_, block.keyScale);
      Linear(threads_, a, group, block.v.weight, block.v.biasData(), Activation::None, F(slot.values));
      RoundFloat8(threads_, F(slot.values), group * dim_, block.valueScale);
    }
  }
  void run(const SelectBlocks& op) override {
    std::vector<const float*> means;
    for (const KvSlot& slot : op.keys) means.push_back(F(slot.means));
    const SelectParameters parameters{model_->dims().heads,
                                      geometry_.windowRows(),
                                      geometry_.windowColumns(),
                                      op.queryMeans.shape[2] / geometry_.windows(),
                                      op.localRange,
                                      op.topk};
    SelectMask(threads_, parameters, F(op.queryMeans), means, B(op.mask));
  }
  void run(const SparseAttention& op) override {
    std::vector<const float*> keys, values;
    for (const KvSlot& slot : op.keys) {
      keys.push_back(F(slot.keys));
      values.push_back(F(slot.values));
    }
    SparseAttend(threads_, model_->dims().heads, geometry_.windows(), op.q.shape[2] / 128, F(op.q), keys, values,
                 B(op.mask), F(op.out));
    const BlockWeights& block = model_->blocks[static_cast<std::size_t>(op.layer)];
    roundOperand(block, F(op.out), op.q.shape[2], dim_, block.attentionScale);
  }
  void run(const AttentionOutput& op) override {
    const BlockWeights& block = model_->blocks[static_cast<std::size_t>(op.layer)];
    LinearGatedResidual(threads_, F(op.attention), op.x.shape[2], block.o.weight, block.o.biasData(),
                        block.modulation[2].data(), F(op.x));
  }
  void run(const CrossAttention& op) override {
    const BlockWeights& block = model_->blocks[static_cast<std::size_t>(op.layer)];
    const std::int64_t tokens = op.x.shape[2];
    LayerNorm(threads_, F(op.x), tokens, dim_, block.norm3Weight.data(), block.norm3Bias.data(), nullptr, nullptr,
              F(op.a));
    roundOperand(block, F(op.a), tokens, dim_, block.normedScale);
    Linear(threads_, F(op.a), tokens, block.crossQ.weight, block.crossQ.biasData(), Activation::None, F(op.b));
    RmsNorm(threads_, F(op.b), tokens, dim_, block.crossNormQ.data());
    DenseAttend(threads_, model_->dims().heads, tokens, model_->dims().textLen, F(op.b), block.promptKeys.data(),
                block.promptValues.data(), F(op.a));
    roundOperand(block, F(op.a), tokens, dim_, block.promptScale);
    LinearGatedResidual(threads_, F(op.a), tokens, block.crossO.weight, block.crossO.biasData(), nullptr, F(op.x));
  }
  void run(const FeedForward& op) override {
    const BlockWeights& block = model_->blocks[static_cast<std::size_t>(op.layer)];
    const std::int64_t tokens = op.x.shape[2];
    LayerNorm(threads_, F(op.x), tokens, dim_, nullptr, nullptr, block.modulation[4].data(), block.modulation[3].data(),
              F(op.a));
    roundOperand(block, F(op.a), tokens, dim_, block.feedForwardScale);
    Linear(threads_, F(op.a), tokens, block.ffnIn.weight, block.ffnIn.biasData(), Activation::GeluTanh, F(op.hidden));
    roundOperand(block, F(op.hidden), tokens, model_->dims().ffn, block.hiddenScale);
    LinearGatedResidual(threads_, F(op.hidden), tokens, block.ffnOut.weight, block.ffnOut.biasData(),
                        block.modulation[5].data(), F(op.x));
  }
  void run(const Head& op) override {
    const std::int64_t tokens = op.x.shape[2];
    LayerNorm(threads_, F(op.x), tokens, dim_, nullptr, nullptr, model_->headScale.data(), model_->headShift.data(),
              normed_.data());
    Linear(threads_, normed_.data(), tokens, model_->head.weight, model_->head.biasData(), Activation::None,
           patches_.data());
    SubtractPatches(threads_, patches_.data(), F(op.noise), op.noise.shape[0], op.noise.shape[1],
                    geometry_.latentHeight(), geometry_.latentWidth(), F(op.latent));
  }
  void run(const Noise& op) override {
    NoiseFill(threads_, op.seed, op.position, op.out.shape[0], op.out.shape[1], op.out.shape[2], op.out.shape[3],
              F(op.out));
  }
  void run(const DecoderInput& op) override {
    const std::array<const std::uint8_t*, 4> frames{B(op.frames[0]), B(op.frames[1]), B(op.frames[2]), B(op.frames[3])};
    DecoderInputRows(threads_, frames, F(op.latent), op.latent.shape[0], op.latent.shape[1], op.latentFrame,
                     geometry_.height, geometry_.width, F(op.out));
  }
  void run(const DecoderConvolution& op) override {
    const LinearWeights& weights = model_->decoder.at({op.layer, op.part});
    Convolve3x3(threads_, F(op.x), op.past ? F(op.past) : nullptr, op.x.shape[1], op.x.shape[2], op.x.shape[3],
                weights.weight, weights.biasData(), op.residual ? F(op.residual) : nullptr, op.relu, F(op.out));
  }
  void run(const DecoderGrow& op) override {
    const std::size_t stage = static_cast<std::size_t>(op.stage);
    GrowConvolve(threads_, F(op.x), op.x.shape[1], op.x.shape[2], model_->grow[stage], op.step,
                 model_->decoder.at({kGrowConvolution[stage], -1}).weight, op.stage == 2, F(op.out));
  }
  void run(const DecoderOutput& op) override {
    const LinearWeights& weights = model_->decoder.at({26, -1});
    OutputConvolve(threads_, F(op.x), op.x.shape[1], op.x.shape[2], op.x.shape[3], weights.weight, weights.biasData(),
                   F(op.out));
  }
  void run(const WanInput& op) override {
    const WanWeights& weights = model_->wan.at({kWanEntry, WanPart::Second});
    WanInputRows(threads_, F(op.latent), op.latent.shape[0], op.latent.shape[1], op.latentFrame,
                 geometry_.latentHeight() * geometry_.latentWidth(), weights.weight, weights.bias.data(), F(op.out));
  }
  void run(const WanNorm& op) override {
    const WanWeights& weights = model_->wan.at({op.block, op.part});
    WanNormalize(threads_, F(op.x), op.x.elements() / op.x.shape[3], op.x.shape[3], weights.gamma.data(), true,
                 F(op.out));
  }
  void run(const WanConvolution& op) override {
    const WanWeights& weights = model_->wan.at({op.block, op.part});
    const bool enlarge = op.part == WanPart::Enlarge;
    std::vector<const float*> steps;
    if (op.earlier) steps = {F(op.earlier), F(op.previous)};
    steps.push_back(F(op.x));
    WanConvolve(threads_, steps, op.out.shape[1], op.out.shape[2], op.x.shape[3], enlarge, weights.weight,
                weights.bias.data(), op.half * op.out.shape[3], op.out.shape[3], op.residual ? F(op.residual) : nullptr,
                F(op.out));
  }
  void run(const WanAttention& op) override {
    const WanWeights &query = model_->wan.at({op.block, WanPart::Query}),
                     &project = model_->wan.at({op.block, WanPart::Project});
    WanAttend(threads_, F(op.x), op.x.shape[1] * op.x.shape[2], op.x.shape[3], query.gamma.data(), query.weight,
              query.bias.data(), project.weight, project.bias.data(), F(op.out));
  }
  void run(const WanOutput& op) override {
    const WanWeights& weights = model_->wan.at({kWanHead, WanPart::First});
    WanOutputConvolve(threads_, {F(op.earlier), F(op.previous), F(op.x)}, op.x.shape[1], op.x.shape[2], op.x.shape[3],
                      weights.weight, weights.bias.data(), F(op.out));
  }
  void run(const FinishPicture& op) override {
    const std::int64_t width = geometry_.contentWidth, height = geometry_.contentHeight,
                       plane = geometry_.width * geometry_.height;
    MatchColours(threads_, op.match, F(op.decoded), B(op.frame), geometry_.width, geometry_.height, width, height,
                 F(op.matched));
    outputRgb_.resize(static_cast<std::size_t>(width * height * 3));
    const float* matched = F(op.matched);
    threads_.runRanges(height, 16, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t y = begin; y < end; ++y)
        for (std::int64_t x = 0; x < width; ++x)
          for (std::int64_t c = 0; c < 3; ++c)
            outputRgb_[static_cast<std::size_t>((y * width + x) * 3 + c)] =
                UnitToPixel(matched[c * plane + y * geometry_.width + x]);
    });
    RgbToPicture(threads_, outputRgb_.data(), width, op.format, width, height, B(op.out));
  }

 private:
  // What an 8-bit linear layer reads: rows of `width`, e4m3 by `scale` or int8; nothing in fp32.
  void roundOperand(const BlockWeights& block, float* x, std::int64_t rows, std::int64_t width, float scale) const {
    if (block.int8) model_->roundInt8(x, rows, width);
    else RoundFloat8(threads_, x, rows * width, scale);
  }

  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* p) const { munmap(p, bytes); }
  };

  void closeStage() {
    if (stage_ < 0) return;
    const std::chrono::duration<double, std::milli> ms = std::chrono::steady_clock::now() - since_;
    ms_[static_cast<std::size_t>(stage_)] += ms.count();
    stage_ = -1;
  }

  std::shared_ptr<const ReferenceModel> model_;
  Geometry geometry_;
  Threads& threads_;
  std::int64_t dim_;
  std::unique_ptr<std::byte, Unmap> arena_{nullptr, Unmap{0}};
  std::vector<float> normed_, patches_;
  std::vector<std::uint8_t> sourceRgb_, outputRgb_;
  std::array<double, kStages> ms_{};
  std::chrono::steady_clock::time_point since_;
  int stage_ = -1;
};

// Kibibytes of a line of /proc/meminfo, 0 where there is none.
std::int64_t MemoryInfo(const char* key) {
  std::ifstream file("/proc/meminfo");
  std::string name;
  std::int64_t value = 0;
  for (std::string rest; file >> name >> value; std::getline(file, rest))
    if (name == key) return value * 1024;
  return 0;
}

class ReferenceBackend final : public Backend {
 public:
  explicit ReferenceBackend(int threads) : threads_(std::make_shared<Threads>(threads)) {}

  BackendInfo info() const override {
    BackendInfo info;
    info.device = "reference";
    info.deviceName = "CPU, " + std::to_string(threads_->count()) + " threads, " + MatrixInstructions();
    info.totalBytes = MemoryInfo("MemTotal:");
    info.freeBytes = MemoryInfo("MemAvailable:");
    return info;
  }
  std::int64_t elementBytes(Storage storage, Precision) const override { return storage == Storage::Byte ? 1 : kFloat; }
  std::int64_t preparedBytes(const ModelDims& dims, Precision) const override {
    std::int64_t elements = 2 * dims.layers * dims.textLen * dims.dim;
    for (const TensorSpec& spec : ExpectedTensors(dims)) elements += ElementsOf(spec.shape);
    return elements * kFloat;
  }
  std::shared_ptr<PreparedModel> prepare(const ModelWeights& weights, const ModelConstants& constants,
                                         Precision precision, const LoadProgress& progress) override {
    if (precision == Precision::Bf16)
      throw Error("engine.device", ErrorScope::Engine,
                  "The reference backend computes in fp32, or in fp32 with the roundings of fp8 or int8.",
                  "Leave the precision out, or choose --device cuda.");
    return std::make_shared<ReferenceModel>(threads_, weights, constants, precision, progress);
  }

 private:
  std::shared_ptr<Threads> threads_;
};

}  // namespace

std::int64_t ReferenceModel::scratchBytes(const Geometry& geometry, const ExecutorLimits& limits) const {
  const std::int64_t tokens = limits.maxGroups * geometry.groupTokens();
  const std::int64_t fixed = tokens * (dims_.dim + dims_.latentChannels * 4);
  const std::int64_t attention = 2 * limits.maxKeyGroups * geometry.groupTokens() * ModelDims::kHeadWidth;
  const std::int64_t pixels = geometry.height * geometry.width;
  const std::int64_t grow = std::max({pixels / 64 * dims_.decoderChannels[0], pixels / 16 * dims_.decoderChannels[1],
                                      pixels / 4 * dims_.decoderChannels[2]});
  const std::int64_t match = 3 * pixels;
  const std::int64_t source = static_cast<std::int64_t>(limits.maxSourceWidth) * limits.maxSourceHeight * 3 +
                              geometry.contentWidth * limits.maxSourceHeight * 3 + pixels * 3;
  return (fixed + std::max({attention, grow, match})) * kFloat + source;
}

std::unique_ptr<Executor> ReferenceModel::createExecutor(const Geometry& geometry, const ExecutorLimits& limits,
                                                         std::int64_t arenaBytes) {
  return std::make_unique<ReferenceExecutor>(shared_from_this(), geometry, limits, arenaBytes);
}

}  // namespace flashvsr::reference

namespace flashvsr {
std::unique_ptr<Backend> CreateReferenceBackend(int threads) {
  return std::make_unique<reference::ReferenceBackend>(threads);
}
}  // namespace flashvsr
