#include <chrono>
#include <string>
#include <utility>

#include "addon/addon_data.h"
#include "addon/errors.h"

namespace flashvsr::addon {

Napi::Promise RunAsync(Napi::Env env, std::function<MakeValue()> work) {
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  AddonData::Of(env).dispatcher->run([deferred, work = std::move(work)]() -> Dispatcher::Job {
    std::shared_ptr<Error> failure;
    MakeValue make;
    try {
      make = work();
    } catch (...) {
      failure = std::make_shared<Error>(ToNative(std::current_exception()));
    }
    return [deferred, failure, make = std::move(make)](Napi::Env job) {
      if (failure) return deferred->Reject(ToJs(job, *failure).Value());
      try {
        deferred->Resolve(make(job));
      } catch (const Napi::Error& error) {
        deferred->Reject(error.Value());
      } catch (...) {
        deferred->Reject(ToJs(job, ToNative(std::current_exception())).Value());
      }
    };
  });
  return deferred->Promise();
}

std::function<bool(std::string_view, std::uint64_t, std::uint64_t)> ProgressTo(Napi::Env env,
                                                                               const Napi::Value& callback) {
  using Clock = std::chrono::steady_clock;
  static constexpr auto kInterval = std::chrono::milliseconds(50);
  const auto dispatcher = AddonData::Of(env).dispatcher;
  if (!callback.IsFunction()) {
    return [dispatcher](std::string_view, std::uint64_t, std::uint64_t) { return !dispatcher->ending(); };
  }
  // Destroyed on the JS thread, or when the environment has ended, where a reference must not be deleted any more.
  const std::shared_ptr<Napi::FunctionReference> function(
      new Napi::FunctionReference(Napi::Persistent(callback.As<Napi::Function>())),
      [dispatcher](Napi::FunctionReference* reference) {
        if (!dispatcher->post([reference](Napi::Env) { delete reference; })) reference->SuppressDestruct();
      });
  struct Reported {
    Clock::time_point at;
    std::string step;
  };
  const auto reported = std::make_shared<Reported>();
  return [dispatcher, function, reported](std::string_view step, std::uint64_t done, std::uint64_t total) {
    const auto now = Clock::now();
    if (done == total || step != reported->step || now - reported->at >= kInterval) {
      reported->at = now;
      reported->step = step;
      dispatcher->post([function, step = std::string(step), done, total](Napi::Env job) {
        function->Call({Napi::String::New(job, step), Napi::Number::New(job, static_cast<double>(done)),
                        Napi::Number::New(job, static_cast<double>(total))});
      });
    }
    return !dispatcher->ending();
  };
}

}  // namespace flashvsr::addon
