// int8 with rotation: its arithmetic, a linear layer with and without outliers, and the whole network on the goldens'
// sizes.
#include "backend/int8.h"

#include <cstdlib>

#include "backend/reference/ops.h"
#include "test/fixture.h"
#include "weights/memory_model.h"

namespace flashvsr::test {
namespace {

std::vector<float> Normals(std::int64_t count, std::uint64_t seed, float deviation = 1.0F) {
  Threads pool(kWorkers);
  std::vector<float> out(static_cast<std::size_t>((count + 255) / 256 * 256));
  reference::NoiseFill(pool, seed, 0, 1, 1, static_cast<std::int64_t>(out.size()) / 16, 16, out.data());
  out.resize(static_cast<std::size_t>(count));
  for (float& v : out) v *= deviation;
  return out;
}

TEST("rotation: 256 for the official widths, Sylvester's matrix over its root, its own inverse") {
  CHECK_EQUAL(int8::RotationOf(1536), 256);
  CHECK_EQUAL(int8::RotationOf(8960), 256);
  CHECK_EQUAL(int8::RotationOf(384), 128);
  CHECK_EQUAL(int8::RotationOf(13), 1);
  Threads pool(kWorkers);
  constexpr std::int64_t kLength = 16, kWidth = 48, kRows = 5;
  const std::vector<float> x = Normals(kRows * kWidth, 1);
  std::vector<float> expected(x.size()), found = x;
  for (std::int64_t row = 0; row < kRows; ++row)
    for (std::int64_t i = 0; i < kWidth; ++i) {
      double sum = 0;
      for (std::int64_t j = 0; j < kLength; ++j) {  // entry (i, j) is (-1)^(bits that both have)
        const std::int64_t at = i / kLength * kLength + j;
        const bool minus = __builtin_popcountll(static_cast<unsigned long long>((i % kLength) & j)) % 2 == 1;
        sum += (minus ? -1.0 : 1.0) * x[static_cast<std::size_t>(row * kWidth + at)];
      }
      expected[static_cast<std::size_t>(row * kWidth + i)] = static_cast<float>(sum / 4.0);
    }
  reference::RotateRows(pool, found.data(), kRows, kWidth, kLength);
  CHECK_BELOW(Relative(found, expected), 1e-6);
  reference::RotateRows(pool, found.data(), kRows, kWidth, kLength);
  CHECK_BELOW(Relative(found, x), 1e-6);
}

TEST("rounding: whole multiples of the row's own scale, the largest exactly 127 of them, rows of zeros stay") {
  Threads pool(kWorkers);
  std::vector<float> x = Normals(3 * 64, 2), scales(3);
  for (std::size_t i = 64; i < 128; ++i) x[i] = 0;
  for (std::size_t i = 128; i < 192; ++i) x[i] *= 1e4F;
  const std::vector<float> before = x;
  reference::RoundInt8(pool, x.data(), 3, 64, scales.data());
  CHECK_EQUAL(scales[1], 1.0F);
  for (std::size_t row = 0; row < 3; ++row) {
    float most = 0;
    for (std::size_t i = row * 64; i < row * 64 + 64; ++i) {
      const float steps = x[i] / scales[row];
      CHECK_BELOW(std::abs(steps - std::nearbyint(steps)), 1e-4);
      CHECK_BELOW(std::abs(x[i] - before[i]), scales[row] * 0.5001);
      most = std::max(most, std::abs(steps));
    }
    CHECK_BELOW(std::abs(most - (row == 1 ? 0.0F : 127.0F)), 1e-4);
  }
}

// Relative error of x W^T in int8 against fp32. Every 97th channel of x is `outlier` times the rest, its weights as
// much smaller.
double LinearError(float outlier, bool rotate) {
  Threads pool(kWorkers);
  constexpr std::int64_t kRows = 64, kIn = 1536, kOut = 256;
  std::vector<float> x = Normals(kRows * kIn, 3), w = Normals(kOut * kIn, 4, 1.0F / 39.2F);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (i % kIn % 97 == 0) x[i] *= outlier;
  for (std::size_t i = 0; i < w.size(); ++i)
    if (i % kIn % 97 == 0) w[i] /= outlier;
  std::vector<float> exact(kRows * kOut), found(exact.size());
  const auto product = [&](std::vector<float>& out) {
    reference::Linear(pool, x.data(), kRows, reference::PackedMatrix(w, kOut, kIn), nullptr,
                      reference::Activation::None, out.data());
  };
  product(exact);
  for (auto* operand : {&x, &w}) {
    const std::int64_t rows = static_cast<std::int64_t>(operand->size()) / kIn;
    if (rotate) reference::RotateRows(pool, operand->data(), rows, kIn, int8::RotationOf(kIn));
    reference::RoundInt8(pool, operand->data(), rows, kIn);
  }
  product(found);
  return Relative(found, exact);
}

TEST("a linear layer: rotation costs nothing without outliers and keeps the error with them") {
  const double plain = LinearError(1, false), turned = LinearError(1, true), plainOutliers = LinearError(64, false),
               turnedOutliers = LinearError(64, true);
  std::printf("     int8 linear 1536 -> 256, relative error: %.2e, rotated %.2e; outliers of 64: %.2e, rotated %.2e\n",
              plain, turned, plainOutliers, turnedOutliers);
  CHECK_BELOW(plain, 1.3e-2);
  CHECK_BELOW(turned, 1.3e-2);
  CHECK(plainOutliers > 0.2);  // one digit in five lost
  CHECK(turnedOutliers < plainOutliers / 4);
}

// The same function with a few large channels: rows of v and columns of o of every block, whose product stays. Powers
// of two, so that bf16 weights stay exact.
std::shared_ptr<const ModelWeights> WithOutliers(const ModelWeights& weights, float factor) {
  MemoryModel model;
  for (const TensorSpec& spec : ExpectedTensors(weights.dims())) {
    const TensorView& view = *weights.part(spec.part).find(spec.name);
    std::vector<float> values = ReadFloats(view);
    const bool v = spec.name.find("self_attn.v.") != std::string::npos, o = spec.name.ends_with("self_attn.o.weight");
    const std::size_t columns =
        o ? static_cast<std::size_t>(spec.shape[1]) : values.size() / static_cast<std::size_t>(spec.shape[0]);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (v && i / columns % 61 == 0) values[i] *= factor;
      if (o && i % columns % 61 == 0) values[i] /= factor;
    }
    model.part(spec.part).AddFloats(spec.name, view.dtype, spec.shape, values);
  }
  LoadOptions options;
  options.variant = weights.dims().variant;
  return ModelWeights::FromSources(model.sources(), options);
}

TEST(
    "int8 on the reference backend: latents near fp32's, with planted outliers too, and further off without rotation") {
  const auto plain = Weights();
  const auto planted = WithOutliers(*plain, 64);
  std::map<std::string, std::vector<float>> masks;
  const std::vector<float> exact = LatentsOfTwoChunks(*plain, Precision::Fp32, masks);
  CHECK_BELOW(Relative(LatentsOfTwoChunks(*planted, Precision::Fp32, masks), exact), 1e-5);  // the same function
  const auto error = [&](const ModelWeights& weights, Precision precision) {
    return Relative(LatentsOfTwoChunks(weights, precision, masks), exact);
  };
  const double fp8 = error(*plain, Precision::Fp8), int8 = error(*plain, Precision::Int8),
               outliers = error(*planted, Precision::Int8);
  setenv("FLASHVSR_INT8", "plain", 1);
  const double unturned = error(*plain, Precision::Int8), unturnedOutliers = error(*planted, Precision::Int8);
  unsetenv("FLASHVSR_INT8");
  std::printf(
      "     latents, relative error to fp32: int8 %.2e (fp8 %.2e, int8 without rotation %.2e); planted outliers: int8 "
      "%.2e, "
      "without rotation %.2e\n",
      int8, fp8, unturned, outliers, unturnedOutliers);
  CHECK(int8 > 2e-4);  // something was rounded
  CHECK_BELOW(int8, 1e-2);
  CHECK(int8 < fp8 / 2);
  CHECK_BELOW(outliers, 1.5e-2);
  CHECK(unturnedOutliers > 2 * outliers);
}

TEST("int8: the engine opens in it on the reference backend and says so") {
  EngineOptions options;
  options.device = "reference";
  options.threads = kWorkers;
  options.precision = Precision::Int8;
  CHECK(Engine::Open(Weights(), options)->info().precision == Precision::Int8);
}

}  // namespace
}  // namespace flashvsr::test
