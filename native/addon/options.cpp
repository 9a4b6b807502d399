#include "addon/options.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "engine/device.h"

namespace flashvsr::addon {

namespace {

[[noreturn]] void Fail(const Napi::Object& from, const char* key, const char* wanted) {
  throw Napi::TypeError::New(from.Env(), std::string("native option ") + key + " must be " + wanted);
}

bool Has(const Napi::Object& from, const char* key) {
  const Napi::Value value = from.Get(key);
  return !value.IsUndefined() && !value.IsNull();
}

double Number(const Napi::Object& from, const char* key) {
  const Napi::Value value = from.Get(key);
  if (!value.IsNumber()) Fail(from, key, "a number");
  return value.As<Napi::Number>().DoubleValue();
}
double Number(const Napi::Object& from, const char* key, double otherwise) {
  return Has(from, key) ? Number(from, key) : otherwise;
}

// What JavaScript holds exactly and T can hold; which values make sense was checked in options.ts.
template <typename T>
T Integer(const Napi::Object& from, const char* key, T otherwise) {
  if (!Has(from, key)) return otherwise;
  const double value = Number(from, key), most = std::min(9007199254740992.0, static_cast<double>(std::numeric_limits<T>::max()));
  const double least = std::is_signed_v<T> ? -most : 0.0;
  if (!(value >= least && value <= most) || value != std::floor(value)) Fail(from, key, "an integer in its range");
  return static_cast<T>(value);
}

std::string Text(const Napi::Object& from, const char* key, const std::string& otherwise) {
  if (!Has(from, key)) return otherwise;
  const Napi::Value value = from.Get(key);
  if (!value.IsString()) Fail(from, key, "text");
  return value.As<Napi::String>().Utf8Value();
}

}  // namespace

ColourMatrix ReadMatrix(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "bt601") return ColourMatrix::Bt601;
  if (name == "bt709") return ColourMatrix::Bt709;
  if (name == "bt2020") return ColourMatrix::Bt2020;
  throw Napi::TypeError::New(value.Env(), "native option matrix must be bt601, bt709 or bt2020");
}

ColourRange ReadRange(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "limited") return ColourRange::Limited;
  if (name == "full") return ColourRange::Full;
  throw Napi::TypeError::New(value.Env(), "native option range must be limited or full");
}

const char* MatrixName(ColourMatrix matrix) {
  return matrix == ColourMatrix::Bt601 ? "bt601" : matrix == ColourMatrix::Bt709 ? "bt709" : "bt2020";
}
const char* RangeName(ColourRange range) { return range == ColourRange::Limited ? "limited" : "full"; }

ModelPlace ReadModelPlace(const Napi::Object& from) {
  ModelPlace place;
  const std::string kind = Text(from, "kind", "");
  if (kind == "imported") {
    place.kind = ModelPlace::Kind::Imported;
  } else if (kind == "official") {
    place.kind = ModelPlace::Kind::Official;
  } else if (kind == "synthetic") {
    place.kind = ModelPlace::Kind::Synthetic;
  } else {
    Fail(from, "kind", "imported, official or synthetic");
  }
  place.path = Text(from, "path", "");
  place.variant = ParseVariant(Text(from, "variant", "v1.1"));
  return place;
}

EngineOptions ReadEngineOptions(const Napi::Object& from) {
  EngineOptions options;
  options.device = Text(from, "device", options.device);
  options.deviceIndex = Integer(from, "deviceIndex", options.deviceIndex);
  if (Has(from, "precision")) options.precision = ParsePrecision(Text(from, "precision", ""));
  options.threads = Integer(from, "threads", options.threads);
  options.hangMs = Integer(from, "hangMs", options.hangMs);
  if (Has(from, "warmUp")) options.warmUp = std::make_shared<const StreamOptions>(ReadStreamOptions(from.Get("warmUp").As<Napi::Object>()));
  options.cudaLibraryPath = Text(from, "cudaLibraryPath", options.cudaLibraryPath);
  return options;
}

StreamSettings ReadStreamSettings(const Napi::Object& from) {
  StreamSettings settings;
  settings.sparseRatio = Number(from, "sparseRatio", settings.sparseRatio);
  if (Has(from, "topkRatio")) settings.topkRatio = Number(from, "topkRatio");
  settings.kvRatio = Number(from, "kvRatio", settings.kvRatio);
  settings.localRange = Integer(from, "localRange", settings.localRange);
  settings.seed = Integer(from, "seed", settings.seed);
  const std::string match = Text(from, "colourMatch", "adain");
  if (match == "adain") {
    settings.colourMatch = ColourMatch::Adain;
  } else if (match == "wavelet") {
    settings.colourMatch = ColourMatch::Wavelet;
  } else if (match == "none") {
    settings.colourMatch = ColourMatch::None;
  } else {
    Fail(from, "colourMatch", "adain, wavelet or none");
  }
  return settings;
}

StreamOptions ReadStreamOptions(const Napi::Object& from) {
  StreamOptions options;
  options.sourceWidth = Integer(from, "sourceWidth", 0);
  options.sourceHeight = Integer(from, "sourceHeight", 0);
  options.scale = Number(from, "scale", options.scale);
  options.outputWidth = Integer(from, "outputWidth", 0);
  options.outputHeight = Integer(from, "outputHeight", 0);
  options.outputFormat.pixels = PixelFormat::I420;
  if (Has(from, "matrix")) options.outputFormat.matrix = ReadMatrix(from.Get("matrix"));
  if (Has(from, "range")) options.outputFormat.range = ReadRange(from.Get("range"));
  if (Has(from, "settings")) options.settings = ReadStreamSettings(from.Get("settings").As<Napi::Object>());
  options.coldStartFrames = Integer(from, "coldStartFrames", options.coldStartFrames);
  options.gatherDeadlineMs = Integer(from, "gatherDeadlineMs", options.gatherDeadlineMs);
  options.inputQueueFrames = Integer(from, "inputQueueFrames", options.inputQueueFrames);
  options.outputQueueFrames = Integer(from, "outputQueueFrames", options.outputQueueFrames);
  options.startPosition = Integer(from, "startPosition", options.startPosition);
  options.recordPath = Text(from, "recordPath", options.recordPath);
  return options;
}

namespace {

// Sizes and counts are far below 2^53.
void Set(Napi::Object& object, const char* key, std::int64_t value) { object.Set(key, static_cast<double>(value)); }

}  // namespace

Napi::Object DimsObject(Napi::Env env, const ModelDims& dims) {
  Napi::Object object = Napi::Object::New(env);
  Set(object, "dim", dims.dim);
  Set(object, "heads", dims.heads);
  Set(object, "ffn", dims.ffn);
  Set(object, "layers", dims.layers);
  Set(object, "textDim", dims.textDim);
  Set(object, "textLen", dims.textLen);
  Set(object, "freqDim", dims.freqDim);
  Set(object, "lqLayers", dims.lqLayers);
  Set(object, "latentChannels", dims.latentChannels);
  const auto list = [env](const auto& values) {
    Napi::Array array = Napi::Array::New(env);
    std::uint32_t index = 0;
    for (const std::int64_t value : values) array.Set(index++, static_cast<double>(value));
    return array;
  };
  object.Set("lqHidden", list(dims.lqHidden));
  object.Set("decoderChannels", list(dims.decoderChannels));
  object.Set("variant", std::string(VariantName(dims.variant)));
  return object;
}

Napi::Object PlanObject(Napi::Env env, const MemoryPlan& plan) {
  Napi::Object object = Napi::Object::New(env);
  Set(object, "weightBytes", plan.weightBytes);
  Set(object, "kvCacheBytes", plan.kvCacheBytes);
  Set(object, "decoderBytes", plan.decoderBytes);
  Set(object, "pictureBytes", plan.pictureBytes);
  Set(object, "workspaceBytes", plan.workspaceBytes);
  Set(object, "streamBytes", plan.streamBytes);
  Set(object, "availableBytes", plan.availableBytes);
  object.Set("fits", plan.fits);
  Set(object, "outputWidth", plan.outputWidth);
  Set(object, "outputHeight", plan.outputHeight);
  Set(object, "paddedWidth", plan.paddedWidth);
  Set(object, "paddedHeight", plan.paddedHeight);
  Set(object, "chunkFrames", plan.chunkFrames);
  Set(object, "lookAheadFrames", plan.lookAheadFrames);
  Set(object, "firstChunkFrames", plan.firstChunkFrames);
  object.Set("message", plan.message);
  return object;
}

Napi::Object StatsObject(Napi::Env env, const StreamStats& stats) {
  Napi::Object object = Napi::Object::New(env);
  Set(object, "pushedFrames", stats.pushedFrames);
  Set(object, "deliveredFrames", stats.deliveredFrames);
  Set(object, "refusedFrames", stats.refusedFrames);
  Set(object, "repeatedFrames", stats.repeatedFrames);
  Set(object, "chunks", stats.chunks);
  Set(object, "restarts", stats.restarts);
  Set(object, "queuedFrames", stats.queuedFrames);
  Set(object, "pendingFrames", stats.pendingFrames);
  Set(object, "outputFramesHeld", stats.outputFramesHeld);
  Set(object, "position", stats.position);
  object.Set("busyMs", stats.busyMs);
  object.Set("latencyMs", stats.latencyMs);
  Napi::Object chunk = Napi::Object::New(env);
  chunk.Set("projectMs", stats.lastChunk.project);
  chunk.Set("denoiseMs", stats.lastChunk.denoise);
  chunk.Set("revealMs", stats.lastChunk.reveal);
  chunk.Set("matchMs", stats.lastChunk.match);
  chunk.Set("totalMs", stats.lastChunk.total);
  object.Set("lastChunk", chunk);
  return object;
}

Napi::Object EngineInfoObject(Napi::Env env, const EngineInfo& info) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("device", info.device);
  object.Set("deviceName", info.deviceName);
  object.Set("precision", std::string(PrecisionName(info.precision)));
  object.Set("dims", DimsObject(env, info.dims));
  Set(object, "weightBytes", info.weightBytes);
  object.Set("warm", info.warm);
  return object;
}

Napi::Object DeviceObject(Napi::Env env, const DeviceReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("device", report.device);
  object.Set("name", report.name);
  object.Set("usable", report.usable);
  object.Set("reason", report.reason);
  Set(object, "totalBytes", report.totalBytes);
  Set(object, "freeBytes", report.freeBytes);
  return object;
}

}  // namespace flashvsr::addon
