// Whole models: the golden weights, synthetic ones of other sizes and types, and one list of everything that is wrong.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "test/harness.h"
#include "weights/model_weights.h"
#include "weights/safetensors.h"
#include "weights/test/builders.h"
#include "weights/test/synthetic.h"

using namespace flashvsr;
using namespace flashvsr::test;

namespace {

std::string RefusalOf(const ModelSources& sources, const LoadOptions& options = {}) {
  try {
    ModelWeights::FromSources(sources, options);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST("model: the golden folder's sizes are those of the specification") {
  const auto model = ModelWeights::OpenOfficialFolder(FLASHVSR_GOLDEN_WEIGHTS, ModelVariant::V1);
  const ModelDims& dims = model->dims();
  CHECK_EQUAL(dims.dim, 256);
  CHECK_EQUAL(dims.heads, 2);
  CHECK_EQUAL(dims.ffn, 384);
  CHECK_EQUAL(dims.layers, 2);
  CHECK_EQUAL(dims.textDim, 64);
  CHECK_EQUAL(dims.textLen, 32);
  CHECK_EQUAL(dims.freqDim, 64);
  CHECK(dims.lqHidden == (std::array<std::int64_t, 2>{16, 24}));
  CHECK_EQUAL(dims.lqLayers, 1);
  CHECK(dims.decoderChannels == (std::array<std::int64_t, 4>{32, 24, 24, 16}));
  CHECK_EQUAL(dims.latentChannels, 16);
  CHECK(dims.variant == ModelVariant::V1);
  CHECK(model->decoder().find("1.weight") != nullptr);
  CHECK(model->prompt().find("embedding")->shape == (std::vector<std::int64_t>{1, 32, 64}));
  CHECK_EQUAL(
      model->transformer().names().size(),
      SafetensorsFile::Open(std::string(FLASHVSR_GOLDEN_WEIGHTS) + "/diffusion_pytorch_model_streaming_dmd.safetensors")
          ->names()
          .size());
}

TEST("model: other sizes, more projector layers and every type are read from shapes alone") {
  ModelDims dims = SmallDims();
  dims.lqLayers = 3;
  dims.layers = 4;
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
    const auto model = ModelWeights::FromSources(Synthetic(dims, dtype), {});
    CHECK(model->dims() == dims);
    CHECK(model->part("projector").find("linear_layers.2.bias")->dtype == dtype);
  }
}

TEST("model: a source with prefixes opens like four parts") {
  const ModelDims dims = SmallDims();
  auto all = std::make_shared<MemoryTensorSource>();
  FillSynthetic(dims, DType::BF16, [&](const TensorSpec& spec, DType dtype, std::span<const float> values) {
    all->AddFloats(spec.part + "." + spec.name, dtype, spec.shape, values);
  });
  CHECK(ModelWeights::FromPrefixedSource(all)->dims() == dims);
}

TEST("model: everything wrong is listed at once") {
  const ModelDims dims = SmallDims();
  ModelSources sources = Synthetic(dims, DType::F32, [](const TensorSpec& spec, Tampering& change) {
    if (spec.name == "blocks.1.ffn.0.weight") change.leaveOut = true;
    if (spec.name == "conv2.weight") change.shape = {spec.shape[0], spec.shape[1], 4, 3, 1};
    if (spec.name == "13.conv.2.bias") change.dtype = DType::U8;
    if (spec.name == "head.head.bias") change.values[5] = std::numeric_limits<float>::quiet_NaN();
    if (spec.name == "norm1.gamma") change.values[1] = -std::numeric_limits<float>::infinity();
  });
  const std::string message = RefusalOf(sources);
  CHECK(Contains(message, "5 problems"));
  CHECK(Contains(message, "transformer blocks.1.ffn.0.weight is missing"));
  CHECK(Contains(message, "projector conv2.weight has shape (8, 8, 4, 3, 1) instead of (8, 8, 4, 3, 3)"));
  CHECK(Contains(message, "decoder 13.conv.2.bias has type U8"));
  CHECK(Contains(message, "transformer head.head.bias holds nan at element 5"));
  CHECK(Contains(message, "projector norm1.gamma holds -inf at element 1"));
}

TEST("model: a missing anchor tensor does not make all others look wrong") {
  ModelSources sources = Synthetic(SmallDims(), DType::F32, [](const TensorSpec& spec, Tampering& change) {
    if (spec.name == "patch_embedding.weight") change.leaveOut = true;
  });
  const std::string message = RefusalOf(sources);
  CHECK(Contains(message, "1 problem\n"));
  CHECK(Contains(message, "transformer patch_embedding.weight is missing"));
}

TEST("model: NaN is found in every type, anywhere, and only when asked") {
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
    for (const std::size_t element : {std::size_t{0}, std::size_t{4096}, std::size_t{128 * 128 - 1}}) {
      ModelSources sources = Synthetic(SmallDims(), dtype, [&](const TensorSpec& spec, Tampering& change) {
        if (spec.name == "text_embedding.2.weight") change.values[element] = std::numeric_limits<float>::quiet_NaN();
      });
      CHECK(Contains(RefusalOf(sources), "holds nan at element " + std::to_string(element)));
      LoadOptions unchecked;
      unchecked.checkFinite = false;
      CHECK_EQUAL(RefusalOf(sources, unchecked), "");
    }
  }
}

TEST("model: surplus tensors are refused, but not in the decoder") {
  const auto add = [](std::shared_ptr<const TensorSource>& part, const std::string& name) {
    auto copy = std::make_shared<MemoryTensorSource>();
    for (const std::string_view each : part->names()) {
      const TensorView& view = *part->find(each);
      copy->Add(std::string(each), view.dtype, view.shape, {view.data.begin(), view.data.end()});
    }
    const float one[] = {1};
    copy->AddFloats(name, DType::F32, {1}, one);
    part = copy;
  };
  ModelSources sources = Synthetic(SmallDims(), DType::F32);
  add(sources.decoder, "99.weight");
  const auto model = ModelWeights::FromSources(sources, {});
  CHECK(model->decoder().find("99.weight") == nullptr);
  add(sources.transformer, "img_emb.proj.0.weight");
  CHECK(Contains(RefusalOf(sources), "transformer \"img_emb.proj.0.weight\" is not part of this model"));
}

TEST("model: surplus rows of TGrow are cut to the last ones") {
  ModelSources sources = Synthetic(SmallDims(), DType::F32, [](const TensorSpec& spec, Tampering& change) {
    if (spec.name != "9.conv.weight") return;
    change.shape = {spec.shape[0] * 2, spec.shape[1], 1, 1};
    change.values.assign(change.values.size() * 2, 1.0f);
    std::fill(change.values.begin(), change.values.begin() + static_cast<std::ptrdiff_t>(change.values.size() / 2),
              7.0f);
  });
  const auto model = ModelWeights::FromSources(sources, {});
  const TensorView& grow = *model->decoder().find("9.conv.weight");
  CHECK_EQUAL(grow.shape[0], SmallDims().decoderChannels[0]);
  for (const float value : ReadFloats(grow)) CHECK_EQUAL(value, 1.0f);
  ModelSources few = Synthetic(SmallDims(), DType::F32, [](const TensorSpec& spec, Tampering& change) {
    if (spec.name != "15.conv.weight") return;
    change.shape = {spec.shape[0] / 2, spec.shape[1], 1, 1};
    change.values.resize(change.values.size() / 2);
  });
  CHECK(Contains(RefusalOf(few), "decoder 15.conv.weight has shape"));
}

TEST("model: sizes that no network of this kind can have are refused") {
  ModelDims dims = SmallDims();
  dims.dim = 192;
  CHECK(Contains(RefusalOf(Synthetic(dims, DType::F32)), "dim is 192; it must be a positive multiple of 128"));
}

TEST("model: loading reports progress up to the whole and can be cancelled") {
  const ModelSources sources = Synthetic(SmallDims(), DType::F32);
  std::uint64_t last = 0, total = 1;
  LoadOptions options;
  options.progress = [&](std::uint64_t done, std::uint64_t all) {
    CHECK(done >= last && done <= all);
    last = done;
    total = all;
    return true;
  };
  const auto model = ModelWeights::FromSources(sources, options);
  CHECK_EQUAL(last, total);
  CHECK_EQUAL(total, model->bytes());
  options.progress = [](std::uint64_t, std::uint64_t) { return false; };
  CHECK_REFUSED("cancelled", ModelWeights::FromSources(sources, options));
}

TEST("model: a folder without its files names all four at once") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "flashvsr-empty-model";
  std::filesystem::create_directory(folder);
  for (const char* name : {"posi_prompt.pth", "TCDecoder.ckpt", "LQ_proj_in.ckpt", "diffusion_pytorch_model"}) {
    CHECK_REFUSED(name, ModelWeights::OpenOfficialFolder(folder, ModelVariant::V1_1));
  }
  std::filesystem::remove(folder);
}

TEST("model: a file that models import did not write is refused") {
  CHECK_REFUSED("does not say its variant",
                ModelWeights::OpenImported(std::string(FLASHVSR_GOLDEN_WEIGHTS) +
                                           "/diffusion_pytorch_model_streaming_dmd.safetensors"));
  CHECK_REFUSED("\"v2\" is not known", ParseVariant("v2"));
}
