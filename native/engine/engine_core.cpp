#include "engine/engine_core.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "engine/constants.h"
#include "engine/device.h"
#include "engine/stream_impl.h"
#include "engine/stream_plan.h"

namespace flashvsr {
namespace {

// Anything thrown on the engine's thread as an Error.
Error AsError(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error("engine.memory", ErrorScope::Stream, "The machine is out of memory.", "Use a smaller output size or fewer streams.");
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
    MemoryPlan plan = Network::Plan(core_->backend(), *core_->model(), core_->precision(), NetworkOptionsOf(options));
    plan.firstChunkFrames = options.coldStartFrames;
    return plan;
  }
  std::shared_ptr<Stream> createStream(const StreamOptions& options, std::shared_ptr<StreamListener> listener) override {
    const MemoryPlan needed = plan(options);
    if (!needed.fits)
      throw Error("engine.memory", ErrorScope::Stream, needed.message, "Use a smaller output size, fewer streams or a GPU with more memory.");
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
  std::unique_ptr<Backend> backend = OpenBackend(options.device, options.deviceIndex, options.threads, options.cudaLibraryPath);
  const BackendInfo info = backend->info();
  const Precision precision = options.precision.value_or(DefaultPrecision(info.device));
  const std::int64_t needed = backend->preparedBytes(weights->dims(), precision);
  if (info.freeBytes > 0 && needed > info.freeBytes)
    throw Error("engine.memory", ErrorScope::Engine,
                "The weights need " + std::to_string(needed >> 20) + " MiB and " + std::to_string(info.freeBytes >> 20) + " MiB are free on " +
                    info.deviceName + ".",
                "Free memory on the device or choose another one.");
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

EngineCore::EngineCore(std::unique_ptr<Backend> backend, std::shared_ptr<PreparedModel> model, Precision precision, EngineOptions options)
    : backend_(std::move(backend)), model_(std::move(model)), precision_(precision), options_(std::move(options)) {
  const BackendInfo info = backend_->info();
  info_.device = info.device;
  info_.deviceName = info.deviceName;
  info_.precision = precision_;
  info_.dims = model_->dims();
  info_.weightBytes = model_->bytes();
  concurrentChunks_ = std::max(1, info.concurrentChunks);
}

std::int64_t EngineCore::SteadyUs() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void EngineCore::start() {
  thread_ = std::thread([self = shared_from_this()] { self->loop(); });
}

void EngineCore::close() {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    streams = streams_;
  }
  for (const auto& stream : streams) stream->close();
  signal();
  // One closer joins; on the engine's own thread nobody can, and the thread ends by itself soon after.
  const std::lock_guard lock(join_);
  if (!thread_.joinable()) return;
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
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
      if (closing_ && streams_.empty() && inFlight_.empty()) return;
    }
    std::optional<std::int64_t> wakeUs;
    if (static_cast<int>(inFlight_.size()) < concurrentChunks_ && issueOne(wakeUs)) continue;
    if (!inFlight_.empty()) {
      // While there is room on the device another stream may get ready first: do not sleep past that.
      if (static_cast<int>(inFlight_.size()) < concurrentChunks_ && !inFlight_.front()->oldestDone()) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::microseconds(500), [&] { return signals_ != seen; });
        continue;
      }
      finishOldest();
      continue;
    }
    std::unique_lock lock(mutex_);
    const auto changed = [&] { return signals_ != seen; };
    if (!wakeUs) {
      changed_.wait(lock, changed);
    } else if (options_.clockUs) {
      changed_.wait_for(lock, std::chrono::milliseconds(1), changed);  // somebody else's clock: look often
    } else {
      changed_.wait_for(lock, std::chrono::microseconds(std::max<std::int64_t>(*wakeUs - nowUs(), 0) + 1), changed);
    }
  }
}

// One piece of work for the next stream in turn that has any.
bool EngineCore::issueOne(std::optional<std::int64_t>& wakeUs) {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    streams = streams_;
  }
  const std::int64_t now = nowUs();
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const std::size_t index = (next_ + i) % streams.size();
    const std::shared_ptr<StreamImpl>& stream = streams[index];
    const StreamImpl::Work work = stream->poll(now, wakeUs);
    if (work == StreamImpl::Work::None) continue;
    next_ = index + 1;
    std::optional<Error> failure;
    try {
      if (work == StreamImpl::Work::Chunk) {
        stream->submit();
        inFlight_.push_back(stream);
      } else if (work == StreamImpl::Work::Marker) {
        stream->passMarker();
      }
    } catch (...) {
      failure = AsError(std::current_exception());
    }
    if (failure && failure->scope() == ErrorScope::Engine) {
      fail(*failure);
      return true;
    }
    if (work == StreamImpl::Work::Close || failure) {
      {
        const std::lock_guard lock(mutex_);
        std::erase(streams_, stream);
      }
      std::erase(inFlight_, stream);
      stream->finish(failure ? &*failure : nullptr);
    }
    return true;
  }
  return false;
}

void EngineCore::finishOldest() {
  const std::shared_ptr<StreamImpl> stream = inFlight_.front();
  inFlight_.pop_front();
  try {
    stream->deliver();
  } catch (...) {
    const Error error = AsError(std::current_exception());
    if (error.scope() == ErrorScope::Engine) return fail(error);
    {
      const std::lock_guard lock(mutex_);
      std::erase(streams_, stream);
    }
    std::erase(inFlight_, stream);
    stream->finish(&error);
  }
}

// The device is gone: one error and the end for every stream, and for all that come after.
void EngineCore::fail(const Error& error) {
  std::vector<std::shared_ptr<StreamImpl>> streams;
  {
    const std::lock_guard lock(mutex_);
    dead_ = error;
    streams.swap(streams_);
  }
  inFlight_.clear();
  for (const auto& stream : streams) stream->finish(&error);
}

}  // namespace flashvsr
