// JavaScript objects into native structs and back, by one table a struct (fields.h). Values were validated in
// TypeScript (server/upscalers/flashvsr/options.ts), so a wrong type here is a defect and throws a TypeError.
#pragma once

#include <napi.h>

#include "addon/shared_engine.h"
#include "engine/engine.h"

namespace flashvsr::addon {

ModelLocation ReadModelLocation(const Napi::Object& from);
EngineOptions ReadEngineOptions(const Napi::Object& from);
StreamOptions ReadStreamOptions(const Napi::Object& from);
StreamSettings ReadStreamSettings(const Napi::Object& from);

// Back to JavaScript.
Napi::Object DimsObject(Napi::Env env, const ModelDims& dims);
Napi::Object PlanObject(Napi::Env env, const MemoryPlan& plan);
Napi::Object StatsObject(Napi::Env env, const StreamStats& stats);
Napi::Object EngineInfoObject(Napi::Env env, const EngineInfo& info);
Napi::Object DeviceObject(Napi::Env env, const DeviceReport& report);

ColourMatrix ReadMatrix(const Napi::Value& value);
ColourRange ReadRange(const Napi::Value& value);
const char* MatrixName(ColourMatrix matrix);
const char* RangeName(ColourRange range);

}  // namespace flashvsr::addon
