// The Wan2.1 decoder's kernels against reference/wan_ops.h: its convolutions (three time steps, 1x1, nearest x2 before
// a 3x3), norm, softmax, input and output.
#include "kernels/wan.h"

#include "backend/reference/ops.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"
#include "kernels/pack.h"
#include "kernels/test/device_arrays.h"
#include "weights/wan_layers.h"

namespace flashvsr::kernels::test {
namespace {

struct WanCase {
  const char* what;
  int rows, columns, in, out, time, side;
  bool residual, enlarge;
};
constexpr WanCase kSmallCases[] = {
    {"wan 3x3x3", 9, 11, 16, 64, 3, 3, false, false},     {"wan 3x3x3 residual", 17, 23, 96, 96, 3, 3, true, false},
    {"wan 3x1x1", 12, 10, 64, 128, 3, 1, false, false},   {"wan 1x1", 15, 13, 32, 64, 1, 1, false, false},
    {"wan enlarge", 9, 14, 64, 96, 1, 3, false, true},    {"wan head", 33, 40, 96, 3, 3, 3, false, false},
    {"wan head thin", 20, 24, 16, 3, 3, 3, false, false},
};
constexpr WanCase kLargeCases[] = {
    {"wan 3x3x3 residual", 96, 88, 384, 384, 3, 3, true, false}, {"wan 3x3x3", 203, 301, 192, 192, 3, 3, false, false},
    {"wan 3x3x3 residual", 301, 403, 96, 96, 3, 3, true, false}, {"wan 3x1x1", 96, 176, 384, 768, 3, 1, false, false},
    {"wan enlarge", 131, 131, 192, 96, 1, 3, false, true},       {"wan enlarge", 67, 131, 384, 192, 1, 3, false, true},
    {"wan head", 256, 384, 96, 3, 3, 3, false, false},
};

void RunWanConvolution(const std::string& name, DataType type, const WanCase& c) {
  const int step = c.enlarge ? 2 : 1, taps = c.time * c.side * c.side;
  const bool head = c.out == 3;
  const std::int64_t pixels = static_cast<std::int64_t>(c.rows) * c.columns, outPixels = pixels * step * step;
  std::vector<std::vector<float>> steps;
  std::vector<const float*> pointers;
  for (int t = 0; t < c.time; ++t)
    steps.push_back(Rounded(Normals(pixels * c.in, 10 + static_cast<std::uint64_t>(t)), type));
  for (const auto& s : steps) pointers.push_back(s.data());
  const std::vector<float> weight = Rounded(Normals(static_cast<std::int64_t>(c.out) * c.in * taps, 3,
                                                    1.0F / std::sqrt(static_cast<float>(c.in * taps))),
                                            type),
                           bias = Normals(c.out, 4), add = Rounded(Normals(outPixels * c.out, 5), type);
  const reference::PackedMatrix packedReference = reference::PackedMatrix::FromConvolution(weight, c.out, c.in, taps);
  std::vector<float> expected(static_cast<std::size_t>(outPixels * c.out));
  if (head)
    reference::WanOutputConvolve(Pool(), pointers, c.rows, c.columns, c.in, packedReference, bias.data(),
                                 expected.data());
  else
    reference::WanConvolve(Pool(), pointers, c.rows * step, c.columns * step, c.in, c.enlarge, packedReference,
                           bias.data(), 0, c.out, c.residual ? add.data() : nullptr, expected.data());

  std::vector<std::unique_ptr<Array>> devices;
  for (const auto& s : steps) devices.push_back(std::make_unique<Array>(s, type));
  const Array stored(weight, DataType::kFloat32), dbias(bias, DataType::kFloat32), dadd(add, type);
  const int packedTaps = c.enlarge ? 4 : taps, phases = c.enlarge ? 4 : 1, ld = head ? 4 : c.out;
  const DataType outType = head ? DataType::kFloat32 : type;
  const Array packed(phases * c.out * PackedConvolutionDepth(packedTaps, c.in, 0), type),
      result(outPixels * ld, outType), planes(outPixels * 3, DataType::kFloat32);
  if (c.enlarge) {
    FoldGrowParams fold;
    fold.weight = stored.data();
    fold.weightSource = SourceType::kFloat32;
    fold.out = packed.data();
    fold.outChannels = c.out;
    fold.channels = c.in;
    fold.type = type;
    if (!Succeeded(LaunchFoldGrow(fold, nullptr), name)) return;
  } else {
    PackConvolutionParams pack;
    pack.in = stored.data();
    pack.source = SourceType::kFloat32;
    pack.out = packed.data();
    pack.outChannels = c.out;
    pack.channels[0] = c.in;
    pack.taps = taps;
    pack.type = type;
    if (!Succeeded(LaunchPackConvolution(pack, nullptr), name)) return;
  }
  ConvolutionParams params;
  for (int t = 0; t < c.time; ++t) params.input[0][t] = devices[static_cast<std::size_t>(t)]->data();
  params.channels[0] = c.in;
  params.weight = packed.data();
  params.bias = dbias.as<float>();
  params.residual[0] = c.residual ? dadd.data() : nullptr;
  params.output[0] = result.data();
  params.frames = 1;
  params.height = c.rows;
  params.width = c.columns;
  params.outChannels = c.out;
  params.ldOut = ld;
  params.kernelT = c.time;
  params.kernelY = params.kernelX = c.enlarge ? 2 : c.side;
  params.padY = params.padX = c.side == 1 ? 0 : 1;
  params.phases = phases;
  params.outStep = step;
  params.type = type;
  params.outputType = outType;
  params.path = Run().path;
  if (!Succeeded(LaunchConvolution(params, nullptr), name)) return;
  // Folded weights are rounded once more than the plain ones.
  const double limit = c.enlarge ? (type == DataType::kBfloat16 ? 5e-3 : 2e-5) : head ? 2e-5 : Limit(type);
  if (!head) return Compare(name, result.read(), expected, limit, result.marginsIntact() && packed.marginsIntact());
  PlanarClampParams clamp;
  clamp.in = result.as<float>();
  clamp.out = planes.as<float>();
  clamp.pixels = outPixels;
  if (Succeeded(LaunchPlanarClamp(clamp, nullptr), name))
    Compare(name, planes.read(), expected, limit, result.marginsIntact() && planes.marginsIntact());
}

void RunNorm(const std::string& name, DataType type, int rows, int columns, int channels) {
  const std::int64_t pixels = static_cast<std::int64_t>(rows) * columns;
  const std::vector<float> x = Rounded(Normals(pixels * channels, 1), type), gamma = Normals(channels, 2);
  for (const bool silu : {false, true}) {
    std::vector<float> expected(x.size());
    reference::WanNormalize(Pool(), x.data(), pixels, channels, gamma.data(), silu, expected.data());
    const Array dx(x, type), dgamma(gamma, DataType::kFloat32), result(pixels * channels, type);
    ChannelNormParams params;
    params.x = dx.data();
    params.out = result.data();
    params.gamma = dgamma.as<float>();
    params.height = rows;
    params.width = columns;
    params.channels = channels;
    params.silu = silu;
    params.type = type;
    const std::string label = name + (silu ? " silu" : "");
    if (Succeeded(LaunchChannelNorm(params, nullptr), label))
      Compare(label, result.read(), expected, Limit(type), result.marginsIntact());
  }
}

void RunSoftmax(const std::string& name, DataType type, int rows, int columns) {
  const std::vector<float> scores = Normals(static_cast<std::int64_t>(rows) * columns, 1, 30.0F);
  const float scale = 0.125F;
  std::vector<float> expected(scores.size());
  for (int row = 0; row < rows; ++row) {
    const float* from = scores.data() + static_cast<std::int64_t>(row) * columns;
    const double top = static_cast<double>(*std::max_element(from, from + columns)) * scale;
    double total = 0;
    for (int i = 0; i < columns; ++i) total += std::exp(static_cast<double>(from[i]) * scale - top);
    for (int i = 0; i < columns; ++i)
      expected[static_cast<std::size_t>(row) * static_cast<std::size_t>(columns) + static_cast<std::size_t>(i)] =
          static_cast<float>(std::exp(static_cast<double>(from[i]) * scale - top) / total);
  }
  const Array dscores(scores, DataType::kFloat32), result(static_cast<std::int64_t>(rows) * columns, type);
  SoftmaxRowsParams params;
  params.scores = dscores.as<float>();
  params.out = result.data();
  params.rows = rows;
  params.columns = columns;
  params.scale = scale;
  params.type = type;
  if (Succeeded(LaunchSoftmaxRows(params, nullptr), name))
    Compare(name, result.read(), expected, type == DataType::kBfloat16 ? 3e-3 : 2e-5, result.marginsIntact());
}

void RunInput(const std::string& name, DataType type, int frames, int frame, std::int64_t positions) {
  const std::int64_t channels = kWanLatentChannels;
  const std::vector<float> latent = Normals(channels * frames * positions, 1), weight = Normals(channels * channels, 2),
                           bias = Normals(channels, 3);
  std::vector<float> expected(static_cast<std::size_t>(positions * channels));
  reference::WanInputRows(Pool(), latent.data(), channels, frames, frame, positions,
                          reference::PackedMatrix(weight, channels, channels), bias.data(), expected.data());
  const Array dlatent(latent, DataType::kFloat32), dweight(weight, DataType::kFloat32), dbias(bias, DataType::kFloat32),
      result(positions * channels, type);
  WanInputParams params;
  params.latent = dlatent.as<float>();
  params.latentFrames = frames;
  params.latentFrame = frame;
  params.weight = dweight.as<float>();
  params.bias = dbias.as<float>();
  std::copy(kWanMean.begin(), kWanMean.end(), params.mean);
  std::copy(kWanDeviation.begin(), kWanDeviation.end(), params.deviation);
  params.out = result.data();
  params.positions = positions;
  params.type = type;
  if (Succeeded(LaunchWanInput(params, nullptr), name))
    Compare(name, result.read(), expected, Limit(type), result.marginsIntact());
}

}  // namespace

void WanTests() {
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    if (type == DataType::kFloat32 && Run().path == Path::kAuto) continue;  // one path only
    const auto run = [&](const WanCase& c) {
      Test(Label(c.what, type, {c.rows, c.columns, c.in, c.out}),
           [&](const std::string& name) { RunWanConvolution(name, type, c); });
    };
    for (const WanCase& c : kSmallCases) run(c);
    if (!Run().quick)
      for (const WanCase& c : kLargeCases) run(c);
    if (Run().path == Path::kAuto) continue;
    for (const int channels : {16, 20, 96, 384})
      Test(Label("wan norm", type, {7, 9, channels}),
           [&](const std::string& name) { RunNorm(name, type, 7, 9, channels); });
    for (const int columns : {8, 256, 5000, 16896})
      Test(Label("wan softmax", type, {3, columns}),
           [&](const std::string& name) { RunSoftmax(name, type, 3, columns); });
    Test(Label("wan input", type, {6, 4, 97}), [&](const std::string& name) { RunInput(name, type, 6, 4, 97); });
  }
}

}  // namespace flashvsr::kernels::test
