// What the safetensors reader accepts and what it refuses, file by file.
#include <cmath>
#include <fstream>

#include "test/harness.h"
#include "weights/safetensors.h"
#include "weights/test/builders.h"

using namespace flashvsr;
using namespace flashvsr::test;

namespace {

std::shared_ptr<const SafetensorsFile> Parse(const std::string& file) {
  return SafetensorsFile::Parse(Bytes(file), "test.safetensors");
}

std::string One(std::string_view dtype, std::string_view shape, std::string_view offsets, std::size_t dataBytes) {
  const std::string header = "{\"a\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
                             ",\"data_offsets\":" + std::string(offsets) + "}}";
  return Safetensors(header, std::string(dataBytes, '\1'));
}

}  // namespace

TEST("safetensors: tensors, metadata and escapes are read as written") {
  const std::string data = std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8) + std::string("\x00\x3c", 2);
  const std::string file = Safetensors(
      R"({"__metadata__":{"k\u00e9\n":"v \ud83d\ude00"}, "a.b":{"shape":[1,2],"dtype":"F32","data_offsets":[0,8]},)"
      R"("half":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}   )",
      data);
  const auto source = Parse(file);
  CHECK_EQUAL(source->names().size(), 2u);
  const TensorView* tensor = source->find("a.b");
  CHECK(tensor != nullptr && tensor->shape == (std::vector<std::int64_t>{1, 2}) && tensor->dtype == DType::F32);
  CHECK_EQUAL(ReadElement(*tensor, 0), 1.0f);
  CHECK_EQUAL(ReadElement(*tensor, 1), -2.0f);
  CHECK_EQUAL(ReadElement(*source->find("half"), 0), 1.0f);
  CHECK(source->metadata("k\xc3\xa9\n") == std::optional<std::string>("v \xf0\x9f\x98\x80"));
  CHECK(source->find("c") == nullptr);
}

TEST("safetensors: other types are kept apart with their reason") {
  const std::string file = One("I64", "[2]", "[0,16]", 16);
  const auto source = Parse(file);
  CHECK(source->find("a") == nullptr);
  CHECK_EQUAL(source->unusable("a"), "has type I64");
}

TEST("safetensors: truncated, empty and foreign files are refused") {
  CHECK_REFUSED("too short", Parse(""));
  CHECK_REFUSED("too short", Parse("1234567"));
  CHECK_REFUSED("not a safetensors file", Parse(std::string(64, 'P')));
  const std::string whole = One("F32", "[4]", "[0,16]", 16);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK_REFUSED("test.safetensors", Parse(whole.substr(0, length)));
  }
}

TEST("safetensors: absurd header lengths are refused before anything is allocated") {
  CHECK_REFUSED("claims a header of", Parse(Safetensors("{}", "", INT64_MAX)));
  CHECK_REFUSED("claims a header of", Parse(Safetensors("{}", "", 100'000'001)));
  CHECK_REFUSED("truncated: the header needs", Parse(Safetensors("{}", "", 99'999'999)));
}

TEST("safetensors: offsets are checked against shape, file and each other") {
  CHECK_REFUSED("does not fit its shape", Parse(One("F32", "[4]", "[0,12]", 16)));
  CHECK_REFUSED("does not fit its shape", Parse(One("F32", "[4]", "[16,0]", 16)));
  CHECK_REFUSED("beyond the end", Parse(One("F32", "[4]", "[0,16]", 15)));
  CHECK_REFUSED("leaves a gap", Parse(One("F32", "[4]", "[4,20]", 20)));
  CHECK_REFUSED("after the last tensor", Parse(One("F32", "[4]", "[0,16]", 17)));
  CHECK_REFUSED("does not fit its shape", Parse(One("F32", "[4294967296,4294967296]", "[0,0]", 0)));
  CHECK_REFUSED("does not fit its shape", Parse(One("F32", "[9223372036854775807,9,9]", "[0,16]", 16)));
  CHECK_REFUSED("number too large", Parse(One("F32", "[9223372036854775808]", "[0,16]", 16)));
  CHECK_REFUSED("non-negative", Parse(One("F32", "[-4]", "[0,16]", 16)));
  CHECK_REFUSED("overlaps", Parse(Safetensors(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                              R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                                              std::string(12, 0))));
}

TEST("safetensors: a zero extent makes an empty tensor, whatever the others are") {
  const std::string file = One("F32", "[0,1000000000000]", "[0,0]", 0);
  const auto source = Parse(file);
  CHECK(source->find("a") != nullptr && source->find("a")->data.empty());
}

TEST("safetensors: malformed headers are refused") {
  CHECK_REFUSED("occurs twice", Parse(Safetensors(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                                  R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                                  std::string(8, 0))));
  CHECK_REFUSED("unknown type", Parse(One("F99", "[4]", "[0,16]", 16)));
  CHECK_REFUSED("not two numbers", Parse(One("F32", "[4]", "[0]", 16)));
  CHECK_REFUSED("list with more", Parse(One("F32", "[4]", "[0,16,16]", 16)));
  CHECK_REFUSED("list with more", Parse(One("F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]", 4)));
  CHECK_REFUSED("lacks dtype", Parse(Safetensors(R"({"a":{"dtype":"F32","shape":[1]}})", "")));
  CHECK_REFUSED("unexpected or repeated key", Parse(Safetensors(R"({"a":{"dtype":"F32","dtype":"F32"}})", "")));
  CHECK_REFUSED("unpaired surrogate", Parse(Safetensors(R"({"\ud800":1})", "")));
  CHECK_REFUSED("control character", Parse(Safetensors("{\"a\nb\":1}", "")));
  CHECK_REFUSED("expected an integer", Parse(One("F32", "[1e9]", "[0,16]", 16)));
  CHECK_REFUSED("after the end", Parse(Safetensors("{} {}", "")));
}

TEST("safetensors: what SafetensorsHeader writes is read back, data aligned to 64 bytes") {
  const SafetensorsEntry entries[] = {{"x\"\\\x01", DType::BF16, {2, 3}}, {"y", DType::F32, {5}}};
  const std::string header = SafetensorsHeader(entries, {{"variant", "v1.1"}});
  CHECK_EQUAL(header.size() % 64, 0u);
  const std::string file = header + std::string(12 + 20, 0);
  const auto source = Parse(file);
  CHECK(source->find("x\"\\\x01") != nullptr);
  CHECK(source->metadata("variant") == std::optional<std::string>("v1.1"));
  const SafetensorsEntry twice[] = {{"y", DType::F32, {5}}, {"y", DType::F32, {5}}};
  CHECK_REFUSED("occurs twice", SafetensorsHeader(twice, {}));
}

TEST("safetensors: missing files, folders and empty files are named") {
  CHECK_REFUSED("/no/such/file", SafetensorsFile::Open("/no/such/file"));
  CHECK_REFUSED("not a regular file", SafetensorsFile::Open("/"));
}

TEST("numbers: fp16 and bf16 conversions round to nearest even and keep every 16-bit value") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float asHalf = Float16ToFloat(half);
    if (std::isnan(asHalf)) {
      CHECK(std::isnan(Float16ToFloat(FloatToFloat16(asHalf))));
    } else if (FloatToFloat16(asHalf) != half) {
      CHECK_EQUAL(FloatToFloat16(asHalf), half);
    }
    const float asBrain = BFloat16ToFloat(half);
    if (std::isnan(asBrain)) {
      CHECK(std::isnan(BFloat16ToFloat(FloatToBFloat16(asBrain))));
    } else if (FloatToBFloat16(asBrain) != half) {
      CHECK_EQUAL(FloatToBFloat16(asBrain), half);
    }
  }
  CHECK_EQUAL(FloatToFloat16(65519.0f), 0x7bff);
  CHECK_EQUAL(FloatToFloat16(65520.0f), 0x7c00);
  CHECK_EQUAL(FloatToFloat16(1.0f + 0x1p-11f), 0x3c00);      // tie to even, down
  CHECK_EQUAL(FloatToFloat16(1.0f + 3 * 0x1p-11f), 0x3c02);  // tie to even, up
  CHECK_EQUAL(FloatToFloat16(0x1p-25f), 0);                  // half of the smallest subnormal: even is zero
  CHECK_EQUAL(FloatToBFloat16(1.0f + 0x1p-8f), 0x3f80);
  CHECK_EQUAL(FloatToBFloat16(1.0f + 3 * 0x1p-8f), 0x3f82);
}
