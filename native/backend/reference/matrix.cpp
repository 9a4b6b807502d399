#include "backend/reference/matrix.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"

namespace flashvsr::reference {
namespace {

constexpr std::int64_t kPanel = PackedMatrix::kPanel;
constexpr std::int64_t kDepth = 384;    // K of one block: an A block and a B panel stay in the inner caches
constexpr std::int64_t kTileRows = 96;  // a multiple of every kernel's rows
constexpr std::int64_t kTileColumns = 512;

// One register tile: C (MR x 32) (+)= A panel (k x MR) * B panel (k x 32).
using Kernel = void (*)(const float* a, const float* b, std::int64_t k, float* c, std::int64_t ldc, bool accumulate);

// The same with A's rows where they lie: pointers[segment * kTileRows + row], `length` floats each. Half: 16 columns.
using PointerKernel = void (*)(const float* const* pointers, std::int64_t segments, std::int64_t length, const float* b,
                               float* c, std::int64_t ldc, bool accumulate);

struct Dispatch {
  Kernel kernel;
  PointerKernel pointers, pointersHalf;
  std::int64_t rows;  // MR
  const char* name;
};

// The vector types are as wide as the instruction set's registers; `Halves` covers the 32 columns in turns so that the
// accumulators fit the register file.
template <int Bytes>
struct VectorOf {
  typedef float Type __attribute__((vector_size(Bytes), aligned(4), may_alias));
};

template <int Bytes, int MR, int Vectors>
inline __attribute__((always_inline)) void RegisterTile(const float* a, const float* b, std::int64_t k, float* c,
                                                        std::int64_t ldc, bool accumulate) {
  using V = typename VectorOf<Bytes>::Type;
  constexpr int kLanes = Bytes / 4;
  for (int part = 0; part < kPanel / (Vectors * kLanes); ++part) {
    const float* bp = b + part * Vectors * kLanes;
    V sum[MR][Vectors];
    for (int r = 0; r < MR; ++r)
      for (int v = 0; v < Vectors; ++v) sum[r][v] = V{};
    for (std::int64_t i = 0; i < k; ++i) {
      V right[Vectors];
      for (int v = 0; v < Vectors; ++v) right[v] = *reinterpret_cast<const V*>(bp + i * kPanel + v * kLanes);
      for (int r = 0; r < MR; ++r) {
        const float left = a[i * MR + r];
        for (int v = 0; v < Vectors; ++v) sum[r][v] += left * right[v];
      }
    }
    for (int r = 0; r < MR; ++r) {
      for (int v = 0; v < Vectors; ++v) {
        V* out = reinterpret_cast<V*>(c + r * ldc + part * Vectors * kLanes + v * kLanes);
        *out = accumulate ? *out + sum[r][v] : sum[r][v];
      }
    }
  }
}

template <int Bytes, int MR, int Vectors, int Columns>
inline __attribute__((always_inline)) void PointerTile(const float* const* pointers, std::int64_t segments,
                                                       std::int64_t length, const float* b, float* c, std::int64_t ldc,
                                                       bool accumulate) {
  using V = typename VectorOf<Bytes>::Type;
  constexpr int kLanes = Bytes / 4;
  for (int part = 0; part < Columns / (Vectors * kLanes); ++part) {
    V sum[MR][Vectors];
    for (int r = 0; r < MR; ++r)
      for (int v = 0; v < Vectors; ++v) sum[r][v] = V{};
    const float* bp = b + part * Vectors * kLanes;
    for (std::int64_t s = 0; s < segments; ++s) {
      const float* row[MR];
      for (int r = 0; r < MR; ++r) row[r] = pointers[s * kTileRows + r];
      for (std::int64_t i = 0; i < length; ++i, bp += kPanel) {
        V right[Vectors];
        for (int v = 0; v < Vectors; ++v) right[v] = *reinterpret_cast<const V*>(bp + v * kLanes);
        for (int r = 0; r < MR; ++r) {
          const float left = row[r][i];
          for (int v = 0; v < Vectors; ++v) sum[r][v] += left * right[v];
        }
      }
    }
    for (int r = 0; r < MR; ++r) {
      for (int v = 0; v < Vectors; ++v) {
        V* out = reinterpret_cast<V*>(c + r * ldc + part * Vectors * kLanes + v * kLanes);
        *out = accumulate ? *out + sum[r][v] : sum[r][v];
      }
    }
  }
}

#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void PointersAvx512(const float* const* p, std::int64_t segments,
                                                           std::int64_t length, const float* b, float* c,
                                                           std::int64_t ldc, bool accumulate) {
  PointerTile<64, 12, 2, 32>(p, segments, length, b, c, ldc, accumulate);
}
__attribute__((target("avx512f,fma"))) void PointersHalfAvx512(const float* const* p, std::int64_t segments,
                                                               std::int64_t length, const float* b, float* c,
                                                               std::int64_t ldc, bool accumulate) {
  PointerTile<64, 12, 1, 16>(p, segments, length, b, c, ldc, accumulate);
}
__attribute__((target("avx2,fma"))) void PointersAvx2(const float* const* p, std::int64_t segments, std::int64_t length,
                                                      const float* b, float* c, std::int64_t ldc, bool accumulate) {
  PointerTile<32, 6, 2, 32>(p, segments, length, b, c, ldc, accumulate);
}
__attribute__((target("avx2,fma"))) void PointersHalfAvx2(const float* const* p, std::int64_t segments,
                                                          std::int64_t length, const float* b, float* c,
                                                          std::int64_t ldc, bool accumulate) {
  PointerTile<32, 6, 2, 16>(p, segments, length, b, c, ldc, accumulate);
}
__attribute__((target("avx512f,fma"))) void KernelAvx512(const float* a, const float* b, std::int64_t k, float* c,
                                                         std::int64_t ldc, bool accumulate) {
  RegisterTile<64, 12, 2>(a, b, k, c, ldc, accumulate);
}
__attribute__((target("avx2,fma"))) void KernelAvx2(const float* a, const float* b, std::int64_t k, float* c,
                                                    std::int64_t ldc, bool accumulate) {
  RegisterTile<32, 6, 2>(a, b, k, c, ldc, accumulate);
}
#endif
void KernelPortable(const float* a, const float* b, std::int64_t k, float* c, std::int64_t ldc, bool accumulate) {
  RegisterTile<16, 4, 2>(a, b, k, c, ldc, accumulate);
}

void PointersPortable(const float* const* p, std::int64_t segments, std::int64_t length, const float* b, float* c,
                      std::int64_t ldc, bool accumulate) {
  PointerTile<16, 4, 2, 32>(p, segments, length, b, c, ldc, accumulate);
}
void PointersHalfPortable(const float* const* p, std::int64_t segments, std::int64_t length, const float* b, float* c,
                          std::int64_t ldc, bool accumulate) {
  PointerTile<16, 4, 2, 16>(p, segments, length, b, c, ldc, accumulate);
}

Dispatch Choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {KernelAvx512, PointersAvx512, PointersHalfAvx512, 12, "avx512"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {KernelAvx2, PointersAvx2, PointersHalfAvx2, 6, "avx2"};
#endif
  return {KernelPortable, PointersPortable, PointersHalfPortable, 4, "portable"};
}
const Dispatch kDispatch = Choose();

// Long runs pay for being packed (panels of MR rows, so that the kernel reads one stream); short ones are read in
// place.
constexpr std::int64_t kShortRun = 128;

// `count` rows of K [k0, k0+depth) into panels of MR rows, zero beyond `count`. pointers as RowSource::locate wrote
// them.
void PackRows(const float* const* pointers, std::int64_t count, std::int64_t length, std::int64_t k0,
              std::int64_t depth, float* out) {
  const std::int64_t mr = kDispatch.rows;
  for (std::int64_t base = 0; base < count; base += mr, out += mr * depth) {
    for (std::int64_t r = 0; r < mr; ++r) {
      float* to = out + r;
      std::int64_t k = k0, left = depth;
      while (left > 0) {
        const std::int64_t offset = k % length, run = std::min(left, length - offset);
        const float* from = (base + r < count ? pointers[k / length * kTileRows + base + r] : ZeroRun()) + offset;
        for (std::int64_t i = 0; i < run; ++i) to[i * mr] = from[i];
        to += run * mr;
        k += run;
        left -= run;
      }
    }
  }
}

struct TileScratch {
  std::vector<float> a, c;
  std::vector<const float*> pointers;
};

}  // namespace

const float* ZeroRun() {
  static const std::vector<float> zeros(kLongestRun, 0.0F);
  return zeros.data();
}

RowSource PlainRows(const float* x, std::int64_t rows, std::int64_t width) {
  return {rows, 1, width, [x, width](std::int64_t row, std::int64_t count, const float** pointers, std::int64_t) {
            for (std::int64_t i = 0; i < count; ++i) pointers[i] = x + (row + i) * width;
          }};
}

namespace {
void EachPanel(Threads* threads, std::int64_t n, const std::function<void(std::int64_t)>& body) {
  const std::int64_t panels = (n + kPanel - 1) / kPanel;
  if (threads != nullptr) {
    threads->run(panels, body);
  } else {
    for (std::int64_t i = 0; i < panels; ++i) body(i);
  }
}
}  // namespace

PackedMatrix::PackedMatrix(std::span<const float> rows, std::int64_t n, std::int64_t k, Threads* threads)
    : n_(n),
      k_(k),
      data_(static_cast<std::size_t>((n + kPanel - 1) / kPanel * kPanel * k), 0.0F) {
  EachPanel(threads, n, [&](std::int64_t panel) {
    float* to = data_.data() + panel * kPanel * k;
    for (std::int64_t i = 0; i < std::min(kPanel, n - panel * kPanel); ++i) {
      const float* from = rows.data() + (panel * kPanel + i) * k;
      for (std::int64_t j = 0; j < k; ++j) to[j * kPanel + i] = from[j];
    }
  });
}

PackedMatrix PackedMatrix::FromConvolution(std::span<const float> weight, std::int64_t n, std::int64_t channels,
                                           std::int64_t taps, Threads* threads) {
  PackedMatrix packed;
  packed.n_ = n;
  packed.k_ = channels * taps;
  packed.data_.assign(static_cast<std::size_t>((n + kPanel - 1) / kPanel * kPanel * packed.k_), 0.0F);
  EachPanel(threads, n, [&](std::int64_t panel) {
    float* to = packed.data_.data() + panel * kPanel * packed.k_;
    for (std::int64_t i = 0; i < std::min(kPanel, n - panel * kPanel); ++i) {
      const float* from = weight.data() + (panel * kPanel + i) * channels * taps;
      for (std::int64_t channel = 0; channel < channels; ++channel)
        for (std::int64_t tap = 0; tap < taps; ++tap)
          to[(tap * channels + channel) * kPanel + i] = from[channel * taps + tap];
    }
  });
  return packed;
}

const char* MatrixInstructions() { return kDispatch.name; }

void Multiply(Threads& threads, const RowSource& a, const PackedMatrix& b, const RowSink& sink) {
  const std::int64_t k = a.segments * a.length;
  if (k != b.k())
    FailInternal("matrix product: K of the two sides differ: " + std::to_string(k) + " and " + std::to_string(b.k()));
  if (a.length > kLongestRun) FailInternal("matrix product: a run of " + std::to_string(a.length) + " is too long");
  const std::int64_t rowTiles = (a.rows + kTileRows - 1) / kTileRows;
  const std::int64_t columnTiles = (b.n() + kTileColumns - 1) / kTileColumns;
  const std::int64_t mr = kDispatch.rows;
  const bool inPlace = a.length <= kShortRun;
  const std::int64_t together = std::max<std::int64_t>(1, kDepth / a.length);  // runs summed in registers
  const auto tile = [&](std::int64_t row, std::int64_t column) {
    const std::int64_t rows = std::min(kTileRows, a.rows - row), columns = std::min(kTileColumns, b.n() - column);
    const std::int64_t panels = (columns + kPanel - 1) / kPanel;
    thread_local TileScratch scratch;
    scratch.c.resize(kTileRows * kTileColumns);
    scratch.pointers.resize(static_cast<std::size_t>(a.segments * kTileRows));
    const float** pointers = scratch.pointers.data();
    a.locate(row, rows, pointers, kTileRows);
    if (inPlace) {
      const std::int64_t padded = (rows + mr - 1) / mr * mr;
      for (std::int64_t s = 0; s < a.segments; ++s)
        for (std::int64_t r = rows; r < padded; ++r) pointers[s * kTileRows + r] = ZeroRun();
      for (std::int64_t p = 0; p < panels; ++p) {
        const PointerKernel kernel = columns - p * kPanel <= kPanel / 2 ? kDispatch.pointersHalf : kDispatch.pointers;
        const float* panel = b.panel(column / kPanel + p);
        for (std::int64_t s = 0; s < a.segments; s += together)
          for (std::int64_t r = 0; r < rows; r += mr)
            kernel(pointers + s * kTileRows + r, std::min(together, a.segments - s), a.length,
                   panel + s * a.length * kPanel, scratch.c.data() + r * kTileColumns + p * kPanel, kTileColumns,
                   s > 0);
      }
    } else {
      scratch.a.resize(kTileRows * kDepth);
      for (std::int64_t k0 = 0; k0 < k; k0 += kDepth) {
        const std::int64_t depth = std::min(kDepth, k - k0);
        PackRows(pointers, rows, a.length, k0, depth, scratch.a.data());
        for (std::int64_t p = 0; p < panels; ++p) {
          const float* panel = b.panel(column / kPanel + p) + k0 * kPanel;
          for (std::int64_t r = 0; r < rows; r += mr)
            kDispatch.kernel(scratch.a.data() + r * depth, panel, depth,
                             scratch.c.data() + r * kTileColumns + p * kPanel, kTileColumns, k0 > 0);
        }
      }
    }
    for (std::int64_t r = 0; r < rows; ++r) sink(row + r, column, columns, scratch.c.data() + r * kTileColumns);
  };
  // Pieces of some ten million operations: few enough to schedule, enough to share.
  const std::int64_t perTile = 2 * kTileRows * std::min(kTileColumns, b.n()) * k;
  const std::int64_t run = std::clamp<std::int64_t>((10 << 20) / std::max<std::int64_t>(perTile, 1), 1, 64);
  const std::int64_t tiles = rowTiles * columnTiles;
  threads.run((tiles + run - 1) / run, [&](std::int64_t piece) {
    for (std::int64_t i = piece * run; i < std::min(tiles, (piece + 1) * run); ++i)
      tile(i / columnTiles * kTileRows, i % columnTiles * kTileColumns);
  });
}

std::int64_t SmallScratch(std::int64_t m, std::int64_t k) {
  const std::int64_t mr = kDispatch.rows;
  return (m + mr - 1) / mr * mr * k + mr * kPanel;
}

void MultiplySmall(const float* a, std::int64_t lda, std::int64_t m, const float* b, std::int64_t n, std::int64_t k,
                   float* c, std::int64_t ldc, bool accumulate, float* scratch) {
  const std::int64_t mr = kDispatch.rows;
  const std::int64_t panelsM = (m + mr - 1) / mr;
  for (std::int64_t p = 0; p < panelsM; ++p)
    for (std::int64_t r = 0; r < mr; ++r) {
      float* to = scratch + p * mr * k + r;
      const float* from = a + (p * mr + r) * lda;
      const bool inside = p * mr + r < m;
      for (std::int64_t i = 0; i < k; ++i) to[i * mr] = inside ? from[i] : 0.0F;
    }
  float* edge = scratch + panelsM * mr * k;
  for (std::int64_t column = 0; column < n; column += kPanel) {
    const float* panel = b + column * k;
    const std::int64_t columns = std::min(kPanel, n - column);
    for (std::int64_t p = 0; p < panelsM; ++p) {
      const std::int64_t rows = std::min(mr, m - p * mr);
      float* out = c + p * mr * ldc + column;
      if (rows == mr && columns == kPanel) {
        kDispatch.kernel(scratch + p * mr * k, panel, k, out, ldc, accumulate);
        continue;
      }
      kDispatch.kernel(scratch + p * mr * k, panel, k, edge, kPanel, false);
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t i = 0; i < columns; ++i)
          out[r * ldc + i] = edge[r * kPanel + i] + (accumulate ? out[r * ldc + i] : 0.0F);
    }
  }
}

}  // namespace flashvsr::reference
