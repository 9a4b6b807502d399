// Stages reveal (the tiny conditional decoder, or Wan2.1's) and match of a chunk.
#include <utility>

#include "engine/network_buffers.h"

namespace flashvsr {

PartInFlight Network::reveal(ChunkInFlight& flight, const NetworkHooks* hooks) {
  Buffers& b = *buffers_;
  PartInFlight part;
  executor_->mark(Stage::Reveal);
  if (b.wan) {
    revealWan(flight, part, hooks);
    executor_->mark(Stage::Idle);
    ++flight.revealed;
    part.fence = executor_->fence();
    return part;
  }
  DecoderInput input;
  for (int i = 0; i < 4; ++i) {
    // Chunk 0 is padded in front with three copies of frame 0.
    const std::int64_t frame = decodedInChunk_ + i;
    input.frames[static_cast<std::size_t>(i)] = outputFrames_[static_cast<std::size_t>(frame < 0 ? 0 : frame)];
  }
  input.latent = Buffers::Frames(b.latent, flight.latents);
  input.latentFrame = flight.revealed;
  input.out = b.decoderInput;
  executor_->run(input);
  executor_->run(DecoderConvolution{1, -1, b.decoderInput, {}, {}, true, b.blockA[0]});
  const Tensor entry = b.memory[0][static_cast<std::size_t>(spare_[0])];
  executor_->run(DecoderConvolution{3, -1, b.blockA[0], {}, {}, true, entry});
  revealStep(0, flight.request, part, hooks);
  executor_->mark(Stage::Idle);
  ++flight.revealed;
  part.fence = executor_->fence();
  return part;
}

// One time step of a stage and of all it grows into. Its input lies in the stage's spare memory. Each MemBlock's input
// becomes its past; the past it had is free after the first convolution and takes the block's result; what the last
// block let go of holds the stage's result and is the spare of the next step. So four memories do for three blocks,
// without copies.
void Network::revealStep(int stage, const ChunkRequest& request, PartInFlight& part, const NetworkHooks* hooks) {
  Buffers& b = *buffers_;
  const std::size_t s = static_cast<std::size_t>(stage);
  const auto memory = [&](int slot) { return b.memory[s][static_cast<std::size_t>(slot)]; };
  int input = spare_[s];
  for (int block = 0; block < 3; ++block) {
    const int layer = kFirstMemBlock[s] + block;
    int& past = past_[s][static_cast<std::size_t>(block)];
    executor_->run(DecoderConvolution{layer, 0, memory(input), memory(past), {}, true, b.blockA[s]});
    executor_->run(DecoderConvolution{layer, 2, b.blockA[s], {}, {}, true, b.blockB[s]});
    executor_->run(DecoderConvolution{layer, 4, b.blockB[s], {}, memory(input), true, memory(past)});
    std::swap(past, input);
  }
  spare_[s] = input;
  const Tensor result = memory(input);
  for (int step = 0; step < kGrowSteps[s]; ++step) {
    if (stage < 2) {
      const Tensor next = b.memory[s + 1][static_cast<std::size_t>(spare_[s + 1])];
      executor_->run(DecoderGrow{stage, step, result, next});
      revealStep(stage + 1, request, part, hooks);
      continue;
    }
    const std::int64_t frame = decodedInChunk_++;
    const bool wanted = frame >= 0 && (request.outputs[static_cast<std::size_t>(frame)] != nullptr ||
                                       (hooks != nullptr && hooks->decodeSkippedFrames));
    if (!wanted) continue;  // full resolution has no memory, so a frame that is not delivered costs nothing
    executor_->run(DecoderGrow{stage, step, result, b.fullA});
    executor_->run(DecoderConvolution{24, -1, b.fullA, {}, {}, true, b.fullB});
    executor_->run(DecoderOutput{b.fullB, b.decoded});
    finishFrame(frame, request, part, hooks);
  }
}

// Every picture is decoded, wanted or not: each convolution's past is at full resolution here.
void Network::revealWan(ChunkInFlight& flight, PartInFlight& part, const NetworkHooks* hooks) {
  Buffers& b = *buffers_;
  const ChunkRequest& request = flight.request;
  WanDecoder::Hooks wanHooks;
  wanHooks.onPicture = [&](const Tensor&) {
    // The first latent frame makes one picture, where the tiny decoder makes four and drops three.
    if (decodedInChunk_ < 0) decodedInChunk_ = 0;
    const std::int64_t frame = decodedInChunk_++;
    if (request.outputs[static_cast<std::size_t>(frame)] != nullptr || (hooks != nullptr && hooks->decodeSkippedFrames))
      finishFrame(frame, request, part, hooks);
  };
  if (hooks != nullptr && hooks->onTensor)
    wanHooks.onTensor = [&](const std::string& name, const Tensor& tensor) {
      hooks->onTensor(name, *executor_, tensor);
    };
  b.wan->decode(*executor_, Buffers::Frames(b.latent, flight.latents), flight.revealed, b.decoded, wanHooks);
}

void Network::finishFrame(std::int64_t outputFrame, const ChunkRequest& request, PartInFlight& part,
                          const NetworkHooks* hooks) {
  Buffers& b = *buffers_;
  const std::size_t index = static_cast<std::size_t>(outputFrame);
  const bool watch = hooks != nullptr && hooks->onTensor;
  if (watch) hooks->onTensor("decoded." + std::to_string(outputFrame), *executor_, b.decoded);
  executor_->mark(Stage::Match);
  FinishPicture op;
  op.decoded = b.decoded;
  op.frame = outputFrames_[index];
  op.match = request.settings.colourMatch;
  op.format = options_.outputFormat;
  op.matched = b.matched;
  op.out = b.output[index];
  if (hooks != nullptr && hooks->extraMatch) {
    FinishPicture extra = op;
    extra.match = *hooks->extraMatch;
    executor_->run(extra);
    if (watch) hooks->onTensor("matched_extra." + std::to_string(outputFrame), *executor_, b.matched);
  }
  executor_->run(op);
  if (watch) {
    hooks->onTensor("matched." + std::to_string(outputFrame), *executor_, b.matched);
    hooks->onTensor("lq." + std::to_string(outputFrame), *executor_, op.frame);
  }
  if (request.outputs[index] != nullptr) {
    executor_->download(request.outputs[index].get(), b.output[index]);
    part.pictures.push_back({index, executor_->fence()});
  }
  executor_->mark(Stage::Reveal);
}

}  // namespace flashvsr
