// Pictures against reference/picture_ops.h (to the byte) and decoder_ops.h, projector_ops.h.
#include "backend/reference/ops.h"
#include "kernels/colour_match.h"
#include "kernels/picture_conversion.h"
#include "kernels/shuffle.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {
namespace {

YuvMatrix MatrixOf(const PictureFormat& format) {
  const reference::YuvCoefficients c = reference::CoefficientsOf(format.matrix, format.range);
  return {c.yOffset, c.y, c.rv, c.gu, c.gv, c.bu, c.yr, c.yg, c.yb, c.ur, c.ug, c.ub, c.vr, c.vg, c.vb};
}

void RunYuv(const std::string& name, int width, int height, const PictureFormat& format) {
  const std::vector<std::uint8_t> picture = RandomBytes(TightPictureBytes(format.pixels, width, height), 1);
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(width) * height * 3);
  reference::PictureToRgb(Pool(), picture.data(), format, width, height, expected.data());
  const Bytes in(picture), out(static_cast<std::int64_t>(expected.size()));
  YuvToRgbParams params;
  params.picture = in.as<std::uint8_t>();
  params.rgb = out.as<std::uint8_t>();
  params.width = width;
  params.height = height;
  params.matrix = MatrixOf(format);
  if (Succeeded(LaunchYuvToRgb(params, nullptr), name)) CompareBytes(name, out.read(), expected, out.marginsIntact());
}

void RunPack(const std::string& name, int width, int height, int contentWidth, int contentHeight,
             const PictureFormat& format) {
  std::vector<float> planes = Normals(3LL * width * height, 1, 0.7F);
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(contentWidth) * contentHeight * 3);
  for (int y = 0; y < contentHeight; ++y)
    for (int x = 0; x < contentWidth; ++x)
      for (int c = 0; c < 3; ++c)
        rgb[static_cast<std::size_t>((y * contentWidth + x) * 3 + c)] = reference::UnitToPixel(
            planes[static_cast<std::size_t>((static_cast<std::int64_t>(c) * height + y) * width + x)]);
  std::vector<std::uint8_t> expected(
      static_cast<std::size_t>(TightPictureBytes(format.pixels, contentWidth, contentHeight)));
  reference::RgbToPicture(Pool(), rgb.data(), contentWidth, format, contentWidth, contentHeight, expected.data());
  const Array in(planes, DataType::kFloat32);
  const Bytes out(static_cast<std::int64_t>(expected.size()));
  PackPictureParams params;
  params.planes = in.as<float>();
  params.out = out.as<std::uint8_t>();
  params.width = width;
  params.height = height;
  params.contentWidth = contentWidth;
  params.contentHeight = contentHeight;
  params.yuv = format.pixels == PixelFormat::I420;
  params.matrix = MatrixOf(format);
  if (Succeeded(LaunchPackPicture(params, nullptr), name))
    CompareBytes(name, out.read(), expected, out.marginsIntact());
}

void RunResize(const std::string& name, int inWidth, int inHeight, int contentWidth, int contentHeight, int width,
               int height) {
  const std::vector<std::uint8_t> picture = RandomBytes(3LL * inWidth * inHeight, 1);
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(width) * height * 3);
  reference::ResizeBicubic(Pool(), picture.data(), inWidth, inHeight, expected.data(), contentWidth, contentHeight,
                           width);
  reference::PadReplicate(Pool(), expected.data(), contentWidth, contentHeight, width, height);
  const reference::ResizeAxis across = reference::BicubicAxis(inWidth, contentWidth),
                              down = reference::BicubicAxis(inHeight, contentHeight);
  const Bytes in(picture), middle(3LL * inHeight * contentWidth), out(static_cast<std::int64_t>(expected.size()));
  const Ints af(across.first), ac(across.count), aw(across.weights), df(down.first), dc(down.count), dw(down.weights);
  ResizeParams params;
  params.in = in.as<std::uint8_t>();
  params.middle = middle.as<std::uint8_t>();
  params.out = out.as<std::uint8_t>();
  params.inWidth = inWidth;
  params.inHeight = inHeight;
  params.contentWidth = contentWidth;
  params.contentHeight = contentHeight;
  params.width = width;
  params.height = height;
  params.across = {af.as<int>(), ac.as<int>(), aw.as<int>(), static_cast<int>(across.taps)};
  params.down = {df.as<int>(), dc.as<int>(), dw.as<int>(), static_cast<int>(down.taps)};
  if (Succeeded(LaunchResize(params, nullptr), name))
    CompareBytes(name, out.read(), expected, out.marginsIntact() && middle.marginsIntact());
}

void RunMatch(const std::string& name, ColourMatchKind kind, ColourMatch match, int width, int height, int contentWidth,
              int contentHeight) {
  const std::vector<float> decoded = Normals(3LL * width * height, 1, 0.4F);
  const std::vector<std::uint8_t> frame = RandomBytes(3LL * width * height, 2);
  std::vector<float> expected(decoded.size(), 0.25F);
  reference::MatchColours(Pool(), match, decoded.data(), frame.data(), width, height, contentWidth, contentHeight,
                          expected.data());
  const Array in(decoded, DataType::kFloat32);
  const Array out(std::vector<float>(decoded.size(), 0.25F), DataType::kFloat32);
  const Bytes lq(frame), scratch(std::max<std::int64_t>(ColourMatchScratchBytes(kind, contentWidth, contentHeight), 8));
  ColourMatchParams params;
  params.kind = kind;
  params.decoded = in.as<float>();
  params.frame = lq.as<std::uint8_t>();
  params.out = out.as<float>();
  params.width = width;
  params.height = height;
  params.contentWidth = contentWidth;
  params.contentHeight = contentHeight;
  params.scratch = scratch.data();
  if (Succeeded(LaunchColourMatch(params, nullptr), name))
    Compare(name, out.read(), expected, 2e-6, out.marginsIntact() && scratch.marginsIntact());
}

void RunShuffles(const std::string& name, DataType type, int width, int height) {
  const std::vector<std::uint8_t> frame = RandomBytes(3LL * width * height, 1);
  std::vector<float> expected(frame.size());
  reference::UnshuffleBy16(Pool(), frame.data(), height, width, expected.data());
  const Bytes in(frame);
  const Array out(static_cast<std::int64_t>(frame.size()), type);
  UnshuffleParams params;
  params.frame = in.as<std::uint8_t>();
  params.out = out.data();
  params.height = height;
  params.width = width;
  params.type = type;
  if (Succeeded(LaunchUnshuffle(params, nullptr), name))
    Compare(name, out.read(), Rounded(expected, type), 1e-7, out.marginsIntact());

  constexpr int kChannels = 16, kLatents = 2;
  const std::int64_t places = static_cast<std::int64_t>(width / 8) * (height / 8);
  const std::vector<float> latent = Normals(places * kChannels * kLatents, 3, 2.0F);
  std::vector<std::vector<std::uint8_t>> frames;
  for (std::uint64_t i = 0; i < 4; ++i) frames.push_back(RandomBytes(3LL * width * height, 4 + i));
  const std::array<const std::uint8_t*, 4> pointers{frames[0].data(), frames[1].data(), frames[2].data(),
                                                    frames[3].data()};
  std::vector<float> rows(static_cast<std::size_t>(places * (768 + kChannels)));
  reference::DecoderInputRows(Pool(), pointers, latent.data(), kChannels, kLatents, 1, height, width, rows.data());
  const Bytes f0(frames[0]), f1(frames[1]), f2(frames[2]), f3(frames[3]);
  const Array dl(latent, DataType::kFloat32), input(static_cast<std::int64_t>(rows.size()), type);
  DecoderInputParams decoder;
  decoder.frames[0] = f0.as<std::uint8_t>();
  decoder.frames[1] = f1.as<std::uint8_t>();
  decoder.frames[2] = f2.as<std::uint8_t>();
  decoder.frames[3] = f3.as<std::uint8_t>();
  decoder.latent = dl.as<float>();
  decoder.channels = kChannels;
  decoder.latentFrames = kLatents;
  decoder.latentFrame = 1;
  decoder.out = input.data();
  decoder.height = height;
  decoder.width = width;
  decoder.type = type;
  if (Succeeded(LaunchDecoderInput(decoder, nullptr), name))
    Compare(name + ": decoder input", input.read(), rows, type == DataType::kBfloat16 ? 3e-3 : 1e-6,
            input.marginsIntact());
}

}  // namespace

void PictureTests() {
  for (const ColourMatrix matrix : {ColourMatrix::Bt601, ColourMatrix::Bt709, ColourMatrix::Bt2020})
    for (const ColourRange range : {ColourRange::Limited, ColourRange::Full}) {
      const PictureFormat format{PixelFormat::I420, matrix, range};
      const std::string label =
          " matrix " + std::to_string(static_cast<int>(matrix)) + " range " + std::to_string(static_cast<int>(range));
      Test("yuv to rgb 33x17" + label, [&](const std::string& name) { RunYuv(name, 33, 17, format); });
      Test("pack yuv 35x21 of 40x24" + label, [&](const std::string& name) { RunPack(name, 40, 24, 35, 21, format); });
    }
  Test("yuv to rgb 352x192", [](const std::string& name) { RunYuv(name, 352, 192, {}); });
  Test("pack rgb 35x21 of 40x24", [](const std::string& name) {
    RunPack(name, 40, 24, 35, 21, {PixelFormat::Rgb24, ColourMatrix::Bt709, ColourRange::Limited});
  });
  Test("resize x4 padded", [](const std::string& name) { RunResize(name, 96, 64, 384, 256, 384, 256); });
  Test("resize odd, padded to 128", [](const std::string& name) { RunResize(name, 53, 37, 211, 149, 256, 256); });
  Test("resize anisotropic", [](const std::string& name) { RunResize(name, 40, 90, 100, 120, 128, 128); });
  Test("resize down", [](const std::string& name) { RunResize(name, 300, 200, 117, 90, 128, 128); });
  Test("resize same size", [](const std::string& name) { RunResize(name, 64, 40, 64, 40, 128, 128); });
  Test("colour match none",
       [](const std::string& name) { RunMatch(name, ColourMatchKind::kNone, ColourMatch::None, 64, 48, 50, 41); });
  Test("colour match adain",
       [](const std::string& name) { RunMatch(name, ColourMatchKind::kAdain, ColourMatch::Adain, 64, 48, 50, 41); });
  Test("colour match adain 384x256", [](const std::string& name) {
    RunMatch(name, ColourMatchKind::kAdain, ColourMatch::Adain, 384, 256, 384, 256);
  });
  Test("colour match wavelet", [](const std::string& name) {
    RunMatch(name, ColourMatchKind::kWavelet, ColourMatch::Wavelet, 64, 48, 50, 41);
  });
  Test("colour match wavelet smaller than its reach", [](const std::string& name) {
    RunMatch(name, ColourMatchKind::kWavelet, ColourMatch::Wavelet, 128, 128, 11, 7);
  });
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32})
    Test(std::string("unshuffle ") + Name(type), [&](const std::string& name) { RunShuffles(name, type, 96, 64); });
}

}  // namespace flashvsr::kernels::test
