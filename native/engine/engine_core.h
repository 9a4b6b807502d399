// The engine behind its face: the device, the weights and the one thread that issues parts of chunks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "engine/engine.h"

namespace flashvsr {

class Network;
class StreamImpl;

// Shared by the engine's handle, its thread and its streams; the thread ends when close() was called and the last
// stream has had its onClosed.
class EngineCore : public std::enable_shared_from_this<EngineCore> {
 public:
  EngineCore(std::unique_ptr<Backend> backend, std::shared_ptr<PreparedModel> model, Precision precision,
             EngineOptions options);
  ~EngineCore();

  void start();
  void close();

  const EngineInfo& info() const { return info_; }
  const Backend& backend() const { return *backend_; }
  const std::shared_ptr<PreparedModel>& model() const { return model_; }
  Precision precision() const { return precision_; }
  std::int64_t nowUs() const { return options_.clockUs ? options_.clockUs() : SteadyUs(); }
  static std::int64_t SteadyUs();

  // The network that warmed up, once: for the first stream of its size, or to be freed before another's memory is
  // taken.
  std::unique_ptr<Network> takeSpare();
  // Bytes on the device that takeSpare() would bring back.
  std::int64_t spareBytes() const;
  // Throws the engine's error when it is dead or closed.
  void add(std::shared_ptr<StreamImpl> stream);
  // The engine's thread: runs `call`, which may block when the device hangs (its queue is full, a kernel must be
  // loaded). If the watchdog has given the engine up meanwhile, this never returns: nothing that belongs to the streams
  // may be touched any more.
  template <typename Call>
  void onDevice(const Call& call) {
    workingSinceUs_ = SteadyUs();
    atWork_ = AtWork::Yes;
    try {
      call();
    } catch (...) {
      backFromDevice();
      throw;
    }
    backFromDevice();
  }
  // Something changed that the thread should look at. Any thread, no locks held that the thread may want.
  void signal();

 private:
  enum class AtWork { No, Yes, GivenUp };

  void loop();
  void watch();
  void backFromDevice();
  Error hangError() const;
  bool issueOne(std::optional<std::int64_t>& wakeUs);
  bool deliver();
  bool hangs() const;
  void fail(const Error& error, bool hangs = false);
  // Takes the stream out and ends it; `error` may be null.
  void end(const std::shared_ptr<StreamImpl>& stream, const Error* error);

  std::unique_ptr<Backend> backend_;
  std::shared_ptr<PreparedModel> model_;
  Precision precision_;
  EngineOptions options_;
  EngineInfo info_;
  int partsAhead_ = 1;
  bool asynchronous_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_, watchdogWakes_;
  std::uint64_t signals_ = 0;
  bool closing_ = false;
  bool ended_ = false;  // the engine's thread will touch nothing any more
  std::optional<Error> dead_;
  std::vector<std::shared_ptr<StreamImpl>> streams_;
  std::unique_ptr<Network> spare_;

  // The engine's thread only.
  struct Part {
    std::shared_ptr<StreamImpl> stream;  // which knows more
    const Fence* fence;                  // valid while the part is here
  };
  std::deque<Part> onDevice_;      // in the order of submission
  std::int64_t frontSinceUs_ = 0;  // since when the oldest of them is the oldest
  std::size_t next_ = 0;

  // The engine's thread is inside a call to the device, and since when; given up: it will never come back.
  std::atomic<AtWork> atWork_{AtWork::No};
  std::atomic<std::int64_t> workingSinceUs_{0};

  std::thread thread_, watchdog_;
  std::mutex join_;
};

}  // namespace flashvsr
