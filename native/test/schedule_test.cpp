// When parts of chunks go to the device and when pictures leave, on a backend whose fences open when the test says.
#include <algorithm>

#include "engine/engine_core.h"
#include "engine/stream_impl.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

// Computes at once like the reference backend, but says "done" only up to a count of fences, over all its executors.
struct Gate {
  std::atomic<int> made{0}, open{1 << 30};
  std::atomic<bool> block{false};  // calls do not return
  int partsAhead = 2;
  std::mutex mutex;
  std::vector<std::string> log;  // "<executor> begin", "<executor> reveal", "<executor> after"
  void note(const std::string& line) {
    const std::lock_guard lock(mutex);
    log.push_back(line);
  }
  std::vector<std::string> lines() {
    const std::lock_guard lock(mutex);
    return log;
  }
};

class GatedFence final : public Fence {
 public:
  GatedFence(std::shared_ptr<Gate> gate, std::unique_ptr<Fence> inner)
      : gate_(std::move(gate)),
        inner_(std::move(inner)),
        number_(gate_->made++) {}
  bool done() const override { return number_ < gate_->open; }
  void wait() override {
    while (!done()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::array<double, kStages> stageMs() const override { return inner_->stageMs(); }

 private:
  std::shared_ptr<Gate> gate_;
  std::unique_ptr<Fence> inner_;
  int number_;
};

class GatedExecutor final : public Executor {
 public:
  GatedExecutor(std::shared_ptr<Gate> gate, std::unique_ptr<Executor> inner, int number)
      : gate_(std::move(gate)),
        inner_(std::move(inner)),
        name_(std::to_string(number)) {}
  std::byte* arena() override { return inner_->arena(); }
  std::shared_ptr<std::uint8_t[]> allocateHost(std::size_t bytes) override { return inner_->allocateHost(bytes); }
  void upload(const Tensor& to, const void* host) override { inner_->upload(to, host); }
  void download(void* host, const Tensor& from) override { inner_->download(host, from); }
  void fill(const Tensor& tensor, std::uint8_t byte) override { inner_->fill(tensor, byte); }
  void copy(const Tensor& to, const Tensor& from) override { inner_->copy(to, from); }
  std::vector<float> read(const Tensor& tensor) override { return inner_->read(tensor); }
  void write(const Tensor& tensor, std::span<const float> values) override { inner_->write(tensor, values); }
  void mark(Stage stage) override {
    if (stage == Stage::Import) gate_->note(name_ + " begin");
    while (gate_->block) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    inner_->mark(stage);
  }
  std::unique_ptr<Fence> fence() override { return std::make_unique<GatedFence>(gate_, inner_->fence()); }
  void after(const Fence&) override { gate_->note(name_ + " after"); }
  void run(const ImportPicture& op) override { inner_->run(op); }
  void run(const UnshuffleFrame& op) override { inner_->run(op); }
  void run(const CausalConvolution& op) override { inner_->run(op); }
  void run(const PatchEmbed& op) override { inner_->run(op); }
  void run(const AddProjected& op) override { inner_->run(op); }
  void run(const AttentionInput& op) override { inner_->run(op); }
  void run(const SelectBlocks& op) override { inner_->run(op); }
  void run(const SparseAttention& op) override { inner_->run(op); }
  void run(const AttentionOutput& op) override { inner_->run(op); }
  void run(const CrossAttention& op) override { inner_->run(op); }
  void run(const FeedForward& op) override { inner_->run(op); }
  void run(const Head& op) override { inner_->run(op); }
  void run(const Noise& op) override { inner_->run(op); }
  void run(const DecoderInput& op) override {
    gate_->note(name_ + " reveal");
    inner_->run(op);
  }
  void run(const DecoderConvolution& op) override { inner_->run(op); }
  void run(const DecoderGrow& op) override { inner_->run(op); }
  void run(const DecoderOutput& op) override { inner_->run(op); }
  void run(const FinishPicture& op) override { inner_->run(op); }

 private:
  std::shared_ptr<Gate> gate_;
  std::unique_ptr<Executor> inner_;
  std::string name_;
};

class GatedModel final : public PreparedModel {
 public:
  GatedModel(std::shared_ptr<Gate> gate, std::shared_ptr<PreparedModel> inner)
      : gate_(std::move(gate)),
        inner_(std::move(inner)) {}
  const ModelDims& dims() const override { return inner_->dims(); }
  std::int64_t bytes() const override { return inner_->bytes(); }
  std::int64_t scratchBytes(const Geometry& g, const ExecutorLimits& l) const override {
    return inner_->scratchBytes(g, l);
  }
  std::unique_ptr<Executor> createExecutor(const Geometry& g, const ExecutorLimits& l, std::int64_t arena) override {
    return std::make_unique<GatedExecutor>(gate_, inner_->createExecutor(g, l, arena), executors_++);
  }
  std::vector<float> readConstant(const std::string& name) const override { return inner_->readConstant(name); }

 private:
  std::shared_ptr<Gate> gate_;
  std::shared_ptr<PreparedModel> inner_;
  int executors_ = 0;
};

class GatedBackend final : public Backend {
 public:
  GatedBackend(std::shared_ptr<Gate> gate, std::unique_ptr<Backend> inner)
      : gate_(std::move(gate)),
        inner_(std::move(inner)) {}
  BackendInfo info() const override {
    BackendInfo info = inner_->info();
    info.partsAhead = gate_->partsAhead;
    info.asynchronous = true;
    return info;
  }
  std::int64_t elementBytes(Storage s, Precision p) const override { return inner_->elementBytes(s, p); }
  std::int64_t preparedBytes(const ModelDims& d, Precision p) const override { return inner_->preparedBytes(d, p); }
  std::shared_ptr<PreparedModel> prepare(const ModelWeights& w, const ModelConstants& c, Precision p,
                                         const LoadProgress& l) override {
    return std::make_shared<GatedModel>(gate_, inner_->prepare(w, c, p, l));
  }

 private:
  std::shared_ptr<Gate> gate_;
  std::unique_ptr<Backend> inner_;
};

// An engine on such a backend, with a clock that the test sets.
struct GatedEngine {
  explicit GatedEngine(int partsAhead = 2, EngineOptions options = {}) : gate(std::make_shared<Gate>()) {
    gate->partsAhead = partsAhead;
    auto backend = std::make_unique<GatedBackend>(gate, CreateReferenceBackend(kWorkers));
    const auto weights = Weights();
    Threads pool(kWorkers);
    const auto model = backend->prepare(*weights, ComputeModelConstants(*weights, pool), Precision::Fp32, {});
    options.clockUs = [now = now] { return now->load(); };
    core = std::make_shared<EngineCore>(std::move(backend), model, Precision::Fp32, std::move(options));
    core->start();
  }
  ~GatedEngine() {
    gate->open = 1 << 30;
    core->close();
  }
  std::shared_ptr<StreamImpl> stream(const std::shared_ptr<Collector>& collector, const StreamOptions& options) {
    auto made = std::make_shared<StreamImpl>(core, options, collector);
    core->add(made);
    return made;
  }
  std::shared_ptr<std::atomic<std::int64_t>> now = std::make_shared<std::atomic<std::int64_t>>(1'000'000);
  std::shared_ptr<Gate> gate;
  std::shared_ptr<EngineCore> core;
};

// A live stream whose deadline never comes.
StreamOptions LiveStream() {
  StreamOptions options = SmallStream();
  options.gatherDeadlineMs = 3'600'000;
  return options;
}

void Until(const std::function<bool()>& condition) {
  for (int i = 0; i < 20000; ++i) {
    if (condition()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw std::runtime_error("waited in vain");
}

TEST("pictures leave one by one, while the rest of their chunk is still at work") {
  GatedEngine engine;
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine.stream(collector, LiveStream());
  PushAll(*stream, 32, 32, 0, 5);
  collector->waitFrames(1);
  Until([&] { return stream->stats().lastChunk.total > 0; });
  // The next chunk's fences: begin, then four pictures and the end of the part, twice.
  const int first = engine.gate->made;
  engine.gate->open = first;
  PushAll(*stream, 32, 32, 5, 8);
  Until([&] { return engine.gate->made == first + 6; });  // two parts are on the device, the third waits
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK_EQUAL(engine.gate->made.load(), first + 6);
  CHECK_EQUAL(collector->frames.size(), 1U);
  for (int picture = 1; picture <= 4; ++picture) {
    engine.gate->open = first + 1 + picture;
    collector->waitFrames(static_cast<std::size_t>(1 + picture));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    CHECK_EQUAL(collector->frames.size(), static_cast<std::size_t>(1 + picture));
  }
  Until([&] { return engine.gate->made == first + 11; });
  engine.gate->open = 1 << 30;
  collector->waitFrames(9);
  for (std::size_t i = 0; i < 9; ++i) CHECK_EQUAL(collector->frames[i].frameIndex, static_cast<std::int64_t>(i));
  CHECK(stream->stats().busyMs > 0);
}

TEST(
    "the oldest picture goes first: a chunk of another stream comes before the second half of a chunk, not before the "
    "first") {
  GatedEngine engine(1);
  engine.gate->open = 0;
  const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
  const auto one = engine.stream(a, LiveStream()), two = engine.stream(b, LiveStream());
  // Both get a frame every 33 ms; the second is 5 ms behind the first.
  for (int i = 0; i < 13; ++i) {
    *engine.now = 1'000'000 + i * 33'000;
    PushAll(*one, 32, 32, i, 1);
    *engine.now += 5'000;
    PushAll(*two, 32, 32, i, 1);
  }
  engine.gate->open = 1 << 30;
  a->waitFrames(9);
  b->waitFrames(9);
  std::vector<std::string> order;
  for (const std::string& line : engine.gate->lines())
    if (!line.ends_with("after")) order.push_back(line);
  // Chunk 0 of each has six latent frames and one picture that is delivered, the oldest there is: A as a whole, then
  // B. Then picture 1 of A (33 ms), of B (38 ms), and only then picture 5 of A (166 ms) and of B.
  std::vector<std::string> expected;
  for (const char* name : {"0", "1"}) {
    expected.push_back(std::string(name) + " begin");
    for (int i = 0; i < 6; ++i) expected.push_back(std::string(name) + " reveal");
  }
  for (const char* line : {"0 begin", "0 reveal", "1 begin", "1 reveal", "0 reveal", "1 reveal"})
    expected.emplace_back(line);
  CHECK_EQUAL(order.size(), expected.size());
  for (std::size_t i = 0; i < order.size(); ++i) CHECK_EQUAL(order[i], expected[i]);
}

TEST("a live stream passes a file, and the file is not starved") {
  GatedEngine engine(1);
  engine.gate->open = 0;
  const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
  const auto file = engine.stream(a, SmallStream()), live = engine.stream(b, LiveStream());
  PushAll(*file, 32, 32, 0, 29);
  Until([&] { return engine.gate->made == 1; });  // the file's first part is on the device
  *engine.now += 1'900'000;
  PushAll(*live, 32, 32, 0, 5);
  engine.gate->open = 1 << 30;
  b->waitFrames(1);
  a->waitFrames(25);
  const std::vector<std::string> order = engine.gate->lines();
  const auto turn = std::find(order.begin(), order.end(), "1 begin");
  CHECK(turn - order.begin() <= 3);  // "0 begin", perhaps "1 after"
  // Live pictures that are more than two seconds younger than the file's wait for the file's chunk.
  engine.gate->open = static_cast<int>(engine.gate->made);
  const auto begun = [&](const char* what) { return std::ranges::count(engine.gate->lines(), what); };
  const auto fileChunks = begun("0 begin");
  PushAll(*live, 32, 32, 5, 8);
  Until([&] { return begun("1 begin") == 2; });  // on the device; what comes next is decided when it is done
  PushAll(*file, 32, 32, 29, 8);
  *engine.now += 10'000'000;
  const auto c = std::make_shared<Collector>();
  const auto late = engine.stream(c, LiveStream());
  PushAll(*late, 32, 32, 0, 5);
  engine.gate->open = 1 << 30;
  c->waitFrames(1);
  const std::vector<std::string> rest = engine.gate->lines();
  CHECK_EQUAL(std::count(rest.begin(), std::find(rest.begin(), rest.end(), "2 begin"), "0 begin"), fileChunks + 1);
}

TEST("parts of different streams run one after the other on the device") {
  GatedEngine engine(8);
  engine.gate->open = 0;
  const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
  const auto one = engine.stream(a, LiveStream()), two = engine.stream(b, LiveStream());
  PushAll(*one, 32, 32, 0, 5);
  PushAll(*two, 32, 32, 0, 5);
  // Seven parts of the first stream's chunk 0, which need no order among themselves, and one of the second's behind
  // them.
  Until([&] { return std::ranges::count(engine.gate->lines(), "1 begin") == 1; });
  const std::vector<std::string> lines = engine.gate->lines();
  CHECK_EQUAL(std::count(lines.begin(), lines.end(), "0 after"), 0);
  CHECK_EQUAL(std::count(lines.begin(), lines.end(), "1 after"), 1);
  engine.gate->open = 1 << 30;
  a->waitFrames(1);
  b->waitFrames(1);
}

TEST("a stream that closes in the middle of a chunk ends after the part at work; its other parts are never issued") {
  GatedEngine engine;
  const auto collector = std::make_shared<Collector>();
  const auto stream = engine.stream(collector, LiveStream());
  engine.gate->open = 0;
  PushAll(*stream, 32, 32, 0, 5);
  Until([&] { return engine.gate->made == 2; });
  stream->close();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK_EQUAL(collector->closedCalls, 0);
  engine.gate->open = 1 << 30;
  collector->waitClosed();
  CHECK_EQUAL(engine.gate->made.load(), 2);
  CHECK_EQUAL(collector->frames.size(), 0U);
}

TEST(
    "a device that hangs ends the engine with one error a stream, and nothing waits for it: neither for its fences nor "
    "in its calls") {
  for (const bool inCall : {false, true}) {
    EngineOptions options;
    options.hangMs = 3000;  // the processor computes inside the calls, and may be busy
    auto engine = std::make_unique<GatedEngine>(2, options);
    const auto gate = engine->gate;
    const auto a = std::make_shared<Collector>(), b = std::make_shared<Collector>();
    a->keep = true;
    auto one = engine->stream(a, LiveStream()), two = engine->stream(b, LiveStream());
    PushAll(*one, 32, 32, 0, 5);
    a->waitFrames(1);
    if (inCall) gate->block = true;
    else gate->open = static_cast<int>(gate->made);
    PushAll(*one, 32, 32, 5, 8);
    a->waitClosed();
    b->waitClosed();
    for (const auto& collector : {a, b}) {
      CHECK_EQUAL(collector->errors.size(), 1U);
      CHECK_EQUAL(std::string(collector->errors[0].code()), std::string("engine.failed"));
      CHECK(collector->errors[0].scope() == ErrorScope::Engine);
      CHECK(collector->errors[0].message().find("hangs") != std::string::npos);
    }
    CHECK_THROWS(engine->core->add(two), "engine.failed");
    // Everything can be let go of while the fences are still shut; what the device may still use stays.
    one.reset();
    two.reset();
    engine->core->close();
    CHECK_EQUAL(a->held.size(), 1U);
    a->held.clear();
    // A device that wakes up again finds no stream, and nothing breaks.
    gate->open = 1 << 30;
    gate->block = false;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK_EQUAL(a->frames.size(), 1U);
  }
}

TEST(
    "warm-up: the first stream takes its memory over and gives the same pictures; another size and no room are no "
    "trouble") {
  const auto run = [](Engine& engine, const StreamOptions& options) {
    const auto collector = std::make_shared<Collector>();
    const auto stream = engine.createStream(options, collector);
    PushAll(*stream, options.sourceWidth, options.sourceHeight, 0, 14);
    stream->flush();
    collector->waitFlushes(1);
    return collector->frames;
  };
  const auto same = [](const auto& a, const auto& b) {
    CHECK_EQUAL(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i].bytes == b[i].bytes);
  };
  StreamOptions wide = SmallStream();
  wide.sourceWidth = 64;
  const auto cold = OpenEngine();
  CHECK(!cold->info().warm);
  const auto expected = run(*cold, SmallStream()), expectedWide = run(*cold, wide);
  EngineOptions options;
  options.device = "reference";
  options.threads = kWorkers;
  options.warmUp = std::make_shared<const StreamOptions>(SmallStream());
  for (const bool wideFirst : {false, true}) {
    const auto engine = Engine::Open(Weights(), options);
    CHECK(engine->info().warm);
    if (wideFirst) same(run(*engine, wide), expectedWide);
    same(run(*engine, SmallStream()), expected);
    if (!wideFirst) same(run(*engine, wide), expectedWide);
  }
  StreamOptions huge = SmallStream();
  huge.outputWidth = huge.outputHeight = 8192;
  huge.settings.topkRatio = 1e-3;
  huge.settings.kvRatio = 16;
  options.warmUp = std::make_shared<const StreamOptions>(huge);
  const auto engine = Engine::Open(Weights(), options);
  CHECK(!engine->info().warm);
  same(run(*engine, SmallStream()), expected);
  StreamOptions bad = SmallStream();
  bad.scale = -1;
  options.warmUp = std::make_shared<const StreamOptions>(bad);
  CHECK_THROWS(Engine::Open(Weights(), options), "engine.settings");
}

}  // namespace
}  // namespace flashvsr::test
