#include "addon/options.h"

#include <utility>

#include "addon/fields.h"

namespace flashvsr::addon {

// ---- names

template <typename Enum>
using Name = std::pair<const char*, Enum>;

template <>
inline constexpr std::array kNames<ColourMatrix>{Name<ColourMatrix>{"bt601", ColourMatrix::Bt601},
                                                 Name<ColourMatrix>{"bt709", ColourMatrix::Bt709},
                                                 Name<ColourMatrix>{"bt2020", ColourMatrix::Bt2020}};
template <>
inline constexpr std::array kNames<ColourRange>{Name<ColourRange>{"limited", ColourRange::Limited},
                                                Name<ColourRange>{"full", ColourRange::Full}};
template <>
inline constexpr std::array kNames<ColourMatch>{Name<ColourMatch>{"adain", ColourMatch::Adain},
                                                Name<ColourMatch>{"wavelet", ColourMatch::Wavelet},
                                                Name<ColourMatch>{"none", ColourMatch::None}};
template <>
inline constexpr std::array kNames<Decoder>{Name<Decoder>{"tiny", Decoder::Tiny}, Name<Decoder>{"wan", Decoder::Wan}};
template <>
inline constexpr std::array kNames<Precision>{
    Name<Precision>{"fp32", Precision::Fp32}, Name<Precision>{"bf16", Precision::Bf16},
    Name<Precision>{"fp8", Precision::Fp8}, Name<Precision>{"int8", Precision::Int8}};
template <>
inline constexpr std::array kNames<ModelVariant>{Name<ModelVariant>{"v1", ModelVariant::V1},
                                                 Name<ModelVariant>{"v1.1", ModelVariant::V1_1}};
template <>
inline constexpr std::array kNames<ModelLocation::Kind>{
    Name<ModelLocation::Kind>{"imported", ModelLocation::Kind::Imported},
    Name<ModelLocation::Kind>{"official", ModelLocation::Kind::Official},
    Name<ModelLocation::Kind>{"synthetic", ModelLocation::Kind::Synthetic}};

// ---- fields

template <>
inline constexpr auto kFields<ModelLocation> =
    std::tuple{Field{"kind", &ModelLocation::kind}, Field{"path", &ModelLocation::path},
               Field{"variant", &ModelLocation::variant}};

template <>
inline constexpr auto kFields<PictureFormat> =
    std::tuple{Field{"matrix", &PictureFormat::matrix}, Field{"range", &PictureFormat::range}};

template <>
inline constexpr auto kFields<StreamSettings> = std::tuple{
    Field{"sparseRatio", &StreamSettings::sparseRatio},
    Field{"topkRatio", &StreamSettings::topkRatio},
    Field{"kvRatio", &StreamSettings::kvRatio},
    Field{"localRange", &StreamSettings::localRange},
    Field{"seed", &StreamSettings::seed},
    Field{"colourMatch", &StreamSettings::colourMatch},
};

template <>
inline constexpr auto kFields<StreamOptions> = std::tuple{
    Field{"sourceWidth", &StreamOptions::sourceWidth},
    Field{"sourceHeight", &StreamOptions::sourceHeight},
    Field{"scale", &StreamOptions::scale},
    Field{"outputWidth", &StreamOptions::outputWidth},
    Field{"outputHeight", &StreamOptions::outputHeight},
    Field{"settings", &StreamOptions::settings},
    Field{"decoder", &StreamOptions::decoder},
    Field{"coldStartFrames", &StreamOptions::coldStartFrames},
    Field{"gatherDeadlineMs", &StreamOptions::gatherDeadlineMs},
    Field{"inputQueueFrames", &StreamOptions::inputQueueFrames},
    Field{"outputQueueFrames", &StreamOptions::outputQueueFrames},
    Field{"startPosition", &StreamOptions::startPosition},
    Field{"recordPath", &StreamOptions::recordPath},
};

template <>
inline constexpr auto kFields<EngineOptions> = std::tuple{
    Field{"device", &EngineOptions::device},
    Field{"deviceIndex", &EngineOptions::deviceIndex},
    Field{"precision", &EngineOptions::precision},
    Field{"threads", &EngineOptions::threads},
    Field{"hangMs", &EngineOptions::hangMs},
    Field{"warmUp", &EngineOptions::warmUp},
    Field{"cudaLibraryPath", &EngineOptions::cudaLibraryPath},
};

template <>
inline constexpr auto kFields<ModelDims> = std::tuple{
    Field{"dim", &ModelDims::dim},           Field{"heads", &ModelDims::heads},
    Field{"ffn", &ModelDims::ffn},           Field{"layers", &ModelDims::layers},
    Field{"textDim", &ModelDims::textDim},   Field{"textLen", &ModelDims::textLen},
    Field{"freqDim", &ModelDims::freqDim},   Field{"lqHidden", &ModelDims::lqHidden},
    Field{"lqLayers", &ModelDims::lqLayers}, Field{"decoderChannels", &ModelDims::decoderChannels},
    Field{"variant", &ModelDims::variant},   Field{"latentChannels", &ModelDims::latentChannels},
    Field{"wanWidth", &ModelDims::wanWidth},
};

template <>
inline constexpr auto kFields<MemoryPlan> = std::tuple{
    Field{"weightBytes", &MemoryPlan::weightBytes},
    Field{"kvCacheBytes", &MemoryPlan::kvCacheBytes},
    Field{"decoderBytes", &MemoryPlan::decoderBytes},
    Field{"pictureBytes", &MemoryPlan::pictureBytes},
    Field{"workspaceBytes", &MemoryPlan::workspaceBytes},
    Field{"streamBytes", &MemoryPlan::streamBytes},
    Field{"availableBytes", &MemoryPlan::availableBytes},
    Field{"fits", &MemoryPlan::fits},
    Field{"outputWidth", &MemoryPlan::outputWidth},
    Field{"outputHeight", &MemoryPlan::outputHeight},
    Field{"paddedWidth", &MemoryPlan::paddedWidth},
    Field{"paddedHeight", &MemoryPlan::paddedHeight},
    Field{"chunkFrames", &MemoryPlan::chunkFrames},
    Field{"lookAheadFrames", &MemoryPlan::lookAheadFrames},
    Field{"message", &MemoryPlan::message},
    Field{"firstChunkFrames", &MemoryPlan::firstChunkFrames},
};

template <>
inline constexpr auto kFields<StageTimes> = std::tuple{
    Field{"projectMs", &StageTimes::project}, Field{"denoiseMs", &StageTimes::denoise},
    Field{"revealMs", &StageTimes::reveal}, Field{"matchMs", &StageTimes::match}, Field{"totalMs", &StageTimes::total}};

template <>
inline constexpr auto kFields<StreamStats> = std::tuple{
    Field{"pushedFrames", &StreamStats::pushedFrames},
    Field{"deliveredFrames", &StreamStats::deliveredFrames},
    Field{"refusedFrames", &StreamStats::refusedFrames},
    Field{"repeatedFrames", &StreamStats::repeatedFrames},
    Field{"chunks", &StreamStats::chunks},
    Field{"restarts", &StreamStats::restarts},
    Field{"queuedFrames", &StreamStats::queuedFrames},
    Field{"pendingFrames", &StreamStats::pendingFrames},
    Field{"position", &StreamStats::position},
    Field{"outputFramesHeld", &StreamStats::outputFramesHeld},
    Field{"busyMs", &StreamStats::busyMs},
    Field{"latencyMs", &StreamStats::latencyMs},
    Field{"lastChunk", &StreamStats::lastChunk},
};

template <>
inline constexpr auto kFields<EngineInfo> = std::tuple{
    Field{"device", &EngineInfo::device},           Field{"deviceName", &EngineInfo::deviceName},
    Field{"precision", &EngineInfo::precision},     Field{"dims", &EngineInfo::dims},
    Field{"weightBytes", &EngineInfo::weightBytes}, Field{"warm", &EngineInfo::warm},
    Field{"warmChunkMs", &EngineInfo::warmChunkMs},
};

template <>
inline constexpr auto kFields<DeviceReport> = std::tuple{
    Field{"device", &DeviceReport::device},       Field{"name", &DeviceReport::name},
    Field{"index", &DeviceReport::index},         Field{"usable", &DeviceReport::usable},
    Field{"reason", &DeviceReport::reason},       Field{"totalBytes", &DeviceReport::totalBytes},
    Field{"freeBytes", &DeviceReport::freeBytes},
};

// A stream's options with the colour of its pictures beside the other fields; pictures are always I420 here.
template <>
void Read<StreamOptions>(const Napi::Value& from, const char* name, StreamOptions& to) {
  if (!from.IsObject()) FailOption(from.Env(), name, "an object");
  ReadFields(from.As<Napi::Object>(), to);
  ReadFields(from.As<Napi::Object>(), to.outputFormat);
}

// ---- what the rest of the addon calls

namespace {

template <typename Struct>
Struct ReadStruct(const Napi::Object& from) {
  Struct to;
  Read(from, "options", to);
  return to;
}

}  // namespace

ModelLocation ReadModelLocation(const Napi::Object& from) { return ReadStruct<ModelLocation>(from); }
EngineOptions ReadEngineOptions(const Napi::Object& from) { return ReadStruct<EngineOptions>(from); }
StreamSettings ReadStreamSettings(const Napi::Object& from) { return ReadStruct<StreamSettings>(from); }
StreamOptions ReadStreamOptions(const Napi::Object& from) { return ReadStruct<StreamOptions>(from); }
ColourMatrix ReadMatrix(const Napi::Value& value) { return ReadName<ColourMatrix>(value, "matrix"); }
ColourRange ReadRange(const Napi::Value& value) { return ReadName<ColourRange>(value, "range"); }

const char* MatrixName(ColourMatrix matrix) { return NameOf(matrix); }
const char* RangeName(ColourRange range) { return NameOf(range); }
Napi::Object DimsObject(Napi::Env env, const ModelDims& dims) { return WriteFields(env, dims); }
Napi::Object PlanObject(Napi::Env env, const MemoryPlan& plan) { return WriteFields(env, plan); }
Napi::Object StatsObject(Napi::Env env, const StreamStats& stats) { return WriteFields(env, stats); }
Napi::Object EngineInfoObject(Napi::Env env, const EngineInfo& info) { return WriteFields(env, info); }
Napi::Object DeviceObject(Napi::Env env, const DeviceReport& report) { return WriteFields(env, report); }

}  // namespace flashvsr::addon
