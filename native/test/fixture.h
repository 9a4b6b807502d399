// What the engine's tests share: a tiny model, pictures, a listener that collects, a clock that is set by hand.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "engine/constants.h"
#include "engine/device.h"
#include "engine/network.h"
#include "engine/synthetic_weights.h"
#include "test/harness.h"

namespace flashvsr::test {

inline constexpr int kWorkers = 2;

inline std::shared_ptr<const ModelWeights> Weights(ModelDims dims = MicroDims(), std::uint64_t seed = 1) {
  Threads threads(kWorkers);
  return MakeSyntheticWeights(dims, seed, threads);
}

// A backend and a prepared model.
struct Prepared {
  explicit Prepared(const ModelDims& dims = MicroDims(), int threads = kWorkers) : Prepared(Weights(dims), threads) {}
  explicit Prepared(std::shared_ptr<const ModelWeights> from, int threads = kWorkers)
      : weights(std::move(from)),
        backend(CreateReferenceBackend(threads)) {
    Threads pool(threads);
    model = backend->prepare(*weights, ComputeModelConstants(*weights, pool), Precision::Fp32, {});
  }
  std::shared_ptr<const ModelWeights> weights;
  std::unique_ptr<Backend> backend;
  std::shared_ptr<PreparedModel> model;
};

// A moving picture, different for every number and every seed.
struct Picture {
  Picture(int width, int height, int number, PixelFormat pixels = PixelFormat::Rgb24, int seed = 0)
      : bytes(static_cast<std::size_t>(TightPictureBytes(pixels, width, height))) {
    std::uint32_t noise = static_cast<std::uint32_t>(number * 7919 + seed * 104729 + 1);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      noise = noise * 1664525U + 1013904223U;
      const std::size_t x = i / 3 % static_cast<std::size_t>(width), y = i / 3 / static_cast<std::size_t>(width);
      bytes[i] = static_cast<std::uint8_t>((x * 5 + y * 3 + static_cast<std::size_t>(number * 4 + seed * 31)) % 200 +
                                           (noise >> 28));
    }
    view.format.pixels = pixels;
    view.width = width;
    view.height = height;
    const int chroma = (width + 1) / 2, rows = (height + 1) / 2;
    view.planes = {bytes.data(), bytes.data() + width * height, bytes.data() + width * height + chroma * rows};
    view.strides = {pixels == PixelFormat::Rgb24 ? width * 3 : width, chroma, chroma};
  }
  std::vector<std::uint8_t> bytes;
  FrameView view;
};

inline std::shared_ptr<const SourcePicture> SourceOf(const Picture& picture) {
  std::shared_ptr<std::uint8_t[]> data(new std::uint8_t[picture.bytes.size()]);
  std::memcpy(data.get(), picture.bytes.data(), picture.bytes.size());
  return std::make_shared<SourcePicture>(
      SourcePicture{picture.view.format, picture.view.width, picture.view.height, data});
}

// Collects what a stream says; wait() blocks until a condition on it holds (ten minutes at most, so that a hang is a
// failure).
class Collector final : public StreamListener {
 public:
  struct Got {
    std::int64_t frameIndex, mediaTime, chunkIndex;
    int width, height;
    std::vector<std::uint8_t> bytes;
  };
  void onFrame(OutputFrame frame) override {
    const std::lock_guard lock(mutex);
    frames.push_back({frame.frameIndex, frame.mediaTime, frame.chunkIndex, frame.width, frame.height,
                      std::vector<std::uint8_t>(frame.data.get(), frame.data.get() + frame.bytes)});
    if (keep) held.push_back(std::move(frame));
    if (closedCalls > 0) ++callsAfterClosed;
    changed.notify_all();
  }
  void onFlushed(std::uint64_t id) override {
    const std::lock_guard lock(mutex);
    flushed.push_back(id);
    flushedAt.push_back(frames.size());
    changed.notify_all();
  }
  void onError(const Error& error) override {
    const std::lock_guard lock(mutex);
    errors.push_back(error);
    changed.notify_all();
  }
  void onClosed() override {
    const std::lock_guard lock(mutex);
    ++closedCalls;
    changed.notify_all();
  }
  void wait(const std::function<bool(const Collector&)>& condition) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, std::chrono::minutes(10), [&] { return condition(*this); }))
      throw std::runtime_error("the stream hangs");
  }
  void waitFrames(std::size_t count) {
    wait([count](const Collector& c) { return c.frames.size() >= count; });
  }
  void waitFlushes(std::size_t count) {
    wait([count](const Collector& c) { return c.flushed.size() >= count; });
  }
  void waitClosed() {
    wait([](const Collector& c) { return c.closedCalls > 0; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool keep = false;
  std::vector<Got> frames;
  std::vector<OutputFrame> held;
  std::vector<std::uint64_t> flushed;
  std::vector<std::size_t> flushedAt;
  std::vector<Error> errors;
  int closedCalls = 0, callsAfterClosed = 0;
};

inline std::shared_ptr<Engine> OpenEngine(std::function<std::int64_t()> clock = {}, const ModelDims& dims = MicroDims(),
                                          int threads = kWorkers) {
  EngineOptions options;
  options.device = "reference";
  options.threads = threads;
  options.clockUs = std::move(clock);
  return Engine::Open(Weights(dims), options);
}

// 128x128 pixels out of 32x32, RGB, no deadline.
inline StreamOptions SmallStream() {
  StreamOptions options;
  options.sourceWidth = options.sourceHeight = 32;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  options.gatherDeadlineMs = 0;
  options.settings.topkRatio = 1.5;
  return options;
}

// Pushes until accepted.
inline void PushAll(Stream& stream, int width, int height, int first, int count, int seed = 0,
                    PixelFormat pixels = PixelFormat::Rgb24) {
  for (int i = first; i < first + count;) {
    const Picture picture(width, height, i, pixels, seed);
    const PushResult result = stream.push(picture.view, 1000 + i * 33);
    if (result == PushResult::Accepted) ++i;
    if (result == PushResult::Closed) throw std::runtime_error("the stream is closed");
    if (result == PushResult::Full) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// Latents of a first and a later chunk, with the fp32 run's masks when `masks` has them (and into it otherwise).
inline std::vector<float> LatentsOfTwoChunks(const ModelWeights& weights, Precision precision,
                                             std::map<std::string, std::vector<float>>& masks) {
  Threads pool(kWorkers);
  const auto backend = CreateReferenceBackend(kWorkers);
  const auto model = backend->prepare(weights, ComputeModelConstants(weights, pool), precision, {});
  NetworkOptions options;
  options.geometry = {128, 256, 128, 256};
  options.maxSourceWidth = options.maxSourceHeight = 64;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  Network network(*backend, model, precision, options);
  const bool record = masks.empty();
  std::vector<float> latents;
  int next = 0;
  for (int chunk = 0; chunk < 2; ++chunk) {
    ChunkRequest request;
    request.settings.topkRatio = 1.5;
    request.position = chunk == 0 ? 0 : 6;
    for (int i = 0; i < (chunk == 0 ? 25 : 8); ++i) request.pictures.push_back(SourceOf(Picture(32, 32, next++)));
    request.outputs.resize(chunk == 0 ? 21 : 8);
    NetworkHooks hooks;
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      if (name == "latent") {
        const std::vector<float> own = executor.read(tensor);
        latents.insert(latents.end(), own.begin(), own.end());
      }
      if (record && name.starts_with("mask.")) masks[std::to_string(chunk) + name] = executor.read(tensor);
    };
    if (!record)
      hooks.forceMask = [&, chunk](int layer, Executor& executor, const Tensor& mask) {
        executor.write(mask, masks.at(std::to_string(chunk) + "mask." + std::to_string(layer)));
      };
    network.run(std::move(request), &hooks).fence->wait();
  }
  return latents;
}

}  // namespace flashvsr::test
