// The Wan2.1 decoder in a stream against a plain one that decodes the whole clip at once, layer after layer over all
// its frames, in loops that know nothing of histories, spares or products. (Against the official code: flashvsr_parity
// over a folder that holds Wan2.1_VAE.pth and its outputs.)
#include <algorithm>
#include <cmath>

#include "backend/reference/ops.h"
#include "test/fixture.h"
#include "tools/golden_file.h"
#include "weights/wan_layers.h"

namespace flashvsr::test {
namespace {

// Planes of one time step: (channels, rows, columns).
struct Step {
  std::int64_t channels = 0, rows = 0, columns = 0;
  std::vector<float> values;

  Step(std::int64_t c, std::int64_t h, std::int64_t w)
      : channels(c),
        rows(h),
        columns(w),
        values(static_cast<std::size_t>(c * h * w)) {}
  float& at(std::int64_t c, std::int64_t y, std::int64_t x) {
    return values[static_cast<std::size_t>((c * rows + y) * columns + x)];
  }
  float get(std::int64_t c, std::int64_t y, std::int64_t x) const {
    if (y < 0 || x < 0 || y >= rows || x >= columns) return 0;
    return values[static_cast<std::size_t>((c * rows + y) * columns + x)];
  }
};
using Clip = std::vector<Step>;

class PlainDecoder {
 public:
  explicit PlainDecoder(const TensorSource& weights) : weights_(weights) {}

  // latents: z already scaled, one step a latent frame. Pictures, clamped.
  Clip decode(const Clip& latents) const {
    Clip x = convolve(latents, "conv2", 1, 1);
    x = convolve(x, "decoder.conv1", 3, 3);
    for (const WanBlock& block : kWanBlocks) {
      const std::string name = block.name;
      if (block.kind == WanKind::Residual) x = residual(x, name, block.in != block.out);
      else if (block.kind == WanKind::Attention) x = attention(x, name);
      else x = enlarge(block.kind == WanKind::GrowTime ? growTime(x, name) : x, name);
    }
    x = convolve(normalize(x, "decoder.head.0.gamma", true), "decoder.head.2", 3, 3);
    for (Step& step : x)
      for (float& value : step.values) value = std::clamp(value, -1.0F, 1.0F);
    return x;
  }

 private:
  std::vector<float> floats(const std::string& name) const { return ReadFloats(weights_.checked(name)); }

  Clip convolve(const Clip& in, const std::string& name, int time, int side) const {
    const std::vector<float> weight = floats(name + ".weight"), bias = floats(name + ".bias");
    const std::int64_t outs = static_cast<std::int64_t>(bias.size()), reach = side / 2;
    Clip out;
    for (std::size_t t = 0; t < in.size(); ++t) {
      Step to(outs, in[t].rows, in[t].columns);
      for (std::int64_t o = 0; o < outs; ++o) {
        std::size_t at = static_cast<std::size_t>(o * in[t].channels * time * side * side);
        for (float& value : std::span(to.values).subspan(static_cast<std::size_t>(o * to.rows * to.columns),
                                                         static_cast<std::size_t>(to.rows * to.columns)))
          value = bias[static_cast<std::size_t>(o)];
        for (std::int64_t c = 0; c < in[t].channels; ++c)
          for (int dt = 0; dt < time; ++dt)
            for (std::int64_t dy = -reach; dy <= reach; ++dy)
              for (std::int64_t dx = -reach; dx <= reach; ++dx) {
                const float w = weight[at++];
                const std::int64_t from = static_cast<std::int64_t>(t) + dt - (time - 1);
                if (from < 0) continue;
                const Step& step = in[static_cast<std::size_t>(from)];
                for (std::int64_t y = 0; y < to.rows; ++y)
                  for (std::int64_t x = 0; x < to.columns; ++x) to.at(o, y, x) += w * step.get(c, y + dy, x + dx);
              }
      }
      out.push_back(std::move(to));
    }
    return out;
  }

  Clip normalize(Clip x, const std::string& gammaName, bool silu) const {
    const std::vector<float> gamma = floats(gammaName);
    for (Step& step : x)
      for (std::int64_t y = 0; y < step.rows; ++y)
        for (std::int64_t column = 0; column < step.columns; ++column) {
          double squares = 0;
          for (std::int64_t c = 0; c < step.channels; ++c)
            squares += static_cast<double>(step.get(c, y, column)) * step.get(c, y, column);
          for (std::int64_t c = 0; c < step.channels; ++c) {
            const double value = step.get(c, y, column) / std::max(std::sqrt(squares), 1e-12) *
                                 std::sqrt(static_cast<double>(step.channels)) * gamma[static_cast<std::size_t>(c)];
            step.at(c, y, column) = static_cast<float>(silu ? value / (1 + std::exp(-value)) : value);
          }
        }
    return x;
  }

  static Clip sum(Clip a, const Clip& b) {
    for (std::size_t t = 0; t < a.size(); ++t)
      for (std::size_t i = 0; i < a[t].values.size(); ++i) a[t].values[i] += b[t].values[i];
    return a;
  }

  Clip residual(const Clip& x, const std::string& name, bool shortcut) const {
    Clip inner = convolve(normalize(x, name + ".residual.0.gamma", true), name + ".residual.2", 3, 3);
    inner = convolve(normalize(std::move(inner), name + ".residual.3.gamma", true), name + ".residual.6", 3, 3);
    return sum(std::move(inner), shortcut ? convolve(x, name + ".shortcut", 1, 1) : x);
  }

  Clip attention(const Clip& x, const std::string& name) const {
    const Clip qkv = convolve(normalize(x, name + ".norm.gamma", false), name + ".to_qkv", 1, 1);
    Clip attended;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const std::int64_t channels = x[t].channels, positions = x[t].rows * x[t].columns;
      const float* q = qkv[t].values.data();
      const float *k = q + channels * positions, *v = k + channels * positions;
      Step to(channels, x[t].rows, x[t].columns);
      for (std::int64_t i = 0; i < positions; ++i) {
        std::vector<double> p(static_cast<std::size_t>(positions));
        double total = 0;
        for (std::int64_t j = 0; j < positions; ++j) {
          double score = 0;
          for (std::int64_t c = 0; c < channels; ++c)
            score += static_cast<double>(q[c * positions + i]) * k[c * positions + j];
          total += p[static_cast<std::size_t>(j)] = std::exp(score / std::sqrt(static_cast<double>(channels)));
        }
        for (std::int64_t c = 0; c < channels; ++c) {
          double value = 0;
          for (std::int64_t j = 0; j < positions; ++j)
            value += p[static_cast<std::size_t>(j)] / total * v[c * positions + j];
          to.values[static_cast<std::size_t>(c * positions + i)] = static_cast<float>(value);
        }
      }
      attended.push_back(std::move(to));
    }
    return sum(convolve(attended, name + ".proj", 1, 1), x);
  }

  // The first frame stays one; the others double, seeing nothing of the first.
  Clip growTime(const Clip& x, const std::string& name) const {
    const Clip grown = convolve(Clip(x.begin() + 1, x.end()), name + ".time_conv", 3, 1);
    Clip out(x.begin(), x.begin() + 1);
    for (const Step& both : grown)
      for (std::int64_t half = 0; half < 2; ++half) {
        Step step(both.channels / 2, both.rows, both.columns);
        const auto from =
            both.values.begin() + static_cast<std::ptrdiff_t>(half * static_cast<std::int64_t>(step.values.size()));
        std::copy_n(from, step.values.size(), step.values.begin());
        out.push_back(std::move(step));
      }
    return out;
  }

  Clip enlarge(const Clip& x, const std::string& name) const {
    Clip larger;
    for (const Step& step : x) {
      Step to(step.channels, step.rows * 2, step.columns * 2);
      for (std::int64_t c = 0; c < to.channels; ++c)
        for (std::int64_t y = 0; y < to.rows; ++y)
          for (std::int64_t column = 0; column < to.columns; ++column)
            to.at(c, y, column) = step.get(c, y / 2, column / 2);
      larger.push_back(std::move(to));
    }
    return convolve(larger, name + ".resample.1", 1, 3);
  }

  const TensorSource& weights_;
};

ModelDims WanDims() {
  ModelDims dims = MicroDims();
  dims.wanWidth = 2;
  return dims;
}

// Chunk 0 and one more, with these latents (16, 8, 16, 16): 6 frames, then 2. @returns decoded pictures (3, 128, 128)
std::vector<std::vector<float>> Stream(Network& network, const std::vector<float>& latents) {
  std::vector<std::vector<float>> pictures;
  for (int k = 0; k < 2; ++k) {
    ChunkRequest request;
    request.settings.topkRatio = 1.5;
    request.settings.localRange = 5;
    request.position = k == 0 ? 0 : 6;
    for (int i = 0; i < (k == 0 ? kFirstChunkFrames : kChunkFrames); ++i)
      request.pictures.push_back(SourceOf(Picture(32, 32, k * 25 + i)));
    request.outputs.resize(k == 0 ? kFirstChunkOutputs : kChunkFrames);
    NetworkHooks hooks;
    hooks.decodeSkippedFrames = true;
    hooks.skipDenoise = true;
    hooks.injectLatent = [&](Executor& executor, const Tensor& tensor) {
      const std::size_t frames = static_cast<std::size_t>(tensor.shape[1]), plane = 16 * 16, first = k == 0 ? 0 : 6;
      std::vector<float> own;
      for (std::size_t c = 0; c < 16; ++c)
        own.insert(own.end(), latents.begin() + static_cast<std::ptrdiff_t>((c * 8 + first) * plane),
                   latents.begin() + static_cast<std::ptrdiff_t>((c * 8 + first + frames) * plane));
      executor.write(tensor, own);
    };
    hooks.onTensor = [&](const std::string& name, Executor& executor, const Tensor& tensor) {
      if (name.starts_with("decoded.")) pictures.push_back(executor.read(tensor));
    };
    network.run(std::move(request), &hooks).fence->wait();
  }
  return pictures;
}

NetworkOptions WanOptions() {
  NetworkOptions options;
  options.geometry = {128, 128, 128, 128};
  options.maxSourceWidth = options.maxSourceHeight = 32;
  options.outputFormat.pixels = PixelFormat::Rgb24;
  options.decoder = Decoder::Wan;
  options.debug = true;
  return options;
}

TEST("the Wan2.1 decoder: a stream equals the whole clip at once, and again after a reset") {
  Prepared prepared(WanDims());
  CHECK(prepared.model->hasWan());
  std::vector<float> latents(16 * 8 * 16 * 16);
  std::uint32_t noise = 5;
  for (float& value : latents) {
    noise = noise * 1664525U + 1013904223U;
    value = static_cast<float>(noise >> 8) / 8388608.0F - 1.0F;
  }
  Clip z;
  for (std::int64_t t = 0; t < 8; ++t) {
    Step step(16, 16, 16);
    for (std::size_t c = 0; c < 16; ++c)
      for (std::size_t i = 0; i < 256; ++i)
        step.values[c * 256 + i] =
            latents[(c * 8 + static_cast<std::size_t>(t)) * 256 + i] * kWanDeviation[c] + kWanMean[c];
    z.push_back(std::move(step));
  }
  const Clip expected = PlainDecoder(prepared.weights->wan()).decode(z);
  Network network(*prepared.backend, prepared.model, Precision::Fp32, WanOptions());
  for (int run = 0; run < 2; ++run) {
    const auto pictures = Stream(network, latents);
    CHECK_EQUAL(pictures.size(), expected.size());
    CHECK_EQUAL(pictures.size(), std::size_t{29});
    double worst = 0;
    for (std::size_t i = 0; i < std::min(pictures.size(), expected.size()); ++i)
      worst = std::max(worst, Relative(pictures[i], expected[i].values));
    CHECK_BELOW(worst, 5e-5);  // the plain sums are fp32 in another order
    network.reset();
  }
}

TEST("the Wan2.1 decoder's entry equals the official code's (scripts/cut_full_golden.py)") {
  const std::filesystem::path golden = FLASHVSR_GOLDEN;
  const tools::GoldenFile cut(golden / "full-cut.safetensors"), micro(golden / "micro" / "expected.safetensors");
  const auto floats = [&](const char* name) { return cut.find(name)->floats(); };
  Threads threads(kWorkers);
  const std::vector<float> bias = floats("conv2.bias"), entryBias = floats("decoder.conv1.bias");
  const reference::PackedMatrix input(floats("conv2.weight"), 16, 16);
  const reference::PackedMatrix entry =
      reference::PackedMatrix::FromConvolution(floats("decoder.conv1.weight"), 16, 16, 27);
  // `conv1.1` is of chunk 1's second latent frame: it sees the first one, and the last of chunk 0.
  const auto &before = *micro.find("latent.0"), &now = *micro.find("latent.1");
  const std::int64_t rows = now.shape.at(now.shape.size() - 2), columns = now.shape.back(), positions = rows * columns;
  std::vector<std::vector<float>> steps(3, std::vector<float>(static_cast<std::size_t>(positions * 16)));
  reference::WanInputRows(threads, before.floats().data(), 16, 6, 5, positions, input, bias.data(), steps[0].data());
  for (std::int64_t t = 0; t < 2; ++t)
    reference::WanInputRows(threads, now.floats().data(), 16, 2, t, positions, input, bias.data(),
                            steps[static_cast<std::size_t>(t) + 1].data());
  std::vector<float> out(static_cast<std::size_t>(positions * 16)), ours;
  reference::WanConvolve(threads, {steps[0].data(), steps[1].data(), steps[2].data()}, rows, columns, 16, false, entry,
                         entryBias.data(), 0, 16, nullptr, out.data());
  const auto& official = *cut.find("conv1.1");
  for (std::int64_t c = 0; c < 16; ++c)
    for (std::int64_t y = 0; y < official.shape.at(3); ++y)
      for (std::int64_t x = 0; x < official.shape.at(4); ++x)
        ours.push_back(out[static_cast<std::size_t>((y * columns + x) * 16 + c)]);
  CHECK_BELOW(Relative(ours, official.floats()), 1e-5);
}

TEST("the Wan2.1 decoder of a model that has none is refused with what to do") {
  Prepared prepared;
  StreamOptions options;
  options.sourceWidth = options.sourceHeight = 32;
  options.decoder = Decoder::Wan;
  const auto engine = Engine::Open(prepared.weights, {});
  std::string message;
  try {
    engine->plan(options);
  } catch (const Error& error) {
    message = error.message() + " " + error.remedy();
  }
  CHECK(message.find("holds no Wan2.1 decoder") != std::string::npos);
  CHECK(message.find("Wan2.1_VAE.pth") != std::string::npos);
}

}  // namespace
}  // namespace flashvsr::test
