// Pictures of bytes: YUV <-> RGB and the bicubic resize, integer arithmetic, met to the byte on every backend
// (native/backend/reference/picture_ops.h states the formulas).
#pragma once

#include "kernels/types.h"

namespace flashvsr::kernels {

/// 16.16 fixed-point coefficients, made by reference::CoefficientsOf.
struct YuvMatrix {
  int yOffset, y, rv, gu, gv, bu, yr, yg, yb, ur, ug, ub, vr, vg, vb;
};

/// Tight I420 -> interleaved RGB.
struct YuvToRgbParams {
  const uint8_t* picture = nullptr;  ///< Y (height, width), U, V (ceil(height/2), ceil(width/2))
  uint8_t* rgb = nullptr;            ///< (height, width, 3)
  int width = 0, height = 0;
  YuvMatrix matrix{};
};
cudaError_t LaunchYuvToRgb(const YuvToRgbParams& params, cudaStream_t stream);

/// One axis of the resize, on the device: output i sums weights[i*taps + j] * in[first[i] + j], j < count[i].
struct ResizeAxisView {
  const int* first = nullptr;
  const int* count = nullptr;
  const int* weights = nullptr;
  int taps = 0;
};

/// Horizontal, then vertical, each rounded to a byte; then the last column and row are replicated into the padding.
struct ResizeParams {
  const uint8_t* in = nullptr;  ///< (inHeight, inWidth, 3)
  uint8_t* middle = nullptr;    ///< scratch (inHeight, contentWidth, 3)
  uint8_t* out = nullptr;       ///< (height, width, 3)
  int inWidth = 0, inHeight = 0;
  int contentWidth = 0, contentHeight = 0;  ///< of the resized picture, top left inside width x height
  int width = 0, height = 0;
  ResizeAxisView across, down;
};
cudaError_t LaunchResize(const ResizeParams& params, cudaStream_t stream);

/// Planes in [-1, 1] -> bytes (x+1)*127.5 rounded half up -> tight RGB or I420 of the content rectangle.
struct PackPictureParams {
  const float* planes = nullptr;  ///< (3, height, width)
  uint8_t* out = nullptr;
  int width = 0, height = 0, contentWidth = 0, contentHeight = 0;
  bool yuv = true;
  YuvMatrix matrix{};
};
cudaError_t LaunchPackPicture(const PackPictureParams& params, cudaStream_t stream);

}  // namespace flashvsr::kernels
