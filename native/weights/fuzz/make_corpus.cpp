// Writes the seeds of the corpus: small, well-formed files of every kind the readers know.
//   make_corpus <folder>   ->  <folder>/{safetensors,torch,pickle}/seed-*
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "weights/safetensors.h"
#include "weights/test/builders.h"

using namespace flashvsr;
using namespace flashvsr::test;

namespace {

void Write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: make_corpus <folder>\n");
    return 2;
  }
  const std::filesystem::path folder = arguments[1];
  const float six[] = {0, 1, 2, 3, 4, 5};
  const SafetensorsEntry entries[] = {{"transformer.head.modulation", DType::BF16, {1, 2, 3}},
                                      {"decoder.1.bias", DType::F32, {6}},
                                      {"prompt.embedding", DType::F16, {1, 2, 3}}};
  Write(folder / "safetensors/seed-three",
        SafetensorsHeader(entries, {{"variant", "v1.1"}}) + std::string(12 + 24 + 12, 1));
  Write(folder / "safetensors/seed-escapes",
        Safetensors(R"({"\u00e9\ud83d\ude00\n":{"dtype":"I64","shape":[0,7],"data_offsets":[0,0]}})", ""));

  for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
    MemoryTensorSource source;
    source.AddFloats("a.weight", dtype, {2, 3}, six);
    source.AddFloats("a.bias", dtype, {6}, six);
    const std::string name(DTypeName(dtype));
    Write(folder / ("torch/seed-plain-" + name), TorchFile(source, false));
    Write(folder / ("torch/seed-ordered-" + name), TorchFile(source, true));
    Write(folder / ("torch/seed-tensor-" + name), TorchTensorFile(*source.find("a.bias")));
  }
  Pickle strided;
  strided.raw("}(").unicode("t").tensor("FloatStorage", "0", 6, 0, {3, 2}, {1, 3});
  strided.unicode("n").integer(7).unicode("l").raw("](NNe").raw("u");
  const std::string pickle = strided.end();
  const std::string data(24, 2);
  Write(folder / "torch/seed-zip64",
        Zip({{.name = "m/data.pkl", .data = pickle, .zip64 = true}, {.name = "m/data/0", .data = data, .zip64 = true}},
            {.end64 = true, .comment = "c"}));
  Write(folder / "pickle/seed-strided", pickle);
  Write(folder / "pickle/seed-protocol4",
        std::string("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94", 13) + std::string("\x8c\x01"
                                                                                           "a\x94K\x07s.",
                                                                                           9));
  Write(folder / "pickle/seed-global", Pickle()
                                           .raw("\x8c\x0b"
                                                "collections\x8c\x0b"
                                                "OrderedDict\x93)R}b")
                                           .end());
  return 0;
}
