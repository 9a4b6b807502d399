// flashvsr_compare [--device cuda|reference|plain] [--precision bf16] [--size 256x384] [--layers 4] [--chunks 2]
// [--topk-ratio 1.2] [--micro]
//   [--decoder tiny|wan] [--variant v1.1] [--seed N] [--outliers 64] [--decibels 47] [--library PATH] [--threads N]
//   [--oracle reference|cuda[:PRECISION]] [--free]
//   [--report] [--brief]
// `plain` is plain bf16 on the processor (tools/plain_bf16.h), what the quality gate measures against.
// A backend against another with synthetic weights of official widths: same frames, same noise, the oracle's masks
// forced (--free: each path's own). Prints, for every chunk, the relative error of block outputs and latents, the
// frames' distance in dB, and the share of mask entries in which the backend's own choice differs. The oracle is the
// reference in fp32; `reference:fp8` is fp32 with fp8's roundings, `cuda` the same card in another precision, fast
// enough for whole models and pictures. Exit 1 above the tolerances (bf16: latent 2e-2, frames 40 dB; fp32: 1e-3; fp8:
// 4e-2; --decibels D: instead, the mean of every chunk's frames at least D), unless --report only asks for the numbers.
// --brief leaves the blocks out, which are gigabytes at full size.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>

#include "engine/constants.h"
#include "engine/device.h"
#include "engine/network.h"
#include "engine/synthetic_weights.h"
#include "tools/arguments.h"
#include "tools/plain_bf16.h"

namespace flashvsr {
namespace {

struct Observed {
  std::map<std::string, std::vector<float>> tensors;  // by "name" as hooks report them
};

ChunkRequest RequestOf(Network& network, std::int64_t chunk, const StreamSettings& settings, int sourceHeight,
                       int sourceWidth) {
  ChunkRequest request;
  request.settings = settings;
  request.position = chunk == 0 ? 0 : 2 * chunk + 4;
  const int frames = chunk == 0 ? kFirstChunkFrames : kChunkFrames;
  const std::int64_t first = chunk == 0 ? 0 : 8 * chunk + 17;
  for (int i = 0; i < frames; ++i) {
    const std::size_t bytes = static_cast<std::size_t>(sourceHeight * sourceWidth * 3);
    std::shared_ptr<std::uint8_t[]> data = network.executor().allocateHost(bytes);
    std::uint32_t noise = static_cast<std::uint32_t>(first + i) * 747796405U + 1U;
    for (std::size_t p = 0; p < bytes; ++p) {
      noise = noise * 1664525U + 1013904223U;
      const double x = static_cast<double>(p / 3 % static_cast<std::size_t>(sourceWidth)),
                   y = static_cast<double>(p / 3 / static_cast<std::size_t>(sourceWidth));
      const double wave =
          std::sin((x + static_cast<double>(first + i) * 1.5) / (5.0 + static_cast<double>(p % 3))) * std::cos(y / 7.0);
      data[p] = static_cast<std::uint8_t>(128 + 90 * wave + static_cast<int>(noise >> 28) - 8);
    }
    request.pictures.push_back(
        std::make_shared<SourcePicture>(SourcePicture{{PixelFormat::Rgb24, {}, {}}, sourceWidth, sourceHeight, data}));
  }
  request.outputs.resize(chunk == 0 ? kFirstChunkOutputs : kChunkFrames);
  return request;
}

double Relative(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return a.size() == b.size() ? std::sqrt(difference / norm) : NAN;
}

double Decibels(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return 10 * std::log10(4.0 / std::max(difference / static_cast<double>(a.size()), 1e-30));
}

int Main(int argc, char** argv) {
  const tools::Arguments arguments(
      argc, argv,
      {"--device", "--precision", "--size", "--layers", "--chunks", "--topk-ratio", "--variant", "--seed", "--library",
       "--threads", "--kv-ratio", "--local-range", "--oracle", "--outliers", "--decibels", "--decoder"},
      {"--micro", "--free", "--report", "--brief"});
  const std::string device = arguments.text("--device", "cuda");
  const bool plain = device == "plain";
  const Precision precision =
      arguments.has("--precision") ? ParsePrecision(arguments.text("--precision", "")) : DefaultPrecision(device);
  const auto [height, width] = tools::Arguments::Size(arguments.text("--size", "256x384"));
  const int workers = arguments.number("--threads", 0);
  Threads threads(workers);
  ModelDims dims =
      arguments.flag("--micro") ? MicroDims() : OfficialDims(arguments.number<std::int64_t>("--layers", 4));
  dims.variant = ParseVariant(arguments.text("--variant", "v1.1"));
  const Decoder decoder = ParseDecoder(arguments.text("--decoder", "tiny"));
  if (decoder == Decoder::Wan) dims.wanWidth = kOfficialWanWidth;
  const auto weights = MakeSyntheticWeights(dims, arguments.number<std::uint64_t>("--seed", 1), threads,
                                            arguments.number("--outliers", 1.0F));
  const ModelConstants constants = ComputeModelConstants(*weights, threads);
  const std::string judge = arguments.text("--oracle", "reference"), judgeDevice = judge.substr(0, judge.find(':'));
  const Precision judgePrecision =
      judge == judgeDevice ? Precision::Fp32 : ParsePrecision(judge.substr(judge.find(':') + 1));
  const auto oracle = OpenBackend(judgeDevice, 0, workers, arguments.text("--library", "")),
             tested = OpenBackend(plain ? "reference" : device, 0, workers, arguments.text("--library", ""));
  std::printf("%s (%s) against %s (%s), %dx%d, %lld layers, width %lld\n", tested->info().deviceName.c_str(),
              std::string(PrecisionName(precision)).c_str(), oracle->info().deviceName.c_str(),
              std::string(PrecisionName(judgePrecision)).c_str(), height, width, static_cast<long long>(dims.layers),
              static_cast<long long>(dims.dim));
  const auto oracleModel = oracle->prepare(*weights, constants, judgePrecision, {});
  auto testedModel = tested->prepare(*weights, constants, precision, {});
  if (plain) testedModel = tools::MakePlainBf16(std::move(testedModel));

  StreamSettings settings;
  settings.topkRatio = arguments.number("--topk-ratio", 1.2);
  settings.kvRatio = arguments.number("--kv-ratio", 3.0);
  settings.localRange = arguments.number("--local-range", 3);
  settings.colourMatch = ColourMatch::None;
  NetworkOptions options;
  options.geometry = {(height + 127) / 128 * 128, (width + 127) / 128 * 128, height, width};
  options.kvRatio = settings.kvRatio;
  options.maxSourceWidth = width / 4;
  options.maxSourceHeight = height / 4;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  options.decoder = decoder;
  Network expected(*oracle, oracleModel, judgePrecision, options), actual(*tested, testedModel, precision, options);

  const bool fp32 = precision == Precision::Fp32 && !plain, fp8 = precision == Precision::Fp8,
             free = arguments.flag("--free");
  const double latentLimit = fp32  ? 1e-3
                             : fp8 ? 4e-2
                                   : 2e-2,
               decibelLimit = fp32 ? 60 : 40, meanLimit = arguments.number("--decibels", 0.0);
  bool passed = true;
  for (std::int64_t chunk = 0; chunk < arguments.number<std::int64_t>("--chunks", 2); ++chunk) {
    Observed ours, theirs;
    std::size_t maskEntries = 0, maskDifferences = 0;
    const bool brief = arguments.flag("--brief");
    const auto observe = [brief](Observed& to) {
      return [&to, brief](const std::string& name, Executor& executor, const Tensor& tensor) {
        if ((!brief && name.starts_with("block.")) || name.starts_with("mask.") || name.starts_with("decoded.") ||
            name == "latent")
          to.tensors[name] = executor.read(tensor);
      };
    };
    NetworkHooks watchTheirs, watchOurs;
    watchTheirs.onTensor = observe(theirs);
    watchOurs.onTensor = observe(ours);
    watchTheirs.decodeSkippedFrames = watchOurs.decodeSkippedFrames = true;
    watchOurs.forceMask = [&](int layer, Executor& executor, const Tensor& mask) {
      const std::string name = "mask." + std::to_string(layer);
      const std::vector<float>&a = ours.tensors[name], &b = theirs.tensors[name];
      maskEntries += b.size();
      for (std::size_t i = 0; i < b.size(); ++i) maskDifferences += (a[i] != 0) != (b[i] != 0) ? 1 : 0;
      if (!free) executor.write(mask, b);
    };
    expected.run(RequestOf(expected, chunk, settings, height / 4, width / 4), &watchTheirs).fence->wait();
    actual.run(RequestOf(actual, chunk, settings, height / 4, width / 4), &watchOurs).fence->wait();
    for (std::int64_t layer = 0; layer < (brief ? 0 : dims.layers); ++layer) {
      const std::string name = "block." + std::to_string(layer);
      std::printf("chunk %lld  %-12s %.3e\n", static_cast<long long>(chunk), name.c_str(),
                  Relative(ours.tensors[name], theirs.tensors[name]));
    }
    const double latent = Relative(ours.tensors["latent"], theirs.tensors["latent"]);
    double worst = 1e9, mean = 0;
    int frames = 0;
    for (const auto& [name, picture] : theirs.tensors) {
      if (!name.starts_with("decoded.")) continue;
      const double decibels = Decibels(ours.tensors[name], picture);
      worst = std::min(worst, decibels);
      mean += decibels;
      ++frames;
    }
    const bool ok =
        frames > 0 && (meanLimit > 0 ? mean / frames >= meanLimit : latent <= latentLimit && worst >= decibelLimit);
    passed = passed && (ok || arguments.flag("--report"));
    std::printf(
        "chunk %lld  latent %.3e (at most %.0e)  frames %.2f dB mean, %.2f worst (at least %.0f)  own masks differ in "
        "%zu of %zu  %s\n",
        static_cast<long long>(chunk), latent, latentLimit, mean / frames, worst, decibelLimit, maskDifferences,
        maskEntries,
        ok                           ? "ok"
        : arguments.flag("--report") ? "reported"
                                     : "FAIL");
    std::fflush(stdout);
  }
  return passed ? 0 : 1;
}

}  // namespace
}  // namespace flashvsr

int main(int argc, char** argv) {
  try {
    return flashvsr::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flashvsr_compare: %s\n", error.what());
    return 1;
  }
}
