// The fp8 mode's rounding and scales, and the whole network with them on the reference backend.
#include "backend/float8.h"

#include <cstdlib>

#include "backend/reference/ops.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

// What the bits mean, written down a second time.
float ValueOf(int bits) {
  const int exponent = bits >> 3 & 15, mantissa = bits & 7;
  const float magnitude =
      exponent == 0 ? static_cast<float>(mantissa) * 0.001953125F
                    : (1.0F + static_cast<float>(mantissa) / 8.0F) * std::exp2(static_cast<float>(exponent - 7));
  return bits & 128 ? -magnitude : magnitude;
}

TEST("e4m3: every number of the format stays, everything else goes to the nearest, ties to even, too much to 448") {
  for (int bits = 0; bits < 256; ++bits)
    if ((bits & 127) != 127) CHECK_EQUAL(float8::Round(ValueOf(bits)), ValueOf(bits));
  for (int bits = 0; bits < 126; ++bits) {
    const float low = ValueOf(bits), high = ValueOf(bits + 1), middle = (low + high) / 2;
    CHECK_EQUAL(float8::Round(middle), bits % 2 == 0 ? low : high);
    CHECK_EQUAL(float8::Round(std::nextafter(middle, 0.0F)), low);
    CHECK_EQUAL(float8::Round(-std::nextafter(middle, 1000.0F)), -high);
  }
  CHECK_EQUAL(float8::Round(449.0F), 448.0F);
  CHECK_EQUAL(float8::Round(-1e30F), -448.0F);
  CHECK_EQUAL(float8::Round(HUGE_VALF), 448.0F);
  CHECK(std::isnan(float8::Round(NAN)));
}

TEST("scales: the largest power of two that keeps a bound within the format") {
  for (const float bound : {1e-6F, 0.3F, 1.0F, 39.19F, 448.0F, 449.0F, 1e5F}) {
    const float scale = float8::ScaleFor(bound);
    int exponent = 0;
    CHECK_EQUAL(std::frexp(scale, &exponent), 0.5F);
    CHECK(bound * scale <= float8::kLargest);
    CHECK(bound * scale * 2 > float8::kLargest);
  }
  CHECK_EQUAL(float8::ScaleFor(0.0F), 1.0F);
}

TEST("fp8 on the reference backend: latents differ from fp32 as much as e4m3 does, the more the larger its part") {
  const auto weights = Weights();
  std::map<std::string, std::vector<float>> masks;
  const std::vector<float> exact = LatentsOfTwoChunks(*weights, Precision::Fp32, masks);
  double before = 0;
  for (const char* scope : {"ffn", "linear", "all"}) {
    setenv("FLASHVSR_FP8", scope, 1);
    const double error = Relative(LatentsOfTwoChunks(*weights, Precision::Fp8, masks), exact);
    unsetenv("FLASHVSR_FP8");
    CHECK_BELOW(error, 4e-2);
    CHECK(error > 2e-3);  // something was rounded
    CHECK(error > before * 0.95);
    before = error;
  }
  setenv("FLASHVSR_FP8", "everything", 1);
  CHECK_THROWS(float8::ScopeFromEnvironment(), "engine.settings");
  unsetenv("FLASHVSR_FP8");
}

TEST("fp8: the engine opens in it on the reference backend and says so") {
  EngineOptions options;
  options.device = "reference";
  options.threads = kWorkers;
  options.precision = Precision::Fp8;
  CHECK(Engine::Open(Weights(), options)->info().precision == Precision::Fp8);
}

}  // namespace
}  // namespace flashvsr::test
