#include "backend/reference/picture_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/reference/projector_ops.h"
#include "common/error.h"

namespace flashvsr::reference {
namespace {

std::uint8_t ClampByte(std::int32_t value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

std::int32_t Fixed(double value) { return static_cast<std::int32_t>(std::lround(value * 65536.0)); }

// Keys' cubic with a = -0.5.
double Cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

std::uint8_t RoundSum(std::int64_t sum) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>((sum + (1 << 21)) >> 22, 0, 255));
}

}  // namespace

YuvCoefficients CoefficientsOf(ColourMatrix matrix, ColourRange range) {
  const double kr = matrix == ColourMatrix::Bt601 ? 0.299 : matrix == ColourMatrix::Bt709 ? 0.2126 : 0.2627;
  const double kb = matrix == ColourMatrix::Bt601 ? 0.114 : matrix == ColourMatrix::Bt709 ? 0.0722 : 0.0593;
  const double kg = 1.0 - kr - kb;
  const bool limited = range == ColourRange::Limited;
  const double luma = limited ? 255.0 / 219.0 : 1.0, chroma = limited ? 255.0 / 224.0 : 1.0;
  YuvCoefficients c{};
  c.yOffset = limited ? 16 : 0;
  c.y = Fixed(luma);
  c.rv = Fixed(2 * (1 - kr) * chroma);
  c.bu = Fixed(2 * (1 - kb) * chroma);
  c.gu = -Fixed(2 * (1 - kb) * kb / kg * chroma);
  c.gv = -Fixed(2 * (1 - kr) * kr / kg * chroma);
  c.yr = Fixed(kr / luma);
  c.yb = Fixed(kb / luma);
  c.yg = Fixed(1.0 / luma) - c.yr - c.yb;
  c.ub = Fixed(0.5 / chroma);
  c.ur = -Fixed(0.5 * kr / (1 - kb) / chroma);
  c.ug = -c.ub - c.ur;
  c.vr = Fixed(0.5 / chroma);
  c.vb = -Fixed(0.5 * kb / (1 - kr) / chroma);
  c.vg = -c.vr - c.vb;
  return c;
}

void PictureToRgb(Threads& threads, const std::uint8_t* picture, const PictureFormat& format, std::int64_t width,
                  std::int64_t height, std::uint8_t* rgb) {
  if (format.pixels == PixelFormat::Rgb24) {
    std::memcpy(rgb, picture, static_cast<std::size_t>(width * height * 3));
    return;
  }
  const YuvCoefficients k = CoefficientsOf(format.matrix, format.range);
  const std::int64_t chromaWidth = (width + 1) / 2, chromaHeight = (height + 1) / 2;
  const std::uint8_t* uPlane = picture + width * height;
  const std::uint8_t* vPlane = uPlane + chromaWidth * chromaHeight;
  threads.runRanges(height, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      const std::int64_t near = y / 2,
                         far = std::clamp<std::int64_t>(y % 2 == 0 ? near - 1 : near + 1, 0, chromaHeight - 1);
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t left = x / 2,
                           right = std::clamp<std::int64_t>(x % 2 == 0 ? left - 1 : left + 1, 0, chromaWidth - 1);
        const auto chroma = [&](const std::uint8_t* plane) {
          return 9 * plane[near * chromaWidth + left] + 3 * plane[near * chromaWidth + right] +
                 3 * plane[far * chromaWidth + left] + plane[far * chromaWidth + right] - 2048;
        };
        const std::int32_t luma = 16 * k.y * (picture[y * width + x] - k.yOffset) + (1 << 19);
        const std::int32_t u = chroma(uPlane), v = chroma(vPlane);
        std::uint8_t* to = rgb + (y * width + x) * 3;
        to[0] = ClampByte((luma + k.rv * v) >> 20);
        to[1] = ClampByte((luma + k.gu * u + k.gv * v) >> 20);
        to[2] = ClampByte((luma + k.bu * u) >> 20);
      }
    }
  });
}

void RgbToPicture(Threads& threads, const std::uint8_t* rgb, std::int64_t rgbStride, const PictureFormat& format,
                  std::int64_t width, std::int64_t height, std::uint8_t* picture) {
  if (format.pixels == PixelFormat::Rgb24) {
    for (std::int64_t y = 0; y < height; ++y)
      std::memcpy(picture + y * width * 3, rgb + y * rgbStride * 3, static_cast<std::size_t>(width * 3));
    return;
  }
  const YuvCoefficients k = CoefficientsOf(format.matrix, format.range);
  const std::int64_t chromaWidth = (width + 1) / 2, chromaHeight = (height + 1) / 2;
  std::uint8_t* uPlane = picture + width * height;
  std::uint8_t* vPlane = uPlane + chromaWidth * chromaHeight;
  threads.runRanges(chromaHeight, 8, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t cy = begin; cy < end; ++cy)
      for (std::int64_t cx = 0; cx < chromaWidth; ++cx) {
        std::int32_t sum[3] = {0, 0, 0};
        for (std::int64_t i = 0; i < 2; ++i)
          for (std::int64_t j = 0; j < 2; ++j) {
            const std::int64_t y = std::min(cy * 2 + i, height - 1), x = std::min(cx * 2 + j, width - 1);
            const std::uint8_t* p = rgb + (y * rgbStride + x) * 3;
            for (int c = 0; c < 3; ++c) sum[c] += p[c];
            picture[y * width + x] =
                ClampByte(((k.yr * p[0] + k.yg * p[1] + k.yb * p[2] + (1 << 15)) >> 16) + k.yOffset);
          }
        uPlane[cy * chromaWidth + cx] =
            ClampByte(((k.ur * sum[0] + k.ug * sum[1] + k.ub * sum[2] + (1 << 17)) >> 18) + 128);
        vPlane[cy * chromaWidth + cx] =
            ClampByte(((k.vr * sum[0] + k.vg * sum[1] + k.vb * sum[2] + (1 << 17)) >> 18) + 128);
      }
  });
}

ResizeAxis BicubicAxis(std::int64_t in, std::int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), filterScale = std::max(scale, 1.0);
  const double support = 2.0 * filterScale;
  ResizeAxis axis;
  axis.taps = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  axis.first.resize(static_cast<std::size_t>(out));
  axis.count.resize(static_cast<std::size_t>(out));
  axis.weights.assign(static_cast<std::size_t>(out * axis.taps), 0);
  std::vector<double> weight(static_cast<std::size_t>(axis.taps));
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t first = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const std::int64_t last = std::min<std::int64_t>(in, static_cast<std::int64_t>(centre + support + 0.5));
    double sum = 0;
    for (std::int64_t tap = first; tap < last; ++tap) {
      const double w = Cubic((static_cast<double>(tap) - centre + 0.5) / filterScale);
      weight[static_cast<std::size_t>(tap - first)] = w;
      sum += w;
    }
    axis.first[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(first);
    axis.count[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(last - first);
    for (std::int64_t j = 0; j < last - first; ++j) {
      const double w = weight[static_cast<std::size_t>(j)] / sum * (1 << 22);
      axis.weights[static_cast<std::size_t>(i * axis.taps + j)] = static_cast<std::int32_t>(w < 0 ? w - 0.5 : w + 0.5);
    }
  }
  return axis;
}

void ResizeBicubic(Threads& threads, const std::uint8_t* in, std::int64_t inWidth, std::int64_t inHeight,
                   std::uint8_t* out, std::int64_t outWidth, std::int64_t outHeight, std::int64_t outStride) {
  const ResizeAxis across = BicubicAxis(inWidth, outWidth), down = BicubicAxis(inHeight, outHeight);
  std::vector<std::uint8_t> middle(static_cast<std::size_t>(outWidth * inHeight * 3));
  threads.runRanges(inHeight, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y)
      for (std::int64_t x = 0; x < outWidth; ++x) {
        const std::size_t at = static_cast<std::size_t>(x);
        const std::int32_t* weights = across.weights.data() + x * across.taps;
        const std::uint8_t* from = in + (y * inWidth + across.first[at]) * 3;
        std::int64_t sum[3] = {0, 0, 0};
        for (std::int32_t j = 0; j < across.count[at]; ++j)
          for (int c = 0; c < 3; ++c) sum[c] += static_cast<std::int64_t>(weights[j]) * from[j * 3 + c];
        for (int c = 0; c < 3; ++c) middle[static_cast<std::size_t>((y * outWidth + x) * 3 + c)] = RoundSum(sum[c]);
      }
  });
  threads.runRanges(outHeight, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> sums(static_cast<std::size_t>(outWidth * 3));
    for (std::int64_t y = begin; y < end; ++y) {
      const std::size_t at = static_cast<std::size_t>(y);
      std::fill(sums.begin(), sums.end(), 0);
      for (std::int32_t j = 0; j < down.count[at]; ++j) {
        const std::int64_t weight = down.weights[static_cast<std::size_t>(y * down.taps + j)];
        const std::uint8_t* from = middle.data() + (down.first[at] + j) * outWidth * 3;
        for (std::int64_t i = 0; i < outWidth * 3; ++i) sums[static_cast<std::size_t>(i)] += weight * from[i];
      }
      std::uint8_t* to = out + y * outStride * 3;
      for (std::int64_t i = 0; i < outWidth * 3; ++i) to[i] = RoundSum(sums[static_cast<std::size_t>(i)]);
    }
  });
}

void PadReplicate(Threads& threads, std::uint8_t* rgb, std::int64_t contentWidth, std::int64_t contentHeight,
                  std::int64_t width, std::int64_t height) {
  threads.runRanges(contentHeight, 32, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t y = begin; y < end; ++y) {
      std::uint8_t* row = rgb + y * width * 3;
      for (std::int64_t x = contentWidth; x < width; ++x) std::memcpy(row + x * 3, row + (contentWidth - 1) * 3, 3);
    }
  });
  const std::uint8_t* last = rgb + (contentHeight - 1) * width * 3;
  for (std::int64_t y = contentHeight; y < height; ++y)
    std::memcpy(rgb + y * width * 3, last, static_cast<std::size_t>(width * 3));
}

std::uint8_t UnitToPixel(float x) {
  return static_cast<std::uint8_t>(std::clamp(std::floor((x + 1.0F) * 127.5F + 0.5F), 0.0F, 255.0F));
}

namespace {

struct Moments {
  double mean = 0, deviation = 0;
};

// Mean and sqrt(biased variance + 1e-5). Rows are summed one by one, then in order: the same for any thread count.
template <typename Value>
Moments MomentsOf(Threads& threads, std::int64_t width, std::int64_t height, const Value& value) {
  std::vector<double> rows(static_cast<std::size_t>(height));
  const double count = static_cast<double>(width * height);
  const auto total = [&](const auto& term) {
    threads.runRanges(height, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t y = begin; y < end; ++y) {
        double sum = 0;
        for (std::int64_t x = 0; x < width; ++x) sum += term(y, x);
        rows[static_cast<std::size_t>(y)] = sum;
      }
    });
    double sum = 0;
    for (const double row : rows) sum += row;
    return sum;
  };
  Moments moments;
  moments.mean = total([&](std::int64_t y, std::int64_t x) { return static_cast<double>(value(y, x)); }) / count;
  const double squares = total([&](std::int64_t y, std::int64_t x) {
    const double d = value(y, x) - moments.mean;
    return d * d;
  });
  moments.deviation = std::sqrt(squares / count + 1e-5);
  return moments;
}

// Five 3x3 blurs with dilation 1, 2, 4, 8, 16, edges replicated; separable [1 2 1]/4. In place, tight width x height.
void LowPass(Threads& threads, std::vector<float>& picture, std::int64_t width, std::int64_t height) {
  std::vector<float> middle(picture.size());
  for (std::int64_t dilation = 1; dilation <= 16; dilation *= 2) {
    threads.runRanges(height, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t y = begin; y < end; ++y) {
        const float* from = picture.data() + y * width;
        for (std::int64_t x = 0; x < width; ++x)
          middle[static_cast<std::size_t>(y * width + x)] =
              0.25F * (from[std::max<std::int64_t>(x - dilation, 0)] + 2.0F * from[x] +
                       from[std::min(x + dilation, width - 1)]);
      }
    });
    threads.runRanges(height, 8, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t y = begin; y < end; ++y) {
        const float* up = middle.data() + std::max<std::int64_t>(y - dilation, 0) * width;
        const float* at = middle.data() + y * width;
        const float* down = middle.data() + std::min(y + dilation, height - 1) * width;
        for (std::int64_t x = 0; x < width; ++x)
          picture[static_cast<std::size_t>(y * width + x)] = 0.25F * (up[x] + 2.0F * at[x] + down[x]);
      }
    });
  }
}

}  // namespace

void MatchColours(Threads& threads, ColourMatch match, const float* decoded, const std::uint8_t* lq, std::int64_t width,
                  std::int64_t height, std::int64_t contentWidth, std::int64_t contentHeight, float* out) {
  for (std::int64_t c = 0; c < 3; ++c) {
    const float* plane = decoded + c * width * height;
    float* to = out + c * width * height;
    const auto decodedAt = [&](std::int64_t y, std::int64_t x) { return plane[y * width + x]; };
    const auto lqAt = [&](std::int64_t y, std::int64_t x) { return PixelToUnit(lq[(y * width + x) * 3 + c]); };
    const auto store = [&](const auto& value) {
      threads.runRanges(contentHeight, 8, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t y = begin; y < end; ++y)
          for (std::int64_t x = 0; x < contentWidth; ++x)
            to[y * width + x] = std::clamp(static_cast<float>(value(y, x)), -1.0F, 1.0F);
      });
    };
    if (match == ColourMatch::None) {
      store(decodedAt);
    } else if (match == ColourMatch::Adain) {
      const Moments ours = MomentsOf(threads, contentWidth, contentHeight, decodedAt);
      const Moments theirs = MomentsOf(threads, contentWidth, contentHeight, lqAt);
      store([&](std::int64_t y, std::int64_t x) {
        return (decodedAt(y, x) - ours.mean) / ours.deviation * theirs.deviation + theirs.mean;
      });
    } else {
      std::vector<float> ours(static_cast<std::size_t>(contentWidth * contentHeight)), theirs(ours.size());
      for (std::int64_t y = 0; y < contentHeight; ++y)
        for (std::int64_t x = 0; x < contentWidth; ++x) {
          ours[static_cast<std::size_t>(y * contentWidth + x)] = decodedAt(y, x);
          theirs[static_cast<std::size_t>(y * contentWidth + x)] = lqAt(y, x);
        }
      LowPass(threads, ours, contentWidth, contentHeight);
      LowPass(threads, theirs, contentWidth, contentHeight);
      store([&](std::int64_t y, std::int64_t x) {
        const std::size_t at = static_cast<std::size_t>(y * contentWidth + x);
        return decodedAt(y, x) - ours[at] + theirs[at];
      });
    }
  }
}

}  // namespace flashvsr::reference
