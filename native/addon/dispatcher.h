// Posts jobs from native threads to one JavaScript thread (one Node environment: the main thread or a worker). The
// object outlives the environment; after the environment has ended, post() returns false.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace flashvsr::addon {

class Dispatcher : public std::enable_shared_from_this<Dispatcher> {
 public:
  using Job = std::function<void(Napi::Env)>;

  // JS thread. Registers the environment's cleanup hook, which runs the closers, waits for the threads of run() and
  // then calls `ended`.
  static std::shared_ptr<Dispatcher> Create(Napi::Env env, std::function<void()> ended);

  // Any thread. The job runs on the JS thread, in order, inside a callback scope. False when the environment is gone or
  // going: the job is destroyed unrun, on the calling thread, so it must not own JavaScript references.
  bool post(Job job);
  // Any thread: the environment is ending; long work should stop.
  bool ending() const { return ending_.load(std::memory_order_relaxed); }

  // JS thread. While anything is held, the event loop stays alive.
  void hold();
  void letGo();

  // JS thread. Runs `work` on a new thread and then the job it returns on the JS thread. The environment's end waits
  // for `work`, which should watch ending(). Not libuv's pool: opening weights or closing an engine takes seconds, the
  // pool has four threads by default, and Node's own file and DNS calls would wait behind them. Such calls are rare, so
  // a thread each costs nothing.
  void run(std::function<Job()> work);

  // JS thread. `closer` runs when the environment ends before it was removed: what is still open closes then.
  std::uint64_t addCloser(std::function<void()> closer);
  void removeCloser(std::uint64_t id);

 private:
  Dispatcher() = default;
  static void CallJs(napi_env env, napi_value callback, void* context, void* data);
  static void OnEnvironmentEnd(void* self);
  void end();

  // Guards function_ against use after the environment freed it: Node does not protect threads that call late.
  std::mutex mutex_;
  napi_threadsafe_function function_ = nullptr;
  std::atomic<bool> ending_{false};

  // JS thread only.
  napi_env env_ = nullptr;
  int held_ = 0;
  std::uint64_t nextId_ = 1;
  std::map<std::uint64_t, std::thread> threads_;
  std::map<std::uint64_t, std::function<void()>> closers_;
  std::function<void()> ended_;
};

}  // namespace flashvsr::addon
