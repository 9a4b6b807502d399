#include "addon/stream_object.h"

#include <array>
#include <string>
#include <utility>

#include "addon/errors.h"
#include "addon/options.h"

namespace flashvsr::addon {

// Lives on the engine's thread and knows the stream by its number only: the JavaScript object may be gone any time.
class StreamObject::Listener : public StreamListener {
 public:
  Listener(std::shared_ptr<Dispatcher> dispatcher, std::shared_ptr<EngineLease> engine, std::uint64_t number)
      : dispatcher_(std::move(dispatcher)),
        engine_(engine),
        number_(number) {}

  void onFrame(OutputFrame frame) override {
    post([frame = std::move(frame)](Napi::Env env, StreamObject& stream) { stream.onFrame(env, frame); });
  }
  void onFlushed(std::uint64_t flushId) override {
    post([flushId](Napi::Env env, StreamObject& stream) { stream.onFlushed(env, flushId); });
  }
  void onError(const Error& error) override {
    if (error.scope() == ErrorScope::Engine) {
      if (const auto engine = engine_.lock()) engine->markFailed();
    }
    post([error](Napi::Env env, StreamObject& stream) { stream.onError(env, error); });
  }
  void onClosed() override {
    post([](Napi::Env env, StreamObject& stream) { stream.onClosed(env); });
  }

 private:
  template <typename Event>
  void post(Event event) {
    dispatcher_->post([number = number_, event = std::move(event)](Napi::Env env) {
      const auto& streams = *AddonData::Of(env).streams;
      const auto found = streams.find(number);
      if (found != streams.end()) event(env, *found->second);
    });
  }

  const std::shared_ptr<Dispatcher> dispatcher_;
  const std::weak_ptr<EngineLease> engine_;  // the engine holds this listener: no circle
  const std::uint64_t number_;
};

Napi::Function StreamObject::Define(Napi::Env env) {
  return DefineClass(env, "NativeStream",
                     {InstanceMethod<&StreamObject::Push>("push"), InstanceMethod<&StreamObject::Ready>("ready"),
                      InstanceMethod<&StreamObject::Update>("update"), InstanceMethod<&StreamObject::Flush>("flush"),
                      InstanceMethod<&StreamObject::Close>("close"), InstanceMethod<&StreamObject::Stats>("stats")});
}

Napi::Promise StreamObject::Open(Napi::Env env, std::shared_ptr<EngineLease> engine, const StreamOptions& options,
                                 const Napi::Object& callbacks) {
  AddonData& data = AddonData::Of(env);
  Napi::Object object = data.streamConstructor.New({callbacks});
  StreamObject* stream = Unwrap(object);
  // Its events may come before the promise settles, so it is on the list from now on; it stays alive until closed.
  stream->Ref();
  const auto dispatcher = data.dispatcher;
  const std::uint64_t number = stream->number_;
  return RunAsync(env, [dispatcher, number, engine, options]() -> MakeValue {
    std::shared_ptr<StreamLease> lease;
    std::shared_ptr<Error> failure;
    try {
      lease = std::make_shared<StreamLease>(
          engine, engine->engine().createStream(options, std::make_shared<Listener>(dispatcher, engine, number)));
    } catch (...) {
      failure = std::make_shared<Error>(ToNative(std::current_exception()));
    }
    return [number, lease, failure](Napi::Env job) mutable -> Napi::Value {
      StreamObject* opening = AddonData::Of(job).streams->at(number);
      if (failure) {
        opening->onClosed(job);
        throw ToJs(job, *failure);
      }
      const Napi::Value value = opening->Value();
      opening->opened(job, std::move(lease));
      return value;
    };
  });
}

StreamObject::StreamObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<StreamObject>(info) {
  const Napi::Object callbacks = info[0].As<Napi::Object>();
  frameCallback_ = Napi::Persistent(callbacks.Get("onFrame").As<Napi::Function>());
  errorCallback_ = Napi::Persistent(callbacks.Get("onError").As<Napi::Function>());
  closedCallback_ = Napi::Persistent(callbacks.Get("onClosed").As<Napi::Function>());
  AddonData& data = AddonData::Of(info.Env());
  number_ = data.nextStream++;
  streams_ = data.streams;
  streams_->emplace(number_, this);
}

void StreamObject::opened(Napi::Env env, std::shared_ptr<StreamLease> lease) {
  if (closed_) return;  // the engine died in between; the lease goes with this call
  lease_ = std::move(lease);
  Dispatcher& dispatcher = *AddonData::Of(env).dispatcher;
  dispatcher.hold();
  // The object cannot go before this runs: it refers to itself while it is open.
  closer_ = dispatcher.addCloser([this] { lease_.reset(); });
  Value().Set("outputWidth", lease_->stream->outputWidth());
  Value().Set("outputHeight", lease_->stream->outputHeight());
}

namespace {

// Bytes a plane must have: full rows but for the last, which may end with its pixels.
void RequirePlane(Napi::Env env, const Napi::Uint8Array& plane, std::int64_t stride, std::int64_t width,
                  std::int64_t height, const char* name) {
  const std::int64_t needed = stride * (height - 1) + width;
  if (stride >= width && static_cast<std::int64_t>(plane.ByteLength()) >= needed) return;
  throw ToJs(env, Error("internal", ErrorScope::Frame,
                        std::string("plane ") + name + " has " + std::to_string(plane.ByteLength()) +
                            " bytes at a stride of " + std::to_string(stride) + "; " + std::to_string(width) + "x" +
                            std::to_string(height) + " needs " + std::to_string(needed)));
}

}  // namespace

Napi::Value StreamObject::Push(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&]() -> Napi::Value {
    if (!lease_) return Napi::Number::New(env, static_cast<int>(PushResult::Closed));
    const auto planes =
        std::array{info[0].As<Napi::Uint8Array>(), info[1].As<Napi::Uint8Array>(), info[2].As<Napi::Uint8Array>()};
    const int yStride = info[3].As<Napi::Number>().Int32Value();
    const int uvStride = info[4].As<Napi::Number>().Int32Value();
    FrameView view;
    view.width = info[5].As<Napi::Number>().Int32Value();
    view.height = info[6].As<Napi::Number>().Int32Value();
    if (view.width <= 0 || view.height <= 0) {
      throw Error("internal", ErrorScope::Frame, "a picture needs a positive width and height");
    }
    view.format = {PixelFormat::I420, ReadMatrix(info[7]), ReadRange(info[8])};
    const std::int64_t halfWidth = (static_cast<std::int64_t>(view.width) + 1) / 2;
    const std::int64_t halfHeight = (static_cast<std::int64_t>(view.height) + 1) / 2;
    RequirePlane(env, planes[0], yStride, view.width, view.height, "y");
    RequirePlane(env, planes[1], uvStride, halfWidth, halfHeight, "u");
    RequirePlane(env, planes[2], uvStride, halfWidth, halfHeight, "v");
    for (std::size_t plane = 0; plane < 3; ++plane) view.planes[plane] = planes[plane].Data();
    view.strides = {yStride, uvStride, uvStride};
    const auto mediaTime = static_cast<std::int64_t>(info[9].As<Napi::Number>().DoubleValue());
    return Napi::Number::New(env, static_cast<int>(lease_->stream->push(view, mediaTime)));
  });
}

Napi::Value StreamObject::Ready(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), lease_ && lease_->stream->ready());
}

void StreamObject::Update(const Napi::CallbackInfo& info) {
  Guard(info.Env(), [&] {
    if (lease_) lease_->stream->update(ReadStreamSettings(info[0].As<Napi::Object>()));
  });
}

Napi::Value StreamObject::Flush(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&]() -> Napi::Value {
    const auto deferred = Napi::Promise::Deferred::New(env);
    const std::uint64_t id = lease_ ? lease_->stream->flush() : 0;
    if (id == 0) {
      deferred.Resolve(env.Undefined());
    } else {
      flushes_.emplace(id, deferred);
    }
    return deferred.Promise();
  });
}

Napi::Value StreamObject::Close(const Napi::CallbackInfo& info) {
  const auto deferred = Napi::Promise::Deferred::New(info.Env());
  if (closed_) {
    deferred.Resolve(info.Env().Undefined());
  } else {
    closes_.push_back(deferred);
    if (lease_) lease_->stream->close();
  }
  return deferred.Promise();
}

Napi::Value StreamObject::Stats(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&] { return StatsObject(info.Env(), lease_ ? lease_->stream->stats() : lastStats_); });
}

void StreamObject::onFrame(Napi::Env env, const OutputFrame& frame) {
  // Pictures that were on their way when close() was called are thrown away.
  if (!closes_.empty()) return;
  frameCallback_.Call({FrameObject(env, frame, loans_)});
}

void StreamObject::onFlushed(Napi::Env env, std::uint64_t flushId) {
  const auto found = flushes_.find(flushId);
  if (found == flushes_.end()) return;
  const Napi::Promise::Deferred deferred = found->second;
  flushes_.erase(found);
  deferred.Resolve(env.Undefined());
}

void StreamObject::onError(Napi::Env env, const Error& error) { errorCallback_.Call({ToJs(env, error).Value()}); }

void StreamObject::onClosed(Napi::Env env) {
  if (closed_) return;
  closed_ = true;
  AddonData& data = AddonData::Of(env);
  if (lease_) {
    lastStats_ = lease_->stream->stats();
    data.dispatcher->removeCloser(closer_);
    data.dispatcher->letGo();
    lease_.reset();
  }
  streams_->erase(number_);
  for (const auto& [id, deferred] : std::exchange(flushes_, {})) deferred.Resolve(env.Undefined());
  for (const auto& deferred : std::exchange(closes_, {})) deferred.Resolve(env.Undefined());
  const Napi::Function closed = closedCallback_.Value();
  frameCallback_.Reset();
  errorCallback_.Reset();
  closedCallback_.Reset();
  Unref();  // from here on the object is JavaScript's alone
  closed.Call({});
}

}  // namespace flashvsr::addon
