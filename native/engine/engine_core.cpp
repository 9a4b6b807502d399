#include "engine/engine_core.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "engine/constants.h"
#include "engine/device.h"
#include "engine/stream_impl.h"
#include "engine/stream_plan.h"
#include "engine/warm_up.h"

namespace flashvsr {
namespace {

// Anything thrown on the engine's thread as an Error.
Error AsError(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("engine.memory", ErrorScope::Stream, "The machine is out of memory.",
                 "Use a smaller output size or fewer streams.");
  } catch (const std::exception& error) {
    return Error("internal", ErrorScope::Stream, error.what());
  }
}

class EngineHandle final : public Engine {
 public:
  explicit EngineHandle(std::shared_ptr<EngineCore> core) : core_(std::move(core)) {}
  ~EngineHandle() override { core_->close(); }

  const EngineInfo& info() const override { return core_->info(); }
  MemoryPlan plan(const StreamOptions& options) const override {
    CheckOptions(options);
    RequireDecoder(options.decoder, *core_->model(), core_->backend().info().device);
    MemoryPlan plan = Network::Plan(core_->backend(), *core_->model(), core_->precision(), NetworkOptionsOf(options));
    plan.firstChunkFrames = options.coldStartFrames;
    if (const std::int64_t spare = core_->spareBytes(); spare > 0) {
      plan.availableBytes += spare;
      plan.fits = plan.streamBytes <= plan.availableBytes;
      if (plan.fits) plan.message.clear();
    }
    return plan;
  }
  std::shared_ptr<Stream> createStream(const StreamOptions& options,
                                       std::shared_ptr<StreamListener> listener) override {
    const MemoryPlan needed = plan(options);
    if (!needed.fits) {
      const auto smaller = LargestThatFits(options, [this](const StreamOptions& other) { return plan(other).fits; });
      throw Error(
          "engine.memory", ErrorScope::Stream, needed.message,
          (smaller ? std::to_string(smaller->first) + "x" + std::to_string(smaller->second) + " fits now; use it"
                   : std::string("Use a smaller output size")) +
              ", fewer streams or a GPU with more memory.");
    }
    auto stream = std::make_shared<StreamImpl>(core_, options, std::move(listener));
    core_->add(stream);
    return stream;
  }
  void close() override { core_->close(); }

 private:
  std::shared_ptr<EngineCore> core_;
};

}  // namespace

std::shared_ptr<Engine> Engine::Open(std::shared_ptr<const ModelWeights> weights, EngineOptions options) {
  std::unique_ptr<Backend> backend =
      OpenBackend(options.device, options.deviceIndex, options.threads, options.cudaLibraryPath);
  const BackendInfo info = backend->info();
  const Precision precision = options.precision.value_or(DefaultPrecision(info.device));
  const std::int64_t needed = backend->preparedBytes(weights->dims(), precision);
  if (info.freeBytes > 0 && needed > info.freeBytes) {
    const std::int64_t inInt8 = backend->preparedBytes(weights->dims(), Precision::Int8);
    throw Error("engine.memory", ErrorScope::Engine,
                "The weights need " + std::to_string(needed >> 20) + " MiB and " +
                    std::to_string(info.freeBytes >> 20) + " MiB are free on " + info.deviceName + ".",
                "Free memory on the device or choose another one" +
                    (inInt8 < needed && inInt8 <= info.freeBytes
                         ? ", or precision int8, whose weights need " + std::to_string(inInt8 >> 20) + " MiB."
                         : std::string(".")));
  }
  std::shared_ptr<PreparedModel> model;
  {
    Threads threads(options.threads);
    const ModelConstants constants = ComputeModelConstants(*weights, threads);
    model = backend->prepare(*weights, constants, precision, options.progress);
  }
  auto core = std::make_shared<EngineCore>(std::move(backend), std::move(model), precision, std::move(options));
  core->start();
  return std::make_shared<EngineHandle>(std::move(core));
}

// Out of line: here the network is a whole type.
EngineCore::~EngineCore() = default;

std::unique_ptr<Network> EngineCore::takeSpare() {
  const std::lock_guard lock(mutex_);
  return std::move(spare_);
}

std::int64_t EngineCore::spareBytes() const {
  const std::lock_guard lock(mutex_);
  return spare_ ? Network::Plan(*backend_, *model_, precision_, spare_->options()).streamBytes : 0;
}

EngineCore::EngineCore(std::unique_ptr<Backend> backend, std::shared_ptr<PreparedModel> model, Precision precision,
                       EngineOptions options)
    : backend_(std::move(backend)),
      model_(std::move(model)),
      precision_(precision),
      options_(std::move(options)) {
  const BackendInfo info = backend_->info();
  info_.device = info.device;
  info_.deviceName = info.deviceName;
  info_.precision = precision_;
  info_.dims = model_->dims();
  info_.weightBytes = model_->bytes();
  partsAhead_ = std::max(1, info.partsAhead);
  asynchronous_ = info.asynchronous;
  if (options_.warmUp) spare_ = WarmUp(*backend_, model_, precision_, *options_.warmUp, info_.warmChunkMs);
  info_.warm = spare_ != nullptr;
}

std::int64_t EngineCore::SteadyUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void EngineCore::start() {
  thread_ = std::thread([self = shared_from_this()] {
    self->loop();
    const std::lock_guard lock(self->mutex_);
    self->ended_ = true;
    self->changed_.notify_all();
    self->watchdogWakes_.notify_all();
  });
  if (asynchronous_ && options_.hangMs > 0) watchdog_ = std::thread([self = shared_from_this()] { self->watch(); });
}

void EngineCore::close() {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    streams = streams_;
  }
  for (const auto& stream : streams) stream->close();
  takeSpare().reset();
  signal();
  // One closer joins; the engine's own thread cannot join itself and ends soon after.
  const std::lock_guard lock(join_);
  if (!thread_.joinable()) return;
  const auto self = std::this_thread::get_id();
  if (thread_.get_id() == self || watchdog_.get_id() == self) {
    thread_.detach();
    if (watchdog_.joinable()) watchdog_.detach();
    return;
  }
  {
    std::unique_lock ended(mutex_);
    changed_.wait(ended, [&] { return ended_; });
  }
  if (atWork_ == AtWork::GivenUp) {
    thread_.detach();  // inside a call that does not return
  } else {
    thread_.join();
  }
  if (watchdog_.joinable()) watchdog_.join();
}

void EngineCore::backFromDevice() {
  AtWork expected = AtWork::Yes;
  if (atWork_.compare_exchange_strong(expected, AtWork::No)) return;
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// A separate thread: a device that hangs can keep the engine's thread inside a call as well.
void EngineCore::watch() {
  std::unique_lock lock(mutex_);
  while (!ended_) {
    watchdogWakes_.wait_for(lock, std::chrono::milliseconds(std::max<std::int64_t>(options_.hangMs / 8, 1)),
                            [&] { return ended_; });
    AtWork expected = AtWork::Yes;
    if (ended_ || atWork_ != AtWork::Yes || SteadyUs() - workingSinceUs_ <= options_.hangMs * 1000) continue;
    if (!atWork_.compare_exchange_strong(expected, AtWork::GivenUp)) continue;
    lock.unlock();
    fail(hangError(), true);
    lock.lock();
    ended_ = true;
    changed_.notify_all();
  }
}

Error EngineCore::hangError() const {
  return Error("engine.failed", ErrorScope::Engine,
               "The device has not finished a part of a chunk for " + std::to_string(options_.hangMs / 1000) +
                   " s: " + info_.deviceName + " hangs.",
               "Restart the process; if it comes back, report it with the log and the driver's version.");
}

void EngineCore::add(std::shared_ptr<StreamImpl> stream) {
  {
    const std::lock_guard lock(mutex_);
    if (dead_) throw *dead_;
    if (closing_) throw Error("engine.closed", ErrorScope::Engine, "The engine is closed.");
    streams_.push_back(std::move(stream));
    ++signals_;
  }
  changed_.notify_all();
}

void EngineCore::signal() {
  {
    const std::lock_guard lock(mutex_);
    ++signals_;
  }
  changed_.notify_all();
}

void EngineCore::loop() {
  for (;;) {
    std::uint64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      seen = signals_;
      if (closing_ && streams_.empty() && onDevice_.empty()) return;
    }
    if (deliver()) continue;
    std::optional<std::int64_t> wakeUs;
    if (static_cast<int>(onDevice_.size()) < partsAhead_ && issueOne(wakeUs)) continue;
    std::unique_lock lock(mutex_);
    const auto changed = [&] { return signals_ != seen; };
    if (!onDevice_.empty()) {
      // No fence is waited for: there may be pictures of several streams, another chunk may get ready, and a kernel
      // that hangs must not take this thread along.
      changed_.wait_for(lock, std::chrono::microseconds(250), changed);
      lock.unlock();
      if (hangs()) fail(hangError(), true);
    } else if (!wakeUs) {
      changed_.wait(lock, changed);
    } else if (options_.clockUs) {
      changed_.wait_for(lock, std::chrono::milliseconds(1), changed);  // a clock set by a test: look often
    } else {
      changed_.wait_for(lock, std::chrono::microseconds(std::max<std::int64_t>(*wakeUs - nowUs(), 0) + 1), changed);
    }
  }
}

bool EngineCore::hangs() const {
  return options_.hangMs > 0 && !onDevice_.empty() && SteadyUs() - frontSinceUs_ > options_.hangMs * 1000 &&
         !onDevice_.front().fence->done();
}

// The most urgent piece of work of all streams; among equals the streams take turns.
bool EngineCore::issueOne(std::optional<std::int64_t>& wakeUs) {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    streams = streams_;
  }
  const std::int64_t now = nowUs();
  StreamImpl::Turn turn;
  std::shared_ptr<StreamImpl> stream;
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const std::size_t index = (next_ + i) % streams.size();
    const StreamImpl::Turn candidate = streams[index]->poll(now, wakeUs);
    if (candidate.work == StreamImpl::Work::None || (stream && candidate.dueUs >= turn.dueUs)) continue;
    turn = candidate;
    stream = streams[index];
    chosen = index;
  }
  if (!stream) return false;
  next_ = chosen + 1;
  try {
    if (turn.work == StreamImpl::Work::Chunk || turn.work == StreamImpl::Work::Reveal) {
      // Parts of different streams run one after the other: overlapping them gains 0.4 %
      // (docs/flashvsr-engine.md) and take away that the most urgent picture comes first.
      const bool behind = !onDevice_.empty() && onDevice_.back().stream != stream;
      const Fence* const fence = stream->submit(turn.work, behind ? onDevice_.back().fence : nullptr);
      onDevice_.push_back({stream, fence});
      if (onDevice_.size() == 1) frontSinceUs_ = SteadyUs();
    } else if (turn.work == StreamImpl::Work::Marker) {
      stream->passMarker();
    } else {
      end(stream, nullptr);
    }
  } catch (...) {
    const Error error = AsError(std::current_exception());
    if (error.scope() == ErrorScope::Engine) {
      fail(error);
    } else {
      end(stream, &error);
    }
  }
  return true;
}

// Delivers what is done. @returns true when a part is over: there may be room for another.
bool EngineCore::deliver() {
  for (auto part = onDevice_.begin(); part != onDevice_.end(); ++part) {
    const auto same = [&](const Part& earlier) { return earlier.stream == part->stream; };
    if (std::any_of(onDevice_.begin(), part, same)) continue;  // a stream's pictures come in order
    const std::shared_ptr<StreamImpl> stream = part->stream;
    try {
      if (!stream->deliver()) continue;
      onDevice_.erase(part);
      frontSinceUs_ = SteadyUs();
    } catch (...) {
      const Error error = AsError(std::current_exception());
      if (error.scope() == ErrorScope::Engine) {
        fail(error);
      } else {
        end(stream, &error);
      }
    }
    return true;
  }
  return false;
}

void EngineCore::end(const std::shared_ptr<StreamImpl>& stream, const Error* error) {
  {
    const std::lock_guard lock(mutex_);
    std::erase(streams_, stream);
  }
  stream->finish(error);
  std::erase_if(onDevice_, [&](const Part& part) { return part.stream == stream; });
  frontSinceUs_ = SteadyUs();
}

// The device is gone: one error and the end for every stream, and for all that come after.
void EngineCore::fail(const Error& error, bool hangs) {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    dead_ = error;
    streams.swap(streams_);
  }
  onDevice_.clear();
  // Never freed, like what the streams leave behind: giving it back would wait for the device.
  if (hangs) new std::shared_ptr<EngineCore>(shared_from_this());
  for (const auto& stream : streams) stream->finish(&error, hangs);
}

}  // namespace flashvsr
