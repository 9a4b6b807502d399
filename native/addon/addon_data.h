// What one Node environment has of the addon: its way back, its constructors, its open streams.
#pragma once

#include <napi.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "addon/dispatcher.h"

namespace flashvsr::addon {

class StreamObject;

struct AddonData {
  std::shared_ptr<Dispatcher> dispatcher;
  Napi::FunctionReference engineConstructor;
  Napi::FunctionReference streamConstructor;
  // Events name their stream by number: an object may be gone when its last events arrive. Shared with the objects,
  // which may outlive this struct while the environment ends.
  std::shared_ptr<std::map<std::uint64_t, StreamObject*>> streams =
      std::make_shared<std::map<std::uint64_t, StreamObject*>>();
  std::uint64_t nextStream = 1;

  static AddonData& Of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }
};

// A promise for what `work` returns. `work` runs on a new thread and touches nothing of JavaScript; the function
// it returns makes the value, on the JS thread. Native exceptions of either reject the promise.
using MakeValue = std::function<Napi::Value(Napi::Env)>;
Napi::Promise RunAsync(Napi::Env env, std::function<MakeValue()> work);

// Calls `callback` (which may be undefined) with (step, done, total), at most 20 times a second and once at every
// step's end; for use on any thread. Answers false when the environment is ending, so that the work gives up.
std::function<bool(std::string_view, std::uint64_t, std::uint64_t)> ProgressTo(Napi::Env env,
                                                                               const Napi::Value& callback);

}  // namespace flashvsr::addon
