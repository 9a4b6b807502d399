// flashvsr_bench --synthetic | --weights DIR   [--size HxW]... [--device reference|cuda] [--precision bf16|fp32|fp8]
//   [--streams N] [--chunks N] [--warmup N] [--sparse-ratio R] [--kv-ratio R] [--local-range N] [--layers N] [--variant v1.1]
//   [--cold-start N] [--ceiling TFLOPS] [--json FILE] [--commit ID] [--path NAME] [--library PATH] [--threads N]
// Whole streams through the engine: uint8 YUV frames in from host memory at a quarter of the size, uint8 YUV frames out to
// host memory. Prints milliseconds per stage of a steady chunk (medians), frames a second over all streams, memory.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <mutex>

#include "engine/device.h"
#include "engine/engine.h"
#include "engine/network.h"
#include "engine/stream_plan.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"

namespace flashvsr {
namespace {

struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Error> error;
};

// Counts frames, notes when each chunk's last frame came and what its stages took.
class Sink final : public StreamListener {
 public:
  explicit Sink(Shared& shared) : shared_(shared) {}
  void onFrame(OutputFrame frame) override {
    const std::lock_guard lock(shared_.mutex);
    if (frames == 0) firstUs = NowUs();
    ++frames;
    if (frame.chunkIndex != lastChunk) {
      lastChunk = frame.chunkIndex;
      arrivals.push_back(NowUs());
      if (stream) stages.push_back(stream->stats().lastChunk);
    }
    arrivals.back() = NowUs();
    shared_.changed.notify_all();
  }
  void onFlushed(std::uint64_t) override {}
  void onError(const Error& error) override {
    const std::lock_guard lock(shared_.mutex);
    shared_.error = error;
    shared_.changed.notify_all();
  }
  void onClosed() override {}

  static std::int64_t NowUs() {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }

  Stream* stream = nullptr;
  std::int64_t frames = 0, lastChunk = -1, firstUs = 0, startUs = 0;
  std::vector<std::int64_t> arrivals;  // by chunk: when its last frame came
  std::vector<StageTimes> stages;

 private:
  Shared& shared_;
};

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Floating-point operations of a steady chunk by stage (2 a multiply-add), attention at the number of windows it keeps.
struct Work {
  double project = 0, denoise = 0, reveal = 0;
};
Work WorkOf(const ModelDims& d, const Geometry& g, const StreamSettings& settings) {
  Work work;
  const double tokens = static_cast<double>(g.groupTokens()), dim = static_cast<double>(d.dim), latents = 2;
  const double h1 = static_cast<double>(d.lqHidden[0]), h2 = static_cast<double>(d.lqHidden[1]);
  const double places = tokens / latents;
  work.project = 2 * 36 * (places * 4 * 768 * h1 + places * 2 * h1 * h2);
  const std::int64_t groups = static_cast<std::int64_t>(settings.kvRatio) + 1;
  const double kept = static_cast<double>(Network::TopK(settings, g, groups));
  const double linear = 2 * tokens * dim * (6 * dim + 2 * static_cast<double>(d.ffn));
  const double attention = 4.0 * 128 * 128 * 128 * kept * static_cast<double>(d.heads);
  const double cross = 4 * tokens * static_cast<double>(d.textLen) * dim;
  work.denoise = static_cast<double>(d.layers) * (linear + attention + cross) + 2 * tokens * dim * (h2 * static_cast<double>(d.lqLayers) + 128);
  const auto& c = d.decoderChannels;
  double pixels = static_cast<double>(g.latentHeight() * g.latentWidth());
  double steps = latents;
  const double channels[4] = {static_cast<double>(c[0]), static_cast<double>(c[1]), static_cast<double>(c[2]), static_cast<double>(c[3])};
  work.reveal = 2 * 9 * steps * pixels * (784 * channels[0] + channels[0] * channels[0]);
  for (int stage = 0; stage < 3; ++stage) {
    work.reveal += 3 * 2 * 9 * steps * pixels * 4 * channels[stage] * channels[stage];
    pixels *= 4;
    if (stage > 0) steps *= 2;
    work.reveal += 2 * 9 * steps * pixels * channels[stage] * channels[stage + 1];
  }
  work.reveal += 2 * 9 * steps * pixels * (channels[3] * channels[3] + channels[3] * 3);
  return work;
}

struct Row {
  std::string json;
};

Row Measure(Engine& engine, const tools::Arguments& arguments, int height, int width, const std::string& deviceCommit) {
  StreamOptions options;
  options.sourceHeight = (height + 3) / 4;
  options.sourceWidth = (width + 3) / 4;
  options.outputHeight = height;
  options.outputWidth = width;
  options.gatherDeadlineMs = 0;
  options.coldStartFrames = arguments.number("--cold-start", 25);
  options.settings.sparseRatio = arguments.number("--sparse-ratio", 2.0);
  options.settings.kvRatio = arguments.number("--kv-ratio", 3.0);
  options.settings.localRange = arguments.number("--local-range", 11);
  options.outputQueueFrames = 128;
  const int count = arguments.number("--streams", 1), chunks = arguments.number("--chunks", 10), warmup = arguments.number("--warmup", 3);
  const MemoryPlan plan = engine.plan(options);

  Shared shared;
  std::vector<std::shared_ptr<Sink>> sinks;
  std::vector<std::shared_ptr<Stream>> streams;
  for (int i = 0; i < count; ++i) {
    sinks.push_back(std::make_shared<Sink>(shared));
    streams.push_back(engine.createStream(options, sinks.back()));
    sinks.back()->stream = streams.back().get();
  }
  const auto usedBytes = [&] {
    for (const DeviceReport& report : ListDevices(arguments.text("--library", "")))
      if (report.device == engine.info().device) return report.totalBytes - report.freeBytes;
    return std::int64_t{0};
  };
  // Memory is laid out when streams are made, libraries may take more when they first run: the larger of the two counts.
  const std::int64_t usedAtStart = usedBytes();

  // A moving pattern with detail, so that masks and statistics are not degenerate.
  const std::size_t bytes = static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, options.sourceWidth, options.sourceHeight));
  std::vector<std::uint8_t> picture(bytes);
  FrameView view;
  view.width = options.sourceWidth;
  view.height = options.sourceHeight;
  const int chroma = (options.sourceWidth + 1) / 2;
  view.planes = {picture.data(), picture.data() + options.sourceWidth * options.sourceHeight,
                 picture.data() + options.sourceWidth * options.sourceHeight + chroma * ((options.sourceHeight + 1) / 2)};
  view.strides = {options.sourceWidth, chroma, chroma};
  std::vector<std::int64_t> pushed(static_cast<std::size_t>(count), 0);
  const std::int64_t wanted = options.coldStartFrames + static_cast<std::int64_t>(chunks + warmup) * kChunkFrames;
  std::uint32_t noise = 1;
  const auto draw = [&](std::int64_t t) {
    for (int y = 0; y < options.sourceHeight; ++y)
      for (int x = 0; x < options.sourceWidth; ++x) {
        noise = noise * 1664525U + 1013904223U;
        picture[static_cast<std::size_t>(y * options.sourceWidth + x)] =
            static_cast<std::uint8_t>(16 + ((x * 3 + y * 2 + t * 4) ^ (x * y / 16)) % 200 + static_cast<int>(noise >> 29));
      }
    std::fill(picture.begin() + options.sourceWidth * options.sourceHeight, picture.end(), static_cast<std::uint8_t>(110 + t % 30));
  };
  const std::int64_t startUs = Sink::NowUs();
  for (;;) {
    bool done = true, full = true;
    for (int i = 0; i < count; ++i) {
      std::int64_t& n = pushed[static_cast<std::size_t>(i)];
      if (n >= wanted) continue;
      done = false;
      draw(n);
      if (streams[static_cast<std::size_t>(i)]->push(view, n * 3000) == PushResult::Accepted) {
        ++n;
        full = false;
      }
    }
    std::unique_lock lock(shared.mutex);
    if (shared.error) throw *shared.error;
    if (done) {
      shared.changed.wait(lock, [&] {
        return shared.error || std::all_of(sinks.begin(), sinks.end(), [&](const auto& sink) { return sink->lastChunk >= chunks + warmup; });
      });
      if (shared.error) throw *shared.error;
      break;
    }
    if (full) shared.changed.wait_for(lock, std::chrono::milliseconds(2));
  }

  // Steady: from the end of the last warm-up chunk of every stream to the end of the last chunk.
  std::int64_t begin = 0, end = 0;
  std::vector<double> project, denoise, reveal, match;
  for (const auto& sink : sinks) {
    begin = std::max(begin, sink->arrivals[static_cast<std::size_t>(warmup)]);
    end = std::max(end, sink->arrivals[static_cast<std::size_t>(warmup + chunks)]);
    for (std::size_t k = static_cast<std::size_t>(warmup) + 1; k < sink->stages.size(); ++k) {
      project.push_back(sink->stages[k].project);
      denoise.push_back(sink->stages[k].denoise);
      reveal.push_back(sink->stages[k].reveal);
      match.push_back(sink->stages[k].match);
    }
  }
  std::int64_t frames = 0;
  for (const auto& sink : sinks)
    for (std::size_t k = 0; k < sink->arrivals.size(); ++k)
      if (sink->arrivals[k] > begin && sink->arrivals[k] <= end) frames += kChunkFrames;
  const double fps = static_cast<double>(frames) * 1e6 / static_cast<double>(std::max<std::int64_t>(end - begin, 1));
  const double firstMs = static_cast<double>(sinks[0]->firstUs - startUs) / 1000.0;
  const double ms[4] = {Median(project), Median(denoise), Median(reveal), Median(match)};
  const Work work = WorkOf(engine.info().dims, GeometryOf(options), options.settings);
  const double ceiling = arguments.number("--ceiling", 0.0);
  const double planned = static_cast<double>(engine.info().weightBytes + plan.streamBytes * count) / 1e9;
  const double measured = static_cast<double>(std::max(usedAtStart, usedBytes())) / 1e9;

  std::printf("%dx%d  %s  %s  %s  %d stream%s  sparse_ratio %.2f  %lld layers\n", height, width, engine.info().deviceName.c_str(),
              std::string(PrecisionName(engine.info().precision)).c_str(), arguments.text("--path", "default").c_str(), count, count == 1 ? "" : "s",
              options.settings.sparseRatio, static_cast<long long>(engine.info().dims.layers));
  const char* names[4] = {"project", "denoise", "reveal", "match"};
  const double flops[4] = {work.project, work.denoise, work.reveal, 0};
  for (int i = 0; i < 4; ++i) {
    std::printf("  %-8s %9.2f ms", names[i], ms[i]);
    if (flops[i] > 0) std::printf("  %7.2f TFLOP  %8.2f TFLOP/s", flops[i] / 1e12, flops[i] / ms[i] / 1e9);
    if (flops[i] > 0 && ceiling > 0) std::printf("  %5.1f %% of %.0f", flops[i] / ms[i] / 1e9 / ceiling * 100, ceiling);
    std::printf("\n");
  }
  std::printf("  sum      %9.2f ms a chunk   %.2f frames a second, wall clock, over all streams\n", ms[0] + ms[1] + ms[2] + ms[3], fps);
  std::printf("  first picture after %.0f ms (chunk of %d real frames)\n", firstMs, options.coldStartFrames);
  std::printf("  memory   %.2f GB planned (weights %.2f, a stream %.2f: cache %.2f, decoder %.2f, pictures %.2f, work %.2f), %.2f GB in use on the device\n",
              planned, static_cast<double>(engine.info().weightBytes) / 1e9, static_cast<double>(plan.streamBytes) / 1e9,
              static_cast<double>(plan.kvCacheBytes) / 1e9, static_cast<double>(plan.decoderBytes) / 1e9, static_cast<double>(plan.pictureBytes) / 1e9,
              static_cast<double>(plan.workspaceBytes) / 1e9, measured);
  std::fflush(stdout);
  for (const auto& stream : streams) stream->close();

  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  char json[1024];
  std::snprintf(json, sizeof json,
                "{\"gpu\": \"%s\", \"date\": \"%s\", \"commit\": \"%s\", \"size\": \"%dx%d\", \"precision\": \"%s\", \"path\": \"%s\", \"streams\": %d, "
                "\"sparse_ratio\": %.3g, \"layers\": %lld, \"fps\": %.2f, \"ms\": {\"project\": %.3f, \"denoise\": %.3f, \"reveal\": %.3f, \"match\": %.3f}, "
                "\"first_picture_ms\": %.1f, \"cold_start_frames\": %d, \"peak_gb\": %.3f, \"planned_gb\": %.3f}",
                engine.info().deviceName.c_str(), date, deviceCommit.c_str(), height, width,
                std::string(PrecisionName(engine.info().precision)).c_str(), arguments.text("--path", "default").c_str(), count,
                options.settings.sparseRatio, static_cast<long long>(engine.info().dims.layers), fps, ms[0], ms[1], ms[2], ms[3], firstMs,
                options.coldStartFrames, measured, planned);
  return {json};
}

int Main(int argc, char** argv) {
  const tools::Arguments arguments(argc, argv,
                                   {"--weights", "--variant", "--size", "--device", "--precision", "--streams", "--chunks", "--warmup", "--sparse-ratio",
                                    "--kv-ratio", "--local-range", "--layers", "--cold-start", "--ceiling", "--json", "--commit", "--path", "--library",
                                    "--threads"},
                                   {"--synthetic"});
  if (arguments.flag("--synthetic") == arguments.has("--weights"))
    throw Error("arguments", ErrorScope::Engine, "give either --synthetic or --weights DIR");
  EngineOptions options;
  options.device = arguments.text("--device", "auto");
  options.cudaLibraryPath = arguments.text("--library", "");
  options.threads = arguments.number("--threads", 0);
  if (arguments.has("--precision")) options.precision = ParsePrecision(arguments.text("--precision", ""));
  const auto since = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count(); };
  std::shared_ptr<const ModelWeights> weights;
  if (arguments.flag("--synthetic")) {
    Threads threads(options.threads);
    weights = MakeSyntheticWeights(OfficialDims(arguments.number<std::int64_t>("--layers", 30)), 1, threads);
  } else {
    weights = ModelWeights::OpenOfficialFolder(arguments.text("--weights", ""), ParseVariant(arguments.text("--variant", "v1.1")));
  }
  const double made = seconds();
  const std::shared_ptr<Engine> engine = Engine::Open(weights, options);
  weights.reset();
  std::printf("weights %s in %.1f s, prepared in %.1f s\n", arguments.flag("--synthetic") ? "made" : "opened", made, seconds() - made);
  std::vector<std::string> sizes = arguments.all("--size");
  if (sizes.empty()) sizes = {"768x1408"};
  std::string rows;
  for (const std::string& size : sizes) {
    const auto [height, width] = tools::Arguments::Size(size);
    rows += (rows.empty() ? "  " : ",\n  ") + Measure(*engine, arguments, height, width, arguments.text("--commit", "unknown")).json;
  }
  if (arguments.has("--json")) {
    std::ofstream file(arguments.text("--json", ""));
    file << "[\n" << rows << "\n]\n";
    if (!file) throw Error("arguments", ErrorScope::Engine, "cannot write " + arguments.text("--json", ""));
  }
  return 0;
}

}  // namespace
}  // namespace flashvsr

int main(int argc, char** argv) {
  try {
    return flashvsr::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_bench: %s\n", error.what());
    return 1;
  }
}
