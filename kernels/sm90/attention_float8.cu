// Block-sparse flash attention on e4m3: the bf16 kernel's roles and turns (attention.cu) at half the bytes and twice the products' rate,
// so that the exponentials (1024 cycles of 16 a cycle for a 128x128 tile) weigh as much as the products (1024 cycles).
//   values        come transposed (one row a column of the head, 128 tokens along it): 8-bit wgmma reads both operands along k only
//   probabilities go from scores to operand without crossing threads: tokens lie along V's rows in the order in which a thread's
//                 scores, four at a time, make its operand's words (ValuePosition)
//   scales        powers of two in q, k and v, undone in the softmax's scale and the output's; a probability is rounded times 2^5, which
//                 the sum carries too, so that only those under 5e-4 of the largest lose digits
//   maximum       follows the scores only when they have outgrown it by 2^3: almost no tile rescales sums and outputs (935 -> 881 us)
// A tile takes 16 KB: Q + 3K + 3V = 112 KB.
#include "kernels/attention_input.h"
#include "kernels/common/epilogue.cuh"
#include "kernels/sm90/attention_sm90.h"
#include "kernels/sm90/hopper.h"
#include "kernels/sm90/softmax.cuh"

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kThreads = 384, kTile = kWindowTokens, kStages = 3;
constexpr int kBias = 5, kSlack = 3;  // probabilities are at most 2^8 (the format ends at 1.75 * 2^8)
constexpr int kTileBytes = kTile * kHeadWidth;
constexpr int kBarriers = (1 + 2 * kStages) * kTileBytes, kSharedBytes = kBarriers + 4 * kStages * 8;
constexpr int kProducerRegisters = 72, kConsumerRegisters = 216;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads);
constexpr float kScaleLog2 = 0.08838834764831845f * 1.4426950408889634f;  // log2(e) / sqrt(128)

/// 128 rows of 128 bytes, `ld` apart, into a swizzled tile, by the producer's 128 threads.
__device__ __forceinline__ void CopyTile(uint32_t shared, const uint8_t* from, int64_t ld, int thread) {
  const int chunk = thread & 7, first = thread >> 3;
  const uint32_t to = shared + SwizzledOffset<8>(first, chunk);
  const uint8_t* source = from + first * ld + chunk * 16;
#pragma unroll
  for (int i = 0; i < kTile / 16; ++i) CopyAsync16(to + i * 16 * 128, source + i * 16 * ld, true);
}

__global__ void __launch_bounds__(kThreads, 1) HopperFloat8AttentionKernel(const __grid_constant__ AttentionParams p, bool float8Out) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t sharedQ = SharedAddress(shared), sharedK = sharedQ + kTileBytes, sharedV = sharedK + kStages * kTileBytes;
  const int lane = threadIdx.x & 31, warpInGroup = (threadIdx.x >> 5) & 3;
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);  // uniform, and the compiler can see it
  const int queryWindow = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int64_t queryOffset = static_cast<int64_t>(queryWindow) * kTile * ld + head * kHeadWidth;
  const int listRow = head * p.queryWindows + queryWindow;
  const int tiles = p.counts[listRow];
  const uint32_t* const entries = p.entries + static_cast<int64_t>(listRow) * p.columns;
  const uint32_t fullK = sharedQ + kBarriers, emptyK = fullK + kStages * 8, fullV = emptyK + kStages * 8, emptyV = fullV + kStages * 8;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(fullK + i * 8, 128);
      BarrierInit(fullV + i * 8, 128);
      BarrierInit(emptyK + i * 8, 8);
      BarrierInit(emptyV + i * 8, 8);
    }
    FenceAsyncProxy();
  }
  __syncthreads();

  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    const int thread = threadIdx.x - 256;
    if (tiles > 0) {
      CopyTile(sharedQ, static_cast<const uint8_t*>(p.q) + queryOffset, ld, thread);
      RingPlace<kStages> place;
      for (int tile = 0; tile < tiles; ++tile, place.advance()) {
        const uint32_t entry = entries[tile];
        const int64_t window = entry & 0xfffffu;
        if (tile >= kStages) BarrierWait(emptyK + place.stage * 8, place.parity ^ 1);
        CopyTile(sharedK + place.stage * kTileBytes,
                 static_cast<const uint8_t*>(p.keys[entry >> 20]) + window * kTile * ld + head * kHeadWidth, ld, thread);
        BarrierArriveAfterCopies(fullK + place.stage * 8);
        if (tile >= kStages) BarrierWait(emptyV + place.stage * 8, place.parity ^ 1);
        CopyTile(sharedV + place.stage * kTileBytes,
                 static_cast<const uint8_t*>(p.values[entry >> 20]) + (window * p.heads + head) * kTileBytes, kTile, thread);
        BarrierArriveAfterCopies(fullV + place.stage * 8);
      }
      CommitCopies();
      WaitCopies<0>();
    }
    return;
  }

  TakeRegisters<kConsumerRegisters>();
  float acc[16][4], s[16][4];
#pragma unroll
  for (int j = 0; j < 16; ++j)
#pragma unroll
    for (int c = 0; c < 4; ++c) acc[j][c] = s[j][c] = 0.0f;
  float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};

  if (tiles > 0) {
    const float scale = kScaleLog2 * p.scoreScale;
    const uint64_t q = DescribeRowsAlongK(sharedQ + group * 64 * 128);
    const uint64_t keys = DescribeRowsAlongK(sharedK), values = DescribeRowsAlongK(sharedV);
    constexpr int kNextBuffer = kTileBytes >> 4;
    const auto scores = [&](uint64_t k) {
#pragma unroll
      for (int step = 0; step < 4; ++step) Wgmma128Fp8(s, q + step * 2, k + step * 2, step > 0 ? 1 : 0);
    };
    uint32_t probabilities[4][4];
    const auto addValues = [&](uint64_t v) {
#pragma unroll
      for (int step = 0; step < 4; ++step) WgmmaRegisters128Fp8(acc, probabilities[step], v + step * 2);
    };
    float shrink[2];
    // Probabilities become the left operand only when the P*V that reads the old ones is done.
    const auto turn = [&](bool rescale) {
#pragma unroll
      for (int step = 0; step < 4; ++step) {
#pragma unroll
        for (int word = 0; word < 4; ++word) {
          const int j = 4 * step + (word & 2), c = (word & 1) * 2;
          probabilities[step][word] = PackFp8(s[j][c], s[j][c + 1], s[j + 1][c], s[j + 1][c + 1]);
        }
      }
      if (rescale) {
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          acc[j][0] *= shrink[0], acc[j][1] *= shrink[0];
          acc[j][2] *= shrink[1], acc[j][3] *= shrink[1];
        }
      }
    };
    // Turns as in attention.cu: a warpgroup waits for its own barrier before it issues products and opens the other's behind it.
    const int mine = 1 + group, others = 2 - group;
    RingPlace<kStages> key, value;
    int freed = 0;  // stage of the values before these
    if (group == 1) NamedArrive(others);
    BarrierWait(fullK, 0);
    FenceAsyncProxy();  // the copies were ordinary writes
    WgmmaFence();
    scores(keys);
    WgmmaCommit();
    WgmmaWait<0>();
    if (lane == 0) BarrierArrive(emptyK);
    key.advance();

    for (int tile = 0; tile + 1 < tiles; ++tile) {
      const bool rescale = Softmax<kBias, kSlack>(s, maximum, total, shrink, scale);  // under the P*V of the tile before
      WgmmaWait<0>();
      if (tile > 0 && lane == 0) BarrierArrive(emptyV + freed * 8);
      turn(rescale);
      BarrierWait(fullK + key.stage * 8, key.parity);
      BarrierWait(fullV + value.stage * 8, value.parity);
      FenceAsyncProxy();
      NamedWait(mine);
      WgmmaFence();
      scores(keys + key.stage * kNextBuffer);
      WgmmaCommit();
      addValues(values + value.stage * kNextBuffer);
      WgmmaCommit();
      NamedArrive(others);
      WgmmaWait<1>();  // the scores
      if (lane == 0) BarrierArrive(emptyK + key.stage * 8);
      freed = value.stage;
      key.advance();
      value.advance();
    }
    const bool rescale = Softmax<kBias, kSlack>(s, maximum, total, shrink, scale);
    WgmmaWait<0>();
    turn(rescale);
    BarrierWait(fullV + value.stage * 8, value.parity);
    FenceAsyncProxy();
    WgmmaFence();
    addValues(values + value.stage * kNextBuffer);
    WgmmaCommit();
    WgmmaWait<0>();
  }
  const int64_t outOffset = queryOffset + (group * 64 + warpInGroup * 16) * ld;
  if (float8Out) {
    StoreAttention(acc, total, p.outputScale, static_cast<Fp8*>(p.out) + outOffset, ld, lane);
  } else {
    StoreAttention(acc, total, p.outputScale, static_cast<Bf16*>(p.out) + outOffset, ld, lane);
  }
}

}  // namespace

bool Sm90HasFloat8Attention() { return Sm90Present(); }

cudaError_t LaunchFloat8AttentionSm90(const AttentionParams& p, cudaStream_t stream) {
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(HopperFloat8AttentionKernel), cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (error != cudaSuccess) return error;
  HopperFloat8AttentionKernel<<<dim3(static_cast<unsigned>(p.queryWindows), static_cast<unsigned>(p.heads)), kThreads, kSharedBytes, stream>>>(
      p, p.outputType == DataType::kFloat8);
  return cudaGetLastError();
}

#else  // built without 9.0 among the architectures

bool Sm90HasFloat8Attention() { return false; }
cudaError_t LaunchFloat8AttentionSm90(const AttentionParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
