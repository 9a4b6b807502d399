#include "engine/stream_impl.h"

#include <algorithm>
#include <cstring>

#include "engine/stream_plan.h"

namespace flashvsr {
namespace {

// Rows without padding, planes one after the other.
void CopyTight(const FrameView& picture, std::uint8_t* to) {
  const bool yuv = picture.format.pixels == PixelFormat::I420;
  for (std::size_t plane = 0; plane < (yuv ? 3U : 1U); ++plane) {
    const std::size_t width = static_cast<std::size_t>(!yuv ? picture.width * 3 : plane == 0 ? picture.width : (picture.width + 1) / 2);
    const int height = !yuv || plane == 0 ? picture.height : (picture.height + 1) / 2;
    for (int y = 0; y < height; ++y, to += width)
      std::memcpy(to, picture.planes[plane] + static_cast<std::ptrdiff_t>(y) * picture.strides[plane], width);
  }
}

}  // namespace

StreamImpl::StreamImpl(std::shared_ptr<EngineCore> core, const StreamOptions& options, std::shared_ptr<StreamListener> listener)
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
  network_ = std::make_unique<Network>(core_->backend(), core_->model(), core_->precision(), NetworkOptionsOf(options));
  if (!options.recordPath.empty()) recording_ = std::make_unique<RecordingWriter>(options.recordPath, options);
}

int StreamImpl::queuedLocked() const { return builder_.waiting() + laterFrames_; }

PushResult StreamImpl::push(const FrameView& picture, std::int64_t mediaTime) {
  CheckPicture(picture);
  const std::size_t bytes = static_cast<std::size_t>(TightPictureBytes(picture.format.pixels, picture.width, picture.height));
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
    frame.picture = std::make_shared<SourcePicture>(SourcePicture{picture.format, picture.width, picture.height, std::move(data)});
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

void StreamImpl::resize(int sourceWidth, int sourceHeight) {
  StreamOptions changed;
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
    changed = options_;
    changed.sourceWidth = sourceWidth;
    changed.sourceHeight = sourceHeight;
    CheckOptions(changed);
    if (later_.empty()) builder_.flush();
    later_.emplace_back(Resize{sourceWidth, sourceHeight});
  }
  core_->signal();
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

StreamImpl::Work StreamImpl::poll(std::int64_t nowUs, std::optional<std::int64_t>& wakeUs) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Work::None;
  if (closing_) return submitted_ == 0 ? Work::Close : Work::None;
  if (!later_.empty() && builder_.drained()) return submitted_ == 0 ? Work::Marker : Work::None;
  // A consumer that keeps its pictures stops its own stream, nobody else's.
  const int outputs = network_->first() ? kFirstChunkOutputs : kChunkFrames;
  if (outputs_.out() + outputs > options_.outputQueueFrames) return Work::None;
  if (builder_.ready(nowUs)) return Work::Chunk;
  if (const auto deadline = builder_.deadlineUs()) wakeUs = std::min(wakeUs.value_or(*deadline), *deadline);
  return Work::None;
}

void StreamImpl::submit() {
  InFlight flight;
  StreamSettings settings;
  std::int64_t position = 0;
  {
    const std::lock_guard lock(mutex_);
    flight.chunk = builder_.take();
    flight.options = options_;
    flight.geometry = geometry_;
    flight.index = stats_.chunks++;
    settings = settings_;
    position = position_;
    position_ += flight.chunk.first ? kFirstChunkLatents : kChunkLatents;
    stats_.repeatedFrames += flight.chunk.repeats;
    ++submitted_;
  }
  if (recording_) {
    try {
      recording_->chunk(flight.chunk, settings);
    } catch (const Error& error) {
      recording_.reset();
      listener_->onError(error);
    }
  }
  ChunkRequest request;
  request.pictures = flight.chunk.pictures;
  const std::size_t bytes = static_cast<std::size_t>(
      TightPictureBytes(flight.options.outputFormat.pixels, flight.geometry.contentWidth, flight.geometry.contentHeight));
  for (const auto& output : flight.chunk.outputs)
    request.outputs.push_back(output ? outputs_.take(bytes, [&](std::size_t size) { return network_->executor().allocateHost(size); }) : nullptr);
  request.settings = settings;
  request.position = position;
  flight.device = network_->run(std::move(request));
  inFlight_.push_back(std::move(flight));
}

void StreamImpl::deliver() {
  InFlight flight = std::move(inFlight_.front());
  inFlight_.pop_front();
  flight.device.fence->wait();
  const std::array<double, kStages> ms = flight.device.fence->stageMs();
  const std::int64_t now = core_->nowUs();
  bool closing = false;
  {
    const std::lock_guard lock(mutex_);
    --submitted_;
    closing = closing_;
    StageTimes& times = stats_.lastChunk;
    times.project = ms[static_cast<std::size_t>(Stage::Import)] + ms[static_cast<std::size_t>(Stage::Project)];
    times.denoise = ms[static_cast<std::size_t>(Stage::Denoise)];
    times.reveal = ms[static_cast<std::size_t>(Stage::Reveal)];
    times.match = ms[static_cast<std::size_t>(Stage::Match)];
    times.total = times.project + times.denoise + times.reveal + times.match;
  }
  if (closing) return;
  for (std::size_t i = 0; i < flight.chunk.outputs.size(); ++i) {
    if (!flight.chunk.outputs[i]) continue;
    const GatheredFrame& source = *flight.chunk.outputs[i];
    OutputFrame frame;
    frame.format = flight.options.outputFormat;
    frame.width = static_cast<int>(flight.geometry.contentWidth);
    frame.height = static_cast<int>(flight.geometry.contentHeight);
    frame.mediaTime = source.mediaTime;
    frame.frameIndex = source.frameIndex;
    frame.arrivedUs = source.arrivedUs;
    frame.chunkIndex = flight.index;
    frame.bytes = static_cast<std::size_t>(TightPictureBytes(frame.format.pixels, frame.width, frame.height));
    frame.data = std::move(flight.device.request.outputs[i]);
    if (recording_) {
      try {
        recording_->output(frame.frameIndex, frame.mediaTime, HashBytes(frame.data.get(), frame.bytes));
      } catch (const Error& error) {
        recording_.reset();
        listener_->onError(error);
      }
    }
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      ++stats_.deliveredFrames;
      stats_.latencyMs = static_cast<double>(now - source.arrivedUs) / 1000.0;
    }
    listener_->onFrame(std::move(frame));
  }
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
  std::optional<std::uint64_t> flushed;
  bool resized = false;
  {
    const std::lock_guard lock(mutex_);
    const Entry marker = std::move(later_.front());
    later_.pop_front();
    if (const Flush* flush = std::get_if<Flush>(&marker)) flushed = flush->id;
    if (const Resize* size = std::get_if<Resize>(&marker)) {
      resized = options_.sourceWidth != size->width || options_.sourceHeight != size->height;
      options_.sourceWidth = size->width;
      options_.sourceHeight = size->height;
      options_.settings = settings_;
      geometry_ = GeometryOf(options_);
    }
    builder_.restart();
    position_ = options_.startPosition;
    ++stats_.restarts;
    if (resized) {
      // The old memory goes first: two states of a large stream may not fit beside each other.
      network_.reset();
      try {
        network_ = std::make_unique<Network>(core_->backend(), core_->model(), core_->precision(), NetworkOptionsOf(options_));
      } catch (...) {
        closing_ = true;  // push() must not find a stream without a network; the engine closes it with this error
        throw;
      }
    } else {
      network_->reset();
    }
    advanceLocked();
  }
  if (recording_) {
    try {
      recording_->restart(options_);
    } catch (const Error& error) {
      recording_.reset();
      listener_->onError(error);
    }
  }
  if (flushed) listener_->onFlushed(*flushed);
}

void StreamImpl::finish(const Error* error) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closing_ = closed_ = true;
  }
  if (error != nullptr) listener_->onError(*error);
  // Only a device that failed leaves chunks behind; the host memory they use must outlive them all the same.
  for (InFlight& flight : inFlight_) {
    try {
      flight.device.fence->wait();
    } catch (const std::exception&) {
      // The listener has the error already.
    }
  }
  inFlight_.clear();
  recording_.reset();
  {
    // push() uses the network only while the stream is not closing.
    const std::lock_guard lock(mutex_);
    later_.clear();
    laterFrames_ = 0;
    builder_ = ChunkBuilder(options_.coldStartFrames, 0);
    network_.reset();
  }
  listener_->onClosed();
}

}  // namespace flashvsr
