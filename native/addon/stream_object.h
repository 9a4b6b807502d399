// One stream in JavaScript. See server/upscalers/flashvsr/binding.ts for the typed face.
//
// Threads: the object belongs to the JS thread of the environment that opened it, and every method runs there. Listener
// (stream_object.cpp) is called on the engine's thread and only posts: its events reach the object through the
// Dispatcher, in order. Work that may block (opening; the last lease's closing) runs on a thread of Dispatcher::run or
// on a separate one, never on the JS thread.
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
      : engine(std::move(ofEngine)),
        stream(std::move(ofStream)) {}
  ~StreamLease() { stream->close(); }
  StreamLease(const StreamLease&) = delete;
  StreamLease& operator=(const StreamLease&) = delete;
};

class StreamObject : public Napi::ObjectWrap<StreamObject> {
 public:
  static Napi::Function Define(Napi::Env env);
  // JS thread; the stream is created on a thread of Dispatcher::run. Promise of an open stream. `callbacks`: {
  // onFrame(frame), onError(error), onClosed() }.
  static Napi::Promise Open(Napi::Env env, std::shared_ptr<EngineLease> engine, const StreamOptions& options,
                            const Napi::Object& callbacks);

  explicit StreamObject(const Napi::CallbackInfo& info);
  // JS thread, by the garbage collector or at the environment's end.
  ~StreamObject() override { streams_->erase(number_); }

 private:
  class Listener;

  // Called by JavaScript, on its thread; none waits for the device.
  // push(y, u, v, yStride, uvStride, width, height, matrix, range, mediaTime) -> 0 accepted, 1 full, 2 closed.
  Napi::Value Push(const Napi::CallbackInfo& info);
  // Whether a push now would be accepted.
  Napi::Value Ready(const Napi::CallbackInfo& info);
  // update(settings): from the next chunk on.
  void Update(const Napi::CallbackInfo& info);
  // Promise, resolved when everything pushed has been delivered, or when the stream closes.
  Napi::Value Flush(const Napi::CallbackInfo& info);
  // Promise, resolved after onClosed; pictures still on their way are dropped.
  Napi::Value Close(const Napi::CallbackInfo& info);
  // Of now; after onClosed the last ones.
  Napi::Value Stats(const Napi::CallbackInfo& info);

  // Events, posted by Listener, on the JS thread.
  void onFrame(Napi::Env env, const OutputFrame& frame);
  void onFlushed(Napi::Env env, std::uint64_t flushId);
  void onError(Napi::Env env, const Error& error);
  void onClosed(Napi::Env env);

  void opened(Napi::Env env, std::shared_ptr<StreamLease> lease);

  std::uint64_t number_ = 0;
  std::shared_ptr<std::map<std::uint64_t, StreamObject*>> streams_;
  std::uint64_t closer_ = 0;
  std::shared_ptr<StreamLease> lease_;  // empty while opening and after onClosed
  bool closed_ = false;
  StreamStats lastStats_;
  std::shared_ptr<FrameLoans> loans_ = std::make_shared<FrameLoans>();
  Napi::FunctionReference frameCallback_, errorCallback_, closedCallback_;
  std::map<std::uint64_t, Napi::Promise::Deferred> flushes_;
  std::vector<Napi::Promise::Deferred> closes_;
};

}  // namespace flashvsr::addon
