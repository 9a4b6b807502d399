#include "backend/reference/attention_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "weights/model_weights.h"

namespace flashvsr::reference {
namespace {
constexpr std::int64_t kHead = ModelDims::kHeadWidth;
constexpr std::int64_t kWindow = 128;
const float kScale = static_cast<float>(1.0 / std::sqrt(128.0));

// Keys of one head as the right side of a product: panels of 32 tokens, then the head's 128 elements.
void PackKeys(const float* keys, std::int64_t stride, std::int64_t tokens, float* out) {
  for (std::int64_t t = 0; t < (tokens + 31) / 32 * 32; ++t)
    for (std::int64_t i = 0; i < kHead; ++i)
      out[(t / 32) * 32 * kHead + i * 32 + t % 32] = t < tokens ? keys[t * stride + i] : 0.0F;
}
// Values: the product sums over tokens, so panels of 32 elements, then tokens.
void PackValues(const float* values, std::int64_t stride, std::int64_t tokens, float* out) {
  for (std::int64_t panel = 0; panel < kHead / 32; ++panel)
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < 32; ++i) *out++ = values[t * stride + panel * 32 + i];
}

// Softmax attention over blocks of keys that come one after the other; the running maximum makes the order of blocks
// harmless. One query tile of `rows` <= 128 rows.
class OnlineAttention {
 public:
  explicit OnlineAttention(std::int64_t longest)
      : scores_(static_cast<std::size_t>(kWindow * longest)),
        sums_(static_cast<std::size_t>(kWindow * kHead)),
        scratch_(static_cast<std::size_t>(SmallScratch(kWindow, std::max(kHead, longest)))) {}

  void begin(const float* q, std::int64_t stride, std::int64_t rows) {
    q_ = q;
    stride_ = stride;
    rows_ = rows;
    std::fill(maximum_, maximum_ + rows, -std::numeric_limits<float>::infinity());
    std::fill(weight_, weight_ + rows, 0.0);
    std::fill(sums_.begin(), sums_.end(), 0.0F);
  }

  // keys: PackKeys of `tokens`; values: PackValues of `tokens`.
  void add(const float* keys, const float* values, std::int64_t tokens) {
    MultiplySmall(q_, stride_, rows_, keys, tokens, kHead, scores_.data(), tokens, false, scratch_.data());
    for (std::int64_t r = 0; r < rows_; ++r) {
      float* row = scores_.data() + r * tokens;
      float top = maximum_[r];
      for (std::int64_t t = 0; t < tokens; ++t) top = std::max(top, row[t] * kScale);
      if (top > maximum_[r]) {
        const double shrink = std::exp(static_cast<double>(maximum_[r]) - top);
        weight_[r] *= shrink;
        for (std::int64_t i = 0; i < kHead; ++i)
          sums_[static_cast<std::size_t>(r * kHead + i)] *= static_cast<float>(shrink);
        maximum_[r] = top;
      }
      double total = 0;
      for (std::int64_t t = 0; t < tokens; ++t) {
        row[t] = std::exp(row[t] * kScale - top);
        total += row[t];
      }
      weight_[r] += total;
    }
    MultiplySmall(scores_.data(), tokens, rows_, values, kHead, tokens, sums_.data(), kHead, true, scratch_.data());
  }

  void end(float* out, std::int64_t stride) const {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t i = 0; i < kHead; ++i)
        out[r * stride + i] =
            weight_[r] > 0 ? static_cast<float>(sums_[static_cast<std::size_t>(r * kHead + i)] / weight_[r]) : 0.0F;
  }

 private:
  std::vector<float> scores_, sums_, scratch_;
  float maximum_[kWindow];
  double weight_[kWindow];
  const float* q_ = nullptr;
  std::int64_t stride_ = 0, rows_ = 0;
};

}  // namespace

void WindowMeans(Threads& threads, const float* x, std::int64_t windows, std::int64_t width, float* means) {
  threads.run(windows, [&](std::int64_t window) {
    std::vector<double> sum(static_cast<std::size_t>(width), 0.0);
    for (std::int64_t t = 0; t < kWindow; ++t) {
      const float* from = x + (window * kWindow + t) * width;
      for (std::int64_t i = 0; i < width; ++i) sum[static_cast<std::size_t>(i)] += from[i];
    }
    for (std::int64_t i = 0; i < width; ++i)
      means[window * width + i] = static_cast<float>(sum[static_cast<std::size_t>(i)] / kWindow);
  });
}

void SelectMask(Threads& threads, const SelectParameters& parameters, const float* queryMeans,
                std::span<const float* const> keyMeans, std::uint8_t* mask, double* margin) {
  const std::int64_t columns = parameters.windowColumns, windows = parameters.windowRows * columns;
  const std::int64_t groups = static_cast<std::int64_t>(keyMeans.size()), width = parameters.heads * kHead;
  const std::int64_t keys = groups * windows, reach = parameters.localRange / 2;
  const std::int64_t topk = std::clamp<std::int64_t>(parameters.topk, 0, windows * keys - 1);
  threads.run(parameters.heads * parameters.queryGroups, [&](std::int64_t piece) {
    const std::int64_t head = piece / parameters.queryGroups, group = piece % parameters.queryGroups;
    std::vector<double> probability(static_cast<std::size_t>(windows * keys), 0.0);
    for (std::int64_t query = 0; query < windows; ++query) {
      double* row = probability.data() + query * keys;
      const float* q = queryMeans + (group * windows + query) * width + head * kHead;
      double top = -std::numeric_limits<double>::infinity();
      const auto allowed = [&](std::int64_t key) {
        return std::abs(query / columns - key / columns) <= reach && std::abs(query % columns - key % columns) <= reach;
      };
      for (std::int64_t key = 0; key < keys; ++key) {
        if (!allowed(key % windows)) continue;
        const float* k = keyMeans[static_cast<std::size_t>(key / windows)] + (key % windows) * width + head * kHead;
        double dot = 0;
        for (std::int64_t i = 0; i < kHead; ++i) dot += static_cast<double>(q[i]) * k[i];
        row[key] = dot / std::sqrt(128.0);
        top = std::max(top, row[key]);
      }
      double total = 0;
      for (std::int64_t key = 0; key < keys; ++key) {
        row[key] = allowed(key % windows) ? std::exp(row[key] - top) : 0.0;
        total += row[key];
      }
      for (std::int64_t key = 0; key < keys; ++key) row[key] /= total;
    }
    std::vector<double> order(probability);
    std::nth_element(order.begin(), order.begin() + topk, order.end(), std::greater<>());
    const double threshold = order[static_cast<std::size_t>(topk)];
    const std::int64_t base = (head * parameters.queryGroups + group) * windows * keys;
    for (std::int64_t i = 0; i < windows * keys; ++i) {
      const double p = probability[static_cast<std::size_t>(i)];
      mask[base + i] = p > threshold ? 1 : 0;
      if (margin != nullptr)
        margin[base + i] = p > 0 ? std::abs(p - threshold) : std::numeric_limits<double>::infinity();
    }
  });
}

void SparseAttend(Threads& threads, std::int64_t heads, std::int64_t windows, std::int64_t queryWindows, const float* q,
                  std::span<const float* const> keys, std::span<const float* const> values, const std::uint8_t* mask,
                  float* out) {
  const std::int64_t groups = static_cast<std::int64_t>(keys.size()), keyWindows = groups * windows,
                     width = heads * kHead;
  const std::int64_t block = kWindow * kHead;
  // One head at a time: its packed keys and values are small enough to keep, and each is packed once.
  std::vector<float> packedKeys(static_cast<std::size_t>(keyWindows * block)), packedValues(packedKeys.size());
  for (std::int64_t head = 0; head < heads; ++head) {
    threads.run(keyWindows, [&](std::int64_t window) {
      const std::int64_t at = (window % windows) * kWindow * width + head * kHead;
      PackKeys(keys[static_cast<std::size_t>(window / windows)] + at, width, kWindow,
               packedKeys.data() + window * block);
      PackValues(values[static_cast<std::size_t>(window / windows)] + at, width, kWindow,
                 packedValues.data() + window * block);
    });
    threads.run(queryWindows, [&](std::int64_t query) {
      OnlineAttention attention(kWindow);
      const std::int64_t at = query * kWindow * width + head * kHead;
      attention.begin(q + at, width, kWindow);
      const std::uint8_t* row = mask + (head * queryWindows + query) * keyWindows;
      for (std::int64_t window = 0; window < keyWindows; ++window)
        if (row[window] != 0)
          attention.add(packedKeys.data() + window * block, packedValues.data() + window * block, kWindow);
      attention.end(out + at, width);
    });
  }
}

void DenseAttend(Threads& threads, std::int64_t heads, std::int64_t rows, std::int64_t length, const float* q,
                 const float* keys, const float* values, float* out) {
  const std::int64_t width = heads * kHead, padded = (length + 31) / 32 * 32;
  std::vector<float> packedKeys(static_cast<std::size_t>(heads * padded * kHead));
  std::vector<float> packedValues(static_cast<std::size_t>(heads * length * kHead));
  threads.run(heads, [&](std::int64_t head) {
    PackKeys(keys + head * kHead, width, length, packedKeys.data() + head * padded * kHead);
    PackValues(values + head * kHead, width, length, packedValues.data() + head * length * kHead);
  });
  const std::int64_t tiles = (rows + kWindow - 1) / kWindow;
  threads.run(heads * tiles, [&](std::int64_t piece) {
    const std::int64_t head = piece / tiles, row = piece % tiles * kWindow;
    OnlineAttention attention(padded);
    attention.begin(q + row * width + head * kHead, width, std::min(kWindow, rows - row));
    attention.add(packedKeys.data() + head * padded * kHead, packedValues.data() + head * length * kHead, length);
    attention.end(out + row * width + head * kHead, width);
  });
}

}  // namespace flashvsr::reference
