#include "engine/stream_impl.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/stream_plan.h"

namespace flashvsr {
namespace {

// Rows without padding, planes one after the other.
void CopyTight(const FrameView& picture, std::uint8_t* to) {
  const bool yuv = picture.format.pixels == PixelFormat::I420;
  for (std::size_t plane = 0; plane < (yuv ? 3U : 1U); ++plane) {
    const std::size_t width = static_cast<std::size_t>(!yuv         ? picture.width * 3
                                                       : plane == 0 ? picture.width
                                                                    : (picture.width + 1) / 2);
    const int height = !yuv || plane == 0 ? picture.height : (picture.height + 1) / 2;
    for (int y = 0; y < height; ++y, to += width)
      std::memcpy(to, picture.planes[plane] + static_cast<std::ptrdiff_t>(y) * picture.strides[plane], width);
  }
}

// How much longer a picture of a stream without a deadline may wait than one of a live stream.
constexpr std::int64_t kPatienceUs = 2'000'000;

std::size_t OutputBytes(const StreamOptions& options, const Geometry& geometry) {
  return static_cast<std::size_t>(
      TightPictureBytes(options.outputFormat.pixels, geometry.contentWidth, geometry.contentHeight));
}

}  // namespace

StreamImpl::StreamImpl(std::shared_ptr<EngineCore> core, const StreamOptions& options,
                       std::shared_ptr<StreamListener> listener)
    : core_(std::move(core)),
      listener_(std::move(listener)),
      options_(options),
      settings_(options.settings),
      geometry_(GeometryOf(options)),
      builder_(options.coldStartFrames, options.gatherDeadlineMs * 1000),
      position_(options.startPosition),
      outputs_([weak = std::weak_ptr<EngineCore>(core_)] {
        if (const auto engine = weak.lock()) engine->signal();
      }) {
  network_ = core_->takeSpare();
  if (!network_ || !network_->adopt(NetworkOptionsOf(options))) {
    network_.reset();
    network_ =
        std::make_unique<Network>(core_->backend(), core_->model(), core_->precision(), NetworkOptionsOf(options));
  }
  // Pinned memory takes its time: what the first chunks need is there before frames come.
  const HostPool::Allocate allocate = [this](std::size_t bytes) { return network_->executor().allocateHost(bytes); };
  inputs_.reserve(
      static_cast<std::size_t>(
          TightPictureBytes(options.outputFormat.pixels, options.sourceWidth, options.sourceHeight)),
      static_cast<std::size_t>(std::min(options.inputQueueFrames, options.coldStartFrames + 2 * kChunkFrames)),
      allocate);
  outputs_.reserve(
      OutputBytes(options, geometry_),
      static_cast<std::size_t>(std::max(options.coldStartFrames - kLookAheadFrames, 1)) + std::size_t{2} * kChunkFrames,
      allocate);
  if (!options.recordPath.empty()) recording_ = std::make_unique<RecordingWriter>(options.recordPath, options);
}

int StreamImpl::queuedLocked() const { return builder_.waiting() + laterFrames_; }

PushResult StreamImpl::push(const FrameView& picture, std::int64_t mediaTime) {
  CheckPicture(picture);
  const std::size_t bytes =
      static_cast<std::size_t>(TightPictureBytes(picture.format.pixels, picture.width, picture.height));
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return PushResult::Closed;
    if (queuedLocked() >= options_.inputQueueFrames) {
      ++stats_.refusedFrames;
      return PushResult::Full;
    }
    std::shared_ptr<std::uint8_t[]> data =
        inputs_.take(bytes, [&](std::size_t size) { return network_->executor().allocateHost(size); });
    CopyTight(picture, data.get());
    GatheredFrame frame;
    frame.picture =
        std::make_shared<SourcePicture>(SourcePicture{picture.format, picture.width, picture.height, std::move(data)});
    frame.frameIndex = nextFrame_++;
    frame.mediaTime = mediaTime;
    frame.arrivedUs = core_->nowUs();
    ++stats_.pushedFrames;
    if (later_.empty()) {
      builder_.push(std::move(frame));
    } else {
      later_.emplace_back(std::move(frame));
      ++laterFrames_;
    }
  }
  core_->signal();
  return PushResult::Accepted;
}

bool StreamImpl::ready() const {
  const std::lock_guard lock(mutex_);
  return !closing_ && queuedLocked() < options_.inputQueueFrames;
}

void StreamImpl::update(const StreamSettings& settings) {
  const std::lock_guard lock(mutex_);
  CheckSettings(settings, options_.settings.kvRatio);
  Network::TopK(settings, geometry_, 1);  // refuses a ratio that keeps nothing at this size
  settings_ = settings;
}

std::uint64_t StreamImpl::flush() {
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return 0;
    id = nextFlush_++;
    if (later_.empty()) builder_.flush();
    later_.emplace_back(Flush{id});
  }
  core_->signal();
  return id;
}

void StreamImpl::close() {
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
    closing_ = true;
  }
  core_->signal();
}

StreamStats StreamImpl::stats() const {
  const std::lock_guard lock(mutex_);
  StreamStats stats = stats_;
  stats.queuedFrames = queuedLocked();
  stats.pendingFrames = static_cast<int>(stats_.pushedFrames - stats_.deliveredFrames);
  stats.outputFramesHeld = outputs_.out();
  stats.position = position_;
  return stats;
}

int StreamImpl::outputWidth() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(geometry_.contentWidth);
}
int StreamImpl::outputHeight() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(geometry_.contentHeight);
}

StreamImpl::Turn StreamImpl::poll(std::int64_t nowUs, std::optional<std::int64_t>& wakeUs) const {
  constexpr std::int64_t kNow = std::numeric_limits<std::int64_t>::min();
  const std::lock_guard lock(mutex_);
  if (closed_) return {};
  if (closing_) return {parts_.empty() ? Work::Close : Work::None, kNow};
  // A stream without a deadline (a file) lets live ones pass, up to a bound.
  const std::int64_t patienceUs = options_.gatherDeadlineMs == 0 ? kPatienceUs : 0;
  if (revealing_) {
    // Outputs that are not delivered come before those that are: the part counts as its first picture, or the next.
    const auto& outputs = revealing_->chunk.outputs;
    for (std::size_t i = revealing_->device.nextOutputs().first; i < outputs.size(); ++i)
      if (outputs[i]) return {Work::Reveal, outputs[i]->arrivedUs + patienceUs};
    return {Work::Reveal, nowUs + patienceUs};
  }
  if (!later_.empty() && builder_.drained()) return {parts_.empty() ? Work::Marker : Work::None, kNow};
  // A consumer that keeps its pictures stops its own stream only.
  const int outputs = network_->first() ? kFirstChunkOutputs : kChunkFrames;
  if (outputs_.out() + outputs > options_.outputQueueFrames) return {};
  if (builder_.ready(nowUs)) return {Work::Chunk, builder_.oldestUs().value_or(nowUs) + patienceUs};
  if (const auto deadline = builder_.deadlineUs()) wakeUs = std::min(wakeUs.value_or(*deadline), *deadline);
  return {};
}

// Runs `write` when the stream is recorded; an error ends the recording, not the stream.
void StreamImpl::record(const std::function<void(RecordingWriter&)>& write) {
  if (!recording_) return;
  try {
    write(*recording_);
  } catch (const Error& error) {
    recording_.reset();
    listener_->onError(error);
  }
}

const Fence* StreamImpl::submit(Work work, const Fence* before) {
  Part part;
  if (before != nullptr) core_->onDevice([&] { network_->executor().after(*before); });
  if (work == Work::Chunk) {
    submitChunk(part);
  } else {
    part.chunk = revealing_;
    core_->onDevice([&] { part.device = network_->reveal(revealing_->device); });
    if (revealing_->device.wholly()) revealing_.reset();
  }
  parts_.push_back(std::move(part));
  return parts_.back().device.fence.get();
}

void StreamImpl::submitChunk(Part& part) {
  part.chunk = std::make_shared<InFlight>();
  InFlight& flight = *part.chunk;
  ChunkRequest request;
  {
    const std::lock_guard lock(mutex_);
    flight.chunk = builder_.take();
    flight.options = options_;
    flight.geometry = geometry_;
    flight.index = stats_.chunks++;
    request.settings = settings_;
    request.position = position_;
    position_ += flight.chunk.first ? kFirstChunkLatents : kChunkLatents;
    stats_.repeatedFrames += flight.chunk.repeats;
  }
  record([&](RecordingWriter& recording) { recording.chunk(flight.chunk, request.settings); });
  request.pictures = flight.chunk.pictures;
  const std::size_t bytes = OutputBytes(flight.options, flight.geometry);
  core_->onDevice([&, &network = *network_] {
    for (const auto& output : flight.chunk.outputs)
      request.outputs.push_back(
          output ? outputs_.take(bytes, [&](std::size_t size) { return network.executor().allocateHost(size); })
                 : nullptr);
    part.device = network.begin(std::move(request), flight.device);
  });
  revealing_ = part.chunk;
}

bool StreamImpl::deliver() {
  Part& part = parts_.front();
  const std::shared_ptr<InFlight> chunk = part.chunk;
  // A callback may end this stream's life as a whole: only what is held here is touched after it.
  for (; part.delivered < part.device.pictures.size(); ++part.delivered) {
    const PictureInFlight& picture = part.device.pictures[part.delivered];
    if (!picture.fence->done()) return false;
    picture.fence->wait();
    countWork(*chunk, *picture.fence);
    if (!deliverPicture(*chunk, picture.output)) break;  // closing: the others are not delivered
  }
  if (!part.device.fence->done()) return false;
  part.device.fence->wait();
  countWork(*chunk, *part.device.fence);
  parts_.pop_front();
  const bool last = chunk != revealing_ && (parts_.empty() || parts_.front().chunk != chunk);
  if (!last) return true;
  const std::lock_guard lock(mutex_);
  const auto ms = [&](Stage stage) { return chunk->ms[static_cast<std::size_t>(stage)]; };
  StageTimes& times = stats_.lastChunk;
  times.project = ms(Stage::Import) + ms(Stage::Project);
  times.denoise = ms(Stage::Denoise);
  times.reveal = ms(Stage::Reveal);
  times.match = ms(Stage::Match);
  times.total = times.project + times.denoise + times.reveal + times.match;
  return true;
}

void StreamImpl::countWork(InFlight& chunk, const Fence& fence) {
  const auto ms = fence.stageMs();
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < ms.size(); ++i) {
    chunk.ms[i] += ms[i];
    if (i != static_cast<std::size_t>(Stage::Idle)) stats_.busyMs += ms[i];
  }
}

bool StreamImpl::deliverPicture(InFlight& chunk, std::size_t output) {
  const GatheredFrame& source = *chunk.chunk.outputs[output];
  OutputFrame frame;
  frame.format = chunk.options.outputFormat;
  frame.width = static_cast<int>(chunk.geometry.contentWidth);
  frame.height = static_cast<int>(chunk.geometry.contentHeight);
  frame.mediaTime = source.mediaTime;
  frame.frameIndex = source.frameIndex;
  frame.arrivedUs = source.arrivedUs;
  frame.chunkIndex = chunk.index;
  frame.bytes = OutputBytes(chunk.options, chunk.geometry);
  frame.data = std::move(chunk.device.request.outputs[output]);
  const std::int64_t now = core_->nowUs();
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return false;
    ++stats_.deliveredFrames;
    stats_.latencyMs = static_cast<double>(now - source.arrivedUs) / 1000.0;
  }
  record([&](RecordingWriter& recording) {
    recording.output(frame.frameIndex, frame.mediaTime, HashBytes(frame.data.get(), frame.bytes));
  });
  listener_->onFrame(std::move(frame));
  return true;
}

void StreamImpl::advanceLocked() {
  while (!later_.empty() && std::holds_alternative<GatheredFrame>(later_.front())) {
    builder_.push(std::move(std::get<GatheredFrame>(later_.front())));
    later_.pop_front();
    --laterFrames_;
  }
  if (!later_.empty()) builder_.flush();
}

void StreamImpl::passMarker() {
  std::uint64_t flushed = 0;
  {
    const std::lock_guard lock(mutex_);
    flushed = std::get<Flush>(later_.front()).id;
    later_.pop_front();
    builder_.restart();
    position_ = options_.startPosition;
    ++stats_.restarts;
    network_->reset();
    advanceLocked();
  }
  record([&](RecordingWriter& recording) { recording.restart(options_); });
  listener_->onFlushed(flushed);
}

void StreamImpl::finish(const Error* error, bool hangs) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closing_ = closed_ = true;
  }
  if (error != nullptr) listener_->onError(*error);
  if (hangs) {
    // Every way of giving this memory back waits for the device first.
    new std::pair(std::move(parts_), std::move(revealing_));
    inputs_.abandon();
    outputs_.abandon();
  }
  // Only a device that failed leaves parts behind; the host memory they use must outlive them all the same.
  for (Part& part : parts_) {
    try {
      part.device.fence->wait();
    } catch (const std::exception&) {
      // The listener has the error already.
    }
  }
  parts_.clear();
  revealing_.reset();
  recording_.reset();
  {
    // push() uses the network only while the stream is not closing.
    const std::lock_guard lock(mutex_);
    later_.clear();
    laterFrames_ = 0;
    builder_ = ChunkBuilder(options_.coldStartFrames, 0);
    if (hangs) new auto(std::move(network_));
    network_.reset();
  }
  listener_->onClosed();
}

}  // namespace flashvsr
