// Flash attention with wgmma, over a list of kept windows or dense. Two consumer warpgroups of 64 query rows; a key
// tile is a whole window of 128 tokens; one thread of a third warpgroup issues the copies (tensor copy engine). Scores
// go to registers, probabilities stay there as the left operand of P*V. In a warpgroup the scores of the next tile and
// the P*V of this one are issued together, and the softmax of the next tile runs under that P*V; between the two, named
// barriers make one issue its products while the other is in its softmax (FlashAttention-3, arXiv 2407.08608, section
// 3).
//
// Q is the left operand from registers too, so that Q*K^T reads 64 B/cycle of shared memory instead of 96. It is staged
// in the last V buffer and takes no shared memory. kStagesOf and kHeadsTogether below say why two stages and why this
// order of rows. docs/kernels/attention.md draws the schedule.
#include "kernels/sm90/attention_sm90.h"

#include <algorithm>

#include "kernels/common/epilogue.cuh"

#ifdef FLASHVSR_SM90
#include "kernels/sm90/attention_consumer.cuh"
#include "kernels/sm90/attention_rows.cuh"
#include "kernels/sm90/hopper.h"
#include "kernels/sm90/tensor_map.h"
#include "kernels/sm90/tma.cuh"
#endif

namespace flashvsr::kernels {

#ifdef FLASHVSR_SM90

namespace {

constexpr int kThreads = 384, kTile = kWindowTokens;
constexpr int kHalfBytes = kTile * 128, kTileBytes = 2 * kHalfBytes;  // 64 columns of 128 rows; both halves
constexpr int kProducerRegisters = 24, kConsumerRegisters = 240;
static_assert(128 * kProducerRegisters + 256 * kConsumerRegisters <= 168 * kThreads);
constexpr float kScaleLog2 = 0.08838834764831845f * 1.4426950408889634f;  // log2(e) / sqrt(128)

/// Stages of keys and values, 64 KB each. The prompt's few tiles are there at once with three (73 us instead of 83);
/// with lists of rows a third is no faster.
template <bool kSparse>
constexpr int kStagesOf = kSparse ? 2 : 3;

/// Sparse rows are taken by falling count within this many heads: blocks that end together are then of equal length,
/// and the last ones of a launch are short, while the keys and values of the heads at work still find room in L2. 1 and
/// 4 heads were slower in the whole network.
constexpr int kHeadsTogether = 2;
constexpr int kMaxOrderedRows = 8192;  // whose counts find room in shared memory

/// Shared memory: keys, values, barriers, the chosen row.
template <int kStages>
struct Layout {
  static constexpr int kValues = kStages * kTileBytes, kQuery = (2 * kStages - 1) * kTileBytes;
  static constexpr int kBarriers = 2 * kStages * kTileBytes, kChosen = kBarriers + 8 * (4 * kStages + 2),
                       kBytes = kChosen + 16;
  static_assert(kBytes <= 232448 && (kMaxOrderedRows + 4) * 4 <= kBarriers);
};

template <int kGroups>
struct Maps {
  CUtensorMap query, keys[kGroups], values[kGroups];  // (heads * 128, tokens), boxes of 64 x 128
};

struct Shape {
  const uint32_t* entries;
  const int* counts;
  void* out;
  float outputScale;
  int columns, tiles, queryWindows, heads;  // tiles: dense only
  int headsTogether;                        // 0: rows as they come
  bool float8Out;
};

/// Each of KeyValueBarriers is one of kStages.
template <int kStages>
struct Barriers : KeyValueBarriers {
  uint32_t queryFull, queryRead;
  __device__ __forceinline__ explicit Barriers(uint32_t first) {
    fullK = first;
    fullV = fullK + kStages * 8;
    emptyK = fullV + kStages * 8;
    emptyV = emptyK + kStages * 8;
    queryFull = emptyV + kStages * 8;
    queryRead = queryFull + 8;
  }
};

/// The copies, by one thread.
template <bool kSparse, int kStages, int kGroups>
__device__ __forceinline__ void Produce(const Maps<kGroups>& maps, uint32_t shared, const uint32_t* list, int tiles,
                                        int head, int queryWindow) {
  using Shared = Layout<kStages>;
  const Barriers<kStages> barriers(shared + Shared::kBarriers);
  const int column = head * kHeadWidth;
  const auto entryOf = [&](int tile) {
    return tile >= tiles ? 0u : kSparse ? list[tile] : static_cast<uint32_t>(tile);
  };
  const auto copy = [&](const CUtensorMap* map, uint32_t to, uint32_t full, uint32_t entry) {
    const int row = static_cast<int>(entry & 0xfffffu) * kTile;
    BarrierExpect(full, kTileBytes);
    CopyBox(to, map, full, column, row);
    CopyBox(to + kHalfBytes, map, full, column + 64, row);
  };
  RingPlace<kStages> key, value;
  const auto copyKeys = [&](uint32_t entry) {
    BarrierWait(barriers.emptyK + key.stage * 8, key.parity ^ 1);
    copy(&maps.keys[entry >> 20], shared + key.stage * kTileBytes, barriers.fullK + key.stage * 8, entry);
    key.advance();
  };
  if (tiles > 0) {
    copy(&maps.query, shared + Shared::kQuery, barriers.queryFull, static_cast<uint32_t>(queryWindow));
    uint32_t entry = entryOf(0), next = entryOf(1);
    copyKeys(entry);
#pragma unroll 1
    for (int tile = 0; tile < tiles; ++tile) {
      if (tile + 1 < tiles) copyKeys(next);
      const uint32_t afterNext = entryOf(tile + 2);  // on its way while this thread waits
      if (value.stage == kStages - 1) BarrierWait(barriers.queryRead, 0);
      BarrierWait(barriers.emptyV + value.stage * 8, value.parity ^ 1);
      copy(&maps.values[entry >> 20], shared + Shared::kValues + value.stage * kTileBytes,
           barriers.fullV + value.stage * 8, entry);
      value.advance();
      entry = next, next = afterNext;
    }
  }
}

/// bf16: Q and the probabilities as left operands from registers, keys along k and values along n in shared memory.
template <bool kSparse>
struct Operands {
  static constexpr int kStages = kStagesOf<kSparse>, kBias = 0;
  static constexpr int kSlack = kSparse ? 8 : -1;  // the prompt's few tiles save nothing
  static constexpr int kStageStep = kTileBytes >> 4;
  static constexpr float scale = kScaleLog2;
  uint64_t keys, values;
  uint32_t query[8][4], probabilities[8][4];

  /// This thread's part of the warp's 16 rows of Q.
  __device__ __forceinline__ void loadQuery(uint32_t rows, int lane) {
#pragma unroll
    for (int step = 0; step < 8; ++step)
      LoadMatrix4(rows + (step >> 2) * kHalfBytes + SwizzledOffset<8>(lane & 15, (step & 3) * 2 + (lane >> 4)),
                  query[step][0], query[step][1], query[step][2], query[step][3]);
  }
  __device__ __forceinline__ void scores(float (&s)[16][4], int stage) const {
    const uint64_t k = keys + stage * kStageStep;
#pragma unroll
    for (int step = 0; step < 8; ++step)
      WgmmaRegisters128<false>(s, query[step], k + (step >> 2) * (kHalfBytes >> 4) + (step & 3) * 2, step > 0 ? 1 : 0);
  }
  __device__ __forceinline__ void addValues(float (&out)[16][4], int stage) const {
    const uint64_t v = values + stage * kStageStep;
#pragma unroll
    for (int step = 0; step < 8; ++step) WgmmaRegisters128(out, probabilities[step], v + step * (16 * 128 >> 4));
  }
  __device__ __forceinline__ void pack(const float (&s)[16][4]) {
#pragma unroll
    for (int step = 0; step < 8; ++step) {
      probabilities[step][0] = PackBf16(s[2 * step][0], s[2 * step][1]);
      probabilities[step][1] = PackBf16(s[2 * step][2], s[2 * step][3]);
      probabilities[step][2] = PackBf16(s[2 * step + 1][0], s[2 * step + 1][1]);
      probabilities[step][3] = PackBf16(s[2 * step + 1][2], s[2 * step + 1][3]);
    }
  }
  __device__ __forceinline__ void fenceCopies() const {}  // the copy engine's writes need none
};

template <bool kSparse, int kGroups>
__global__ void __launch_bounds__(kThreads, 1)
    HopperAttentionKernel(const __grid_constant__ Maps<kGroups> maps, const __grid_constant__ Shape p) {
  constexpr int kStages = kStagesOf<kSparse>;
  using Shared = Layout<kStages>;
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t base = SharedAddress(shared);
  const Barriers<kStages> barriers(base + Shared::kBarriers);
  const int lane = threadIdx.x & 31;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x >> 5, 0);  // uniform, and the compiler can see it
  const int group = warp >> 2;

  // Barriers
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      BarrierInit(barriers.fullK + i * 8, 1);
      BarrierInit(barriers.fullV + i * 8, 1);
      BarrierInit(barriers.emptyK + i * 8, 8);
      BarrierInit(barriers.emptyV + i * 8, 8);
    }
    BarrierInit(barriers.queryFull, 1);
    BarrierInit(barriers.queryRead, 8);
    FenceBarrierInit();
  }

  // Row of the mask: head and query window, and its list of key windows
  int head = blockIdx.y, queryWindow = blockIdx.x, tiles = p.tiles;
  const uint32_t* list = nullptr;
  if (kSparse) {
    if (p.headsTogether > 0) {
      const int firstHead = head - head % p.headsTogether;
      const int rows = min(p.headsTogether, p.heads - firstHead) * p.queryWindows;
      const int row =
          RowOfRank(p.counts + firstHead * p.queryWindows, rows, (head - firstHead) * p.queryWindows + queryWindow,
                    reinterpret_cast<int*>(shared), reinterpret_cast<int*>(shared + Shared::kChosen));
      head = firstHead + row / p.queryWindows;
      queryWindow = row % p.queryWindows;
    }
    const int row = head * p.queryWindows + queryWindow;
    tiles = p.counts[row];
    list = p.entries + static_cast<int64_t>(row) * p.columns;
    FenceAsyncProxy();  // ordinary accesses to what the copies will overwrite
  }
  tiles = __shfl_sync(0xffffffffu, tiles, 0);
  __syncthreads();

  // Producer warpgroup: one thread copies
  if (group == 2) {
    GiveRegisters<kProducerRegisters>();
    if (warp == 8 && lane == 0) Produce<kSparse, kStages>(maps, base, list, tiles, head, queryWindow);
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

  Operands<kSparse> operands;
  if (tiles > 0) {
    BarrierWait(barriers.queryFull, 0);
    operands.loadQuery(base + Shared::kQuery + (warp * 16) * 128, lane);
    FenceAsyncProxy();  // before the copy of values into the same place
    __syncwarp();
  }
  if (lane == 0) BarrierArrive(barriers.queryRead);

  if (tiles > 0) {
    operands.keys = DescribeRowsAlongK(base);
    operands.values = DescribeRowsAlongN(base + Shared::kValues, kHalfBytes);
    ConsumeTiles(operands, barriers, tiles, group, lane, s, acc, total);
  }

  // Epilogue: from registers to memory
  const int64_t ld = static_cast<int64_t>(p.heads) * kHeadWidth;
  const int64_t offset = (static_cast<int64_t>(queryWindow) * kTile + warp * 16) * ld + head * kHeadWidth;
  if (p.float8Out) {
    StoreAttention(acc, total, p.outputScale, static_cast<Fp8*>(p.out) + offset, ld, lane);
  } else {
    StoreAttention(acc, total, p.outputScale, static_cast<Bf16*>(p.out) + offset, ld, lane);
  }
}

template <bool kSparse>
cudaError_t Launch(const AttentionParams& p, cudaStream_t stream) {
  constexpr int kGroups = kSparse ? kMaxKeyGroups : 1, kBytes = Layout<kStagesOf<kSparse>>::kBytes;
  int groups = 1;
  while (kSparse && groups < kGroups && p.keys[groups] != nullptr) ++groups;
  if (kSparse && p.columns % groups != 0) return cudaErrorInvalidValue;
  const cuuint64_t width = static_cast<cuuint64_t>(p.heads) * kHeadWidth;
  const cuuint64_t queries[2] = {width, static_cast<cuuint64_t>(p.queryWindows) * kTile};
  const cuuint64_t keys[2] = {
      width, kSparse ? static_cast<cuuint64_t>(p.columns / groups) * kTile : static_cast<cuuint64_t>(p.keyLength)};
  const cuuint32_t box[2] = {64, kTile};
  Maps<kGroups> maps{};
  if (!EncodeDenseTensorMap(maps.query, p.q, 2, queries, box)) return cudaErrorInvalidValue;
  for (int g = 0; g < groups; ++g)
    if (!EncodeDenseTensorMap(maps.keys[g], p.keys[g], 2, keys, box) ||
        !EncodeDenseTensorMap(maps.values[g], p.values[g], 2, keys, box))
      return cudaErrorInvalidValue;
  const Shape shape{p.entries,
                    p.counts,
                    p.out,
                    p.outputScale,
                    p.columns,
                    p.keyLength / kTile,
                    p.queryWindows,
                    p.heads,
                    std::min({kHeadsTogether, p.heads, kMaxOrderedRows / p.queryWindows}),
                    p.outputType == DataType::kFloat8};
  auto* kernel = HopperAttentionKernel<kSparse, kGroups>;
  const cudaError_t error =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  kernel<<<dim3(static_cast<unsigned>(p.queryWindows), static_cast<unsigned>(p.heads)), kThreads, kBytes, stream>>>(
      maps, shape);
  return cudaGetLastError();
}

}  // namespace

bool Sm90SuitsAttention(const AttentionParams& p) {
  const auto aligned = [](const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; };
  bool suits = (p.entries != nullptr || p.keyLength % kTile == 0) && aligned(p.q);
  for (int g = 0; g < kMaxKeyGroups && suits; ++g) suits = aligned(p.keys[g]) && aligned(p.values[g]);
  return suits && Sm90Present() && TensorMapEncoder() != nullptr;
}

cudaError_t LaunchAttentionSm90(const AttentionParams& p, cudaStream_t stream) {
  return p.entries != nullptr ? Launch<true>(p, stream) : Launch<false>(p, stream);
}

#else  // built without 9.0 among the architectures

bool Sm90SuitsAttention(const AttentionParams&) { return false; }
cudaError_t LaunchAttentionSm90(const AttentionParams&, cudaStream_t) { return cudaErrorNotSupported; }

#endif

}  // namespace flashvsr::kernels
