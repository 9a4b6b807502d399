// Pictures as they enter and leave the engine. Shared by the engine's face, the backends and the addon.
#pragma once

#include <array>
#include <cstdint>

namespace flashvsr {

// I420: planes Y, U, V; chroma planes are ceil(width/2) x ceil(height/2). Rgb24: one plane, interleaved R, G, B.
enum class PixelFormat : std::uint8_t { I420, Rgb24 };
// ITU-T H.273 matrix coefficients (BT.2020: non-constant luminance). Ignored for Rgb24.
enum class ColourMatrix : std::uint8_t { Bt601, Bt709, Bt2020 };
// Limited: luma 16..235, chroma 16..240. Full: 0..255. Ignored for Rgb24.
enum class ColourRange : std::uint8_t { Limited, Full };

struct PictureFormat {
  PixelFormat pixels = PixelFormat::I420;
  ColourMatrix matrix = ColourMatrix::Bt709;
  ColourRange range = ColourRange::Limited;

  bool operator==(const PictureFormat&) const = default;
};

// A picture that the caller owns. Strides in bytes, at least the plane's width in bytes.
struct FrameView {
  PictureFormat format;
  int width = 0;
  int height = 0;
  std::array<const std::uint8_t*, 3> planes{};
  std::array<int, 3> strides{};
};

// Bytes of a picture without padding between rows or planes: the layout of every picture the engine delivers and of
// every picture it keeps (I420: Y, then U, then V).
constexpr std::int64_t TightPictureBytes(PixelFormat pixels, std::int64_t width, std::int64_t height) {
  if (pixels == PixelFormat::Rgb24) return width * height * 3;
  return width * height + 2 * ((width + 1) / 2) * ((height + 1) / 2);
}

}  // namespace flashvsr
