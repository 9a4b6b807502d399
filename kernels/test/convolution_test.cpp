// Convolutions against reference/projector_ops.h and decoder_ops.h. Besides LaunchConvolution, which chooses by shape,
// each case runs the Hopper kernel itself where it can compute it, however small the picture.
#include "kernels/convolution.h"
#include "backend/reference/ops.h"
#include "kernels/decoder_output.h"
#include "kernels/norm.h"
#include "kernels/pack.h"
#include "kernels/sm90/convolution_sm90.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {
namespace {

// What a 3x3 convolution adds to the product.
enum Adds : unsigned { kPast = 1, kBias = 2, kResidual = 4, kRelu = 8 };

struct ConvolutionCase {
  const char* what;
  int rows, columns, in, out;
  unsigned adds;  // of Adds
  int gap = 0;    // elements between two output pixels that must stay as they are
};
struct GrowCase {
  const char* what;
  int rows, columns, in, out, steps;
  bool relu;
};
struct CausalCase {
  const char* what;
  int rows, columns, in, out, outputs;
  bool windowOrder;
};
struct OutputCase {
  int rows, columns, channels;
};

using Launcher = cudaError_t (*)(const ConvolutionParams&, cudaStream_t);

cudaError_t LaunchChosen(const ConvolutionParams& params, cudaStream_t stream) {
  return LaunchConvolution(params, stream).error;
}
cudaError_t LaunchDeep(const ConvolutionParams& params, cudaStream_t stream) {
  return LaunchConvolutionSm90As(params, ConvolutionVariant::kDeep, stream);
}
cudaError_t LaunchShort(const ConvolutionParams& params, cudaStream_t stream) {
  return LaunchConvolutionSm90As(params, ConvolutionVariant::kShort, stream);
}

// The four phases of a growth convolution one after the other, as the portable path has them.
cudaError_t LaunchShortByPhase(const ConvolutionParams& params, cudaStream_t stream) {
  const std::int64_t phaseBytes =
      params.outChannels *
      PackedConvolutionDepth(params.kernelY * params.kernelX, params.channels[0], params.channels[1]) *
      SizeOf(params.type);
  for (int phase = 0; phase < params.phases; ++phase) {
    ConvolutionParams one = params;
    one.phases = 1;
    one.weight = static_cast<const std::uint8_t*>(params.weight) + phase * phaseBytes;
    one.outY = phase / 2, one.outX = phase % 2;
    one.padY -= one.outY, one.padX -= one.outX;
    if (const cudaError_t error = LaunchShort(one, stream); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

void Poison(const Device& device) { cudaMemset(device.data(), 0xFF, static_cast<std::size_t>(device.bytes())); }

// Runs `body` with LaunchConvolution, then with the variants of the Hopper kernel that can compute `params`. Those sum
// in the same order, so what they leave in `result` must be the same bits, which shows a single wrong pixel where the
// reference's limit would not; and the same again at a second run, which shows a race.
void WithEach(const std::string& name, const ConvolutionParams& params, const Device& result,
              const std::function<void(const std::string&, Launcher)>& body) {
  body(name, LaunchChosen);
  if (Run().path != Path::kAuto || !Sm90HasConvolution(params)) return;
  body(name + " sm90 deep", LaunchDeep);
  if (!Sm90HasShortConvolution(params)) return;
  body(name + " sm90 short", LaunchShort);
  const auto bytes = [&](Launcher launch, const std::string& label) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(result.bytes()));
    Poison(result);
    if (Succeeded(launch(params, nullptr), label))
      cudaMemcpy(out.data(), result.data(), out.size(), cudaMemcpyDeviceToHost);
    return out;
  };
  const std::vector<std::uint8_t> deep = bytes(LaunchDeep, name + " sm90 deep");
  CompareBytes(name + " sm90 short = deep", bytes(LaunchShort, name + " sm90 short"), deep, result.marginsIntact());
  CompareBytes(name + " sm90 short = deep, again", bytes(LaunchShort, name + " sm90 short"), deep,
               result.marginsIntact());
  if (params.phases == 4)
    CompareBytes(name + " sm90 short by phase = deep", bytes(LaunchShortByPhase, name + " sm90 short by phase"), deep,
                 result.marginsIntact());
}

// A convolution's weight as the kernels read it.
bool Pack(const std::string& name, const Array& weight, int out, int in, int past, int taps, DataType type,
          const Array& packed) {
  PackConvolutionParams pack;
  pack.in = weight.data();
  pack.source = SourceType::kFloat32;
  pack.out = packed.data();
  pack.outChannels = out;
  pack.channels[0] = in;
  pack.channels[1] = past;
  pack.taps = taps;
  pack.type = type;
  return Succeeded(LaunchPackConvolution(pack, nullptr), name);
}

// One 3x3 convolution as the decoder uses it.
void RunConvolution(const std::string& name, DataType type, const ConvolutionCase& c) {
  const int rows = c.rows, columns = c.columns, in = c.in, out = c.out, gap = c.gap;
  const bool past = c.adds & kPast, bias = c.adds & kBias, residual = c.adds & kResidual, relu = c.adds & kRelu;
  const std::int64_t pixels = static_cast<std::int64_t>(rows) * columns;
  const int sources = past ? 2 : 1;
  const std::vector<float> x = Rounded(Normals(pixels * in, 1), type), before = Rounded(Normals(pixels * in, 2), type);
  const std::vector<float> weight = Rounded(Normals(static_cast<std::int64_t>(out) * in * sources * 9, 3,
                                                    1.0F / std::sqrt(static_cast<float>(9 * in * sources))),
                                            type);
  const std::vector<float> offset = Normals(out, 4), add = Rounded(Normals(pixels * out, 5), type);
  std::vector<float> expected(static_cast<std::size_t>(pixels * out));
  reference::Convolve3x3(Pool(), x.data(), past ? before.data() : nullptr, rows, columns, in,
                         reference::PackConvolutionWeights(weight, out, in * sources), bias ? offset.data() : nullptr,
                         residual ? add.data() : nullptr, relu, expected.data());
  const Array dx(x, type), dbefore(before, type), stored(weight, DataType::kFloat32),
      doffset(offset, DataType::kFloat32), dadd(Spaced(add, out, out + gap), type);
  const Array packed(out * PackedConvolutionDepth(9, in, past ? in : 0), type), result(pixels * (out + gap), type);
  if (!Pack(name, stored, out, in, past ? in : 0, 9, type, packed)) return;
  ConvolutionParams params;
  params.input[0][0] = dx.data();
  params.input[1][0] = past ? dbefore.data() : nullptr;
  params.channels[0] = in;
  params.channels[1] = past ? in : 0;
  params.weight = packed.data();
  params.bias = bias ? doffset.as<float>() : nullptr;
  params.residual[0] = residual ? dadd.data() : nullptr;
  params.output[0] = result.data();
  params.frames = 1;
  params.height = rows;
  params.width = columns;
  params.outChannels = out;
  params.ldOut = out + gap;
  params.type = params.outputType = type;
  params.path = Run().path;
  params.activation = relu ? Activation::kRelu : Activation::kNone;
  WithEach(name, params, result, [&](const std::string& label, Launcher launch) {
    Poison(result);
    if (!Succeeded(launch(params, nullptr), label)) return;
    std::vector<float> values, all = result.read();
    bool intact = result.marginsIntact() && packed.marginsIntact();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (static_cast<int>(i % static_cast<std::size_t>(out + gap)) < out) values.push_back(all[i]);
      else intact = intact && std::isnan(all[i]);
    }
    Compare(label, values, expected, Limit(type), intact);
  });
}

// Causal 3-D convolution, norm and SiLU, both output orders.
void RunCausal(const std::string& name, DataType type, const CausalCase& c) {
  const int rows = c.rows, columns = c.columns, in = c.in, out = c.out, outputs = c.outputs;
  const bool windowOrder = c.windowOrder;
  const std::int64_t pixels = static_cast<std::int64_t>(rows) * columns;
  const int slots = 2 * outputs + 2;
  std::vector<std::vector<float>> inputs;
  for (int i = 0; i < slots; ++i)
    inputs.push_back(Rounded(Normals(pixels * in, 10 + static_cast<std::uint64_t>(i)), type));
  const std::vector<float> weight = Rounded(
      Normals(static_cast<std::int64_t>(out) * in * 36, 3, 1.0F / std::sqrt(static_cast<float>(36 * in))), type);
  const std::vector<float> bias = Normals(out, 4, 0.2F), gamma = Normals(out, 5);
  std::vector<const float*> pointers;
  for (const auto& input : inputs) pointers.push_back(input.data());
  std::vector<std::array<int, 4>> taps;
  for (int t = 0; t < outputs; ++t) taps.push_back({2 * t, 2 * t + 1, 2 * t + 2, 2 * t + 3});
  std::vector<float> expected(static_cast<std::size_t>(pixels * out * outputs));
  const std::int64_t windows = (rows / 8) * (columns / 8);
  reference::CausalConvolve(Pool(), pointers, taps, rows, columns, reference::PackCausalWeights(weight, out, in),
                            bias.data(), gamma.data(), [&](std::int64_t t, std::int64_t y, std::int64_t x) {
                              const std::int64_t window = (y / 8) * (columns / 8) + x / 8;
                              const std::int64_t token =
                                  ((t / 2) * windows + window) * 128 + t % 2 * 64 + y % 8 * 8 + x % 8;
                              return expected.data() + (windowOrder ? token : (t * rows + y) * columns + x) * out;
                            });
  std::vector<std::unique_ptr<Array>> devices;
  for (const auto& input : inputs) devices.push_back(std::make_unique<Array>(input, type));
  const Array stored(weight, DataType::kFloat32), dbias(bias, DataType::kFloat32), dgamma(gamma, DataType::kFloat32);
  const Array packed(out * PackedConvolutionDepth(36, in, 0), type), raw(pixels * out * outputs, type),
      result(pixels * out * outputs, type);
  if (!Pack(name, stored, out, in, 0, 36, type, packed)) return;
  ConvolutionParams params;
  for (int i = 0; i < slots; ++i) params.input[0][i] = devices[static_cast<std::size_t>(i)]->data();
  params.channels[0] = in;
  params.weight = packed.data();
  params.bias = dbias.as<float>();
  for (int t = 0; t < outputs; ++t) params.output[t] = raw.as<std::uint8_t>() + t * pixels * out * SizeOf(type);
  params.frames = outputs;
  params.height = rows;
  params.width = columns;
  params.outChannels = params.ldOut = out;
  params.kernelT = 4;
  params.strideT = 2;
  params.replicate = true;
  params.type = params.outputType = type;
  params.path = Run().path;
  WithEach(name, params, raw, [&](const std::string& label, Launcher launch) {
    Poison(raw);
    Poison(result);
    if (!Succeeded(launch(params, nullptr), label)) return;
    for (int t = 0; t < outputs; ++t) {
      ChannelNormParams norm;
      norm.x = params.output[t];
      norm.out = windowOrder ? result.data() : result.as<std::uint8_t>() + t * pixels * out * SizeOf(type);
      norm.gamma = dgamma.as<float>();
      norm.height = rows;
      norm.width = columns;
      norm.channels = out;
      norm.tokenFrame = windowOrder ? t : -1;
      norm.type = type;
      if (!Succeeded(LaunchChannelNorm(norm, nullptr), label)) return;
    }
    Compare(label, result.read(), expected, type == DataType::kBfloat16 ? 5e-3 : 2e-5,
            raw.marginsIntact() && result.marginsIntact());
  });
}

// Nearest x2 + TGrow + 3x3 as four folded 2x2 convolutions, against the three one after the other.
void RunGrow(const std::string& name, DataType type, const GrowCase& c) {
  const int rows = c.rows, columns = c.columns, in = c.in, out = c.out, steps = c.steps;
  const bool relu = c.relu;
  const std::int64_t pixels = static_cast<std::int64_t>(rows) * columns;
  const std::vector<float> x = Rounded(Normals(pixels * in, 1), type);
  const std::vector<float> grow =
      Normals(static_cast<std::int64_t>(steps) * in * in, 2, 1.0F / std::sqrt(static_cast<float>(in)));
  const std::vector<float> weight =
      Normals(static_cast<std::int64_t>(out) * in * 9, 3, 1.0F / std::sqrt(static_cast<float>(9 * in)));
  const reference::PackedMatrix packedGrow(grow, steps * in, in);
  const reference::PackedMatrix packedWeight = reference::PackConvolutionWeights(weight, out, in);
  const Array dx(x, type), dgrow(grow, DataType::kFloat32), dweight(weight, DataType::kFloat32);
  const std::int64_t depth = PackedConvolutionDepth(4, in, 0);
  for (int step = 0; step < steps; ++step) {
    std::vector<float> expected(static_cast<std::size_t>(pixels * 4 * out));
    reference::GrowConvolve(Pool(), x.data(), rows, columns, packedGrow, step, packedWeight, relu, expected.data());
    const Array folded(4 * out * depth, type), result(pixels * 4 * out, type);
    FoldGrowParams fold;
    fold.grow = dgrow.as<float>() + static_cast<std::int64_t>(step) * in * in;
    fold.growSource = fold.weightSource = SourceType::kFloat32;
    fold.weight = dweight.data();
    fold.out = folded.data();
    fold.outChannels = out;
    fold.channels = in;
    fold.type = type;
    if (!Succeeded(LaunchFoldGrow(fold, nullptr), name)) return;
    ConvolutionParams params;
    params.input[0][0] = dx.data();
    params.channels[0] = in;
    params.weight = folded.data();
    params.output[0] = result.data();
    params.frames = 1;
    params.height = rows;
    params.width = columns;
    params.outChannels = params.ldOut = out;
    params.kernelY = params.kernelX = 2;
    params.phases = 4;
    params.outStep = 2;
    params.type = params.outputType = type;
    params.path = Run().path;
    params.activation = relu ? Activation::kRelu : Activation::kNone;
    WithEach(name + " step " + std::to_string(step), params, result, [&](const std::string& label, Launcher launch) {
      Poison(result);
      if (!Succeeded(launch(params, nullptr), label)) return;
      // The folded weights are rounded once more than the plain ones.
      Compare(label, result.read(), expected, type == DataType::kBfloat16 ? 5e-3 : 2e-5,
              result.marginsIntact() && folded.marginsIntact());
    });
  }
}

void RunOutput(const std::string& name, DataType type, const OutputCase& c) {
  const int rows = c.rows, columns = c.columns, channels = c.channels;
  const std::int64_t pixels = static_cast<std::int64_t>(rows) * columns;
  const std::vector<float> x = Rounded(Normals(pixels * channels, 1), type);
  const std::vector<float> weight = Rounded(
                               Normals(3LL * channels * 9, 2, 1.0F / std::sqrt(static_cast<float>(9 * channels))),
                               type),
                           bias = Normals(3, 3);
  std::vector<float> expected(static_cast<std::size_t>(pixels * 3));
  reference::OutputConvolve(Pool(), x.data(), rows, columns, channels,
                            reference::PackConvolutionWeights(weight, 3, channels), bias.data(), expected.data());
  const Array dx(x, type), stored(weight, DataType::kFloat32), dbias(bias, DataType::kFloat32);
  const Array packed(3 * PackedConvolutionDepth(9, channels, 0), type), result(pixels * 3, DataType::kFloat32);
  if (!Pack(name, stored, 3, channels, 0, 9, type, packed)) return;
  DecoderOutputParams params;
  params.x = dx.data();
  params.weight = packed.data();
  params.bias = dbias.as<float>();
  params.out = result.as<float>();
  params.height = rows;
  params.width = columns;
  params.channels = channels;
  params.type = type;
  if (Succeeded(LaunchDecoderOutput(params, nullptr), name))
    Compare(name, result.read(), expected, 2e-5, result.marginsIntact());
}

constexpr ConvolutionCase kSmallConvolutions[] = {
    {"conv3x3 past bias relu", 9, 11, 24, 24, kPast | kBias | kRelu},
    {"conv3x3 residual", 16, 24, 32, 32, kBias | kResidual | kRelu},
    {"conv3x3 odd channels", 7, 5, 13, 11, kPast | kBias | kResidual | kRelu},
    {"conv3x3 no bias", 17, 31, 784, 40, 0},
    // Sub-tiles of 16x8 and 8x16 pixels: one row, one column, a pixel more and less than a tile, channels that end
    // inside a block.
    {"conv3x3 one row", 1, 40, 64, 64, kPast | kBias | kResidual | kRelu},
    {"conv3x3 one column", 37, 1, 72, 8, kBias},
    {"conv3x3", 17, 9, 64, 136, kResidual | kRelu},
    {"conv3x3 past", 15, 7, 128, 128, kPast | kBias | kResidual},
    {"conv3x3", 8, 33, 200, 264, kBias | kRelu},
    // The staging areas: a tile's second channel half outside, both shapes of sub-tile, a sub-tile that repeats the
    // last one (odd counts), pixels apart; growth writes every second pixel, with more tiles than blocks.
    {"conv3x3 residual", 17, 9, 64, 264, kBias | kResidual | kRelu},
    {"conv3x3 past residual", 9, 37, 72, 136, kPast | kBias | kResidual},
    {"conv3x3 residual", 33, 23, 64, 136, kResidual},
    {"conv3x3 residual gap", 19, 21, 64, 200, kBias | kResidual | kRelu, 24},
    {"conv3x3 past gap", 8, 47, 64, 72, kPast | kBias, 8},
};
constexpr GrowCase kSmallGrows[] = {
    {"grow", 8, 12, 32, 24, 1, false}, {"grow", 9, 7, 24, 16, 2, true},    {"grow one row", 1, 19, 64, 136, 1, true},
    {"grow", 24, 10, 72, 8, 2, false}, {"grow", 33, 23, 64, 264, 1, true}, {"grow", 95, 71, 64, 264, 1, false},
};
constexpr CausalCase kSmallCausals[] = {
    {"causal", 8, 16, 24, 16, 2, false},
    {"causal window order", 8, 16, 16, 24, 4, true},
    {"causal", 24, 8, 72, 136, 3, false},
    {"causal", 8, 40, 64, 64, 8, false},
};
constexpr OutputCase kSmallOutputs[] = {
    {16, 32, 16},
    {13, 37, 72},
    {9, 9, 13},
};

// Not under compute-sanitizer, which would take minutes.
constexpr ConvolutionCase kLargeConvolutions[] = {
    // Many tiles a block: rings and staging areas go round with every combination of what the epilogue adds.
    {"conv3x3 past residual", 301, 403, 64, 136, kPast | kBias | kResidual | kRelu},
    {"conv3x3 past", 403, 301, 64, 264, kPast | kBias},
    {"conv3x3 past", 131, 67, 128, 136, kPast | kBias | kRelu},
    {"conv3x3 residual", 96, 88, 256, 256, kBias | kResidual | kRelu},
    // Blocks of 64 that straddle segments: an odd number of 32-channel blocks, and one block a segment.
    {"conv3x3", 131, 67, 784, 136, kBias | kRelu},
    {"conv3x3 past", 131, 67, 24, 136, kPast | kBias | kRelu},
    {"conv3x3 past", 144, 136, 128, 128, kPast | kBias | kRelu},
    {"conv3x3 residual", 203, 301, 128, 128, kBias | kResidual | kRelu},
};
constexpr GrowCase kLargeGrows[] = {
    {"grow", 203, 211, 64, 136, 1, true},
    {"grow", 131, 131, 96, 128, 1, false},
    {"grow", 67, 65, 128, 128, 2, true},
    {"grow", 96, 88, 256, 128, 2, true},
};
constexpr CausalCase kLargeCausals[] = {
    {"causal", 48, 88, 768, 256, 4, false},
    {"causal window order", 72, 128, 128, 192, 2, true},
};
constexpr OutputCase kLargeOutputs[] = {
    {128, 160, 128},
};

template <typename Case, std::size_t kFew, std::size_t kMore, typename Body>
void ForEach(const Case (&few)[kFew], const Case (&more)[kMore], const Body& run) {
  for (const Case& c : few) run(c);
  if (!Run().quick)
    for (const Case& c : more) run(c);
}

}  // namespace

void ConvolutionTests() {
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    if (type == DataType::kFloat32 && Run().path == Path::kAuto) continue;  // one path only
    ForEach(kSmallConvolutions, kLargeConvolutions, [&](const ConvolutionCase& c) {
      Test(Label(c.what, type, {c.rows, c.columns, c.in, c.out}),
           [&](const std::string& name) { RunConvolution(name, type, c); });
    });
    ForEach(kSmallGrows, kLargeGrows, [&](const GrowCase& c) {
      Test(Label(c.what, type, {c.rows, c.columns, c.in, c.out, c.steps}),
           [&](const std::string& name) { RunGrow(name, type, c); });
    });
    ForEach(kSmallCausals, kLargeCausals, [&](const CausalCase& c) {
      Test(Label(c.what, type, {c.rows, c.columns, c.in, c.out, c.outputs}),
           [&](const std::string& name) { RunCausal(name, type, c); });
    });
    ForEach(kSmallOutputs, kLargeOutputs, [&](const OutputCase& c) {
      Test(Label("decoder output", type, {c.rows, c.columns, c.channels}),
           [&](const std::string& name) { RunOutput(name, type, c); });
    });
  }
}

}  // namespace flashvsr::kernels::test
