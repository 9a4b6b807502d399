// A handle on a shared engine in JavaScript.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>

#include "addon/dispatcher.h"
#include "addon/shared_engine.h"

namespace flashvsr::addon {

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // openEngine(model, options, onProgress?) -> Promise<NativeEngine>
  static Napi::Value Open(const Napi::CallbackInfo& info);

  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  Napi::Value Info(const Napi::CallbackInfo& info);
  // plan(streamOptions) -> Promise<plan>
  Napi::Value Plan(const Napi::CallbackInfo& info);
  // openStream(streamOptions, callbacks) -> Promise<NativeStream>
  Napi::Value OpenStream(const Napi::CallbackInfo& info);
  // close() -> Promise<void>; streams of this handle go on until they are closed, then the engine does if it was the
  // last.
  Napi::Value Close(const Napi::CallbackInfo& info);

  std::shared_ptr<EngineLease> lease(Napi::Env env) const;

  std::shared_ptr<Dispatcher> dispatcher_;
  std::uint64_t closer_;
  std::shared_ptr<EngineLease> lease_;  // nothing once closed
};

}  // namespace flashvsr::addon
