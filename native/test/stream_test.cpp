// Streams as the addon sees them: life cycle, fairness, queues, determinism.
#include <fstream>

#include "test/fixture.h"

namespace flashvsr::test {
namespace {

std::vector<Collector::Got> RunAlone(Engine& engine, const StreamOptions& options, int frames, int seed) {
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine.createStream(options, collector);
  PushAll(*stream, options.sourceWidth, options.sourceHeight, 0, frames, seed);
  stream->flush();
  collector->waitFlushes(1);
  stream->close();
  collector->waitClosed();
  return collector->frames;
}

void CheckSame(const std::vector<Collector::Got>& a, const std::vector<Collector::Got>& b) {
  CHECK_EQUAL(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK_EQUAL(a[i].frameIndex, b[i].frameIndex);
    if (a[i].bytes != b[i].bytes) FailAt(__FILE__, __LINE__, "frame " + std::to_string(i) + " differs");
  }
}

TEST("stream: every frame once, in order, with its media time and size; odd sizes, YUV in and out") {
  const auto engine = OpenEngine();
  for (const int frames : {1, 4, 5, 12, 30}) {
    StreamOptions options = SmallStream();
    options.sourceWidth = 31;
    options.sourceHeight = 27;
    options.outputFormat = {PixelFormat::I420, ColourMatrix::Bt601, ColourRange::Full};
    const auto collector = std::make_shared<Collector>();
    const auto stream = engine->createStream(options, collector);
    PushAll(*stream, 31, 27, 0, frames, 0, PixelFormat::I420);
    const std::uint64_t id = stream->flush();
    collector->waitFlushes(1);
    CHECK_EQUAL(collector->flushed[0], id);
    CHECK_EQUAL(static_cast<int>(collector->frames.size()), frames);
    for (int i = 0; i < frames; ++i) {
      const Collector::Got& got = collector->frames[static_cast<std::size_t>(i)];
      CHECK_EQUAL(got.frameIndex, i);
      CHECK_EQUAL(got.mediaTime, 1000 + i * 33);
      CHECK_EQUAL(got.width, 124);
      CHECK_EQUAL(got.height, 108);
      CHECK_EQUAL(static_cast<int>(got.bytes.size()), 124 * 108 * 3 / 2);
    }
    const StreamStats stats = stream->stats();
    CHECK_EQUAL(stats.deliveredFrames, frames);
    CHECK_EQUAL(stats.pendingFrames, 0);
    stream->close();
    collector->waitClosed();
  }
}

TEST("determinism: the same input gives the same bytes, again and with another thread count") {
  const auto engine = OpenEngine(), other = OpenEngine({}, MicroDims(), 3);
  const auto first = RunAlone(*engine, SmallStream(), 21, 1);
  CheckSame(first, RunAlone(*engine, SmallStream(), 21, 1));
  CheckSame(first, RunAlone(*other, SmallStream(), 21, 1));
  StreamOptions seeded = SmallStream();
  seeded.settings.seed = 2;
  const auto differently = RunAlone(*engine, seeded, 21, 1);
  CHECK(differently[20].bytes != first[20].bytes);
}

TEST("fairness: two streams pushed in turns equal each alone, and take turns") {
  const auto engine = OpenEngine();
  StreamOptions one = SmallStream(), two = SmallStream();
  two.sourceWidth = 64;
  two.settings.colourMatch = ColourMatch::Wavelet;
  const auto aloneOne = RunAlone(*engine, one, 29, 1), aloneTwo = RunAlone(*engine, two, 29, 2);
  const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
  const auto first = engine->createStream(one, a), second = engine->createStream(two, b);
  for (int i = 0; i < 29; ++i) {
    PushAll(*first, 32, 32, i, 1, 1);
    PushAll(*second, 64, 32, i, 1, 2);
  }
  first->flush();
  second->flush();
  a->waitFlushes(1);
  b->waitFlushes(1);
  CheckSame(a->frames, aloneOne);
  CheckSame(b->frames, aloneTwo);
}

TEST("a consumer that keeps its pictures stops its own stream only; full is an answer") {
  const auto engine = OpenEngine();
  StreamOptions options = SmallStream();
  options.outputQueueFrames = 32;
  options.inputQueueFrames = 25;
  const auto stuck = std::make_shared<Collector>(), free = std::make_shared<Collector>();
  stuck->keep = true;
  const auto a = engine->createStream(options, stuck), b = engine->createStream(options, free);
  int pushed = 0;
  // Pushes until the stuck stream has no room for a chunk's eight pictures any more and its input queue is full.
  while (pushed < 400) {
    const Picture picture(32, 32, pushed);
    if (a->push(picture.view, pushed) == PushResult::Accepted) {
      ++pushed;
    } else if (a->stats().outputFramesHeld > 32 - 8) {
      break;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  CHECK(pushed >= 32 && pushed < 100);
  CHECK(!a->ready());
  CHECK(a->stats().refusedFrames > 0);
  CHECK(a->stats().outputFramesHeld <= 32);
  PushAll(*b, 32, 32, 0, 40);
  b->flush();
  free->waitFlushes(1);
  CHECK_EQUAL(free->frames.size(), 40U);
  // Letting the pictures go sets the stuck stream free again, and nothing was lost.
  {
    const std::lock_guard lock(stuck->mutex);
    stuck->keep = false;
    stuck->held.clear();
  }
  a->flush();
  stuck->waitFlushes(1);
  CHECK_EQUAL(static_cast<int>(stuck->frames.size()), pushed);
}

TEST("gather deadline: a source that stops gets its last frames out; repeats are counted and never come out") {
  std::atomic<std::int64_t> now{1000000};
  const auto engine = OpenEngine([&] { return now.load(); });
  StreamOptions options = SmallStream();
  options.gatherDeadlineMs = 400;
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine->createStream(options, collector);
  PushAll(*stream, 32, 32, 0, 7);
  collector->waitFrames(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_EQUAL(collector->frames.size(), 1U);
  now += 399000;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_EQUAL(collector->frames.size(), 1U);
  now += 2000;
  collector->waitFrames(6);  // four held back and the first four places of the filled chunk, of which two are real
  now += 500000;
  collector->waitFrames(7);
  CHECK(stream->stats().repeatedFrames >= 6);
  for (std::size_t i = 0; i < 7; ++i) CHECK_EQUAL(collector->frames[i].frameIndex, static_cast<std::int64_t>(i));
  now += 5000000;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK_EQUAL(collector->frames.size(), 7U);
}

TEST("flush: what follows equals a new stream; frames pushed right behind it wait their turn") {
  const auto engine = OpenEngine();
  const auto alone = RunAlone(*engine, SmallStream(), 10, 4);
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine->createStream(SmallStream(), collector);
  PushAll(*stream, 32, 32, 0, 6, 3);
  stream->flush();
  PushAll(*stream, 32, 32, 0, 10, 4);  // without waiting
  stream->flush();
  stream->flush();  // nothing in between
  collector->waitFlushes(3);
  CHECK_EQUAL(collector->frames.size(), 16U);
  CHECK_EQUAL(collector->flushedAt[0], 6U);
  CHECK_EQUAL(collector->flushedAt[1], 16U);
  CHECK_EQUAL(stream->stats().restarts, 3);
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK_EQUAL(collector->frames[6 + i].frameIndex, static_cast<std::int64_t>(6 + i));
    CHECK(collector->frames[6 + i].bytes == alone[i].bytes);
  }
}

TEST("size: other source sizes are rescaled into the same output") {
  const auto engine = OpenEngine();
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine->createStream(SmallStream(), collector);
  PushAll(*stream, 32, 32, 0, 5);
  PushAll(*stream, 80, 80, 5, 4);  // larger than planned: staging grows
  PushAll(*stream, 20, 12, 9, 4);
  PushAll(*stream, 40, 32, 13, 9);
  stream->flush();
  collector->waitFlushes(1);
  CHECK_EQUAL(collector->frames.size(), 22U);
  for (std::size_t i = 0; i < 22; ++i) {
    CHECK_EQUAL(collector->frames[i].frameIndex, static_cast<std::int64_t>(i));
    CHECK_EQUAL(collector->frames[i].width, 128);
    CHECK_EQUAL(collector->frames[i].height, 128);
  }
}

TEST("settings: sparse ratio changes with the next chunk; bad ones and another kvRatio are refused") {
  const auto engine = OpenEngine();
  StreamOptions options = SmallStream();
  options.sourceWidth = 96;  // three windows side by side, so that the ratio matters
  options.settings.topkRatio = 2.9;
  const auto steady = RunAlone(*engine, options, 29, 5);
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine->createStream(options, collector);
  PushAll(*stream, 96, 32, 0, 13, 5);
  collector->waitFrames(9);
  StreamSettings settings = options.settings;
  settings.topkRatio = 0.5;
  stream->update(settings);
  PushAll(*stream, 96, 32, 13, 16, 5);
  stream->flush();
  collector->waitFlushes(1);
  for (std::size_t i = 0; i < 9; ++i) CHECK(collector->frames[i].bytes == steady[i].bytes);
  CHECK(collector->frames[20].bytes != steady[20].bytes);
  settings.kvRatio = 2;
  CHECK(CHECK_THROWS(stream->update(settings), "engine.settings").scope() == ErrorScope::Frame);
  settings = options.settings;
  settings.sparseRatio = -1;
  CHECK_THROWS(stream->update(settings), "engine.settings");
}

TEST("close: idempotent, from any thread, while a chunk runs, from the listener; no call after onClosed") {
  const auto engine = OpenEngine();
  for (int round = 0; round < 6; ++round) {
    const auto collector = std::make_shared<Collector>();
    const auto stream = engine->createStream(SmallStream(), collector);
    PushAll(*stream, 32, 32, 0, 20);
    if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10 * round));
    std::thread one([&] { stream->close(); }), two([&] { stream->close(); });
    one.join();
    two.join();
    collector->waitClosed();
    stream->close();
    const Picture picture(32, 32, 0);
    CHECK(stream->push(picture.view, 0) == PushResult::Closed);
    CHECK_EQUAL(stream->flush(), 0U);
    CHECK(!stream->ready());
    stream->stats();
    CHECK_EQUAL(collector->closedCalls, 1);
    CHECK_EQUAL(collector->callsAfterClosed, 0);
  }
  // From inside a callback.
  class Closer final : public StreamListener {
   public:
    void onFrame(OutputFrame) override {
      if (stream) stream->close();
      ++calls;
    }
    void onFlushed(std::uint64_t) override {}
    void onError(const Error&) override {}
    void onClosed() override { closed = true; }
    std::shared_ptr<Stream> stream;
    std::atomic<int> calls{0};
    std::atomic<bool> closed{false};
  };
  const auto closer = std::make_shared<Closer>();
  closer->stream = engine->createStream(SmallStream(), closer);
  PushAll(*closer->stream, 32, 32, 0, 13);
  for (int i = 0; i < 6000 && !closer->closed; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(closer->closed);
  CHECK_EQUAL(closer->calls.load(), 1);
  closer->stream.reset();
}

TEST("engine: closing it ends every stream once; nothing can be made afterwards; frames outlive it") {
  auto engine = OpenEngine();
  const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
  a->keep = true;
  const auto first = engine->createStream(SmallStream(), a), second = engine->createStream(SmallStream(), b);
  PushAll(*first, 32, 32, 0, 13);
  PushAll(*second, 32, 32, 0, 13);
  a->waitFrames(1);
  engine->close();
  engine->close();
  CHECK_EQUAL(a->closedCalls, 1);
  CHECK_EQUAL(b->closedCalls, 1);
  CHECK_THROWS(engine->createStream(SmallStream(), a), "engine.closed");
  engine.reset();
  CHECK(!a->held.empty() && a->held[0].data[0] == a->frames[0].bytes[0]);
}

TEST("pictures that cannot be are refused, the stream goes on") {
  const auto engine = OpenEngine();
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine->createStream(SmallStream(), collector);
  const Picture good(32, 32, 0);
  FrameView bad = good.view;
  bad.planes[0] = nullptr;
  CHECK_THROWS(stream->push(bad, 0), "engine.picture");
  bad = good.view;
  bad.strides[0] = 95;
  CHECK_THROWS(stream->push(bad, 0), "engine.picture");
  bad = good.view;
  bad.width = 9000;
  CHECK_THROWS(stream->push(bad, 0), "engine.picture");
  PushAll(*stream, 32, 32, 0, 3);
  stream->flush();
  collector->waitFlushes(1);
  CHECK_EQUAL(collector->frames.size(), 3U);
}

std::int64_t ResidentKib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

TEST("1000 chunks and 60 streams opened and closed: memory does not grow") {
  ModelDims dims = MicroDims();  // the smallest there can be: this is about memory
  dims.dim = 128;
  dims.heads = 1;
  dims.ffn = 64;
  dims.layers = 1;
  dims.decoderChannels = {16, 16, 8, 8};
  const auto engine = OpenEngine({}, dims);
  const auto collector = std::make_shared<Collector>();
  StreamOptions options = SmallStream();
  options.settings.colourMatch = ColourMatch::None;
  const auto stream = engine->createStream(options, collector);
  std::int64_t after100 = 0;
  for (int k = 0; k < 1000; ++k) {
    PushAll(*stream, 32, 32, k * 8, 8);
    collector->waitFrames(static_cast<std::size_t>(k > 0 ? 4 : 1));
    const std::lock_guard lock(collector->mutex);
    collector->frames.clear();
    if (k == 100) after100 = ResidentKib();
  }
  CHECK_BELOW(static_cast<double>(ResidentKib() - after100), 8192.0);
  const std::int64_t before = ResidentKib();
  for (int i = 0; i < 60; ++i) {
    const auto other = std::make_shared<Collector>();
    const auto brief = engine->createStream(SmallStream(), other);
    if (i % 3 == 0) PushAll(*brief, 32, 32, 0, 5);
    brief->close();
    other->waitClosed();
  }
  CHECK_BELOW(static_cast<double>(ResidentKib() - before), 40960.0);  // one stream takes some 10 MiB
  CHECK_EQUAL(stream->stats().chunks > 990, true);
}

}  // namespace
}  // namespace flashvsr::test
