#include "tools/parity.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "backend/reference/attention_ops.h"
#include "backend/reference/picture_ops.h"
#include "engine/constants.h"
#include "engine/device.h"
#include "engine/network.h"
#include "tools/golden_file.h"

namespace flashvsr::tools {
namespace {

namespace fs = std::filesystem;

// What a precision must meet.
struct Tolerances {
  double fp32 = 1e-5;        // relative, tensors stored as fp32
  double fp16 = 1e-4;        // relative, tensors stored as fp16, after rounding ours to fp16 too (without: 3e-4)
  double decibels = 0;       // of pictures, when above 0 instead of fp16
  double maskMargin = 1e-6;  // mismatching entries this close to the threshold are excused
  int excused = 2;           // a mask, at most
  bool judgeFree = true;     // bf16 masks differ by right; the free run is then reported, not judged
  // Instead, above 0, for what has been through the transformer.
  double transformer = 0, transformerDecibels = 0;
};

Tolerances TolerancesOf(const ParityOptions& options) {
  Tolerances tolerances{2e-2, 2e-2, 40.0, 0, 0, false, 0, 0};
  if (options.device == "reference") tolerances = {};
  else if (options.precision == Precision::Fp32) tolerances = {1e-3, 1e-3, 0, 1e-5, 2, true, 0, 0};
  if (options.precision == Precision::Fp8) {
    // e4m3 has 3 mantissa bits: a number is off by 2.6e-2 (rms), a product's two operands by 3.7e-2 together. A block
    // adds several such results to the stream it keeps in full, so the stream stays near that, and the latent is the
    // noise less a product of it.
    tolerances.transformer = 4e-2;
    tolerances.transformerDecibels = 40;
    tolerances.judgeFree = false;
  }
  if (options.precision == Precision::Int8) {
    // A scale is the row's largest of some 256 turned numbers, 3.2 times their rms, over 127: a number is off by 7e-3
    // (rms), a product's two operands by 1e-2 together.
    tolerances.transformer = 2e-2;
    tolerances.transformerDecibels = 44;
    tolerances.judgeFree = false;
  }
  return tolerances;
}

struct CaseSettings {
  std::string weights;
  std::int64_t chunks = 0;
  NetworkOptions network;
  StreamSettings stream;
};

class CaseRun {
 public:
  CaseRun(const ParityOptions& options, ParityResult& result, std::string name)
      : options_(options),
        result_(result),
        name_(std::move(name)),
        tolerances_(TolerancesOf(options)) {}

  void line(const std::string& run, const std::string& tensor, const std::string& error, const std::string& tolerance,
            bool ok, const char* verdict = nullptr) {
    ++result_.lines;
    if (!ok) ++result_.failures;
    char text[512];
    std::snprintf(text, sizeof text, "%-12s %-6s %-24s %-28s %-10s %s", name_.c_str(), run.c_str(), tensor.c_str(),
                  error.c_str(), tolerance.c_str(),
                  verdict != nullptr ? verdict
                  : ok               ? "ok"
                                     : "FAIL");
    if (options_.print) options_.print(text);
  }
  void fail(const std::string& tensor, const std::string& why) { line("-", tensor, why, "-", false); }

  // ||ours - golden|| / ||golden||, or decibels for pictures where the precision asks for them.
  void compare(const std::string& run, const std::string& tensor, const std::vector<float>& ours,
               const GoldenTensor* golden, bool judged) {
    if (golden == nullptr) return fail(tensor, "missing in expected.safetensors");
    compared_.insert(tensor);
    const std::vector<float> theirs = golden->floats();
    if (theirs.size() != ours.size())
      return line(run, tensor, std::to_string(ours.size()) + " elements for " + std::to_string(theirs.size()), "-",
                  false);
    const bool picture = golden->dtype == "F16";
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const double value = picture ? Float16ToFloat(FloatToFloat16(ours[i])) : ours[i];
      difference += (value - theirs[i]) * (value - theirs[i]);
      norm += static_cast<double>(theirs[i]) * theirs[i];
    }
    const double relative = norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
    char error[64], tolerance[32];
    bool ok = false;
    const bool transformed =
        (run == "forced" || run == "free") && !tensor.starts_with("projected") && tolerances_.transformer > 0;
    const double decibels = transformed ? tolerances_.transformerDecibels : tolerances_.decibels;
    if (picture && decibels > 0) {
      const double psnr = 10 * std::log10(4.0 / std::max(difference / static_cast<double>(ours.size()), 1e-30));
      std::snprintf(error, sizeof error, "%.2f dB (%.2e)", psnr, relative);
      std::snprintf(tolerance, sizeof tolerance, "%.0f dB", decibels);
      ok = psnr >= decibels;
    } else {
      const double limit = transformed ? tolerances_.transformer : picture ? tolerances_.fp16 : tolerances_.fp32;
      std::snprintf(error, sizeof error, "%.2e", relative);
      std::snprintf(tolerance, sizeof tolerance, "%.0e", limit);
      ok = relative <= limit;  // false for NaN
    }
    line(run, tensor, error, tolerance, ok || !judged, judged ? nullptr : "report");
  }

  void compareMask(const std::string& tensor, const std::vector<std::uint8_t>& ours, const std::vector<double>& margins,
                   const GoldenTensor* golden) {
    if (golden == nullptr) return fail(tensor, "missing in expected.safetensors");
    compared_.insert(tensor);
    if (golden->data.size() != ours.size())
      return line("free", tensor, std::to_string(ours.size()) + " entries for " + std::to_string(golden->data.size()),
                  "-", false);
    int different = 0, excused = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if ((ours[i] != 0) == (golden->data[i] != std::byte{0})) continue;
      ++different;
      if (margins[i] <= tolerances_.maskMargin) ++excused;
    }
    if (different > 0) maskDiffered_ = true;
    const bool ok = different == excused && excused <= tolerances_.excused;
    const std::string error = std::to_string(different) + " of " + std::to_string(ours.size()) + " differ" +
                              (different > 0 ? ", " + std::to_string(excused) + " excused" : "");
    line("free", tensor, error, tolerances_.judgeFree ? std::to_string(tolerances_.excused) + " excused" : "-",
         ok || !tolerances_.judgeFree, tolerances_.judgeFree ? nullptr : "report");
  }

  const Tolerances& tolerances() const { return tolerances_; }
  // An excused entry changes everything after it, so the free run is judged only up to there.
  bool maskDiffered() const { return maskDiffered_; }
  void startRun() { maskDiffered_ = false; }
  const std::set<std::string>& compared() const { return compared_; }

 private:
  const ParityOptions& options_;
  ParityResult& result_;
  std::string name_;
  Tolerances tolerances_;
  bool maskDiffered_ = false;
  std::set<std::string> compared_;
};

CaseSettings ReadSettings(const GoldenFile& input) {
  CaseSettings settings;
  settings.weights = input.has("weights") ? input.text("weights") : "weights";
  settings.chunks = input.integer("chunks");
  Geometry& g = settings.network.geometry;
  g.height = g.contentHeight = input.integer("height");
  g.width = g.contentWidth = input.integer("width");
  if (settings.chunks < 1 || g.height < 128 || g.width < 128 || g.height % 128 != 0 || g.width % 128 != 0)
    throw Error("golden.invalid", ErrorScope::Engine, "chunks must be at least 1, height and width multiples of 128");
  settings.network.kvRatio = input.number("kv_ratio");
  settings.network.outputFormat.pixels = PixelFormat::Rgb24;
  settings.network.debug = true;
  settings.stream.topkRatio = input.number("topk_ratio");
  settings.stream.kvRatio = settings.network.kvRatio;
  settings.stream.localRange = static_cast<int>(input.integer("local_range"));
  settings.stream.colourMatch = ColourMatch::Adain;
  return settings;
}

// The sizes a case states about its model, where it states them.
void CheckDims(CaseRun& run, const GoldenFile& input, const ModelDims& dims) {
  const auto check = [&](const char* key, const std::vector<std::int64_t>& actual) {
    if (!input.has(key)) return;
    if (input.list(key) != actual) run.fail(key, "the weights' size differs from the case's " + input.text(key));
  };
  check("dim", {dims.dim});
  check("heads", {dims.heads});
  check("ffn", {dims.ffn});
  check("layers", {dims.layers});
  check("text_dim", {dims.textDim});
  check("text_len", {dims.textLen});
  check("freq_dim", {dims.freqDim});
  check("lq_layers", {dims.lqLayers});
  check("tc", {dims.decoderChannels.begin(), dims.decoderChannels.end()});
  check("lq_hidden", {dims.lqHidden.begin(), dims.lqHidden.end()});
}

// Tokens 0, 3, 6, .. in (frame, row, column) order of a tensor in window order.
std::vector<float> EveryThirdToken(const std::vector<float>& x, const Geometry& g, std::int64_t width) {
  std::vector<float> out;
  const std::int64_t h = g.tokenRows(), w = g.tokenColumns(), tokens = static_cast<std::int64_t>(x.size()) / width;
  for (std::int64_t i = 0; i < tokens; i += 3) {
    const std::int64_t at = TokenIndex(w, g.windows(), i / (h * w), i / w % h, i % w) * width;
    out.insert(out.end(), x.begin() + at, x.begin() + at + width);
  }
  return out;
}

// Rows 0.., columns 0.. of a (3, H, W) picture as large as the golden's (1, 3, 1, rows, columns).
std::vector<float> Corner(const std::vector<float>& picture, const Geometry& g, const GoldenTensor& golden) {
  std::vector<float> out;
  const std::int64_t rows = golden.shape.at(golden.shape.size() - 2), columns = golden.shape.back();
  for (std::int64_t c = 0; c < 3; ++c)
    for (std::int64_t y = 0; y < rows; ++y)
      for (std::int64_t x = 0; x < columns; ++x)
        out.push_back(y < g.height && x < g.width ? picture[static_cast<std::size_t>((c * g.height + y) * g.width + x)]
                                                  : NAN);
  return out;
}

// (2, 3, frames): mean and biased standard deviation of whole frames.
struct Statistics {
  std::vector<float> values;
  void set(std::size_t frame, std::size_t frames, const std::vector<float>& picture) {
    values.resize(6 * frames);
    const std::size_t plane = picture.size() / 3;
    for (std::size_t c = 0; c < 3; ++c) {
      double sum = 0, squares = 0;
      for (std::size_t i = 0; i < plane; ++i) sum += picture[c * plane + i];
      const double mean = sum / static_cast<double>(plane);
      for (std::size_t i = 0; i < plane; ++i)
        squares += (picture[c * plane + i] - mean) * (picture[c * plane + i] - mean);
      values[c * frames + frame] = static_cast<float>(mean);
      values[(3 + c) * frames + frame] = static_cast<float>(std::sqrt(squares / static_cast<double>(plane)));
    }
  }
};

// A case's source pictures, one after the other; nullptr, with a FAIL line, when they are not what the case says.
const GoldenTensor* VideoOf(CaseRun& run, const GoldenFile& input, const CaseSettings& settings) {
  const GoldenTensor* video = input.find("video");
  if (video == nullptr) {
    run.fail("video", "missing in input.safetensors");
  } else if (video->dtype != "U8" || video->shape.size() != 4 || video->shape[3] != 3 ||
             video->shape[0] < kFirstChunkFrames + kChunkFrames * (settings.chunks - 1)) {
    run.fail("video", "must be (frames, height, width, 3) bytes with 25 + 8*(chunks-1) frames");
    return nullptr;
  }
  return video;
}

// Chunk k with its pictures; no output is wanted on the host.
ChunkRequest RequestOf(Network& network, const GoldenTensor& video, std::int64_t k, const StreamSettings& settings) {
  const std::int64_t pictureBytes = video.shape[1] * video.shape[2] * 3;
  const std::int64_t first = k == 0 ? 0 : kFirstChunkFrames + kChunkFrames * (k - 1);
  ChunkRequest request;
  request.settings = settings;
  request.position = k == 0 ? 0 : 2 * k + 4;
  for (std::int64_t i = first; i < first + (k == 0 ? kFirstChunkFrames : kChunkFrames); ++i) {
    auto bytes =
        std::shared_ptr<std::uint8_t[]>(network.executor().allocateHost(static_cast<std::size_t>(pictureBytes)));
    std::memcpy(bytes.get(), video.data.data() + i * pictureBytes, static_cast<std::size_t>(pictureBytes));
    request.pictures.push_back(std::make_shared<SourcePicture>(SourcePicture{
        {PixelFormat::Rgb24, {}, {}}, static_cast<int>(video.shape[2]), static_cast<int>(video.shape[1]), bytes}));
  }
  request.outputs.resize(k == 0 ? kFirstChunkOutputs : kChunkFrames);
  return request;
}

enum class Mode { Forced, Free, Given };

// One stream through the whole case.
void RunCase(CaseRun& run, Mode mode, const Backend& backend, const std::shared_ptr<PreparedModel>& model,
             Precision precision, const CaseSettings& settings, const GoldenFile& input, const GoldenFile& expected) {
  const std::string label = mode == Mode::Forced ? "forced" : mode == Mode::Free ? "free" : "given";
  const ModelDims& dims = model->dims();
  const Geometry& g = settings.network.geometry;
  run.startRun();
  const GoldenTensor* video = VideoOf(run, input, settings);
  if (video == nullptr) return;
  NetworkOptions options = settings.network;
  options.maxSourceWidth = static_cast<int>(video->shape[2]);
  options.maxSourceHeight = static_cast<int>(video->shape[1]);
  Network network(backend, model, precision, options);

  for (std::int64_t k = 0; k < settings.chunks; ++k) {
    const std::string suffix = "." + std::to_string(k);
    const std::size_t outputs = k == 0 ? kFirstChunkOutputs : kChunkFrames;
    const std::int64_t latents = k == 0 ? kFirstChunkLatents : kChunkLatents;
    ChunkRequest request = RequestOf(network, *video, k, settings.stream);

    const GoldenTensor* goldenMask = expected.find("mask" + suffix);
    const GoldenTensor* goldenLatent = expected.find("latent" + suffix);
    const GoldenTensor* goldenNoise = input.find("noise" + suffix);
    if (goldenNoise == nullptr) return run.fail("noise" + suffix, "missing in input.safetensors");
    if (goldenMask == nullptr) return run.fail("mask" + suffix, "missing in expected.safetensors");
    if (goldenLatent == nullptr) return run.fail("latent" + suffix, "missing in expected.safetensors");
    std::vector<std::uint8_t> ownMasks;
    std::vector<double> margins;
    std::vector<float> queryMeans;
    std::vector<std::vector<float>> keyMeans;
    Statistics decoded, matched;
    std::vector<float> lastDecoded, lastMatched, lastExtra;
    std::map<std::string, std::vector<float>> kept;

    NetworkHooks hooks;
    hooks.decodeSkippedFrames = true;
    hooks.extraMatch = ColourMatch::Wavelet;
    hooks.skipDenoise = mode == Mode::Given;
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      const auto frameOf = [&] { return static_cast<std::size_t>(std::stoi(name.substr(name.find('.') + 1))); };
      if (name.starts_with("decoded.")) {
        lastDecoded = executor.read(tensor);
        decoded.set(frameOf(), outputs, lastDecoded);
      } else if (name.starts_with("matched.")) {
        lastMatched = executor.read(tensor);
        matched.set(frameOf(), outputs, lastMatched);
      } else if (name.starts_with("matched_extra.")) {
        if (frameOf() + 1 == outputs) lastExtra = executor.read(tensor);
      } else if (name.starts_with("query_means.") && mode == Mode::Free) {
        queryMeans = executor.read(tensor);
        keyMeans.clear();
      } else if (name.starts_with("key_means.") && mode == Mode::Free) {
        keyMeans.push_back(executor.read(tensor));
      } else if (name.starts_with("mask.") && mode == Mode::Free) {
        for (const float value : executor.read(tensor)) ownMasks.push_back(static_cast<std::uint8_t>(value));
        // How far every probability lies from its threshold, from the same means in double.
        std::vector<const float*> means;
        for (const auto& group : keyMeans) means.push_back(group.data());
        Threads one(1);
        std::vector<std::uint8_t> ignored(static_cast<std::size_t>(tensor.elements()));
        std::vector<double> margin(ignored.size());
        const reference::SelectParameters parameters{
            dims.heads,
            g.windowRows(),
            g.windowColumns(),
            latents / 2,
            settings.stream.localRange,
            Network::TopK(settings.stream, g, static_cast<std::int64_t>(means.size()))};
        reference::SelectMask(one, parameters, queryMeans.data(), means, ignored.data(), margin.data());
        margins.insert(margins.end(), margin.begin(), margin.end());
      } else if (name.starts_with("projected") || name == "latent" || name == "block.0" ||
                 name == "block." + std::to_string(dims.layers - 1)) {
        kept[name] = executor.read(tensor);
      }
    };
    hooks.injectNoise = [&](Executor& executor, const Tensor& tensor) {
      executor.write(tensor, goldenNoise->floats());
    };
    if (mode == Mode::Given)
      hooks.injectLatent = [&](Executor& executor, const Tensor& tensor) {
        executor.write(tensor, goldenLatent->floats());
      };
    if (mode == Mode::Forced)
      hooks.forceMask = [&](int layer, Executor& executor, const Tensor& mask) {
        const std::vector<float> all = goldenMask->floats();
        const std::size_t size = static_cast<std::size_t>(mask.elements());
        if (all.size() != size * static_cast<std::size_t>(dims.layers))
          throw Error("golden.invalid", ErrorScope::Engine,
                      "mask" + suffix + " has " + std::to_string(all.size()) + " entries, " +
                          std::to_string(size * static_cast<std::size_t>(dims.layers)) + " belong there");
        executor.write(mask, std::span(all).subspan(static_cast<std::size_t>(layer) * size, size));
      };
    network.run(std::move(request), &hooks).fence->wait();

    if (mode == Mode::Free) run.compareMask("mask" + suffix, ownMasks, margins, goldenMask);
    const bool judged = mode != Mode::Free || (run.tolerances().judgeFree && !run.maskDiffered());
    if (mode != Mode::Given) {
      run.compare(label, "latent" + suffix, kept["latent"], goldenLatent, judged);
      if (k == 1) {
        for (std::int64_t j = 0; j < dims.lqLayers; ++j) {
          const std::string name = "projected" + std::to_string(j);
          run.compare(label, name + ".1", EveryThirdToken(kept[name], g, dims.dim), expected.find(name + ".1"), judged);
        }
        run.compare(label, "block_first.1", EveryThirdToken(kept["block.0"], g, dims.dim),
                    expected.find("block_first.1"), judged);
        run.compare(label, "block_last.1",
                    EveryThirdToken(kept["block." + std::to_string(dims.layers - 1)], g, dims.dim),
                    expected.find("block_last.1"), judged);
      }
    }
    const auto picture = [&](const std::string& name, const std::vector<float>& whole) {
      const GoldenTensor* golden = expected.find(name);
      if (golden == nullptr || golden->shape.size() < 2) return run.fail(name, "missing in expected.safetensors");
      run.compare(label, name, Corner(whole, g, *golden), golden, judged);
    };
    // A case may name the chunks whose last decoded picture it holds; the statistics are there for every chunk.
    const std::vector<std::int64_t> held = expected.has("decoded") ? expected.list("decoded") : std::vector{k};
    if (std::ranges::find(held, k) != held.end()) picture("decoded" + suffix, lastDecoded);
    run.compare(label, "decoded_stats" + suffix, decoded.values, expected.find("decoded_stats" + suffix), judged);
    run.compare(label, "adain_stats" + suffix, matched.values, expected.find("adain_stats" + suffix), judged);
    if (k == 1) {
      picture("adain.1", lastMatched);
      picture("wavelet.1", lastExtra);
    }
  }
}

// The first rows and columns of a (rows, columns, channels) tensor as the golden's (1, channels, 1, rows, columns).
std::vector<float> Planar(const std::vector<float>& tensor, std::int64_t columns, const GoldenTensor& golden) {
  const std::int64_t channels = golden.shape.at(1), h = golden.shape.at(3), w = golden.shape.at(4);
  std::vector<float> out;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t x = 0; x < w; ++x) {
        const std::size_t at = static_cast<std::size_t>((y * columns + x) * channels + c);
        out.push_back(at < tensor.size() ? tensor[at] : NAN);
      }
  return out;
}

// The Wan2.1 decoder over another case's golden latents (docs/flashvsr-full.md).
void RunWanCase(CaseRun& run, const Backend& backend, const std::shared_ptr<PreparedModel>& model, Precision precision,
                const CaseSettings& settings, const GoldenFile& input, const GoldenFile& latents,
                const GoldenFile& expected) {
  if (!model->hasWan()) return run.fail("-", "this backend has no Wan2.1 decoder");
  const Geometry& g = settings.network.geometry;
  const GoldenTensor* video = VideoOf(run, input, settings);
  if (video == nullptr) return;
  NetworkOptions options = settings.network;
  options.maxSourceWidth = static_cast<int>(video->shape[2]);
  options.maxSourceHeight = static_cast<int>(video->shape[1]);
  options.decoder = Decoder::Wan;
  Network network(backend, model, precision, options);
  for (std::int64_t k = 0; k < settings.chunks; ++k) {
    const std::string suffix = "." + std::to_string(k);
    const std::size_t outputs = k == 0 ? kFirstChunkOutputs : kChunkFrames;
    const GoldenTensor* latent = latents.find("latent" + suffix);
    if (latent == nullptr) return run.fail("latent" + suffix, "missing in the case's expected.safetensors");
    ChunkRequest request = RequestOf(network, *video, k, settings.stream);
    Statistics decoded, matched;
    std::vector<float> lastDecoded, lastMatched;
    std::map<std::string, std::pair<std::vector<float>, std::int64_t>> inside;  // and columns
    NetworkHooks hooks;
    hooks.decodeSkippedFrames = true;
    hooks.skipDenoise = true;
    hooks.injectLatent = [&](Executor& executor, const Tensor& tensor) { executor.write(tensor, latent->floats()); };
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      const auto frameOf = [&] { return static_cast<std::size_t>(std::stoi(name.substr(name.find('.') + 1))); };
      if (name.starts_with("decoded.")) decoded.set(frameOf(), outputs, lastDecoded = executor.read(tensor));
      else if (name.starts_with("matched.")) matched.set(frameOf(), outputs, lastMatched = executor.read(tensor));
      else if (expected.find(name + suffix) != nullptr) inside[name] = {executor.read(tensor), tensor.shape[2]};
    };
    network.run(std::move(request), &hooks).fence->wait();
    for (const auto& [name, seen] : inside) {
      const GoldenTensor& golden = *expected.find(name + suffix);
      run.compare("wan", name + suffix, Planar(seen.first, seen.second, golden), &golden, true);
    }
    const auto picture = [&](const std::string& name, const std::vector<float>& whole) {
      if (const GoldenTensor* golden = expected.find(name))
        run.compare("wan", name, Corner(whole, g, *golden), golden, true);
    };
    picture("wan" + suffix, lastDecoded);
    picture("wan_adain" + suffix, lastMatched);
    run.compare("wan", "wan_stats" + suffix, decoded.values, expected.find("wan_stats" + suffix), true);
    run.compare("wan", "wan_adain_stats" + suffix, matched.values, expected.find("wan_adain_stats" + suffix), true);
  }
}

// Every resize pair of the file, to the byte. The reference's resize is what every backend is tested against.
void RunResize(CaseRun& run, const GoldenFile& file, Threads& threads) {
  bool any = false;
  for (const auto& [name, in] : file.tensors()) {
    if (!name.starts_with("in.")) continue;
    any = true;
    const std::string index = name.substr(3);
    const GoldenTensor* out = file.find("out." + index);
    if (out == nullptr) {
      run.fail("out." + index, "missing");
      continue;
    }
    const std::vector<std::uint8_t> from = in.bytes(), to = out->bytes();
    std::vector<std::uint8_t> ours(to.size());
    reference::ResizeBicubic(threads, from.data(), in.shape.at(1), in.shape.at(0), ours.data(), out->shape.at(1),
                             out->shape.at(0), out->shape.at(1));
    std::size_t different = 0;
    for (std::size_t i = 0; i < to.size(); ++i) different += ours[i] != to[i] ? 1 : 0;
    run.line("bytes", "out." + index, std::to_string(different) + " of " + std::to_string(to.size()) + " differ", "0",
             different == 0);
  }
  if (!any) run.fail("in.0", "the file holds no pair");
}

}  // namespace

ParityResult RunParity(const ParityOptions& options) {
  ParityResult result;
  const std::unique_ptr<Backend> backend = OpenBackend(options.device, 0, options.threads, options.cudaLibraryPath);
  Threads threads(options.threads);
  std::map<std::pair<std::string, ModelVariant>, std::shared_ptr<PreparedModel>> models;
  std::vector<fs::path> folders;
  if (fs::is_directory(options.folder))
    for (const auto& entry : fs::directory_iterator(options.folder))
      if (entry.is_directory() &&
          (fs::exists(entry.path() / "input.safetensors") || fs::exists(entry.path() / "expected.safetensors")))
        folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    if (!options.onlyCase.empty() && name != options.onlyCase) continue;
    ++result.cases;
    CaseRun run(options, result, name);
    try {
      const GoldenFile expected(folder / "expected.safetensors");
      const bool wan = fs::exists(folder / "Wan2.1_VAE.pth");
      const fs::path from = wan ? options.folder / expected.text("case") : folder;
      const GoldenFile input(from / "input.safetensors");
      const CaseSettings settings = ReadSettings(input);
      const ModelVariant variant = ParseVariant(input.text("variant"));
      if (wan) {
        OfficialFiles files = OfficialFilesIn(options.folder / settings.weights);
        files.wan = folder / "Wan2.1_VAE.pth";
        LoadOptions load;
        load.variant = variant;
        const auto weights = ModelWeights::OpenOfficialFiles(files, load);
        RunWanCase(run, *backend,
                   backend->prepare(*weights, ComputeModelConstants(*weights, threads), options.precision, {}),
                   options.precision, settings, input, GoldenFile(from / "expected.safetensors"), expected);
        for (const auto& [tensor, golden] : expected.tensors())
          if (!run.compared().contains(tensor) && !tensor.starts_with("wan_tiled."))
            run.fail(tensor, "not compared: unknown name");
        continue;
      }
      std::shared_ptr<PreparedModel>& model = models[{settings.weights, variant}];
      if (!model) {
        const auto weights = ModelWeights::OpenOfficialFolder(options.folder / settings.weights, variant);
        model = backend->prepare(*weights, ComputeModelConstants(*weights, threads), options.precision, {});
      }
      CheckDims(run, input, model->dims());
      for (const char* constant : {"time", "time_modulation"})
        if (expected.find(constant) != nullptr)
          run.compare("load", constant, model->readConstant(constant), expected.find(constant), true);
      for (const auto& [tensor, golden] : expected.tensors())
        if (tensor.starts_with("cross_k.") || tensor.starts_with("cross_v."))
          run.compare("load", tensor, model->readConstant(tensor), &golden, true);
      for (const Mode mode : {Mode::Given, Mode::Forced, Mode::Free})
        RunCase(run, mode, *backend, model, options.precision, settings, input, expected);
      // A tensor that nothing was compared with would look like a pass.
      for (const auto& [tensor, golden] : expected.tensors())
        if (!run.compared().contains(tensor)) run.fail(tensor, "not compared: unknown name");
    } catch (const std::exception& error) {
      run.fail("-", error.what());
    }
  }
  if (fs::exists(options.folder / "resize.safetensors") && options.onlyCase.empty()) {
    CaseRun run(options, result, "resize");
    try {
      RunResize(run, GoldenFile(options.folder / "resize.safetensors"), threads);
    } catch (const std::exception& error) {
      run.fail("-", error.what());
    }
  }
  return result;
}

}  // namespace flashvsr::tools
