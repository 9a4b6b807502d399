// Entry point. Context-aware: every environment (main thread, workers) gets its own AddonData; engines are shared.
#include <napi.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "addon/addon_data.h"
#include "addon/engine_object.h"
#include "addon/errors.h"
#include "addon/frame.h"
#include "addon/options.h"
#include "addon/shared_engine.h"
#include "addon/stream_object.h"
#include "weights/importer.h"

namespace flashvsr::addon {

namespace {

// Raised with every change that binding.ts must know about.
constexpr int kBindingVersion = 6;

// devices(cudaLibraryPath?) -> Promise<{device, name, index, usable, reason, totalBytes, freeBytes}[]>
Napi::Value Devices(const Napi::CallbackInfo& info) {
  const std::string library = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  return RunAsync(info.Env(), [library]() -> MakeValue {
    const auto reports = ListDevices(library);
    return [reports](Napi::Env env) -> Napi::Value {
      Napi::Array list = Napi::Array::New(env);
      for (std::uint32_t index = 0; index < reports.size(); ++index) list.Set(index, DeviceObject(env, reports[index]));
      return list;
    };
  });
}

// checkModel(model, onProgress?) -> Promise<dims>: reads every weight.
Napi::Value CheckModel(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&] {
    const ModelLocation model = ReadModelLocation(info[0].As<Napi::Object>());
    const auto progress = ProgressTo(env, info[1]);
    return RunAsync(env, [model, progress]() -> MakeValue {
      LoadOptions options;
      options.progress = [&progress](std::uint64_t done, std::uint64_t total) {
        return progress("check", done, total);
      };
      const ModelDims dims = OpenModel(model, options)->dims();
      return [dims](Napi::Env job) -> Napi::Value { return DimsObject(job, dims); };
    });
  });
}

// importModel({transformer, projector, decoder, prompt, wan?, outputFolder, name, variant, origin, licence, createdAt,
// replace}, onProgress?) -> Promise<manifest text>
Napi::Value Import(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return Guard(env, [&] {
    const Napi::Object from = info[0].As<Napi::Object>();
    const auto text = [&from](const char* key) { return from.Get(key).As<Napi::String>().Utf8Value(); };
    ImportOptions options;
    options.files = {text("transformer"), text("projector"), text("decoder"), text("prompt"),
                     from.Get("wan").IsString() ? text("wan") : std::string()};
    options.outputFolder = text("outputFolder");
    options.name = text("name");
    options.variant = ParseVariant(text("variant"));
    options.origin = text("origin");
    options.licence = text("licence");
    options.createdAt = text("createdAt");
    options.replace = from.Get("replace").ToBoolean();
    options.progress = ProgressTo(env, info[1]);
    return RunAsync(env, [options]() -> MakeValue {
      const std::string manifest = ImportModel(options);
      return [manifest](Napi::Env job) -> Napi::Value { return Napi::String::New(job, manifest); };
    });
  });
}

// Ends the process at once. exit() would run CUDA's own clean-up, which waits for the device, without end where it
// hangs (seen on an H100: a process that had closed everything stayed until it was killed).
void Leave(const Napi::CallbackInfo& info) { std::_Exit(info[0].ToNumber().Int32Value()); }

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  auto data = std::make_unique<AddonData>();
  // A process must not end while an engine's thread still runs its destructors.
  data->dispatcher = Dispatcher::Create(env, WaitForClosedEngines);
  data->engineConstructor = Napi::Persistent(EngineObject::Define(env));
  data->streamConstructor = Napi::Persistent(StreamObject::Define(env));
  env.SetInstanceData(data.release());
  exports.Set("bindingVersion", kBindingVersion);
  exports.Set("devices", Napi::Function::New(env, Devices, "devices"));
  exports.Set("checkModel", Napi::Function::New(env, CheckModel, "checkModel"));
  exports.Set("importModel", Napi::Function::New(env, Import, "importModel"));
  exports.Set("openEngine", Napi::Function::New(env, EngineObject::Open, "openEngine"));
  exports.Set("releaseFrame", Napi::Function::New(env, ReleaseFrame, "releaseFrame"));
  exports.Set("leave", Napi::Function::New(env, Leave, "leave"));
  exports.Set("openEngines",
              Napi::Function::New(
                  env, [](const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), OpenEngines()); },
                  "openEngines"));
  return exports;
}

}  // namespace

NODE_API_MODULE(flashvsr, Init)

}  // namespace flashvsr::addon
