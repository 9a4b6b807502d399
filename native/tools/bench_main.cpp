// flashvsr_bench (--synthetic [--layers N] | --weights DIR [--variant v1.1])   [--part NAME]... [--size HxW]...
//   [--device reference|cuda] [--precision bf16|fp32|fp8|int8] [--library PATH] [--threads N] [--chunks N] [--warmup N]
//   [--seconds S]
//   [--sparse-ratio R] [--kv-ratio R] [--local-range N] [--ceiling TFLOPS] [--bandwidth TBPS] [--json FILE] [--commit
//   ID]
// Whole streams through the native Stream API: uint8 YUV frames of a quarter of the size in from host memory, uint8 YUV
// frames out to host memory. No network, no codec, no pacing of what comes out. Parts, each in a separate process;
// without --part all:
//   sizes     frames a second, milliseconds a stage beside their floors, memory: 768x1408, 1152x2048, 1536x2560
//   first     first picture of an engine that warmed up: first and second stream, one frame and 25 real frames
//   cold      the same without a warm-up
//   latency   frame in -> picture out at 30 frames a second in real time, one and two streams
//   two       two streams as fast as they go
//   ladder    the overload ladder's sparse ratios: frames a second, and decibels against 2.0
//   portable  sizes[0] without sm90 kernels and vendor libraries
//   fp8       sizes[0] in fp8
//   int8      sizes[0] in int8
//   portable-int8   the same without sm90 kernels and vendor libraries
//   report    only when it is named: a Markdown table to paste into an issue, 512x896 and 768x1408 where they fit
// Exit 1 when a part failed.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>

#include "engine/device.h"
#include "engine/network.h"
#include "engine/stream_plan.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"
#include "tools/bench/measure.h"
#include "tools/bench/report.h"
#include "tools/bench/work.h"

namespace flashvsr::bench {
namespace {

constexpr const char* kReport = "report";
constexpr const char* kStages[4] = {"project", "denoise", "reveal", "match"};

class Bench {
 public:
  Bench(const tools::Arguments& arguments, std::shared_ptr<const ModelWeights> weights)
      : arguments_(arguments),
        weights_(std::move(weights)) {
    for (const std::string& size : arguments_.all("--size")) sizes_.push_back(tools::Arguments::Size(size));
    if (sizes_.empty()) sizes_ = {{768, 1408}, {1152, 2048}, {1536, 2560}};
  }

  Object sizes() {
    const auto engine = open(streamOf(sizes_[0]));
    Object all = about(*engine);
    for (const auto& size : sizes_) all.object(nameOf(size), size_(*engine, size));
    return all;
  }

  Object first(bool warm) {
    StreamOptions copies = streamOf(sizes_[0]), real = copies;
    copies.coldStartFrames = 1;
    real.coldStartFrames = 25;
    const auto engine = open(warm ? std::optional(copies) : std::nullopt);
    Object all;
    all.number("open_s", openSeconds_);
    const auto picture = [&](const char* name, const StreamOptions& options, int frames) {
      Run run(*engine, options, 1);
      const double ms = run.firstPicture(frames);
      all.number(std::string(name) + "_ms", ms, 1)
          .number(std::string(name) + "_create_ms", run.results()[0].createMs, 1);
      std::printf("  first picture, %s, %-34s %7.1f ms   (createStream %.1f ms before)\n",
                  warm ? "warmed up" : "no warm-up", name, ms, run.results()[0].createMs);
    };
    picture("first_stream_copies_of_frame_0", copies, 1);
    picture("second_stream_copies_of_frame_0", copies, 1);
    picture("stream_of_25_real_frames", real, 25);
    picture("again_25_real_frames", real, 25);
    return all;
  }

  Object latency() {
    StreamOptions options = streamOf(sizes_[0]);
    options.gatherDeadlineMs = 400;
    options.coldStartFrames = 5;
    const auto engine = open(options);
    const double seconds = arguments_.number("--seconds", 9.0);
    // Chunk 0 is several chunks' work; streams that begin in the same instant need a while until that is made up for.
    const auto settled = static_cast<std::int64_t>(seconds * 0.4 * 30 / kChunkFrames);
    Object all;
    const auto paced = [&](const char* name, int streams, const std::vector<double>& offsets) {
      Run run(*engine, options, streams);
      run.pace(30, seconds, offsets);
      const auto results = run.results();
      const Latency latency = LatencyOf(results, settled), beginning = LatencyOf(results, 0);
      const std::vector<double> spread = SpreadOf(results, settled);
      Object row;
      row.number("delay_p50_ms", latency.delayP50, 1)
          .number("delay_p95_ms", latency.delayP95, 1)
          .number("picture_p50_ms", latency.p50, 1);
      row.number("picture_p95_ms", latency.p95, 1)
          .number("pictures", latency.pictures, 0)
          .number("chunks", latency.chunks, 0)
          .list("after_first_of_chunk_ms", spread);
      row.number("delay_max_with_beginning_ms", beginning.delayMax, 1)
          .number("settled_after_chunk", static_cast<double>(settled), 0);
      all.object(name, row);
      std::printf(
          "  added latency, %-28s delay that shows every picture in time: %.0f ms p50, %.0f p95 (at the start %.0f); a "
          "picture %.0f ms p50, %.0f p95 (%d chunks)\n",
          name, latency.delayP50, latency.delayP95, beginning.delayMax, latency.p50, latency.p95, latency.chunks);
      std::printf("    pictures of a chunk after its first, ms:");
      for (const double ms : spread) std::printf(" %.1f", ms);
      std::printf("\n");
    };
    paced("one_stream", 1, {0});
    paced("two_streams_half_a_chunk_apart", 2, {0, 4 * 1000.0 / 30});
    paced("two_streams_in_phase", 2, {0, 3});
    return all;
  }

  Object two() {
    const StreamOptions options = streamOf(sizes_[0]);
    const auto engine = open(options);
    const std::int64_t warmup = number("--warmup", 3), chunks = number("--chunks", 10);
    Run run(*engine, options, 2);
    run.saturate(warmup + chunks);
    const Steady steady = SteadyOf(run.results(), warmup, chunks);
    std::printf(
        "  two streams at once                        2 x %.2f frames a second   (%.1f / %.1f / %.1f / %.1f ms)\n",
        steady.framesPerSecond / 2, steady.stageMs[0], steady.stageMs[1], steady.stageMs[2], steady.stageMs[3]);
    return Object().number("fps_each", steady.framesPerSecond / 2);
  }

  Object ladder() {
    const auto engine = open(streamOf(sizes_[0]));
    Object all;
    std::optional<StreamResult> reference;
    for (const double ratio : {2.0, 1.5, 1.0}) {
      StreamOptions options = streamOf(sizes_[0]);
      options.settings.sparseRatio = ratio;
      const std::int64_t warmup = 3, chunks = 7;
      Run run(*engine, options, 1, true);
      run.saturate(warmup + chunks);
      const auto results = run.results();
      const Steady steady = SteadyOf(results, warmup, chunks);
      if (!reference) reference = results[0];
      const double decibels = LumaDecibels(results[0], *reference);
      Object row;
      row.number("fps", steady.framesPerSecond)
          .number("denoise_ms", steady.stageMs[1], 1)
          .number("luma_db_against_2.0", decibels);
      char name[32];
      std::snprintf(name, sizeof name, "%.1f", ratio);
      all.object(name, row);
      std::printf("  ladder, sparse_ratio %.1f   %7.2f frames a second   denoise %.1f ms   %s\n", ratio,
                  steady.framesPerSecond, steady.stageMs[1],
                  ratio == 2.0 ? "" : (std::to_string(decibels).substr(0, 5) + " dB luma against 2.0").c_str());
    }
    return all;
  }

  // Rows for an issue: what was measured, or why it was not.
  Object report() {
    const auto engine = open(std::nullopt);
    if (!arguments_.has("--size")) sizes_ = {{512, 896}, {768, 1408}};
    Object all = about(*engine);
    std::string table =
        "| card, path | precision | output | frames/s | project / denoise / reveal / match, ms | in use |\n"
        "| --- | --- | --- | --- | --- | --- |\n";
    for (const Size& size : sizes_) {
      const std::string start = "| " + engine->info().deviceName + " | " +
                                std::string(PrecisionName(engine->info().precision)) + " | " + nameOf(size) + " | ";
      const MemoryPlan plan = engine->plan(streamOf(size));
      if (!plan.fits) {
        table += start + "does not fit | " + plan.message + " | |\n";
        continue;
      }
      Steady steady;
      double used = 0;
      all.object(nameOf(size), size_(*engine, size, &steady, &used));
      char row[160];
      std::snprintf(row, sizeof row, "%.2f | %.1f / %.1f / %.1f / %.1f | %.1f GB |\n", steady.framesPerSecond,
                    steady.stageMs[0], steady.stageMs[1], steady.stageMs[2], steady.stageMs[3], used);
      table += start + row;
    }
    std::printf("\n%s\n", table.c_str());
    return all.text("table", table);
  }

  // One size with another path or precision.
  Object variant(std::optional<Precision> precision) {
    const auto engine = open(streamOf(sizes_[0]), precision);
    return about(*engine).object(nameOf(sizes_[0]), size_(*engine, sizes_[0]));
  }

 private:
  using Size = std::pair<int, int>;  // rows, columns

  static std::string nameOf(const Size& size) { return std::to_string(size.first) + "x" + std::to_string(size.second); }
  std::int64_t number(const char* name, std::int64_t otherwise) const { return arguments_.number(name, otherwise); }

  StreamOptions streamOf(const Size& size) const {
    StreamOptions options;
    options.sourceHeight = (size.first + 3) / 4;
    options.sourceWidth = (size.second + 3) / 4;
    options.outputHeight = size.first;
    options.outputWidth = size.second;
    options.gatherDeadlineMs = 0;
    options.coldStartFrames = 25;
    options.settings.sparseRatio = arguments_.number("--sparse-ratio", 2.0);
    options.settings.kvRatio = arguments_.number("--kv-ratio", 3.0);
    options.settings.localRange = arguments_.number("--local-range", 11);
    options.decoder = ParseDecoder(arguments_.text("--decoder", "tiny"));
    options.outputQueueFrames = 128;
    return options;
  }

  std::shared_ptr<Engine> open(std::optional<StreamOptions> warmUp, std::optional<Precision> precision = {}) {
    EngineOptions options;
    options.device = arguments_.text("--device", "auto");
    options.cudaLibraryPath = arguments_.text("--library", "");
    options.threads = arguments_.number("--threads", 0);
    options.precision = precision;
    if (!precision && arguments_.has("--precision"))
      options.precision = ParsePrecision(arguments_.text("--precision", ""));
    if (warmUp) options.warmUp = std::make_shared<const StreamOptions>(*warmUp);
    const std::int64_t before = NowUs();
    auto engine = Engine::Open(weights_, options);
    openSeconds_ = static_cast<double>(NowUs() - before) / 1e6;
    return engine;
  }

  Object about(const Engine& engine) const {
    Object object;
    object.text("gpu", engine.info().deviceName).text("precision", std::string(PrecisionName(engine.info().precision)));
    object.number("layers", static_cast<double>(engine.info().dims.layers), 0)
        .number("weights_gb", static_cast<double>(engine.info().weightBytes) / 1e9);
    return object.number("open_s", openSeconds_);
  }

  double usedGb(const Engine& engine) const {
    for (const DeviceReport& report : ListDevices(arguments_.text("--library", "")))
      if (report.device == engine.info().device) return static_cast<double>(report.totalBytes - report.freeBytes) / 1e9;
    return 0;
  }

  Object size_(Engine& engine, const Size& size, Steady* steadyOut = nullptr, double* usedOut = nullptr) {
    const StreamOptions options = streamOf(size);
    const MemoryPlan plan = engine.plan(options);
    const std::int64_t warmup = number("--warmup", 3), chunks = number("--chunks", 10);
    Run run(engine, options, 1);
    run.saturate(warmup + chunks);
    const double used = usedGb(engine);  // libraries have taken what they take by now
    const Steady steady = SteadyOf(run.results(), warmup, chunks);
    if (steadyOut != nullptr) *steadyOut = steady;
    if (usedOut != nullptr) *usedOut = used;
    const Work work = WorkOf(engine.info().dims, options);
    const double ceiling = arguments_.number("--ceiling", 798.0), bandwidth = arguments_.number("--bandwidth", 2.96);
    Object row;
    row.number("fps", steady.framesPerSecond)
        .number("peak_gb", used)
        .number("planned_gb", static_cast<double>(engine.info().weightBytes + plan.streamBytes) / 1e9);
    std::printf("  %s  %s  %s  sparse_ratio %.2f  %lld layers\n", nameOf(size).c_str(),
                engine.info().deviceName.c_str(), std::string(PrecisionName(engine.info().precision)).c_str(),
                options.settings.sparseRatio, static_cast<long long>(engine.info().dims.layers));
    Object stages;
    double sum = 0, floors = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const double floor = work.floorMs(i, ceiling, bandwidth);
      sum += steady.stageMs[i];
      floors += floor;
      stages.object(kStages[i], Object()
                                    .number("ms", steady.stageMs[i], 3)
                                    .number("floor_ms", floor, 3)
                                    .number("tflop", work.operations[i] / 1e12));
      std::printf("    %-8s %8.2f ms   floor %7.2f ms   %6.2f TFLOP  %7.1f TFLOP/s\n", kStages[i], steady.stageMs[i],
                  floor, work.operations[i] / 1e12,
                  steady.stageMs[i] > 0 ? work.operations[i] / steady.stageMs[i] / 1e9 : 0.0);
    }
    row.object("stages", stages).number("chunk_ms", sum).number("floor_ms", floors);
    std::printf(
        "    sum      %8.2f ms   floor %7.2f ms   %.2f frames a second   %.2f GB in use (weights %.2f, stream planned "
        "%.2f)\n",
        sum, floors, steady.framesPerSecond, used, static_cast<double>(engine.info().weightBytes) / 1e9,
        static_cast<double>(plan.streamBytes) / 1e9);
    return row;
  }

  const tools::Arguments& arguments_;
  std::shared_ptr<const ModelWeights> weights_;
  std::vector<Size> sizes_;
  double openSeconds_ = 0;
};

// Runs `part` in a separate process, so that nothing is warm, loaded or allocated before it. @returns its JSON, or
// {"error": ..}
std::string InChild(const char* name, const char* path, const std::function<Object()>& part) {
  int ends[2];
  if (pipe(ends) != 0) throw Error("bench", ErrorScope::Engine, "pipe failed");
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) throw Error("bench", ErrorScope::Engine, "fork failed");
  if (child == 0) {
    close(ends[0]);
    if (path != nullptr) setenv("FLASHVSR_CUDA_PATH", path, 1);
    std::printf("%s\n", name);
    Object result;
    try {
      result = part();
    } catch (const std::exception& error) {
      std::printf("  FAILED: %s\n", error.what());
      result = Object().text("error", error.what());
    }
    std::fflush(stdout);
    const std::string json = result.json();
    std::size_t written = 0;
    while (written < json.size()) {
      const ssize_t count = write(ends[1], json.data() + written, json.size() - written);
      if (count <= 0) _exit(1);
      written += static_cast<std::size_t>(count);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string json;
  char buffer[4096];
  for (ssize_t count; (count = read(ends[0], buffer, sizeof buffer)) > 0;)
    json.append(buffer, static_cast<std::size_t>(count));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (json.empty()) {
    std::printf("  FAILED: the part's process ended with status %d\n", status);
    json = "{\"error\": \"ended with status " + std::to_string(status) + "\"}";
  }
  return json;
}

int Main(int argc, char** argv) {
  const tools::Arguments arguments(
      argc, argv,
      {"--weights",   "--variant", "--part",         "--size",     "--device",      "--precision", "--chunks",
       "--warmup",    "--seconds", "--sparse-ratio", "--kv-ratio", "--local-range", "--layers",    "--ceiling",
       "--bandwidth", "--json",    "--commit",       "--library",  "--threads",     "--decoder"},
      {"--synthetic", "--micro"});
  if (arguments.flag("--synthetic") == arguments.has("--weights"))
    throw Error("arguments", ErrorScope::Engine, "give either --synthetic or --weights DIR");
  const std::int64_t before = NowUs();
  std::shared_ptr<const ModelWeights> weights;
  if (arguments.flag("--synthetic")) {
    Threads threads(arguments.number("--threads", 0));  // gone before the first fork
    ModelDims dims =
        arguments.flag("--micro") ? MicroDims() : OfficialDims(arguments.number<std::int64_t>("--layers", 30));
    if (ParseDecoder(arguments.text("--decoder", "tiny")) == Decoder::Wan) dims.wanWidth = kOfficialWanWidth;
    weights = MakeSyntheticWeights(dims, 1, threads);
  } else {
    weights = ModelWeights::OpenOfficialFolder(arguments.text("--weights", ""),
                                               ParseVariant(arguments.text("--variant", "v1.1")));
  }
  std::printf("weights %s in %.1f s\n", arguments.flag("--synthetic") ? "made" : "opened",
              static_cast<double>(NowUs() - before) / 1e6);
  Bench bench(arguments, weights);
  struct Part {
    const char* name;
    const char* path;  // FLASHVSR_CUDA_PATH, or null: as it is
    std::function<Object()> run;
  };
  const std::vector<Part> parts{{"sizes", nullptr, [&] { return bench.sizes(); }},
                                {"first", nullptr, [&] { return bench.first(true); }},
                                {"cold", nullptr, [&] { return bench.first(false); }},
                                {"latency", nullptr, [&] { return bench.latency(); }},
                                {"two", nullptr, [&] { return bench.two(); }},
                                {"ladder", nullptr, [&] { return bench.ladder(); }},
                                {"portable", "portable", [&] { return bench.variant({}); }},
                                {"fp8", nullptr, [&] { return bench.variant(Precision::Fp8); }},
                                {"int8", nullptr, [&] { return bench.variant(Precision::Int8); }},
                                {"portable-int8", "portable", [&] { return bench.variant(Precision::Int8); }},
                                {kReport, nullptr, [&] { return bench.report(); }}};
  std::vector<std::string> wanted = arguments.all("--part");
  for (const std::string& name : wanted)
    if (std::none_of(parts.begin(), parts.end(), [&](const Part& part) { return part.name == name; }))
      throw Error("arguments", ErrorScope::Engine, "no part is called " + name);
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  Object all;
  all.text("date", date)
      .text("commit", arguments.text("--commit", "unknown"))
      .text("path", std::getenv("FLASHVSR_CUDA_PATH") != nullptr ? std::getenv("FLASHVSR_CUDA_PATH") : "auto");
  bool passed = true;
  for (const Part& part : parts) {
    const bool named = std::find(wanted.begin(), wanted.end(), part.name) != wanted.end();
    if (!named && (!wanted.empty() || std::string_view(part.name) == kReport)) continue;
    const std::int64_t since = NowUs();
    const std::string json = InChild(part.name, part.path, part.run);
    std::printf("  (%.1f s)\n", static_cast<double>(NowUs() - since) / 1e6);
    std::fflush(stdout);
    passed = passed && json.find("\"error\"") == std::string::npos;
    all.raw(part.name, json);
    if (arguments.has("--json")) {  // after every part: what was measured is not lost with what comes after it
      std::ofstream file(arguments.text("--json", ""));
      file << all.json() << "\n";
      if (!file) throw Error("arguments", ErrorScope::Engine, "cannot write " + arguments.text("--json", ""));
    }
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace flashvsr::bench

int main(int argc, char** argv) {
  try {
    return flashvsr::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_bench: %s\n", error.what());
    return 1;
  }
}
