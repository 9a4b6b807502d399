#include "weights/wan_layers.h"

#include "weights/model_inventory.h"

namespace flashvsr {

std::vector<WanConvolutionSpec> WanConvolutions(std::int64_t width, std::int64_t latentChannels) {
  std::vector<WanConvolutionSpec> specs;
  const auto times = [&](int factor) { return width == kUnknownSize ? kUnknownSize : factor * width; };
  const auto causal = [&](int block, WanPart part, const std::string& name, std::int64_t out, std::int64_t in,
                          const std::string& norm = {}) {
    specs.push_back({block, part, name, out, in, 3, 3, false, norm, false});
  };
  specs.push_back({kWanEntry, WanPart::Second, "conv2", latentChannels, latentChannels, 1, 1, false, {}, false});
  causal(kWanEntry, WanPart::First, "decoder.conv1", times(4), latentChannels);
  for (int index = 0; index < kWanHead; ++index) {
    const WanBlock& block = kWanBlocks[static_cast<std::size_t>(index)];
    const std::string name = block.name;
    const std::int64_t in = times(block.in), out = times(block.out);
    switch (block.kind) {
      case WanKind::Residual:
        causal(index, WanPart::First, name + ".residual.2", out, in, name + ".residual.0.gamma");
        causal(index, WanPart::Second, name + ".residual.6", out, out, name + ".residual.3.gamma");
        if (block.in != block.out)
          specs.push_back({index, WanPart::Shortcut, name + ".shortcut", out, in, 1, 1, false, {}, false});
        break;
      case WanKind::Attention:
        specs.push_back(
            {index, WanPart::Query, name + ".to_qkv", times(3 * block.in), in, 1, 1, true, name + ".norm.gamma", true});
        specs.push_back({index, WanPart::Project, name + ".proj", in, in, 1, 1, true, {}, false});
        break;
      case WanKind::GrowTime:
        specs.push_back({index, WanPart::Time, name + ".time_conv", times(2 * block.in), in, 3, 1, false, {}, false});
        [[fallthrough]];
      case WanKind::Enlarge:
        specs.push_back({index, WanPart::Enlarge, name + ".resample.1", out, in, 1, 3, true, {}, false});
        break;
    }
  }
  causal(kWanHead, WanPart::First, "decoder.head.2", 3, width, "decoder.head.0.gamma");
  return specs;
}

}  // namespace flashvsr
