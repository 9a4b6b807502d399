// The reference operations against the plainest loops one can write.
#include <cmath>

#include "backend/reference/ops.h"
#include "engine/rope_tables.h"
#include "kernels/common/philox.h"
#include "test/fixture.h"

namespace flashvsr::test {
namespace {

std::vector<float> Random(std::int64_t count, std::uint64_t seed, float scale = 1.0F) {
  std::vector<float> out(static_cast<std::size_t>((count + 3) / 4 * 4));
  for (std::size_t i = 0; i < out.size(); i += 4)
    NoiseNormals(seed, 77, static_cast<std::uint32_t>(i / 4), out.data() + i);
  out.resize(static_cast<std::size_t>(count));
  for (float& v : out) v *= scale;
  return out;
}

TEST("matrix product: every edge of the blocking, against double") {
  Threads threads(2);
  for (const auto& [m, n, k] : {std::array<std::int64_t, 3>{1, 1, 1},
                                {7, 33, 5},
                                {97, 31, 384},
                                {96, 513, 385},
                                {13, 64, 1000},
                                {200, 5, 17}}) {
    const std::vector<float> a = Random(m * k, 1), b = Random(n * k, 2);
    std::vector<float> c(static_cast<std::size_t>(m * n)), expected(c.size());
    const reference::PackedMatrix packed(b, n, k, &threads);
    reference::Linear(threads, a.data(), m, packed, nullptr, reference::Activation::None, c.data());
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (std::int64_t t = 0; t < k; ++t)
          sum += static_cast<double>(a[static_cast<std::size_t>(i * k + t)]) * b[static_cast<std::size_t>(j * k + t)];
        expected[static_cast<std::size_t>(i * n + j)] = static_cast<float>(sum);
      }
    CHECK_BELOW(Relative(c, expected), 1e-6);
    // The small form, with a row stride and accumulation.
    std::vector<float> twice = c, scratch(static_cast<std::size_t>(reference::SmallScratch(m, k)));
    std::vector<float> panels;
    for (std::int64_t p = 0; p * 32 < n; ++p) panels.insert(panels.end(), packed.panel(p), packed.panel(p) + 32 * k);
    reference::MultiplySmall(a.data(), k, m, panels.data(), n, k, twice.data(), n, true, scratch.data());
    for (float& v : expected) v *= 2;
    CHECK_BELOW(Relative(twice, expected), 1e-6);
  }
}

TEST("convolutions: zero and replicated edges, past, residual, growth, against direct loops") {
  Threads threads(2);
  const std::int64_t rows = 5, columns = 7, c = 6, n = 9;
  const std::vector<float> x = Random(rows * columns * c, 3), past = Random(rows * columns * c, 4),
                           w = Random(n * 2 * c * 9, 5), bias = Random(n, 6), residual = Random(rows * columns * n, 7);
  const reference::PackedMatrix packed = reference::PackConvolutionWeights(w, n, 2 * c);
  std::vector<float> out(static_cast<std::size_t>(rows * columns * n)), expected(out.size());
  reference::Convolve3x3(threads, x.data(), past.data(), rows, columns, c, packed, bias.data(), residual.data(), true,
                         out.data());
  for (std::int64_t y = 0; y < rows; ++y)
    for (std::int64_t xx = 0; xx < columns; ++xx)
      for (std::int64_t o = 0; o < n; ++o) {
        double sum = bias[static_cast<std::size_t>(o)] + residual[static_cast<std::size_t>((y * columns + xx) * n + o)];
        for (std::int64_t i = 0; i < 3; ++i)
          for (std::int64_t j = 0; j < 3; ++j) {
            const std::int64_t fy = y + i - 1, fx = xx + j - 1;
            if (fy < 0 || fx < 0 || fy >= rows || fx >= columns) continue;
            for (std::int64_t k = 0; k < 2 * c; ++k) {
              const float v = k < c ? x[static_cast<std::size_t>((fy * columns + fx) * c + k)]
                                    : past[static_cast<std::size_t>((fy * columns + fx) * c + k - c)];
              sum += static_cast<double>(v) * w[static_cast<std::size_t>((o * 2 * c + k) * 9 + i * 3 + j)];
            }
          }
        expected[static_cast<std::size_t>((y * columns + xx) * n + o)] = static_cast<float>(std::max(sum, 0.0));
      }
  CHECK_BELOW(Relative(out, expected), 1e-6);

  // Growth: nearest x2, then the 1x1 of one step, then the convolution on the large picture.
  const std::vector<float> grow = Random(2 * c * c, 8), w2 = Random(n * c * 9, 9);
  const reference::PackedMatrix growPacked(grow, 2 * c, c), w2Packed = reference::PackConvolutionWeights(w2, n, c);
  for (std::int64_t step = 0; step < 2; ++step) {
    std::vector<float> large(static_cast<std::size_t>(4 * rows * columns * c)),
        result(static_cast<std::size_t>(4 * rows * columns * n)), direct(result.size());
    for (std::int64_t y = 0; y < 2 * rows; ++y)
      for (std::int64_t xx = 0; xx < 2 * columns; ++xx)
        for (std::int64_t o = 0; o < c; ++o) {
          double sum = 0;
          for (std::int64_t k = 0; k < c; ++k)
            sum += static_cast<double>(x[static_cast<std::size_t>(((y / 2) * columns + xx / 2) * c + k)]) *
                   grow[static_cast<std::size_t>((step * c + o) * c + k)];
          large[static_cast<std::size_t>((y * 2 * columns + xx) * c + o)] = static_cast<float>(sum);
        }
    reference::Convolve3x3(threads, large.data(), nullptr, 2 * rows, 2 * columns, c, w2Packed, nullptr, nullptr, false,
                           direct.data());
    reference::GrowConvolve(threads, x.data(), rows, columns, growPacked, step, w2Packed, false, result.data());
    CHECK_BELOW(Relative(result, direct), 1e-6);
  }
}

TEST("attention: sparse equals dense over the kept windows; a window without keys gives exact zeros") {
  Threads threads(2);
  const std::int64_t heads = 2, windows = 3, width = heads * 128, group = windows * 128;
  const std::vector<float> q = Random(group * width, 10, 0.3F), k0 = Random(group * width, 11),
                           k1 = Random(group * width, 12), v0 = Random(group * width, 13),
                           v1 = Random(group * width, 14);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(heads * windows * 2 * windows), 0);
  // Head 0: query window 0 keeps key windows 1 and 5, window 1 keeps none, window 2 keeps all. Head 1: all keep
  // number 3.
  for (const int key : {1, 5}) mask[static_cast<std::size_t>(key)] = 1;
  for (int key = 0; key < 6; ++key) mask[static_cast<std::size_t>(12 + key)] = 1;
  for (int query = 0; query < 3; ++query) mask[static_cast<std::size_t>(18 + query * 6 + 3)] = 1;
  std::vector<float> out(q.size(), NAN), expected(q.size(), 0.0F);
  const std::array<const float*, 2> keys{k0.data(), k1.data()}, values{v0.data(), v1.data()};
  reference::SparseAttend(threads, heads, windows, windows, q.data(), keys, values, mask.data(), out.data());
  for (std::int64_t head = 0; head < heads; ++head)
    for (std::int64_t row = 0; row < group; ++row) {
      std::vector<double> weight;
      std::vector<const float*> value;
      for (std::int64_t key = 0; key < 6; ++key) {
        if (mask[static_cast<std::size_t>((head * windows + row / 128) * 6 + key)] == 0) continue;
        for (std::int64_t t = 0; t < 128; ++t) {
          const std::int64_t at = ((key % 3) * 128 + t) * width + head * 128;
          double dot = 0;
          for (std::int64_t i = 0; i < 128; ++i)
            dot += static_cast<double>(q[static_cast<std::size_t>(row * width + head * 128 + i)]) *
                   keys[static_cast<std::size_t>(key / 3)][at + i];
          weight.push_back(std::exp(dot / std::sqrt(128.0)));
          value.push_back(values[static_cast<std::size_t>(key / 3)] + at);
        }
      }
      double total = 0;
      for (const double v : weight) total += v;
      for (std::int64_t i = 0; i < 128 && total > 0; ++i) {
        double sum = 0;
        for (std::size_t t = 0; t < weight.size(); ++t) sum += weight[t] * value[t][i];
        expected[static_cast<std::size_t>(row * width + head * 128 + i)] = static_cast<float>(sum / total);
      }
    }
  CHECK_BELOW(Relative(out, expected), 1e-6);
  for (std::int64_t t = 128; t < 256; ++t) CHECK_EQUAL(out[static_cast<std::size_t>(t * width)], 0.0F);
}

TEST("dense attention: lengths that are no multiple of anything") {
  Threads threads(2);
  const std::int64_t heads = 2, rows = 130, length = 77, width = heads * 128;
  const std::vector<float> q = Random(rows * width, 15, 0.3F), k = Random(length * width, 16),
                           v = Random(length * width, 17);
  std::vector<float> out(q.size(), NAN), expected(q.size());
  reference::DenseAttend(threads, heads, rows, length, q.data(), k.data(), v.data(), out.data());
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t head = 0; head < heads; ++head) {
      std::vector<double> weight(static_cast<std::size_t>(length));
      double total = 0;
      for (std::int64_t t = 0; t < length; ++t) {
        double dot = 0;
        for (std::int64_t i = 0; i < 128; ++i)
          dot += static_cast<double>(q[static_cast<std::size_t>(row * width + head * 128 + i)]) *
                 k[static_cast<std::size_t>(t * width + head * 128 + i)];
        total += weight[static_cast<std::size_t>(t)] = std::exp(dot / std::sqrt(128.0));
      }
      for (std::int64_t i = 0; i < 128; ++i) {
        double sum = 0;
        for (std::int64_t t = 0; t < length; ++t)
          sum += weight[static_cast<std::size_t>(t)] * v[static_cast<std::size_t>(t * width + head * 128 + i)];
        expected[static_cast<std::size_t>(row * width + head * 128 + i)] = static_cast<float>(sum / total);
      }
    }
  CHECK_BELOW(Relative(out, expected), 1e-6);
}

TEST("mask selection: locality, strictly greater than the threshold, by head and query group") {
  Threads threads(2);
  reference::SelectParameters parameters{1, 1, 4, 1, 3, 3};  // a row of four windows, reach 1
  const std::vector<float> q = Random(4 * 128, 18), k = Random(4 * 128, 19);
  const std::array<const float*, 1> keys{k.data()};
  std::vector<std::uint8_t> mask(16);
  std::vector<double> margin(16);
  reference::SelectMask(threads, parameters, q.data(), keys, mask.data(), margin.data());
  int kept = 0;
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 4; ++column) {
      kept += mask[static_cast<std::size_t>(row * 4 + column)];
      if (std::abs(row - column) > 1)
        CHECK_EQUAL(static_cast<int>(mask[static_cast<std::size_t>(row * 4 + column)]), 0);
    }
  CHECK_EQUAL(kept, 3);  // the (3+1)-th largest is the threshold
  // Capped: more wanted than there is keeps every allowed window (the threshold is one of the zeros).
  parameters.topk = 1000;
  reference::SelectMask(threads, parameters, q.data(), keys, mask.data());
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 4; ++column)
      CHECK_EQUAL(mask[static_cast<std::size_t>(row * 4 + column)] != 0, std::abs(row - column) <= 1);
  // Nothing forbidden: the smallest one is the threshold and goes.
  parameters.localRange = 9;
  reference::SelectMask(threads, parameters, q.data(), keys, mask.data());
  kept = 0;
  for (const std::uint8_t m : mask) kept += m;
  CHECK_EQUAL(kept, 15);
}

TEST("Philox: the published vectors; noise depends on seed and position alone") {
  const Philox4 zero = Philox({{0, 0, 0, 0}}, 0, 0);
  CHECK(zero.v[0] == 0x6627e8d5U && zero.v[1] == 0xe169c58dU && zero.v[2] == 0xbc57ac4cU && zero.v[3] == 0x9b00dbd8U);
  const Philox4 ones = Philox({{0xffffffffU, 0xffffffffU, 0xffffffffU, 0xffffffffU}}, 0xffffffffU, 0xffffffffU);
  CHECK(ones.v[0] == 0x408f276dU && ones.v[1] == 0x41c83b0eU && ones.v[2] == 0xa20bc7c6U && ones.v[3] == 0x6d5451fdU);
  Threads threads(2);
  const std::size_t plane = 16 * 16;
  std::vector<float> six(16 * 6 * plane), two(16 * 2 * plane);
  reference::NoiseFill(threads, 5, 100, 16, 6, 16, 16, six.data());
  reference::NoiseFill(threads, 5, 104, 16, 2, 16, 16, two.data());
  double sum = 0, squares = 0;
  for (const float v : six) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const double count = static_cast<double>(six.size());
  CHECK_BELOW(std::abs(sum / count), 0.02);
  CHECK_BELOW(std::abs(squares / count - 1), 0.03);
  for (std::size_t c = 0; c < 16; ++c)
    for (std::size_t f = 0; f < 2; ++f)
      for (std::size_t i = 0; i < plane; ++i)
        CHECK_EQUAL(two[(c * 2 + f) * plane + i], six[(c * 6 + 4 + f) * plane + i]);
}

TEST("rope: angles of large positions keep their differences") {
  const std::vector<float> zero = RopeTable(0, 2, kRopeFramePairs);
  for (int i = 0; i < kRopeFramePairs; ++i) CHECK_EQUAL(zero[static_cast<std::size_t>(2 * i)], 1.0F);
  for (const std::int64_t start :
       {std::int64_t{1000}, std::int64_t{1} << 31, std::int64_t{1000000000}, std::int64_t{1} << 45}) {
    const std::vector<float> far = RopeTable(start, 2, kRopeFramePairs);
    for (int i = 0; i < kRopeFramePairs; ++i) {
      const auto at = [&](const std::vector<float>& table, int position) {
        return std::atan2(
            static_cast<double>(table[static_cast<std::size_t>((position * kRopeFramePairs + i) * 2 + 1)]),
            table[static_cast<std::size_t>((position * kRopeFramePairs + i) * 2)]);
      };
      const double turned = std::remainder((at(far, 1) - at(far, 0)) - (at(zero, 1) - at(zero, 0)), 6.283185307179586);
      CHECK_BELOW(std::abs(turned), 5e-7);
    }
  }
}

TEST("YUV: grey stays grey, colours survive the way there and back, odd sizes have whole chroma") {
  Threads threads(2);
  for (const ColourMatrix matrix : {ColourMatrix::Bt601, ColourMatrix::Bt709, ColourMatrix::Bt2020})
    for (const ColourRange range : {ColourRange::Limited, ColourRange::Full}) {
      const PictureFormat format{PixelFormat::I420, matrix, range};
      for (const auto& [width, height] : {std::pair{2, 2}, {7, 5}, {16, 9}}) {
        std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width * height * 3)), back(rgb.size());
        std::vector<std::uint8_t> yuv(static_cast<std::size_t>(TightPictureBytes(PixelFormat::I420, width, height)));
        for (const std::array<int, 3>& colour :
             {std::array<int, 3>{0, 0, 0}, {255, 255, 255}, {128, 128, 128}, {200, 40, 90}, {0, 0, 255}, {255, 0, 0}}) {
          for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(colour[i % 3]);
          reference::RgbToPicture(threads, rgb.data(), width, format, width, height, yuv.data());
          reference::PictureToRgb(threads, yuv.data(), format, width, height, back.data());
          const bool grey = colour[0] == colour[1] && colour[1] == colour[2];
          for (std::size_t i = 0; i < rgb.size(); ++i)
            CHECK_BELOW(std::abs(static_cast<int>(rgb[i]) - back[i]), grey ? 1 : 3);
          if (grey) CHECK_EQUAL(static_cast<int>(yuv[static_cast<std::size_t>(width * height)]), 128);
        }
      }
    }
}

TEST("colour match: adain takes the statistics, wavelet the low frequencies, both of the real picture only") {
  Threads threads(2);
  const std::int64_t width = 128, height = 128, contentWidth = 100, contentHeight = 90;
  std::vector<float> decoded = Random(3 * width * height, 20, 0.1F);
  std::vector<std::uint8_t> lq(static_cast<std::size_t>(width * height * 3));
  for (std::size_t i = 0; i < lq.size(); ++i) lq[i] = static_cast<std::uint8_t>(60 + (i * 7919) % 97);
  std::vector<float> out(decoded.size(), NAN), again(decoded.size(), NAN);
  for (const ColourMatch match : {ColourMatch::None, ColourMatch::Adain, ColourMatch::Wavelet}) {
    reference::MatchColours(threads, match, decoded.data(), lq.data(), width, height, contentWidth, contentHeight,
                            out.data());
    // What lies in the padding must not matter.
    std::vector<float> other = decoded;
    std::vector<std::uint8_t> otherLq = lq;
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < width; ++x)
        if (y >= contentHeight || x >= contentWidth)
          for (std::int64_t c = 0; c < 3; ++c) {
            other[static_cast<std::size_t>((c * height + y) * width + x)] = 9;
            otherLq[static_cast<std::size_t>((y * width + x) * 3 + c)] = 255;
          }
    reference::MatchColours(threads, match, other.data(), otherLq.data(), width, height, contentWidth, contentHeight,
                            again.data());
    double mean = 0, wanted = 0;
    for (std::int64_t y = 0; y < contentHeight; ++y)
      for (std::int64_t x = 0; x < contentWidth; ++x) {
        const std::size_t at = static_cast<std::size_t>(y * width + x);
        CHECK_EQUAL(out[at], again[at]);
        CHECK(out[at] >= -1 && out[at] <= 1);
        mean += out[at];
        wanted += match == ColourMatch::None ? decoded[at] : reference::PixelToUnit(lq[at * 3]);
      }
    CHECK_BELOW(std::abs(mean - wanted) / static_cast<double>(contentWidth * contentHeight), 2e-3);
  }
}

TEST("threads: one and many give the same bits") {
  Threads one(1), many(5);
  const std::vector<float> a = Random(300 * 400, 21), b = Random(70 * 400, 22);
  const reference::PackedMatrix packed(b, 70, 400);
  std::vector<float> x(300 * 70), y(x.size());
  reference::Linear(one, a.data(), 300, packed, nullptr, reference::Activation::GeluTanh, x.data());
  reference::Linear(many, a.data(), 300, packed, nullptr, reference::Activation::GeluTanh, y.data());
  CHECK(x == y);
  CHECK_EQUAL(many.count(), 5);
  bool thrown = false;
  try {
    many.run(100, [](std::int64_t i) {
      if (i == 57) throw std::runtime_error("57");
    });
  } catch (const std::runtime_error&) {
    thrown = true;
  }
  CHECK(thrown);
}

}  // namespace
}  // namespace flashvsr::test
