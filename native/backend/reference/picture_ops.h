// Pictures: colour spaces, resize, colour match. Conversions and the resize are integer arithmetic and must be met to
// the byte by every backend; the colour match is fp32 with statistics in double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/picture.h"
#include "common/precision.h"
#include "common/threads.h"

namespace flashvsr::reference {

// YUV <-> RGB in 16-bit fixed point. R = clamp((16*y*(Y - yOffset) + rv*(V16 - 2048) + 2^19) >> 20), where U16 and V16
// are chroma at the luma place times 16: chroma sits in the middle of its four luma samples and is interpolated 9:3:3:1
// (own sample nine times, edges replicated). To YUV: Y = ((yr*R + yg*G + yb*B + 2^15) >> 16) + yOffset; chroma from the
// sum of the 2x2 block (odd edges replicated): U = ((ur*sumR + ug*sumG + ub*sumB + 2^17) >> 18) + 128. Coefficients are
// rounded to nearest from the exact H.273 values; yg and the middle chroma terms take what is left, so grey stays grey.
struct YuvCoefficients {
  std::int32_t yOffset;            // 16 or 0
  std::int32_t y, rv, gu, gv, bu;  // to RGB; gu and gv are negative
  std::int32_t yr, yg, yb;         // from RGB
  std::int32_t ur, ug, ub, vr, vg, vb;
};
YuvCoefficients CoefficientsOf(ColourMatrix matrix, ColourRange range);

// `picture` in tight layout (picture.h) -> rgb (height, width, 3). Rgb24 is copied.
void PictureToRgb(Threads& threads, const std::uint8_t* picture, const PictureFormat& format, std::int64_t width,
                  std::int64_t height, std::uint8_t* rgb);
// The way back. `rgbStride` in pixels.
void RgbToPicture(Threads& threads, const std::uint8_t* rgb, std::int64_t rgbStride, const PictureFormat& format,
                  std::int64_t width, std::int64_t height, std::uint8_t* picture);

// One axis of Pillow's bicubic (flashvsr-model.md section 3): output i sums weights[i*taps + j] * in[first[i] + j] for
// j < count[i].
struct ResizeAxis {
  std::int64_t taps = 0;
  std::vector<std::int32_t> first, count, weights;
};
ResizeAxis BicubicAxis(std::int64_t in, std::int64_t out);

// in (inHeight, inWidth, 3) -> out (outHeight, outWidth, 3), row stride of out in pixels.
void ResizeBicubic(Threads& threads, const std::uint8_t* in, std::int64_t inWidth, std::int64_t inHeight,
                   std::uint8_t* out, std::int64_t outWidth, std::int64_t outHeight, std::int64_t outStride);

// Replicates the last column and row of the top left contentWidth x contentHeight into the rest of width x height.
void PadReplicate(Threads& threads, std::uint8_t* rgb, std::int64_t contentWidth, std::int64_t contentHeight,
                  std::int64_t width, std::int64_t height);

// flashvsr-model.md section 7 over the content rectangle. decoded and out: (3, H, W) with row stride `width`; lq: bytes
// (H, W, 3). None clamps only. Outside the rectangle out is not written.
void MatchColours(Threads& threads, ColourMatch match, const float* decoded, const std::uint8_t* lq, std::int64_t width,
                  std::int64_t height, std::int64_t contentWidth, std::int64_t contentHeight, float* out);

// Byte of a value in [-1, 1]: (x+1)*127.5 rounded half up, clamped.
std::uint8_t UnitToPixel(float x);

}  // namespace flashvsr::reference
