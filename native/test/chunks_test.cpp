// The key/value ring and the gathering of chunks: pure bookkeeping.
#include <set>

#include "engine/chunk_builder.h"
#include "engine/kv_cache.h"
#include "engine/stream_plan.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

TEST("key/value ring: fixed slots, no copies, one group dropped a chunk, fractions are cut") {
  const auto backend = CreateReferenceBackend(1);
  const Geometry geometry{256, 384, 256, 384};
  ModelDims dims = MicroDims();
  dims.layers = 3;
  for (const double ratio : {1.0, 1.5, 2.0, 2.9, 3.0, 3.7, 5.0}) {
    ArenaLayout layout(nullptr, *backend, Precision::Fp32);
    KvCache cache(layout, geometry, dims, ratio);
    const std::int64_t keep = static_cast<std::int64_t>(ratio);
    std::int64_t expected = 0;
    std::vector<std::vector<void*>> before(3);
    for (int chunk = 0; chunk < 20; ++chunk) {
      const std::int64_t groups = chunk == 0 ? 3 : 1;
      std::set<void*> heldByOthers;
      for (std::int64_t layer = 0; layer < 3; ++layer) {
        const std::vector<KvSlot> fresh = cache.begin(layer, groups);
        const std::vector<KvSlot> seen = cache.visible(layer);
        CHECK_EQUAL(static_cast<std::int64_t>(fresh.size()), groups);
        CHECK_EQUAL(static_cast<std::int64_t>(seen.size()), expected + groups);
        // Cached groups are still where they were, oldest first, and the new ones come last.
        for (std::size_t i = 0; i < before[static_cast<std::size_t>(layer)].size(); ++i)
          CHECK(seen[i].keys.data == before[static_cast<std::size_t>(layer)][i]);
        for (std::size_t i = 0; i < fresh.size(); ++i)
          CHECK(seen[seen.size() - fresh.size() + i].keys.data == fresh[i].keys.data);
        for (const KvSlot& slot : seen) CHECK(!heldByOthers.contains(slot.keys.data));
        cache.end(layer);
        before[static_cast<std::size_t>(layer)].clear();
        for (const KvSlot& slot : cache.visible(layer)) {
          before[static_cast<std::size_t>(layer)].push_back(slot.keys.data);
          heldByOthers.insert(slot.keys.data);
        }
      }
      expected = expected + groups > keep ? expected + groups - 1 : expected + groups;
      CHECK_EQUAL(cache.cachedGroups(0), expected);
    }
    CHECK_EQUAL(KvCache::SlotCount(3, ratio), 3 * std::max<std::int64_t>(2, keep) + 1);
    cache.reset();
    CHECK_EQUAL(cache.cachedGroups(2), 0);
  }
}

GatheredFrame Frame(std::int64_t index, std::int64_t arrivedUs = 0) {
  static const auto picture = [] { return SourceOf(Picture(16, 16, 0)); };
  return {picture(), index, 500 + index, arrivedUs};
}

// Everything that comes out of taking all chunks, as frame indices; checks sizes on the way.
std::vector<std::int64_t> Drain(ChunkBuilder& builder, std::int64_t nowUs, int* repeats = nullptr) {
  std::vector<std::int64_t> out;
  while (builder.ready(nowUs)) {
    const GatheredChunk chunk = builder.take();
    CHECK_EQUAL(chunk.pictures.size(), chunk.first ? 25U : 8U);
    CHECK_EQUAL(chunk.outputs.size(), chunk.first ? 21U : 8U);
    for (const auto& picture : chunk.pictures) CHECK(picture != nullptr);
    if (repeats != nullptr) *repeats += chunk.repeats;
    for (const auto& frame : chunk.outputs)
      if (frame) {
        CHECK_EQUAL(frame->mediaTime, 500 + frame->frameIndex);
        out.push_back(frame->frameIndex);
      }
  }
  return out;
}

TEST("flush: every frame comes out once and in order, for every length and every cold start") {
  for (int cold = 1; cold <= 25; ++cold)
    for (int length = 0; length <= 70; ++length) {
      ChunkBuilder builder(cold, 0);
      for (int i = 0; i < length; ++i) builder.push(Frame(i));
      std::vector<std::int64_t> out = Drain(builder, 0);
      builder.flush();
      const std::vector<std::int64_t> rest = Drain(builder, 0);
      out.insert(out.end(), rest.begin(), rest.end());
      CHECK(builder.drained());
      CHECK_EQUAL(static_cast<int>(out.size()), length);
      for (int i = 0; i < length; ++i) CHECK_EQUAL(out[static_cast<std::size_t>(i)], i);
    }
}

TEST("cold start: the first picture needs as many real frames as asked, then eight more bring eight more") {
  for (const int cold : {1, 2, 4, 5, 6, 13, 25}) {
    ChunkBuilder builder(cold, 0);
    for (int i = 0; i < cold - 1; ++i) builder.push(Frame(i));
    CHECK(!builder.ready(1LL << 60));
    builder.push(Frame(cold - 1));
    const std::vector<std::int64_t> first = Drain(builder, 0);
    CHECK_EQUAL(static_cast<int>(first.size()), std::max(1, cold - 4));
    int out = static_cast<int>(first.size());
    for (int round = 1; round <= 3; ++round) {
      for (int i = 0; i < 8; ++i) builder.push(Frame(cold + (round - 1) * 8 + i));
      out += static_cast<int>(Drain(builder, 0).size());
      CHECK_EQUAL(out, cold + round * 8 - 4);  // all but the look-ahead
    }
  }
}

TEST("gather deadline: a slow source's chunks are filled with repeats that never come out") {
  ChunkBuilder builder(5, 400000);
  int repeats = 0;
  for (int i = 0; i < 5; ++i) builder.push(Frame(i, i * 1000));
  CHECK_EQUAL(Drain(builder, 5000, &repeats).size(), 1U);
  CHECK_EQUAL(repeats, 0);
  // Nothing new: the four frames held back come out after the deadline from the last arrival, and no later.
  CHECK_EQUAL(*builder.deadlineUs(), 404000);
  CHECK(!builder.ready(403999));
  CHECK_EQUAL(Drain(builder, 404000, &repeats).size(), 4U);
  CHECK_EQUAL(repeats, 8);
  CHECK(!builder.deadlineUs().has_value());  // nothing waits: nothing to do
  // Three more: the deadline counts from the first of them.
  for (int i = 5; i < 8; ++i) builder.push(Frame(i, 1000000 + i * 100000));
  CHECK_EQUAL(*builder.deadlineUs(), 1900000);
  const std::vector<std::int64_t> late = Drain(builder, 1900000, &repeats);
  CHECK_EQUAL(late.size(), 3U);  // the chunk's own first four places
  CHECK_EQUAL(late[0], 5);
  CHECK_EQUAL(repeats, 13);
}

TEST("options: every bad one is refused by name, with its range") {
  const auto refused = [](const std::function<void(StreamOptions&)>& change, const std::string& name) {
    StreamOptions options = SmallStream();
    change(options);
    const Error error = CHECK_THROWS(CheckOptions(options), "engine.settings");
    if (error.message().find(name) == std::string::npos)
      FailAt(__FILE__, __LINE__, "the message does not name " + name + ": " + error.message());
  };
  CheckOptions(SmallStream());
  refused([](StreamOptions& o) { o.sourceWidth = 0; }, "sourceWidth");
  refused([](StreamOptions& o) { o.sourceHeight = 9000; }, "sourceHeight");
  refused([](StreamOptions& o) { o.scale = 0; }, "scale");
  refused([](StreamOptions& o) { o.scale = NAN; }, "scale");
  refused([](StreamOptions& o) { o.scale = 300; }, "sourceWidth * scale");
  refused([](StreamOptions& o) { o.outputWidth = 128; }, "outputHeight");
  refused([](StreamOptions& o) { o.coldStartFrames = 0; }, "coldStartFrames");
  refused([](StreamOptions& o) { o.coldStartFrames = 26; }, "coldStartFrames");
  refused([](StreamOptions& o) { o.gatherDeadlineMs = -1; }, "gatherDeadlineMs");
  refused([](StreamOptions& o) { o.inputQueueFrames = 24; }, "inputQueueFrames");
  refused([](StreamOptions& o) { o.settings.kvRatio = 0.5; }, "kvRatio");
  refused([](StreamOptions& o) { o.settings.localRange = 0; }, "localRange");
  refused([](StreamOptions& o) { o.settings.topkRatio = 1e-5; }, "keeps no attention window");
}

TEST("sizes: round(source * scale) made even, padded to 128") {
  StreamOptions options = SmallStream();
  options.sourceWidth = 33;
  options.sourceHeight = 45;
  for (const auto& [scale, width, height] :
       {std::tuple{2.0, 66, 90}, {3.0, 100, 136}, {4.0, 132, 180}, {1.5, 50, 68}}) {
    options.scale = scale;
    const Geometry g = GeometryOf(options);
    CHECK_EQUAL(g.contentWidth, width);
    CHECK_EQUAL(g.contentHeight, height);
    CHECK(g.width % 128 == 0 && g.height % 128 == 0 && g.width >= width && g.width < width + 128 &&
          g.height >= height && g.height < height + 128);
  }
}

}  // namespace
}  // namespace flashvsr::test
