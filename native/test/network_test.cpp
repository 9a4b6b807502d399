// The network, chunk by chunk, on the reference backend with a tiny synthetic model.
#include "backend/reference/ops.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

struct Seen {
  std::map<std::string, std::vector<float>> tensors;  // "<chunk>/<name>"
};

NetworkOptions OptionsFor(std::int64_t height, std::int64_t width, std::int64_t contentHeight = 0,
                          std::int64_t contentWidth = 0) {
  NetworkOptions options;
  options.geometry = {height, width, contentHeight > 0 ? contentHeight : height,
                      contentWidth > 0 ? contentWidth : width};
  options.maxSourceWidth = options.maxSourceHeight = 64;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  options.debug = true;
  return options;
}

StreamSettings Settings() {
  StreamSettings settings;
  settings.topkRatio = 1.5;
  settings.localRange = 5;
  settings.colourMatch = ColourMatch::None;
  return settings;
}

// Runs `chunks` chunks from `position`, all tensors kept; masks of `forced`, when given.
Seen RunChunks(Prepared& prepared, const NetworkOptions& options, int chunks, std::int64_t position, const Seen* forced,
               const std::function<std::shared_ptr<const SourcePicture>(int)>& picture,
               StreamSettings settings = Settings(), bool decode = true) {
  Seen seen;
  Network network(*prepared.backend, prepared.model, Precision::Fp32, options);
  int next = 0;
  for (int k = 0; k < chunks; ++k) {
    const std::string prefix = std::to_string(k) + "/";
    ChunkRequest request;
    request.settings = settings;
    request.position = position + (k == 0 ? 0 : 2 * k + 4);
    for (int i = 0; i < (k == 0 ? 25 : 8); ++i) request.pictures.push_back(picture(next++));
    request.outputs.resize(k == 0 ? 21 : 8);
    NetworkHooks hooks;
    hooks.decodeSkippedFrames = decode;
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      seen.tensors[prefix + name] = executor.read(tensor);
    };
    // The same noise at every position.
    hooks.injectNoise = [&](Executor& executor, const Tensor& tensor) { executor.run(Noise{3, k * 10, tensor}); };
    if (forced != nullptr)
      hooks.forceMask = [&](int layer, Executor& executor, const Tensor& mask) {
        executor.write(mask, forced->tensors.at(prefix + "mask." + std::to_string(layer)));
      };
    network.run(std::move(request), &hooks).fence->wait();
  }
  return seen;
}

std::shared_ptr<const SourcePicture> Small(int number) { return SourceOf(Picture(32, 32, number)); }

TEST("positions: a stream at 1e3, 1e6, 1e9 and 2^40 equals one at 0 to rounding") {
  Prepared prepared;
  const NetworkOptions options = OptionsFor(128, 256);
  const Seen zero = RunChunks(prepared, options, 4, 0, nullptr, Small);
  for (const std::int64_t position :
       {std::int64_t{1000}, std::int64_t{1000000}, std::int64_t{1000000000}, std::int64_t{1} << 40}) {
    const Seen far = RunChunks(prepared, options, 4, position, &zero, Small);
    for (int k = 0; k < 4; ++k) {
      CHECK_BELOW(
          Relative(far.tensors.at(std::to_string(k) + "/latent"), zero.tensors.at(std::to_string(k) + "/latent")),
          2e-6);
      CHECK_BELOW(
          Relative(far.tensors.at(std::to_string(k) + "/decoded.7"), zero.tensors.at(std::to_string(k) + "/decoded.7")),
          2e-5);
    }
  }
}

TEST("padding: the same network result as replicating the edges by hand, cropped back") {
  Prepared prepared;
  const std::int64_t contentHeight = 100, contentWidth = 140;
  const auto exact = [&](int number) {
    return SourceOf(Picture(static_cast<int>(contentWidth), static_cast<int>(contentHeight), number));
  };
  const auto byHand = [&](int number) {
    const Picture from(static_cast<int>(contentWidth), static_cast<int>(contentHeight), number);
    Picture to(256, 128, 0);
    for (std::int64_t y = 0; y < 128; ++y)
      for (std::int64_t x = 0; x < 256; ++x)
        for (std::int64_t c = 0; c < 3; ++c)
          to.bytes[static_cast<std::size_t>((y * 256 + x) * 3 + c)] = from.bytes[static_cast<std::size_t>(
              (std::min(y, contentHeight - 1) * contentWidth + std::min(x, contentWidth - 1)) * 3 + c)];
    return SourceOf(to);
  };
  const Seen padded = RunChunks(prepared, OptionsFor(128, 256, contentHeight, contentWidth), 2, 0, nullptr, exact);
  const Seen whole = RunChunks(prepared, OptionsFor(128, 256), 2, 0, nullptr, byHand);
  for (const char* name : {"0/lq.0", "0/latent", "1/latent", "0/decoded.20", "1/decoded.7"})
    CHECK(padded.tensors.at(name) == whole.tensors.at(name));
}

TEST("scale: 2, 3 and 4 give the LQ picture of the bicubic, to the byte") {
  Prepared prepared;
  Threads threads(2);
  for (const int scale : {2, 3, 4}) {
    const int sourceWidth = 31, sourceHeight = 22;
    const std::int64_t width = sourceWidth * scale, height = sourceHeight * scale;
    const auto picture = [&](int number) { return SourceOf(Picture(sourceWidth, sourceHeight, number)); };
    const Seen seen = RunChunks(prepared, OptionsFor(128, 128, height, width), 1, 0, nullptr, picture);
    const Picture first(sourceWidth, sourceHeight, 0);
    std::vector<std::uint8_t> expected(static_cast<std::size_t>(width * height * 3));
    reference::ResizeBicubic(threads, first.bytes.data(), sourceWidth, sourceHeight, expected.data(), width, height,
                             width);
    const std::vector<float>& lq = seen.tensors.at("0/lq.0");
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t i = 0; i < width * 3; ++i)
        CHECK_EQUAL(lq[static_cast<std::size_t>(y * 128 * 3 + i)],
                    static_cast<float>(expected[static_cast<std::size_t>(y * width * 3 + i)]));
  }
}

// `from` without the tensors whose names start with `without`; `zeroed` tensors become zeros.
std::shared_ptr<const ModelWeights> Changed(const ModelWeights& from, const std::string& without,
                                            const std::string& zeroed) {
  ModelSources sources;
  const auto copy = [&](const char* part) {
    auto to = std::make_shared<MemoryTensorSource>();
    for (const std::string_view name : from.part(part).names()) {
      const TensorView& view = *from.part(part).find(name);
      if (!without.empty() && name.starts_with(without)) continue;
      std::vector<std::byte> bytes(view.data.begin(), view.data.end());
      if (!zeroed.empty() && name.starts_with(zeroed)) std::fill(bytes.begin(), bytes.end(), std::byte{0});
      to->Add(std::string(name), view.dtype, view.shape, std::move(bytes));
    }
    return to;
  };
  sources.transformer = copy("transformer");
  sources.projector = copy("projector");
  sources.decoder = copy("decoder");
  sources.prompt = copy("prompt");
  return ModelWeights::FromSources(std::move(sources));
}

TEST("several projected layers: the second is added before the second block, and nowhere else") {
  ModelDims dims = MicroDims();
  dims.lqLayers = 2;
  const auto both = Weights(dims);
  Prepared two(both), one(Changed(*both, "linear_layers.1", "")), zero(Changed(*both, "", "linear_layers.1"));
  CHECK_EQUAL(one.model->dims().lqLayers, 1);
  const NetworkOptions options = OptionsFor(128, 128);
  const Seen a = RunChunks(two, options, 2, 0, nullptr, Small, Settings(), false),
             b = RunChunks(one, options, 2, 0, nullptr, Small, Settings(), false),
             c = RunChunks(zero, options, 2, 0, nullptr, Small, Settings(), false);
  CHECK(a.tensors.at("1/block.0") == b.tensors.at("1/block.0"));
  CHECK(Relative(a.tensors.at("1/block.1"), b.tensors.at("1/block.1")) > 0.1);
  CHECK(c.tensors.at("1/latent") == b.tensors.at("1/latent"));
  // What block 1 got more of is the projected tensor itself: with a tiny model the residual stream still shows it.
  CHECK(a.tensors.contains("1/projected1") && !b.tensors.contains("1/projected1"));
}

TEST("variants: v1 and v1.1 differ on the same weights, and only from the projector on") {
  ModelDims dims = MicroDims();
  Prepared now(dims);
  dims.variant = ModelVariant::V1;
  Prepared before(dims);
  const Seen a = RunChunks(now, OptionsFor(128, 128), 2, 0, nullptr, Small),
             b = RunChunks(before, OptionsFor(128, 128), 2, 0, nullptr, Small);
  CHECK(a.tensors.at("1/lq.3") == b.tensors.at("1/lq.3"));
  CHECK(Relative(a.tensors.at("1/projected0"), b.tensors.at("1/projected0")) > 1e-3);
}

TEST("kv_ratio: mask widths follow floor(kv_ratio); settings change between chunks") {
  Prepared prepared;
  for (const auto& [ratio, widths] : {std::pair<double, std::array<int, 5>>{1.0, {3, 3, 3, 3, 3}},
                                      {2.5, {3, 3, 3, 3, 3}},
                                      {3.0, {3, 4, 4, 4, 4}},
                                      {5.0, {3, 4, 5, 6, 6}}}) {
    NetworkOptions options = OptionsFor(128, 256);
    options.kvRatio = ratio;
    StreamSettings settings = Settings();
    settings.kvRatio = ratio;
    const Seen seen = RunChunks(prepared, options, 5, 0, nullptr, Small, settings, false);
    for (int k = 0; k < 5; ++k) {
      const std::size_t queries = k == 0 ? 3 : 1;
      CHECK_EQUAL(seen.tensors.at(std::to_string(k) + "/mask.0").size(),
                  2U * queries * 2U * static_cast<std::size_t>(widths[static_cast<std::size_t>(k)]) * 2U);
    }
  }
}

TEST("top-k: floor of the product in double, capped, refused when nothing would be kept") {
  const Geometry official{768, 1408, 768, 1408};
  StreamSettings settings;
  CHECK_EQUAL(Network::TopK(settings, official, 4), 7919);
  settings.topkRatio = 0.6;
  CHECK_EQUAL(Network::TopK(settings, Geometry{384, 640, 384, 640}, 3), 134);
  settings.topkRatio = 100.0;
  CHECK_EQUAL(Network::TopK(settings, Geometry{256, 384, 256, 384}, 4), 6 * 24 - 1);
  settings.topkRatio = 1e-3;
  CHECK_THROWS(Network::TopK(settings, Geometry{256, 384, 256, 384}, 4), "engine.settings");
}

// A backend that has little memory.
class Cramped final : public Backend {
 public:
  explicit Cramped(Backend& inner) : inner_(inner) {}
  BackendInfo info() const override {
    BackendInfo info = inner_.info();
    info.freeBytes = 3 << 20;
    return info;
  }
  std::int64_t elementBytes(Storage storage, Precision precision) const override {
    return inner_.elementBytes(storage, precision);
  }
  std::int64_t preparedBytes(const ModelDims& dims, Precision precision) const override {
    return inner_.preparedBytes(dims, precision);
  }
  std::shared_ptr<PreparedModel> prepare(const ModelWeights& w, const ModelConstants& c, Precision p,
                                         const LoadProgress& l) override {
    return inner_.prepare(w, c, p, l);
  }

 private:
  Backend& inner_;
};

TEST("plan: sums up, grows with the picture, and refuses with the numbers") {
  Prepared prepared;
  const MemoryPlan small = Network::Plan(*prepared.backend, *prepared.model, Precision::Fp32, OptionsFor(128, 128));
  const MemoryPlan large = Network::Plan(*prepared.backend, *prepared.model, Precision::Fp32, OptionsFor(512, 512));
  CHECK_EQUAL(small.streamBytes, small.kvCacheBytes + small.decoderBytes + small.pictureBytes + small.workspaceBytes);
  CHECK(small.fits && small.message.empty());
  CHECK_EQUAL(large.kvCacheBytes, 16 * small.kvCacheBytes);
  // 2 layers x 3 groups + 1 spare, keys and values of 128 tokens x 256 and one row of means each, fp32.
  CHECK_EQUAL(small.kvCacheBytes, 7 * (2 * 128 * 256 + 256) * 4);
  Cramped cramped(*prepared.backend);
  const MemoryPlan refused = Network::Plan(cramped, *prepared.model, Precision::Fp32, OptionsFor(512, 512));
  CHECK(!refused.fits);
  CHECK(refused.message.find("512x512") != std::string::npos);
  CHECK(refused.message.find(std::to_string((refused.streamBytes + (1 << 20) - 1) >> 20) + " MiB") !=
        std::string::npos);
  CHECK(refused.message.find("3 MiB are free") != std::string::npos);
}

}  // namespace
}  // namespace flashvsr::test
