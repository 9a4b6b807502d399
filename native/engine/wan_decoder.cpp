#include "engine/wan_decoder.h"

#include "weights/wan_layers.h"

namespace flashvsr {
namespace {

// The first `channels` channels' worth of a buffer that is as wide as its level's widest block.
Tensor Narrow(const Tensor& buffer, std::int64_t channels) {
  Tensor part = buffer;
  part.shape[3] = channels;
  return part;
}

const WanBlock& BlockAt(int index) { return kWanBlocks[static_cast<std::size_t>(index)]; }

const char* GoldenName(int block) {
  switch (block) {
    case 2:
      return "middle";
    case 6:
      return "up3";
    case 10:
      return "up7";
    case 14:
      return "up11";
    case 17:
      return "up14";
    default:
      return nullptr;
  }
}

}  // namespace

WanDecoder::WanDecoder(ArenaLayout& layout, const Geometry& geometry, std::int64_t width, std::int64_t latentChannels)
    : width_(width) {
  const auto take = [&](int level, std::int64_t channels) {
    return layout.take(Storage::Activation,
                       {geometry.latentHeight() << level, geometry.latentWidth() << level, channels});
  };
  const auto history = [&](History& out, int level, std::int64_t channels) {
    out.earlier = take(level, channels);
    out.previous = take(level, channels);
    Tensor& spare = spares_[{level, channels}];
    if (!spare) spare = take(level, channels);
    out.now = &spare;
  };
  history(entry_, 0, latentChannels);
  for (int index = 0; index < kWanHead; ++index) {
    const WanBlock& block = BlockAt(index);
    auto& [first, second] = histories_[static_cast<std::size_t>(index)];
    if (block.kind == WanKind::Residual) {
      history(first, block.level, block.in * width);
      history(second, block.level, block.out * width);
    } else if (block.kind == WanKind::GrowTime) {
      history(first, block.level, block.in * width);
    }
  }
  history(head_, kWanLevels - 1, width);
}

void WanDecoder::takeWork(ArenaLayout& layout, const Geometry& geometry) {
  const auto take = [&](int level, int channels) {
    return layout.take(Storage::Activation,
                       {geometry.latentHeight() << level, geometry.latentWidth() << level, channels * width_});
  };
  for (int level = 0; level < kWanLevels; ++level) {
    const std::size_t at = static_cast<std::size_t>(level);
    levels_[at].a = take(level, kWanWidest[at]);
    levels_[at].b = take(level, kWanWidest[at]);
  }
  for (const WanBlock& block : kWanBlocks)
    if (block.kind == WanKind::Residual && block.in != block.out)
      levels_[static_cast<std::size_t>(block.level)].shortcut = take(block.level, block.out);
}

template <typename Visit>
void WanDecoder::eachHistory(const Visit& visit) {
  visit(entry_);
  visit(head_);
  for (auto& own : histories_)
    for (History& history : own)
      if (history.now != nullptr) visit(history);
}

void WanDecoder::reset(Executor& executor) {
  first_ = true;
  eachHistory([&](const History& history) {
    executor.fill(history.earlier, 0);
    executor.fill(history.previous, 0);
  });
}

void WanDecoder::decode(Executor& executor, const Tensor& latent, int latentFrame, const Tensor& picture,
                        const Hooks& hooks) {
  executor.run(WanInput{latent, latentFrame, *entry_.now});
  const Tensor x = Narrow(levels_[0].a, BlockAt(0).in * width_);
  executor.run(WanConvolution{kWanEntry, WanPart::First, entry_.earlier, entry_.previous, *entry_.now, 0, {}, x});
  entry_.advance();
  if (hooks.onTensor) hooks.onTensor("conv1", x);
  step(executor, 0, x, picture, hooks);
  first_ = false;
}

// The buffer of a block's level that does not hold x.
Tensor WanDecoder::other(int index, const Tensor& x, std::int64_t channels) const {
  const Level& level = levels_[static_cast<std::size_t>(BlockAt(index).level)];
  return Narrow(x.data == level.a.data ? level.b : level.a, channels);
}

Tensor WanDecoder::residual(Executor& executor, int index, const Tensor& x) {
  const WanBlock& block = BlockAt(index);
  auto& [first, second] = histories_[static_cast<std::size_t>(index)];
  const Tensor out = other(index, x, block.out * width_);
  executor.run(WanNorm{index, WanPart::First, x, *first.now});
  executor.run(WanConvolution{index, WanPart::First, first.earlier, first.previous, *first.now, 0, {}, out});
  first.advance();
  executor.run(WanNorm{index, WanPart::Second, out, *second.now});
  Tensor past = x;
  if (block.in != block.out) {
    past = levels_[static_cast<std::size_t>(block.level)].shortcut;
    executor.run(WanConvolution{index, WanPart::Shortcut, {}, {}, x, 0, {}, past});
  }
  executor.run(WanConvolution{index, WanPart::Second, second.earlier, second.previous, *second.now, 0, past, out});
  second.advance();
  return out;
}

// Depth first, so that of the larger levels one time step lives at a time.
void WanDecoder::step(Executor& executor, int index, Tensor x, const Tensor& picture, const Hooks& hooks) {
  for (; index < kWanHead; ++index) {
    const WanBlock& block = BlockAt(index);
    if (block.kind == WanKind::Residual) {
      x = residual(executor, index, x);
    } else if (block.kind == WanKind::Attention) {
      const Tensor out = other(index, x, block.out * width_);
      executor.run(WanAttention{index, x, out});
      x = out;
    } else {
      return grow(executor, index, x, picture, hooks);
    }
    if (hooks.onTensor && GoldenName(index) != nullptr) hooks.onTensor(GoldenName(index), x);
  }
  executor.run(WanNorm{kWanHead, WanPart::First, x, *head_.now});
  executor.run(WanOutput{head_.earlier, head_.previous, *head_.now, picture});
  head_.advance();
  hooks.onPicture(picture);
}

// Blocks that enlarge, in time as well where they do, and all that follows them.
void WanDecoder::grow(Executor& executor, int index, const Tensor& x, const Tensor& picture, const Hooks& hooks) {
  const WanBlock& block = BlockAt(index);
  const Tensor larger = Narrow(levels_[static_cast<std::size_t>(block.level) + 1].a, block.out * width_);
  const auto enlarge = [&](const Tensor& from) {
    executor.run(WanConvolution{index, WanPart::Enlarge, {}, {}, from, 0, {}, larger});
    if (hooks.onTensor && GoldenName(index) != nullptr) hooks.onTensor(GoldenName(index), larger);
    step(executor, index + 1, larger, picture, hooks);
  };
  // The stream's first latent frame stays one time step, and the next one sees zeros before itself.
  if (block.kind == WanKind::Enlarge || first_) return enlarge(x);
  History& time = histories_[static_cast<std::size_t>(index)][0];
  executor.copy(*time.now, x);
  const Tensor grown = other(index, x, block.in * width_);
  for (int half = 0; half < 2; ++half) {
    executor.run(WanConvolution{index, WanPart::Time, time.earlier, time.previous, *time.now, half, {}, grown});
    enlarge(grown);
  }
  time.advance();
}

}  // namespace flashvsr
