// One stream in JavaScript. See server/upscalers/flashvsr/binding.ts for the typed face.
#pragma once

#include <napi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "addon/addon_data.h"
#include "addon/frame.h"
#include "addon/shared_engine.h"
#include "engine/engine.h"

namespace flashvsr::addon {

// Closes its stream when it goes, and keeps the engine open until then.
struct StreamLease {
  std::shared_ptr<EngineLease> engine;
  std::shared_ptr<Stream> stream;

  StreamLease(std::shared_ptr<EngineLease> ofEngine, std::shared_ptr<Stream> ofStream)
      : engine(std::move(ofEngine)), stream(std::move(ofStream)) {}
  ~StreamLease() { stream->close(); }
  StreamLease(const StreamLease&) = delete;
  StreamLease& operator=(const StreamLease&) = delete;
};

class StreamObject : public Napi::ObjectWrap<StreamObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // Promise of an open stream. `callbacks`: { onFrame(frame), onError(error), onClosed() }.
  static Napi::Promise Open(Napi::Env env, std::shared_ptr<EngineLease> engine, const StreamOptions& options,
                            const Napi::Object& callbacks);

  explicit StreamObject(const Napi::CallbackInfo& info);
  ~StreamObject() override { streams_->erase(number_); }

 private:
  class Listener;

  // push(y, u, v, yStride, uvStride, width, height, matrix, range, mediaTime) -> 0 accepted, 1 full, 2 closed.
  Napi::Value Push(const Napi::CallbackInfo& info);
  Napi::Value Ready(const Napi::CallbackInfo& info);
  void Update(const Napi::CallbackInfo& info);
  void Resize(const Napi::CallbackInfo& info);
  Napi::Value Flush(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value Stats(const Napi::CallbackInfo& info);

  // Events, on the JS thread.
  void onFrame(Napi::Env env, const OutputFrame& frame);
  void onFlushed(Napi::Env env, std::uint64_t flushId);
  void onError(Napi::Env env, const Error& error);
  void onClosed(Napi::Env env);

  void opened(Napi::Env env, std::shared_ptr<StreamLease> lease);

  std::uint64_t number_ = 0;
  std::shared_ptr<std::map<std::uint64_t, StreamObject*>> streams_;
  std::uint64_t closer_ = 0;
  std::shared_ptr<StreamLease> lease_;  // nothing while opening and after onClosed
  bool closed_ = false;
  StreamStats lastStats_;
  std::shared_ptr<FrameLoans> loans_ = std::make_shared<FrameLoans>();
  Napi::FunctionReference frameCallback_, errorCallback_, closedCallback_;
  std::map<std::uint64_t, Napi::Promise::Deferred> flushes_;
  std::vector<Napi::Promise::Deferred> closes_;
};

}  // namespace flashvsr::addon
