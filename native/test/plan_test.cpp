// What a stream that does not fit is told.
#include "engine/stream_plan.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

StreamOptions OutputOf(int width, int height) {
  StreamOptions options;
  options.sourceWidth = width / 4;
  options.sourceHeight = height / 4;
  options.outputWidth = width;
  options.outputHeight = height;
  return options;
}

TEST("a stream that does not fit: the largest size of its shape that does, in steps of 128 along the longer side") {
  std::vector<std::pair<int, int>> asked;
  const auto roomFor = [&](std::int64_t pixels) {
    asked.clear();
    return [&asked, pixels](const StreamOptions& options) {
      asked.emplace_back(options.outputWidth, options.outputHeight);
      const Geometry g = GeometryOf(options);
      return g.width * g.height <= pixels;
    };
  };
  CHECK(LargestThatFits(OutputOf(1408, 768), roomFor(1152 * 640)) == std::optional(std::pair{1152, 628}));
  CHECK(asked == (std::vector<std::pair<int, int>>{{1280, 698}, {1152, 628}}));
  // Portrait, and a size that is no multiple of 128.
  CHECK(LargestThatFits(OutputOf(1080, 1920), roomFor(768 * 1280)) == std::optional(std::pair{720, 1280}));
  CHECK(LargestThatFits(OutputOf(1408, 768), roomFor(0)) == std::nullopt);
  CHECK(asked.size() == 10);
  CHECK(LargestThatFits(OutputOf(128, 128), roomFor(0)) == std::nullopt);
}

TEST("a stream that does not fit is refused with the numbers and with a size that fits") {
  EngineOptions options;
  options.device = "reference";
  options.threads = 1;
  ModelDims dims = MicroDims();
  dims.layers = 40;
  const auto engine = Engine::Open(Weights(dims), options);
  // Sixteen cached groups of so many layers are more than half a terabyte.
  StreamOptions large = OutputOf(8192, 8192);
  large.settings.kvRatio = 16;
  const MemoryPlan plan = engine->plan(large);
  CHECK(!plan.fits);
  const Error refused = CHECK_THROWS(engine->createStream(large, nullptr), "engine.memory");
  CHECK(refused.message().find("8192x8192 needs") != std::string::npos);
  const std::string& remedy = refused.remedy();
  int width = 0, height = 0;
  CHECK_EQUAL(std::sscanf(remedy.c_str(), "%dx%d fits now", &width, &height), 2);
  CHECK(width == height && width < 8192 && width % 128 == 0);
}

}  // namespace
}  // namespace flashvsr::test
