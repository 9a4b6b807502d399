#include "engine/recording.h"

#include <cerrno>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>

#include "engine/stream_plan.h"

namespace flashvsr {
namespace {

constexpr char kMagic[] = "FVSRREC1";
constexpr char kOptions = 'o', kChunk = 'c', kOutput = 'h';

template <typename T>
void Put(std::string& to, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

class Cursor {
 public:
  Cursor(std::string_view content, std::string label) : content_(content), label_(std::move(label)) {}
  template <typename T>
  T get() {
    T value;
    std::memcpy(&value, bytes(sizeof value), sizeof value);
    return value;
  }
  const char* bytes(std::size_t count) {
    if (count > content_.size() - at_) throw Error("recording.invalid", ErrorScope::Stream, label_ + " is cut short.");
    const char* from = content_.data() + at_;
    at_ += count;
    return from;
  }
  bool end() const { return at_ == content_.size(); }

 private:
  std::string_view content_;
  std::string label_;
  std::size_t at_ = 0;
};

void PutSettings(std::string& to, const StreamSettings& s) {
  Put(to, s.sparseRatio);
  Put(to, s.topkRatio.value_or(-1.0));
  Put(to, s.kvRatio);
  Put(to, static_cast<std::int32_t>(s.localRange));
  Put(to, s.seed);
  Put(to, static_cast<std::uint8_t>(s.colourMatch));
}

StreamSettings GetSettings(Cursor& from) {
  StreamSettings s;
  s.sparseRatio = from.get<double>();
  const double topk = from.get<double>();
  if (topk >= 0) s.topkRatio = topk;
  s.kvRatio = from.get<double>();
  s.localRange = from.get<std::int32_t>();
  s.seed = from.get<std::uint64_t>();
  s.colourMatch = static_cast<ColourMatch>(from.get<std::uint8_t>());
  return s;
}

void PutFormat(std::string& to, const PictureFormat& format) {
  Put(to, static_cast<std::uint8_t>(format.pixels));
  Put(to, static_cast<std::uint8_t>(format.matrix));
  Put(to, static_cast<std::uint8_t>(format.range));
}

PictureFormat GetFormat(Cursor& from) {
  PictureFormat format;
  format.pixels = static_cast<PixelFormat>(from.get<std::uint8_t>());
  format.matrix = static_cast<ColourMatrix>(from.get<std::uint8_t>());
  format.range = static_cast<ColourRange>(from.get<std::uint8_t>());
  return format;
}

}  // namespace

std::uint64_t HashBytes(const std::uint8_t* data, std::size_t bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (std::size_t i = 0; i < bytes; ++i) hash = (hash ^ data[i]) * 1099511628211ULL;
  return hash;
}

RecordingWriter::RecordingWriter(const std::string& path, const StreamOptions& options)
    : path_(path),
      file_(std::fopen(path.c_str(), "wb")) {
  if (!file_)
    throw Error("engine.recording", ErrorScope::Stream,
                "The recording " + path + " cannot be written: " + std::strerror(errno) + ".",
                "Give a path in a folder that exists and is writable.");
  if (std::fwrite(kMagic, 1, 8, file_.get()) != 8)
    throw Error("engine.recording", ErrorScope::Stream, path + ": " + std::strerror(errno) + ".");
  restart(options);
}

void RecordingWriter::write(char type, const std::string& content) {
  const std::uint64_t length = content.size();
  if (std::fwrite(&type, 1, 1, file_.get()) != 1 || std::fwrite(&length, 8, 1, file_.get()) != 1 ||
      std::fwrite(content.data(), 1, content.size(), file_.get()) != content.size() || std::fflush(file_.get()) != 0)
    throw Error("engine.recording", ErrorScope::Frame,
                "Recording to " + path_ + " ended: " + std::strerror(errno) + ".",
                "Free space on the disk; the stream itself goes on.");
}

void RecordingWriter::restart(const StreamOptions& options) {
  std::string content;
  for (const int value :
       {options.sourceWidth, options.sourceHeight, options.outputWidth, options.outputHeight, options.coldStartFrames})
    Put(content, static_cast<std::int32_t>(value));
  Put(content, options.scale);
  Put(content, options.startPosition);
  PutFormat(content, options.outputFormat);
  PutSettings(content, options.settings);
  write(kOptions, content);
}

void RecordingWriter::chunk(const GatheredChunk& chunk, const StreamSettings& settings) {
  std::string content;
  PutSettings(content, settings);
  Put(content, static_cast<std::int32_t>(chunk.taken.size()));
  for (const GatheredFrame& frame : chunk.taken) {
    Put(content, frame.frameIndex);
    Put(content, frame.mediaTime);
    PutFormat(content, frame.picture->format);
    Put(content, static_cast<std::int32_t>(frame.picture->width));
    Put(content, static_cast<std::int32_t>(frame.picture->height));
    content.append(reinterpret_cast<const char*>(frame.picture->data.get()),
                   static_cast<std::size_t>(
                       TightPictureBytes(frame.picture->format.pixels, frame.picture->width, frame.picture->height)));
  }
  write(kChunk, content);
}

void RecordingWriter::output(std::int64_t frameIndex, std::int64_t mediaTime, std::uint64_t hash) {
  std::string content;
  Put(content, frameIndex);
  Put(content, mediaTime);
  Put(content, hash);
  write(kOutput, content);
}

ReplayReport ReplayRecording(const std::filesystem::path& path, const Backend& backend,
                             const std::shared_ptr<PreparedModel>& model, Precision precision) {
  std::ifstream file(path, std::ios::binary);
  char magic[8];
  if (!file.read(magic, 8) || std::memcmp(magic, kMagic, 8) != 0)
    throw Error("recording.invalid", ErrorScope::Stream, path.string() + " is not a recording.");
  ReplayReport report;
  std::map<std::int64_t, std::uint64_t> made;  // hashes of frames that came out here and were not compared yet
  std::unique_ptr<Network> network;
  std::unique_ptr<ChunkBuilder> builder;
  StreamOptions options;
  std::int64_t position = 0;
  char type = 0;
  while (file.get(type)) {
    std::uint64_t length = 0;
    file.read(reinterpret_cast<char*>(&length), 8);
    if (!file || length > (std::uint64_t{1} << 34))
      throw Error("recording.invalid", ErrorScope::Stream, path.string() + " is cut short.");
    std::string content(length, 0);
    if (!file.read(content.data(), static_cast<std::streamsize>(length)))
      throw Error("recording.invalid", ErrorScope::Stream, path.string() + " is cut short.");
    Cursor from(content, path.string());
    if (type == kOptions) {
      options = StreamOptions{};
      for (int* value : {&options.sourceWidth, &options.sourceHeight, &options.outputWidth, &options.outputHeight,
                         &options.coldStartFrames})
        *value = from.get<std::int32_t>();
      options.scale = from.get<double>();
      options.startPosition = from.get<std::int64_t>();
      options.outputFormat = GetFormat(from);
      options.settings = GetSettings(from);
      CheckOptions(options);
      network = std::make_unique<Network>(backend, model, precision, NetworkOptionsOf(options));
      builder = std::make_unique<ChunkBuilder>(options.coldStartFrames, 0);
      position = options.startPosition;
    } else if (type == kChunk) {
      if (!network)
        throw Error("recording.invalid", ErrorScope::Stream, path.string() + " has a chunk before its options.");
      ChunkRequest request;
      request.settings = GetSettings(from);
      const std::int32_t count = from.get<std::int32_t>();
      for (std::int32_t i = 0; i < count; ++i) {
        GatheredFrame frame;
        frame.frameIndex = from.get<std::int64_t>();
        frame.mediaTime = from.get<std::int64_t>();
        const PictureFormat format = GetFormat(from);
        const std::int32_t width = from.get<std::int32_t>(), height = from.get<std::int32_t>();
        if (width < 1 || height < 1 || width > 8192 || height > 8192)
          throw Error("recording.invalid", ErrorScope::Stream, path.string() + " has an impossible picture.");
        const std::size_t bytes = static_cast<std::size_t>(TightPictureBytes(format.pixels, width, height));
        std::shared_ptr<std::uint8_t[]> data = network->executor().allocateHost(bytes);
        std::memcpy(data.get(), from.bytes(bytes), bytes);
        frame.picture = std::make_shared<SourcePicture>(SourcePicture{format, width, height, data});
        builder->push(std::move(frame));
      }
      const GatheredChunk chunk = builder->take();
      const Geometry& g = network->options().geometry;
      const std::size_t outputBytes =
          static_cast<std::size_t>(TightPictureBytes(options.outputFormat.pixels, g.contentWidth, g.contentHeight));
      request.pictures = chunk.pictures;
      for (const auto& output : chunk.outputs)
        request.outputs.push_back(output ? network->executor().allocateHost(outputBytes) : nullptr);
      request.position = position;
      position += chunk.first ? kFirstChunkLatents : kChunkLatents;
      const ChunkInFlight flight = network->run(std::move(request));
      flight.fence->wait();
      ++report.chunks;
      for (std::size_t i = 0; i < chunk.outputs.size(); ++i)
        if (chunk.outputs[i])
          made[chunk.outputs[i]->frameIndex] = HashBytes(flight.request.outputs[i].get(), outputBytes);
    } else if (type == kOutput) {
      const std::int64_t frameIndex = from.get<std::int64_t>();
      from.get<std::int64_t>();
      const auto found = made.find(frameIndex);
      ++report.frames;
      if (found == made.end()) {
        ++report.missing;
      } else {
        if (found->second != from.get<std::uint64_t>()) ++report.differing;
        made.erase(found);
      }
    } else {
      throw Error("recording.invalid", ErrorScope::Stream, path.string() + " has an unknown record.");
    }
  }
  return report;
}

}  // namespace flashvsr
