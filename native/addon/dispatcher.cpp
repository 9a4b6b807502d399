#include "addon/dispatcher.h"

#include <utility>

namespace flashvsr::addon {

namespace {

// The environment's end needs the dispatcher alive although all other owners may have released it.
using Self = std::shared_ptr<Dispatcher>;

void Require(napi_status status, napi_env env) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

}  // namespace

std::shared_ptr<Dispatcher> Dispatcher::Create(Napi::Env env, std::function<void()> ended) {
  std::shared_ptr<Dispatcher> dispatcher(new Dispatcher());
  dispatcher->ended_ = std::move(ended);
  dispatcher->env_ = env;
  const Napi::String name = Napi::String::New(env, "flashvsr");
  Require(napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, CallJs,
                                          &dispatcher->function_),
          env);
  Require(napi_unref_threadsafe_function(env, dispatcher->function_), env);
  // Hooks run last in, first out: this one, added after the function's own, still finds the function alive.
  Require(napi_add_env_cleanup_hook(env, OnEnvironmentEnd, new Self(dispatcher)), env);
  return dispatcher;
}

void Dispatcher::CallJs(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Job> job(static_cast<Job*>(data));
  if (env == nullptr) return;  // the environment ended with this job in the queue
  const Napi::HandleScope scope(env);
  try {
    (*job)(Napi::Env(env));
  } catch (const Napi::Error& error) {
    // A listener threw: that is the program's uncaught exception, as from any event callback.
    napi_fatal_exception(env, error.Value());
  }
}

bool Dispatcher::post(Job job) {
  auto owned = std::make_unique<Job>(std::move(job));
  const std::lock_guard lock(mutex_);
  if (function_ == nullptr) return false;
  // The queue needs no limit: the engine's output queues bound what is posted.
  if (napi_call_threadsafe_function(function_, owned.get(), napi_tsfn_nonblocking) != napi_ok) return false;
  owned.release();
  return true;
}

void Dispatcher::hold() {
  if (held_++ == 0 && !ending()) napi_ref_threadsafe_function(env_, function_);
}

void Dispatcher::letGo() {
  if (--held_ == 0 && !ending()) napi_unref_threadsafe_function(env_, function_);
}

void Dispatcher::run(std::function<Job()> work) {
  const std::uint64_t id = nextId_++;
  hold();
  threads_[id] = std::thread([self = shared_from_this(), id, work = std::move(work)]() mutable {
    Job job = work();
    work = nullptr;  // what it owns is released before the promise settles
    self->post([self = std::weak_ptr<Dispatcher>(self), id, job = std::move(job)](Napi::Env env) {
      if (const auto dispatcher = self.lock()) {
        dispatcher->threads_.at(id).join();  // it is past its last statement
        dispatcher->threads_.erase(id);
        dispatcher->letGo();
      }
      job(env);
    });
  });
}

std::uint64_t Dispatcher::addCloser(std::function<void()> closer) {
  const std::uint64_t id = nextId_++;
  closers_.emplace(id, std::move(closer));
  return id;
}

void Dispatcher::removeCloser(std::uint64_t id) { closers_.erase(id); }

void Dispatcher::OnEnvironmentEnd(void* self) {
  const std::unique_ptr<Self> owned(static_cast<Self*>(self));
  (*owned)->end();
}

void Dispatcher::end() {
  ending_ = true;
  {
    const std::lock_guard lock(mutex_);
    function_ = nullptr;  // Node frees it right after this hook; from here on post() answers false
  }
  for (const auto& [id, closer] : std::exchange(closers_, {})) closer();
  for (auto& [id, thread] : threads_) thread.join();
  threads_.clear();
  if (ended_) ended_();
}

}  // namespace flashvsr::addon
