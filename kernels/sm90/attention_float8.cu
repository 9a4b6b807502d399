// Block-sparse flash attention on e4m3: the bf16 kernel's roles and turns (attention.cu) at half the bytes and twice
// the products' rate, so that the exponentials (1024 cycles at 16/cycle for a 128x128 tile) weigh as much as the
// products (1024 cycles).
//   values        come transposed (one row a column of the head, 128 tokens along it): 8-bit wgmma reads both operands
//   along k only probabilities go from scores to operand without crossing threads: tokens lie along V's rows in the
//   order in which a thread's
//                 scores, four at a time, make its operand's words (ValuePosition)
//   scales        powers of two in q, k and v, undone in the softmax's scale and the output's; a probability is rounded
//   times 2^5, which
//                 the sum carries too, so that only those under 5e-4 of the largest lose digits
//   maximum       follows the scores only when they have outgrown it by 2^3: almost no tile rescales sums and outputs
//   (935 -> 881 us)
// A tile takes 16 KB: Q + 3K + 3V = 112 KB.
#include "kernels/attention_input.h"
#include "kernels/common/epilogue.cuh"
#include "kernels/sm90/attention_consumer.cuh"
#include "kernels/sm90/attention_sm90.h"
#include "kernels/sm90/hopper.h"

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kThreads = 384, kTile = kWindowTokens, kRingStages = 3;
constexpr int kTileBytes = kTile * kHeadWidth;
constexpr int kBarriers = (1 + 2 * kRingStages) * kTileBytes, kSharedBytes = kBarriers + 4 * kRingStages * 8;
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

/// e4m3: Q from shared memory, the probabilities as left operand from registers; keys and values both along k.
struct Operands {
  static constexpr int kStages = kRingStages, kBias = 5,
                       kSlack = 3;  // probabilities are at most 2^8 (the format ends at 1.75 * 2^8)
  static constexpr int kStageStep = kTileBytes >> 4;
  float scale;
  uint64_t query, keys, values;
  uint32_t probabilities[4][4];

  __device__ __forceinline__ void scores(float (&s)[16][4], int stage) const {
    const uint64_t k = keys + stage * kStageStep;
#pragma unroll
    for (int step = 0; step < 4; ++step) Wgmma128Fp8(s, query + step * 2, k + step * 2, step > 0 ? 1 : 0);
  }
  __device__ __forceinline__ void addValues(float (&out)[16][4], int stage) const {
    const uint64_t v = values + stage * kStageStep;
#pragma unroll
    for (int step = 0; step < 4; ++step) WgmmaRegisters128Fp8(out, probabilities[step], v + step * 2);
  }
  __device__ __forceinline__ void pack(const float (&s)[16][4]) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int word = 0; word < 4; ++word) {
        const int j = 4 * step + (word & 2), c = (word & 1) * 2;
        probabilities[step][word] = PackFp8(s[j][c], s[j][c + 1], s[j + 1][c], s[j + 1][c + 1]);
      }
    }
  }
  __device__ __forceinline__ void fenceCopies() const { FenceAsyncProxy(); }  // cp.async writes as ordinary stores do
};

__global__ void __launch_bounds__(kThreads, 1)
    HopperFloat8AttentionKernel(const __grid_constant__ AttentionParams p, bool float8Out) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t sharedQ = SharedAddress(shared), sharedK = sharedQ + kTileBytes,
                 sharedV = sharedK + kRingStages * kTileBytes;
  const int lane = threadIdx.x & 31, warpInGroup = (threadIdx.x >> 5) & 3;
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);  // uniform, and the compiler can see it
  const int queryWindow = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int64_t queryOffset = static_cast<int64_t>(queryWindow) * kTile * ld + head * kHeadWidth;
  const int listRow = head * p.queryWindows + queryWindow;
  const int tiles = p.counts[listRow];
  const uint32_t* const entries = p.entries + static_cast<int64_t>(listRow) * p.columns;
  const uint32_t firstBarrier = sharedQ + kBarriers;
  const KeyValueBarriers barriers{firstBarrier, firstBarrier + 2 * kRingStages * 8, firstBarrier + kRingStages * 8,
                                  firstBarrier + 3 * kRingStages * 8};

  // Barriers
  if (threadIdx.x == 0) {
    for (int i = 0; i < kRingStages; ++i) {
      BarrierInit(barriers.fullK + i * 8, 128);
      BarrierInit(barriers.fullV + i * 8, 128);
      BarrierInit(barriers.emptyK + i * 8, 8);
      BarrierInit(barriers.emptyV + i * 8, 8);
    }
    FenceAsyncProxy();
  }
  __syncthreads();

  // Producer warpgroup: all 128 threads copy
  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    const int thread = threadIdx.x - 256;
    if (tiles > 0) {
      CopyTile(sharedQ, static_cast<const uint8_t*>(p.q) + queryOffset, ld, thread);
      RingPlace<kRingStages> place;
      for (int tile = 0; tile < tiles; ++tile, place.advance()) {
        const uint32_t entry = entries[tile];
        const int64_t window = entry & 0xfffffu;
        if (tile >= kRingStages) BarrierWait(barriers.emptyK + place.stage * 8, place.parity ^ 1);
        CopyTile(sharedK + place.stage * kTileBytes,
                 static_cast<const uint8_t*>(p.keys[entry >> 20]) + window * kTile * ld + head * kHeadWidth, ld,
                 thread);
        BarrierArriveAfterCopies(barriers.fullK + place.stage * 8);
        if (tile >= kRingStages) BarrierWait(barriers.emptyV + place.stage * 8, place.parity ^ 1);
        CopyTile(sharedV + place.stage * kTileBytes,
                 static_cast<const uint8_t*>(p.values[entry >> 20]) + (window * p.heads + head) * kTileBytes, kTile,
                 thread);
        BarrierArriveAfterCopies(barriers.fullV + place.stage * 8);
      }
      CommitCopies();
      WaitCopies<0>();
    }
    return;
  }

  // Consumer warpgroups: 64 query rows each
  TakeRegisters<kConsumerRegisters>();
  float acc[16][4], s[16][4];
#pragma unroll
  for (int j = 0; j < 16; ++j)
#pragma unroll
    for (int c = 0; c < 4; ++c) acc[j][c] = s[j][c] = 0.0f;
  float total[2] = {0.0f, 0.0f};

  if (tiles > 0) {
    Operands operands;
    operands.scale = kScaleLog2 * p.scoreScale;
    operands.query = DescribeRowsAlongK(sharedQ + group * 64 * 128);
    operands.keys = DescribeRowsAlongK(sharedK);
    operands.values = DescribeRowsAlongK(sharedV);
    ConsumeTiles(operands, barriers, tiles, group, lane, s, acc, total);
  }

  // Epilogue: from registers to memory
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
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(HopperFloat8AttentionKernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (error != cudaSuccess) return error;
  HopperFloat8AttentionKernel<<<dim3(static_cast<unsigned>(p.queryWindows), static_cast<unsigned>(p.heads)), kThreads,
                                kSharedBytes, stream>>>(p, p.outputType == DataType::kFloat8);
  return cudaGetLastError();
}

#else  // built without 9.0 among the architectures

bool Sm90HasFloat8Attention() { return false; }
cudaError_t LaunchFloat8AttentionSm90(const AttentionParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
