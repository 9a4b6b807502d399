// Norms, rope, means, patches and noise against reference/token_ops.h and attention.h.
#include "backend/float8.h"
#include "backend/reference/ops.h"
#include "kernels/attention_input.h"
#include "kernels/norm.h"
#include "kernels/patch.h"
#include "kernels/shuffle.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {
namespace {

void RunLayerNorm(const std::string& name, DataType type, int rows, int width, bool affine, bool modulate) {
  // An offset far from zero: a one-pass variance would lose the digits.
  std::vector<float> x = Normals(static_cast<std::int64_t>(rows) * width, 1);
  for (float& v : x) v += 20.0F;
  x = Rounded(x, type);
  const std::vector<float> weight = Normals(width, 2), bias = Normals(width, 3), scale = Normals(width, 4),
                           shift = Normals(width, 5);
  std::vector<float> expected(x.size()), factor(scale);
  for (float& v : factor) v += 1.0F;
  reference::LayerNorm(Pool(), x.data(), rows, width, affine ? weight.data() : nullptr, affine ? bias.data() : nullptr,
                       modulate ? scale.data() : nullptr, modulate ? shift.data() : nullptr, expected.data());
  const Array dx(x, type), dw(weight, DataType::kFloat32), db(bias, DataType::kFloat32), ds(factor, DataType::kFloat32),
      dh(shift, DataType::kFloat32);
  const Array out(static_cast<std::int64_t>(x.size()), type);
  LayerNormParams params;
  params.x = dx.data();
  params.out = out.data();
  params.weight = affine ? dw.as<float>() : nullptr;
  params.bias = affine ? db.as<float>() : nullptr;
  params.scale = modulate ? ds.as<float>() : nullptr;
  params.shift = modulate ? dh.as<float>() : nullptr;
  params.rows = rows;
  params.width = width;
  params.type = type;
  if (Succeeded(LaunchLayerNorm(params, nullptr), name))
    Compare(name, out.read(), expected, Limit(type), out.marginsIntact());
}

// LN in front of an e4m3 layer: nothing but the norm, times 8.
void RunLayerNorm8(const std::string& name, int rows, int width) {
  std::vector<float> x = Normals(static_cast<std::int64_t>(rows) * width, 1);
  for (float& v : x) v += 5.0F;
  x = Rounded(x, DataType::kBfloat16);
  std::vector<float> expected(x.size());
  reference::LayerNorm(Pool(), x.data(), rows, width, nullptr, nullptr, nullptr, nullptr, expected.data());
  reference::RoundFloat8(Pool(), expected.data(), static_cast<std::int64_t>(expected.size()), 8.0F);
  const Array dx(x, DataType::kBfloat16), out(static_cast<std::int64_t>(x.size()), DataType::kFloat8);
  LayerNormParams params;
  params.x = dx.data();
  params.out = out.data();
  params.rows = rows;
  params.width = width;
  params.float8 = true;
  params.outputScale = 8.0F;
  if (!Succeeded(LaunchLayerNorm(params, nullptr), name)) return;
  std::vector<float> found = out.read();
  for (float& v : found) v /= 8.0F;
  Compare(name, found, expected, Limit(DataType::kFloat8), out.marginsIntact());
}

void RunRmsNorm(const std::string& name, DataType type, int rows, int width) {
  const std::vector<float> x = Rounded(Normals(static_cast<std::int64_t>(rows) * width, 1, 3.0F), type),
                           weight = Normals(width, 2);
  std::vector<float> expected(x);
  reference::RmsNorm(Pool(), expected.data(), rows, width, weight.data());
  const Array dx(x, type), dw(weight, DataType::kFloat32);
  RmsNormParams params;
  params.x = params.out = dx.data();
  params.out = dx.data();
  params.weight = dw.as<float>();
  params.rows = rows;
  params.width = width;
  params.inputType = params.type = type;
  if (Succeeded(LaunchRmsNorm(params, nullptr), name))
    Compare(name, dx.read(), expected, Limit(type), dx.marginsIntact());
}

// Queries and keys of all groups in one launch. `float8`: bf16 in, e4m3 out.
void RunQueryKey(const std::string& name, DataType type, bool float8, int frames, int rows, int columns, int heads) {
  const int width = heads * 128;
  const std::int64_t tokens = static_cast<std::int64_t>(frames) * rows * columns;
  const int windows = static_cast<int>(tokens / 128);
  const std::vector<float> both = Rounded(Normals(tokens * 2 * width, 1), type);
  const auto table = [](int positions, int pairs, double start) {
    std::vector<float> out;
    for (int p = 0; p < positions; ++p)
      for (int i = 0; i < pairs; ++i) {
        const double angle = (start + p) * std::pow(10000.0, -i / static_cast<double>(pairs));
        out.push_back(static_cast<float>(std::cos(angle)));
        out.push_back(static_cast<float>(std::sin(angle)));
      }
    return out;
  };
  const std::vector<float> frameTable = table(frames, 22, 1000), rowTable = table(rows, 21, 0),
                           columnTable = table(columns, 21, 0);
  const Array dx(both, type), df(frameTable, DataType::kFloat32), dr(rowTable, DataType::kFloat32),
      dc(columnTable, DataType::kFloat32);
  const std::vector<float> weights[2] = {Normals(width, 2), Normals(width, 3)};
  const Array dw[2] = {{weights[0], DataType::kFloat32}, {weights[1], DataType::kFloat32}};
  const DataType outType = float8 ? DataType::kFloat8 : type;
  const Array out[2] = {{tokens * width, outType}, {tokens * width, outType}};
  const Array means[2] = {{static_cast<std::int64_t>(windows) * width, DataType::kFloat32},
                          {static_cast<std::int64_t>(windows) * width, DataType::kFloat32}};
  const float scale[2] = {4.0F, 2.0F};
  QueryKeyParams params;
  params.x = dx.data();
  params.ldx = 2 * width;
  for (int i = 0; i < 2; ++i) params.parts[i] = {dw[i].as<float>(), out[i].data(), means[i].as<float>(), scale[i]};
  params.frames = df.as<float>();
  params.rows = dr.as<float>();
  params.columns = dc.as<float>();
  params.windows = windows;
  params.tokenRows = rows;
  params.tokenColumns = columns;
  params.width = width;
  params.type = type;
  params.float8 = float8;
  if (!Succeeded(LaunchQueryKey(params, nullptr), name)) return;
  for (int i = 0; i < 2; ++i) {
    const std::string part = name + (i == 0 ? ": queries" : ": keys");
    std::vector<float> expected(static_cast<std::size_t>(tokens * width));
    for (std::int64_t t = 0; t < tokens; ++t)
      std::copy_n(both.begin() + (t * 2 + i) * width, width, expected.begin() + t * width);
    reference::RmsNorm(Pool(), expected.data(), tokens, width, weights[i].data());
    reference::Rope(Pool(), expected.data(), frames, rows, columns, width, frameTable.data(), rowTable.data(),
                    columnTable.data());
    // Means of what is stored; in e4m3 of what bf16 would have stored.
    std::vector<float> stored = float8 ? Rounded(expected, type) : out[i].read();
    if (float8) reference::RoundFloat8(Pool(), expected.data(), tokens * width, scale[i]);
    std::vector<float> found = out[i].read();
    if (float8)
      for (float& v : found) v /= scale[i];
    Compare(part, found, expected, Limit(outType), out[i].marginsIntact());
    std::vector<float> expectedMeans(static_cast<std::size_t>(windows) * width);
    reference::WindowMeans(Pool(), stored.data(), windows, width, expectedMeans.data());
    // An element that two computations round to different bf16 moves a mean by 2^-8 / 128 of it.
    Compare(part + " means", means[i].read(), expectedMeans, float8 ? 2e-5 : 2e-6, means[i].marginsIntact());
  }
}

void RunPatches(const std::string& name, DataType type, int frames, int height, int width) {
  constexpr int kChannels = 16;
  const std::int64_t tokens = static_cast<std::int64_t>(frames) * (height / 2) * (width / 2);
  const std::vector<float> latent = Normals(static_cast<std::int64_t>(kChannels) * frames * height * width, 1),
                           rows = Normals(tokens * 64, 2);
  std::vector<float> expected(static_cast<std::size_t>(tokens * 64)), back(latent.size());
  reference::PatchRows(Pool(), latent.data(), kChannels, frames, height, width, expected.data());
  reference::SubtractPatches(Pool(), rows.data(), latent.data(), kChannels, frames, height, width, back.data());
  const Array dl(latent, DataType::kFloat32), dr(rows, DataType::kFloat32), out(tokens * 64, type),
      picture(static_cast<std::int64_t>(latent.size()), DataType::kFloat32);
  PatchRowsParams patch;
  patch.latent = dl.as<float>();
  patch.rows = out.data();
  patch.channels = kChannels;
  patch.frames = frames;
  patch.height = height;
  patch.width = width;
  patch.type = type;
  if (Succeeded(LaunchPatchRows(patch, nullptr), name))
    Compare(name, out.read(), Rounded(expected, type), 0, out.marginsIntact());
  SubtractPatchesParams subtract;
  subtract.rows = dr.as<float>();
  subtract.base = dl.as<float>();
  subtract.out = picture.as<float>();
  subtract.channels = kChannels;
  subtract.frames = frames;
  subtract.height = height;
  subtract.width = width;
  if (Succeeded(LaunchSubtractPatches(subtract, nullptr), name))
    Compare(name + ": back", picture.read(), back, 0, picture.marginsIntact());
}

void RunNoise(const std::string& name, std::uint64_t seed, std::int64_t position) {
  constexpr int kChannels = 16, kFrames = 2, kHeight = 32, kWidth = 48;
  std::vector<float> expected(static_cast<std::size_t>(kChannels) * kFrames * kHeight * kWidth);
  reference::NoiseFill(Pool(), seed, position, kChannels, kFrames, kHeight, kWidth, expected.data());
  const Array out(static_cast<std::int64_t>(expected.size()), DataType::kFloat32);
  NoiseParams params;
  params.seed = seed;
  params.position = position;
  params.out = out.as<float>();
  params.channels = kChannels;
  params.frames = kFrames;
  params.height = kHeight;
  params.width = kWidth;
  if (Succeeded(LaunchNoise(params, nullptr), name)) Compare(name, out.read(), expected, 1e-7, out.marginsIntact());
}

}  // namespace

void TokenTests() {
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    const std::string t = Name(type);
    Test("layer norm " + t + " modulated 7x256",
         [&](const std::string& name) { RunLayerNorm(name, type, 7, 256, false, true); });
    Test("layer norm " + t + " affine 33x1536",
         [&](const std::string& name) { RunLayerNorm(name, type, 33, 1536, true, false); });
    Test("layer norm " + t + " plain 5x2568",
         [&](const std::string& name) { RunLayerNorm(name, type, 5, 2568, false, false); });
    Test("rms norm " + t + " 9x1536", [&](const std::string& name) { RunRmsNorm(name, type, 9, 1536); });
    for (const bool float8 : {false, true}) {
      if (float8 && type != DataType::kBfloat16) continue;
      const std::string to = float8 ? t + " to e4m3" : t;
      Test("q and k " + to + " 2 frames 16x24, 2 heads",
           [&](const std::string& name) { RunQueryKey(name, type, float8, 2, 16, 24, 2); });
      Test("q and k " + to + " 6 frames 8x16, 12 heads",
           [&](const std::string& name) { RunQueryKey(name, type, float8, 6, 8, 16, 12); });
      Test("q and k " + to + " 2 frames 8x8, 17 heads",
           [&](const std::string& name) { RunQueryKey(name, type, float8, 2, 8, 8, 17); });
    }
    Test("patches " + t, [&](const std::string& name) { RunPatches(name, type, 2, 32, 48); });
    Test("patches " + t + " 6 frames", [&](const std::string& name) { RunPatches(name, type, 6, 16, 32); });
  }
  Test("layer norm to e4m3 33x1536", [](const std::string& name) { RunLayerNorm8(name, 33, 1536); });
  Test("layer norm to e4m3 5x2568", [](const std::string& name) { RunLayerNorm8(name, 5, 2568); });
  Test("noise", [](const std::string& name) { RunNoise(name, 0, 0); });
  Test("noise far away", [](const std::string& name) { RunNoise(name, 0x123456789ABCDEFULL, std::int64_t{1} << 40); });
}

}  // namespace flashvsr::kernels::test
