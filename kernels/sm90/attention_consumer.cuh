// What a consumer warpgroup of the Hopper attentions does with its tiles, whatever the operands' type.
#pragma once

#include "kernels/sm90/softmax.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace flashvsr::kernels {

/// Barriers of the keys' and values' rings: stage i's lies 8 * i bytes behind.
struct KeyValueBarriers {
  uint32_t fullK, fullV, emptyK, emptyV;
};

/// out += softmax(scores) * values over `tiles` (at least 1) key tiles; a warpgroup's 64 rows. `Operands` has
///   kStages, kBias, kSlack            stages of both rings; the softmax's parameters (softmax.cuh)
///   scale                             of the scores, times log2(e)
///   scores(s, stage)                  issues q * keys of that stage into s
///   addValues(out, stage)             issues out += probabilities * values of that stage
///   pack(s)                           rounds s to probabilities, the left operand
///   fenceCopies()                     makes landed copies visible to wgmma, where they were ordinary writes
///
/// Schedule (FlashAttention-3, arXiv 2407.08608, section 3): the scores of the next tile and the P*V of this one are
/// issued together, and the next tile's softmax runs under that P*V. Ping-pong between the two warpgroups: each waits
/// for its own named barrier before it issues products and opens the other's behind them, so one multiplies while the
/// other is in its softmax. (The second warpgroup's last arrival is unused.)
template <typename Operands>
__device__ __forceinline__ void ConsumeTiles(Operands& operands, const KeyValueBarriers& at, int tiles, int group,
                                             int lane, float (&s)[16][4], float (&out)[16][4], float (&total)[2]) {
  constexpr int kStages = Operands::kStages, kBias = Operands::kBias, kSlack = Operands::kSlack;
  float maximum[2] = {-INFINITY, -INFINITY};
  float shrink[2];
  // Probabilities become the left operand only when the P*V that reads the old ones is done.
  const auto packAndRescale = [&](bool rescale) {
    operands.pack(s);
    if (rescale) {
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        out[j][0] *= shrink[0], out[j][1] *= shrink[0];
        out[j][2] *= shrink[1], out[j][3] *= shrink[1];
      }
    }
  };
  const int ownTurn = 1 + group, peersTurn = 2 - group;  // named barriers
  RingPlace<kStages> key, value;
  int previousValueStage = 0;

  // Scores of the first tile
  if (group == 1) NamedArrive(peersTurn);
  BarrierWait(at.fullK, 0);
  operands.fenceCopies();
  WgmmaFence();
  operands.scores(s, 0);
  WgmmaCommit();
  WgmmaWait<0>();
  if (lane == 0) BarrierArrive(at.emptyK);
  key.advance();

  for (int tile = 0; tile + 1 < tiles; ++tile) {
    // Softmax of this tile, under the P*V of the tile before
    const bool rescale = Softmax<kBias, kSlack>(s, maximum, total, shrink, operands.scale);
    WgmmaWait<0>();
    if (tile > 0 && lane == 0) BarrierArrive(at.emptyV + previousValueStage * 8);
    packAndRescale(rescale);
    // Next tile's keys and this tile's values
    BarrierWait(at.fullK + key.stage * 8, key.parity);
    BarrierWait(at.fullV + value.stage * 8, value.parity);
    operands.fenceCopies();
    // Products: the next tile's scores, then this tile's P*V
    NamedWait(ownTurn);
    WgmmaFence();
    operands.scores(s, key.stage);
    WgmmaCommit();
    operands.addValues(out, value.stage);
    WgmmaCommit();
    NamedArrive(peersTurn);
    WgmmaWait<1>();  // the scores
    if (lane == 0) BarrierArrive(at.emptyK + key.stage * 8);
    previousValueStage = value.stage;
    key.advance();
    value.advance();
  }

  // P*V of the last tile
  const bool rescale = Softmax<kBias, kSlack>(s, maximum, total, shrink, operands.scale);
  WgmmaWait<0>();
  packAndRescale(rescale);
  BarrierWait(at.fullV + value.stage * 8, value.parity);
  operands.fenceCopies();
  WgmmaFence();
  operands.addValues(out, value.stage);
  WgmmaCommit();
  WgmmaWait<0>();
}

}  // namespace flashvsr::kernels
