// Block-sparse flash attention with wgmma. Two consumer warpgroups of 64 query rows; a key tile is a whole window of 128 tokens;
// a producer warpgroup copies. Scores go to registers, probabilities stay there as the left operand of P*V. In a warpgroup the scores
// of the next tile and the P*V of this one are issued together, and the softmax of the next tile runs under that P*V; between the
// two, named barriers make one issue its products while the other is in its softmax (FlashAttention-3, arXiv 2407.08608, section 3).
// K and V are double-buffered: Q + 2K + 2V = 160 KB, one block an SM.
#include "attention.h"

#include "../smxx/epilogue.cuh"
#include "softmax.cuh"

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kThreads = 384, kTile = kWindowTokens;
constexpr int kHalfBytes = kTile * 128, kTileBytes = 2 * kHalfBytes;  // 64 columns of 128 rows; both halves
constexpr int kBarriers = 5 * kTileBytes, kSharedBytes = kBarriers + 8 * 8;
constexpr int kProducerRegisters = 72, kConsumerRegisters = 216;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads);
constexpr float kScaleLog2 = 0.08838834764831845f * 1.4426950408889634f;  // log2(e) / sqrt(128)

/// 128 rows of 128 elements, `ld` apart, into two swizzled halves of 64 columns, by the producer's 128 threads.
__device__ __forceinline__ void CopyWindow(uint32_t shared, const Bf16* from, int64_t ld, int thread) {
  const int chunk = thread & 15, first = thread >> 4;
  const uint32_t to = shared + (chunk >> 3) * kHalfBytes + SwizzledOffset<8>(first, chunk & 7);
  const Bf16* source = from + first * ld + chunk * 8;
#pragma unroll
  for (int i = 0; i < kTile / 8; ++i) CopyAsync16(to + i * 8 * 128, source + i * 8 * ld, true);
}

__device__ __forceinline__ void Scores(float (&s)[16][4], uint64_t q, uint64_t k) {
#pragma unroll
  for (int step = 0; step < 8; ++step) {
    const int offset = (step >> 2) * (kHalfBytes >> 4) + (step & 3) * 2;
    Wgmma128(s, q + offset, k + offset, step > 0 ? 1 : 0);
  }
}

__device__ __forceinline__ void AddValues(float (&acc)[16][4], const uint32_t (&probabilities)[8][4], uint64_t v) {
#pragma unroll
  for (int step = 0; step < 8; ++step) WgmmaRegisters128(acc, probabilities[step], v + step * (16 * 128 >> 4));
}

template <bool kSparse, typename Out>
__global__ void __launch_bounds__(kThreads, 1) HopperAttentionKernel(const __grid_constant__ AttentionParams p) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t sharedQ = SharedAddress(shared), sharedK = sharedQ + kTileBytes, sharedV = sharedK + 2 * kTileBytes;
  const int lane = threadIdx.x & 31, warpInGroup = (threadIdx.x >> 5) & 3;
  const int group = __shfl_sync(0xffffffffu, threadIdx.x >> 7, 0);  // uniform, and the compiler can see it
  const int queryWindow = blockIdx.x, head = blockIdx.y;
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int64_t queryOffset = static_cast<int64_t>(queryWindow) * kTile * ld + head * kHeadWidth;
  const int listRow = head * p.queryWindows + queryWindow;
  const int tiles = kSparse ? p.counts[listRow] : p.keyLength / kTile;
  const uint32_t* const entries = kSparse ? p.entries + static_cast<int64_t>(listRow) * p.columns : nullptr;
  const uint32_t fullK = sharedQ + kBarriers, emptyK = fullK + 16, fullV = fullK + 32, emptyV = fullK + 48;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
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
    const auto entryOf = [&](int tile) { return kSparse ? entries[tile] : static_cast<uint32_t>(tile); };
    const auto offsetOf = [&](uint32_t entry) { return static_cast<int64_t>(entry & 0xfffffu) * kTile * ld + head * kHeadWidth; };
    const auto copyKeys = [&](int tile, uint32_t entry) {
      if (tile >= 2) BarrierWait(emptyK + (tile & 1) * 8, ((tile >> 1) - 1) & 1);
      CopyWindow(sharedK + (tile & 1) * kTileBytes, static_cast<const Bf16*>(p.keys[entry >> 20]) + offsetOf(entry), ld, thread);
      BarrierArriveAfterCopies(fullK + (tile & 1) * 8);
    };
    if (tiles > 0) {
      CopyWindow(sharedQ, static_cast<const Bf16*>(p.q) + queryOffset, ld, thread);
      uint32_t entry = entryOf(0);
      copyKeys(0, entry);
      for (int tile = 0; tile < tiles; ++tile) {
        uint32_t next = 0;
        if (tile + 1 < tiles) {
          next = entryOf(tile + 1);
          copyKeys(tile + 1, next);
        }
        if (tile >= 2) BarrierWait(emptyV + (tile & 1) * 8, ((tile >> 1) - 1) & 1);
        CopyWindow(sharedV + (tile & 1) * kTileBytes, static_cast<const Bf16*>(p.values[entry >> 20]) + offsetOf(entry), ld, thread);
        BarrierArriveAfterCopies(fullV + (tile & 1) * 8);
        entry = next;
      }
      CommitCopies();
      WaitCopies<0>();
    }
    return;
  }

  TakeRegisters<kConsumerRegisters>();
  constexpr int kSlack = kSparse ? 8 : -1;  // the prompt's few tiles save nothing
  float acc[16][4], s[16][4];
#pragma unroll
  for (int j = 0; j < 16; ++j)
#pragma unroll
    for (int c = 0; c < 4; ++c) acc[j][c] = s[j][c] = 0.0f;
  float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};

  if (tiles > 0) {
    const uint64_t q = DescribeRowsAlongK(sharedQ + group * 64 * 128);
    const uint64_t keys = DescribeRowsAlongK(sharedK), values = DescribeRowsAlongN(sharedV, kHalfBytes);
    constexpr int kNextBuffer = kTileBytes >> 4;
    // Turns: each warpgroup waits for its own barrier before it issues products and opens the other's behind it (the second's last
    // word is heard by nobody).
    const int mine = 1 + group, others = 2 - group;
    if (group == 1) NamedArrive(others);
    BarrierWait(fullK, 0);
    FenceAsyncProxy();  // the copies were ordinary writes
    WgmmaFence();
    Scores(s, q, keys);
    WgmmaCommit();
    WgmmaWait<0>();
    if (lane == 0) BarrierArrive(emptyK);

    uint32_t probabilities[8][4];
    float shrink[2];
    // Probabilities become the left operand only when the P*V that reads the old ones is done.
    const auto turn = [&](bool rescale) {
#pragma unroll
      for (int step = 0; step < 8; ++step) {
        probabilities[step][0] = PackBf16(s[2 * step][0], s[2 * step][1]);
        probabilities[step][1] = PackBf16(s[2 * step][2], s[2 * step][3]);
        probabilities[step][2] = PackBf16(s[2 * step + 1][0], s[2 * step + 1][1]);
        probabilities[step][3] = PackBf16(s[2 * step + 1][2], s[2 * step + 1][3]);
      }
      if (rescale) {
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          acc[j][0] *= shrink[0], acc[j][1] *= shrink[0];
          acc[j][2] *= shrink[1], acc[j][3] *= shrink[1];
        }
      }
    };
    for (int tile = 0; tile + 1 < tiles; ++tile) {
      const int next = tile + 1;
      const bool rescale = Softmax<0, kSlack>(s, maximum, total, shrink, kScaleLog2);  // under the P*V of the tile before
      WgmmaWait<0>();
      if (tile > 0 && lane == 0) BarrierArrive(emptyV + ((tile - 1) & 1) * 8);
      turn(rescale);
      BarrierWait(fullK + (next & 1) * 8, (next >> 1) & 1);
      BarrierWait(fullV + (tile & 1) * 8, (tile >> 1) & 1);
      FenceAsyncProxy();
      NamedWait(mine);
      WgmmaFence();
      Scores(s, q, keys + (next & 1) * kNextBuffer);
      WgmmaCommit();
      AddValues(acc, probabilities, values + (tile & 1) * kNextBuffer);
      WgmmaCommit();
      NamedArrive(others);
      WgmmaWait<1>();  // the scores
      if (lane == 0) BarrierArrive(emptyK + (next & 1) * 8);
    }
    const int last = tiles - 1;
    const bool rescale = Softmax<0, kSlack>(s, maximum, total, shrink, kScaleLog2);
    WgmmaWait<0>();
    turn(rescale);
    BarrierWait(fullV + (last & 1) * 8, (last >> 1) & 1);
    FenceAsyncProxy();
    WgmmaFence();
    AddValues(acc, probabilities, values + (last & 1) * kNextBuffer);
    WgmmaCommit();
    WgmmaWait<0>();
  }

  StoreAttention(acc, total, p.outputScale, static_cast<Out*>(p.out) + queryOffset + (group * 64 + warpInGroup * 16) * ld, ld, lane);
}

template <typename Out>
cudaError_t Launch(const AttentionParams& p, cudaStream_t stream) {
  auto* kernel = p.entries != nullptr ? HopperAttentionKernel<true, Out> : HopperAttentionKernel<false, Out>;
  const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                 cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
  if (error != cudaSuccess) return error;
  kernel<<<dim3(static_cast<unsigned>(p.queryWindows), static_cast<unsigned>(p.heads)), kThreads, kSharedBytes, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

bool Sm90Present() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess && major == 9;
}

bool Sm90SuitsAttention(const AttentionParams& p) { return (p.entries != nullptr || p.keyLength % kTile == 0) && Sm90Present(); }

cudaError_t LaunchAttentionSm90(const AttentionParams& p, cudaStream_t stream) {
  taken = Taken::kSm90;
  return p.outputType == DataType::kFloat8 ? Launch<Fp8>(p, stream) : Launch<Bf16>(p, stream);
}

#else

bool Sm90Present() { return false; }
bool Sm90SuitsAttention(const AttentionParams&) { return false; }
cudaError_t LaunchAttentionSm90(const AttentionParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
