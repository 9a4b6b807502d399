#include "addon/engine_object.h"

#include <utility>

#include "addon/addon_data.h"
#include "addon/errors.h"
#include "addon/options.h"
#include "addon/stream_object.h"

namespace flashvsr::addon {

Napi::Function EngineObject::Define(Napi::Env env) {
  return DefineClass(
      env, "NativeEngine",
      {InstanceMethod<&EngineObject::Info>("info"), InstanceMethod<&EngineObject::Plan>("plan"),
       InstanceMethod<&EngineObject::OpenStream>("openStream"), InstanceMethod<&EngineObject::Close>("close")});
}

Napi::Value EngineObject::Open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&] {
    const ModelLocation model = ReadModelLocation(info[0].As<Napi::Object>());
    const EngineOptions options = ReadEngineOptions(info[1].As<Napi::Object>());
    const OpenProgress progress = ProgressTo(env, info[2]);
    return RunAsync(env, [model, options, progress]() -> MakeValue {
      auto lease = EngineLease::Acquire(model, options, progress);
      return [lease](Napi::Env job) -> Napi::Value {
        Napi::Object object = AddonData::Of(job).engineConstructor.New({});
        Unwrap(object)->lease_ = lease;
        return object;
      };
    });
  });
}

EngineObject::EngineObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<EngineObject>(info),
      dispatcher_(AddonData::Of(info.Env()).dispatcher),
      closer_(dispatcher_->addCloser([this] { lease_.reset(); })) {}

EngineObject::~EngineObject() { dispatcher_->removeCloser(closer_); }

std::shared_ptr<EngineLease> EngineObject::lease(Napi::Env env) const {
  if (!lease_) throw ToJs(env, Error("engine.failed", ErrorScope::Stream, "the engine was closed"));
  return lease_;
}

Napi::Value EngineObject::Info(const Napi::CallbackInfo& info) {
  return EngineInfoObject(info.Env(), lease(info.Env())->engine().info());
}

Napi::Value EngineObject::Plan(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&] {
    const StreamOptions options = ReadStreamOptions(info[0].As<Napi::Object>());
    return RunAsync(env, [engine = lease(env), options]() -> MakeValue {
      const MemoryPlan plan = engine->engine().plan(options);
      return [plan](Napi::Env job) -> Napi::Value { return PlanObject(job, plan); };
    });
  });
}

Napi::Value EngineObject::OpenStream(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&] {
    return StreamObject::Open(env, lease(env), ReadStreamOptions(info[0].As<Napi::Object>()),
                              info[1].As<Napi::Object>());
  });
}

Napi::Value EngineObject::Close(const Napi::CallbackInfo& info) {
  return RunAsync(info.Env(), [lease = std::move(lease_)]() mutable -> MakeValue {
    lease.reset();
    WaitForClosedEngines();
    return [](Napi::Env job) -> Napi::Value { return job.Undefined(); };
  });
}

}  // namespace flashvsr::addon
