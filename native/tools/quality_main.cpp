// flashvsr_quality [--device cuda] [--size 256x384] [--layers 30] [--chunks 3] [--topk-ratio 1.2] [--limit 1.2] [--seed
// N] [--outliers 64] [--micro]
//   [--no-fp8] [--json FILE] [--commit ID] [--library PATH] [--threads N]
// The quality gate. Synthetic weights with natural statistics (norms near 1, projections 1/sqrt(fan-in)) at the
// official widths; the same frames and the same noise everywhere.
//   oracle   the device's fp32 path (the reference backend with --device reference)
//   plain    plain bf16: tools/plain_bf16.h says exactly what is rounded
//   fast     the device's bf16 path; portable: the same without sm90 kernels and vendor libraries; fp8: its fp8 path;
//            int8: its int8 path without sm90 kernels (and again with --outliers planted, see synthetic_weights.h)
// With the oracle's masks forced: relative error |x - oracle| / |oracle| of latents and of frames before the colour
// match, of each path. Gate: in every chunk and for both, fast and portable at most --limit times plain. With masks
// free: the share of mask entries in which a path differs from plain, and the PSNR of its frames to plain's (peak 2:
// the frames' scale is -1..1): of int8 at least 47 dB in every chunk. fp8 is reported only. Exit 1 when the gate fails.
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <thread>

#include "backend/reference/ops.h"
#include "engine/constants.h"
#include "engine/device.h"
#include "engine/network.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"
#include "tools/bench/report.h"
#include "tools/plain_bf16.h"

namespace flashvsr::tools {
namespace {

constexpr double kInt8Decibels = 47;

using Values = std::map<std::string, std::vector<float>>;

struct Setup {
  StreamSettings settings;
  NetworkOptions options;
  std::int64_t chunks = 3;
};

ChunkRequest RequestOf(Network& network, std::int64_t chunk, const Setup& setup) {
  const int height = setup.options.maxSourceHeight, width = setup.options.maxSourceWidth;
  ChunkRequest request;
  request.settings = setup.settings;
  request.position = chunk == 0 ? 0 : 2 * chunk + 4;
  const std::int64_t first = chunk == 0 ? 0 : 8 * chunk + 17;
  for (int i = 0; i < (chunk == 0 ? kFirstChunkFrames : kChunkFrames); ++i) {
    const std::size_t bytes = static_cast<std::size_t>(height * width * 3);
    const std::shared_ptr<std::uint8_t[]> data = network.executor().allocateHost(bytes);
    std::uint32_t noise = static_cast<std::uint32_t>(first + i) * 747796405U + 1U;
    for (std::size_t p = 0; p < bytes; ++p) {
      noise = noise * 1664525U + 1013904223U;
      const double x = static_cast<double>(p / 3 % static_cast<std::size_t>(width)),
                   y = static_cast<double>(p / 3 / static_cast<std::size_t>(width));
      const double wave =
          std::sin((x + static_cast<double>(first + i) * 1.5) / (5.0 + static_cast<double>(p % 3))) * std::cos(y / 7.0);
      data[p] = static_cast<std::uint8_t>(128 + 90 * wave + static_cast<int>(noise >> 28) - 8);
    }
    request.pictures.push_back(
        std::make_shared<SourcePicture>(SourcePicture{{PixelFormat::Rgb24, {}, {}}, width, height, data}));
  }
  request.outputs.resize(chunk == 0 ? kFirstChunkOutputs : kChunkFrames);
  return request;
}

// One path through all chunks: by "<chunk>/mask.<layer>", "<chunk>/latent", "<chunk>/decoded.<frame>". `forced`: whose
// masks.
Values RunPath(const Backend& backend, const std::shared_ptr<PreparedModel>& model, Precision precision,
               const Setup& setup, const Values* forced) {
  Values seen;
  Threads noiseThreads(2);
  Network network(backend, model, precision, setup.options);
  for (std::int64_t chunk = 0; chunk < setup.chunks; ++chunk) {
    const std::string prefix = std::to_string(chunk) + "/";
    NetworkHooks hooks;
    hooks.decodeSkippedFrames = true;
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      if (name.starts_with("mask.") || name.starts_with("decoded.") || name == "latent")
        seen[prefix + name] = executor.read(tensor);
    };
    hooks.injectNoise = [&](Executor& executor, const Tensor& tensor) {
      std::vector<float> noise(static_cast<std::size_t>(tensor.elements()));
      reference::NoiseFill(noiseThreads, 7, chunk * 10, tensor.shape[0], tensor.shape[1], tensor.shape[2],
                           tensor.shape[3], noise.data());
      executor.write(tensor, noise);
    };
    if (forced != nullptr)
      hooks.forceMask = [&](int layer, Executor& executor, const Tensor& mask) {
        executor.write(mask, forced->at(prefix + "mask." + std::to_string(layer)));
      };
    network.run(RequestOf(network, chunk, setup), &hooks).fence->wait();
  }
  return seen;
}

// Sums over all tensors of a chunk whose names start so.
struct Distance {
  double squares = 0, norm = 0;
  std::size_t count = 0;
  double relative() const { return std::sqrt(squares / norm); }
  double decibels() const { return 10 * std::log10(4.0 / std::max(squares / static_cast<double>(count), 1e-30)); }
};
Distance DistanceOf(const Values& a, const Values& b, const std::string& prefix) {
  Distance distance;
  for (const auto& [name, expected] : b) {
    if (!name.starts_with(prefix)) continue;
    const std::vector<float>& ours = a.at(name);
    if (ours.size() != expected.size()) throw Error("quality", ErrorScope::Engine, name + " has another size");
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const double difference = static_cast<double>(ours[i]) - expected[i];
      distance.squares += difference * difference;
      distance.norm += static_cast<double>(expected[i]) * expected[i];
    }
    distance.count += expected.size();
  }
  if (distance.count == 0) throw Error("quality", ErrorScope::Engine, "nothing was seen of " + prefix);
  return distance;
}

double MaskShare(const Values& a, const Values& b, const std::string& prefix) {
  std::size_t different = 0, all = 0;
  for (const auto& [name, expected] : b) {
    if (!name.starts_with(prefix + "mask.")) continue;
    const std::vector<float>& ours = a.at(name);
    all += expected.size();
    for (std::size_t i = 0; i < expected.size(); ++i) different += (ours[i] != 0) != (expected[i] != 0) ? 1 : 0;
  }
  return static_cast<double>(different) / static_cast<double>(std::max<std::size_t>(all, 1));
}

struct Path {
  std::string name;
  Values forced, free;
  bool gated = false;
  double leastDecibels = 0;
};

int Main(int argc, char** argv) {
  const Arguments arguments(argc, argv,
                            {"--device", "--size", "--layers", "--chunks", "--topk-ratio", "--limit", "--seed",
                             "--outliers", "--json", "--commit", "--library", "--threads"},
                            {"--micro", "--no-fp8"});
  const std::string device = arguments.text("--device", "cuda"), library = arguments.text("--library", "");
  const auto [height, width] = Arguments::Size(arguments.text("--size", "256x384"));
  const int workers = arguments.number("--threads", 0);
  const double limit = arguments.number("--limit", 1.2);
  const auto begin = std::chrono::steady_clock::now();
  Threads threads(workers);
  const ModelDims dims =
      arguments.flag("--micro") ? MicroDims() : OfficialDims(arguments.number<std::int64_t>("--layers", 30));
  const auto weights = MakeSyntheticWeights(dims, arguments.number<std::uint64_t>("--seed", 1), threads,
                                            arguments.number("--outliers", 1.0F));
  const ModelConstants constants = ComputeModelConstants(*weights, threads);
  Setup setup;
  setup.chunks = arguments.number<std::int64_t>("--chunks", 3);
  setup.settings.topkRatio = arguments.number("--topk-ratio", 1.2);
  setup.settings.localRange = 3;
  setup.settings.colourMatch = ColourMatch::None;
  setup.options.geometry = {(height + 127) / 128 * 128, (width + 127) / 128 * 128, height, width};
  setup.options.maxSourceWidth = width / 4;
  setup.options.maxSourceHeight = height / 4;
  setup.options.outputFormat.pixels = PixelFormat::Rgb24;

  Values oracle;
  std::string deviceName;
  const bool cuda = device == "cuda";
  {
    const auto backend = OpenBackend(device, 0, workers, library);
    deviceName = backend->info().deviceName;
    oracle =
        RunPath(*backend, backend->prepare(*weights, constants, Precision::Fp32, {}), Precision::Fp32, setup, nullptr);
  }
  std::vector<Path> paths(1);
  paths[0].name = "plain";
  std::string failure;
  // The processor computes plain while the device computes the others.
  std::thread plain([&] {
    try {
      const auto backend = CreateReferenceBackend(workers);
      const auto model = MakePlainBf16(backend->prepare(*weights, constants, Precision::Fp32, {}));
      paths[0].forced = RunPath(*backend, model, Precision::Fp32, setup, &oracle);
      paths[0].free = RunPath(*backend, model, Precision::Fp32, setup, nullptr);
    } catch (const std::exception& error) {
      failure = error.what();
    }
  });
  std::vector<Path> tested;
  const auto add = [&](const std::string& name, Precision precision, bool gated, double leastDecibels = 0) {
    const auto backend = OpenBackend(device, 0, workers, library);
    const auto model = backend->prepare(*weights, constants, precision, {});
    tested.push_back({name, RunPath(*backend, model, precision, setup, &oracle),
                      RunPath(*backend, model, precision, setup, nullptr), gated, leastDecibels});
  };
  try {
    if (cuda) {
      add("fast", Precision::Bf16, true);
      const char* before = std::getenv("FLASHVSR_CUDA_PATH");
      const std::string wish = before != nullptr ? before : "auto";
      setenv("FLASHVSR_CUDA_PATH", "portable", 1);
      add("portable", Precision::Bf16, true);
      add("int8", Precision::Int8, false, kInt8Decibels);
      setenv("FLASHVSR_CUDA_PATH", wish.c_str(), 1);
    } else {
      add("fp32", Precision::Fp32, true);
      add("int8", Precision::Int8, false, kInt8Decibels);
    }
    if (!arguments.flag("--no-fp8")) add("fp8", Precision::Fp8, false);
  } catch (...) {
    plain.join();
    throw;
  }
  plain.join();
  if (!failure.empty()) throw Error("quality", ErrorScope::Engine, "plain bf16: " + failure);
  for (Path& path : tested) paths.push_back(std::move(path));

  std::printf("%s, %dx%d, %lld layers, width %lld, %lld chunks; error at most %.2f times plain bf16's\n",
              deviceName.c_str(), height, width, static_cast<long long>(dims.layers), static_cast<long long>(dims.dim),
              static_cast<long long>(setup.chunks), limit);
  bool passed = true;
  bench::Object json;
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  json.text("gpu", deviceName)
      .text("date", date)
      .text("commit", arguments.text("--commit", "unknown"))
      .number("layers", static_cast<double>(dims.layers), 0)
      .number("limit", limit);
  const char* const tensors[2] = {"latent", "decoded."};
  for (const Path& path : paths) {
    bench::Object row;
    double worst[2] = {0, 0}, errors[2] = {0, 0}, ratioSum[2] = {0, 0}, share = 0, decibels = 1e9;
    for (std::int64_t chunk = 0; chunk < setup.chunks; ++chunk) {
      const std::string prefix = std::to_string(chunk) + "/";
      for (int i = 0; i < 2; ++i) {
        const double error = DistanceOf(path.forced, oracle, prefix + tensors[i]).relative();
        const double ratio = error / DistanceOf(paths[0].forced, oracle, prefix + tensors[i]).relative();
        errors[i] = std::max(errors[i], error);
        worst[i] = std::isnan(ratio) ? INFINITY : std::max(worst[i], ratio);
        ratioSum[i] += ratio;
      }
      share = std::max(share, MaskShare(path.free, paths[0].free, prefix));
      decibels = std::min(decibels, DistanceOf(path.free, paths[0].free, prefix + "decoded.").decibels());
    }
    const bool ok = (!path.gated || (worst[0] <= limit && worst[1] <= limit)) && !(decibels < path.leastDecibels);
    passed = passed && ok;
    std::printf(
        "  %-9s masks forced: latents %.3e (%.2f x plain, worst chunk %.2f)  frames %.3e (%.2f x, worst %.2f)   masks "
        "free: %.3f %% of entries differ, %.1f dB to plain  %s\n",
        path.name.c_str(), errors[0], ratioSum[0] / static_cast<double>(setup.chunks), worst[0], errors[1],
        ratioSum[1] / static_cast<double>(setup.chunks), worst[1], share * 100, std::min(decibels, 999.0),
        path.gated || path.leastDecibels > 0 ? ok ? "ok" : "FAIL" : "");
    row.number("latents", errors[0], 6)
        .number("latents_ratio", worst[0], 3)
        .number("frames", errors[1], 6)
        .number("frames_ratio", worst[1], 3);
    row.number("masks_differ", share, 6).number("db_to_plain", std::min(decibels, 999.0));
    json.object(path.name, row);
  }
  json.text("gate", passed ? "pass" : "fail");
  std::printf("quality gate: %s (%.0f s)\n", passed ? "pass" : "FAIL",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  if (arguments.has("--json")) {
    std::ofstream file(arguments.text("--json", ""));
    file << json.json() << "\n";
    if (!file) throw Error("arguments", ErrorScope::Engine, "cannot write " + arguments.text("--json", ""));
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace flashvsr::tools

int main(int argc, char** argv) {
  try {
    return flashvsr::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_quality: %s\n", error.what());
    return 1;
  }
}
