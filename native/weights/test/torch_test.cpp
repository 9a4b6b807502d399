// What the torch.save reader accepts and what it refuses: the zip, the pickle, and the tensors between them.
#include <cstring>

#include "test/harness.h"
#include "weights/test/builders.h"
#include "weights/torch_checkpoint.h"
#include "weights/unpickler.h"

using namespace flashvsr;
using namespace flashvsr::test;

namespace {

std::shared_ptr<const TorchCheckpoint> Parse(const std::string& file) {
  return TorchCheckpoint::Parse(Bytes(file), "test.ckpt");
}

std::string Floats(std::span<const float> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

constexpr float kSix[] = {0, 1, 2, 3, 4, 5};

// A state dict {"a": tensor} with one storage of six floats.
std::string OneTensor(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                      std::int64_t offset = 0, std::int64_t storageElements = 6,
                      std::string_view type = "FloatStorage") {
  Pickle pickle;
  pickle.raw("}").unicode("a").tensor(type, "0", storageElements, offset, shape, strides).raw("s");
  return Zip({{.name = "m/data.pkl", .data = pickle.end()}, {.name = "m/data/0", .data = Floats(kSix)}});
}

std::string WithPickle(const std::string& pickle) { return Zip({{.name = "m/data.pkl", .data = pickle}}); }

std::string Plain() { return OneTensor({2, 3}, {3, 1}); }

}  // namespace

TEST("torch: F32, F16 and BF16 state dicts, plain and ordered with _metadata, are read as written") {
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16}) {
    for (const bool ordered : {false, true}) {
      MemoryTensorSource written;
      written.AddFloats("x", dtype, {2, 3}, kSix);
      written.AddFloats("y.bias", dtype, {6}, kSix);
      const std::string file = TorchFile(written, ordered, "decoder.");
      const auto read = Parse(file);
      CHECK_EQUAL(read->names().size(), 2u);
      CHECK(!read->singleTensor());
      const TensorView* view = read->find("decoder.x");
      CHECK(view != nullptr && view->dtype == dtype && view->shape == (std::vector<std::int64_t>{2, 3}));
      CHECK(view != nullptr && ReadFloats(*view) == std::vector<float>(kSix, kSix + 6));
    }
  }
}

TEST("torch: weights under model_state are the file's") {
  Pickle pickle;
  pickle.raw("}(").unicode("step").raw("K\x07").unicode("model_state").raw("}(").unicode("a");
  pickle.tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}).raw("uu");
  const std::string file =
      Zip({{.name = "m/data.pkl", .data = pickle.end()}, {.name = "m/data/0", .data = Floats(kSix)}});
  const auto read = Parse(file);
  CHECK_EQUAL(read->names().size(), 1u);
  CHECK(ReadFloats(*read->find("a")) == std::vector<float>(kSix, kSix + 6));
}

TEST("torch: a file with a single tensor has it under the empty name") {
  MemoryTensorSource written;
  written.AddFloats("t", DType::BF16, {1, 6}, kSix);
  const std::string file = TorchTensorFile(*written.find("t"));
  const auto read = Parse(file);
  CHECK(read->singleTensor());
  CHECK_EQUAL(ReadElement(*read->find(""), 5), 5.0f);
}

TEST("torch: strided views are brought into row-major order, offsets are honoured") {
  const std::string transposed = OneTensor({3, 2}, {1, 3});
  CHECK(ReadFloats(*Parse(transposed)->find("a")) == (std::vector<float>{0, 3, 1, 4, 2, 5}));
  const std::string column = OneTensor({2}, {3}, 1);
  CHECK(ReadFloats(*Parse(column)->find("a")) == (std::vector<float>{1, 4}));
  const std::string tail = OneTensor({3}, {1}, 3);
  CHECK(ReadFloats(*Parse(tail)->find("a")) == (std::vector<float>{3, 4, 5}));
  const std::string single = OneTensor({1, 6}, {INT64_MAX, 1});  // the stride of an axis of length 1 means nothing
  CHECK(ReadFloats(*Parse(single)->find("a")) == std::vector<float>(kSix, kSix + 6));
  const std::string strided = OneTensor({1, 3}, {INT64_MAX, 2});
  CHECK(ReadFloats(*Parse(strided)->find("a")) == (std::vector<float>{0, 2, 4}));
  const std::string scalar = OneTensor({}, {}, 4);
  CHECK_EQUAL(ReadElement(*Parse(scalar)->find("a"), 0), 4.0f);
}

TEST("torch: tensors that reach beyond their storage, repeat elements or lie about it are refused") {
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({7}, {1})));
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({6}, {1}, 1)));
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({2, 3}, {4, 1})));
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({INT64_MAX, INT64_MAX}, {1, 1})));
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({2}, {INT64_MAX})));
  CHECK_REFUSED("beyond its storage", Parse(OneTensor({1}, {1}, INT64_MAX)));
  CHECK_REFUSED("repeats elements", Parse(OneTensor({1'000'000'000}, {0})));
  CHECK_REFUSED("is negative", Parse(OneTensor({2}, {-1}, 5)));
  CHECK_REFUSED("is negative", Parse(OneTensor({6}, {1}, -1)));
  CHECK_REFUSED("not as many strides", Parse(OneTensor({6}, {1, 1})));
  CHECK_REFUSED("needs a storage of 7", Parse(OneTensor({6}, {1}, 0, 7)));
  CHECK_REFUSED("needs a storage of", Parse(OneTensor({6}, {1}, 0, INT64_MAX)));
  CHECK_REFUSED("at most 16 integers",
                Parse(OneTensor(std::vector<std::int64_t>(17, 1), std::vector<std::int64_t>(17, 1))));
}

TEST("torch: copies of strided tensors cannot exceed the file's size") {
  Pickle pickle;
  pickle.raw("}(");
  for (int index = 0; index < 200; ++index) {
    pickle.unicode("t" + std::to_string(index)).tensor("FloatStorage", "0", 65536, 0, {256, 256}, {1, 256});
  }
  pickle.raw("u");
  const std::string file =
      Zip({{.name = "m/data.pkl", .data = pickle.end()}, {.name = "m/data/0", .data = std::string(4 * 65536, 0)}});
  CHECK_REFUSED("more strided tensors", Parse(file));
}

TEST("torch: integer tensors and other values are kept apart with their reason") {
  const std::string file = OneTensor({3}, {1}, 0, 3, "LongStorage");
  CHECK_EQUAL(Parse(file)->unusable("a"), "has type torch.LongStorage");
  const std::string other = WithPickle(Pickle().raw("}").unicode("epoch").integer(3).raw("s").end());
  CHECK_EQUAL(Parse(other)->unusable("epoch"), "is not a tensor");
}

TEST("torch: every global but the three needed is refused by name, however it is spelled") {
  const auto refuse = [](const std::string& name, const std::string& pickle) {
    CHECK_REFUSED("\"" + name + "\"", Parse(WithPickle(pickle)));
  };
  refuse("os.system", Pickle().global("os", "system").raw("(").unicode("true").raw("tR").end());
  refuse("posix.system", Pickle().global("posix", "system").raw("(").unicode("true").raw("tR").end());
  refuse("builtins.eval", Pickle()
                              .raw("\x8c\x08"
                                   "builtins\x8c\x04"
                                   "eval\x93")
                              .end());
  refuse("builtins.exec", Pickle().raw("(ibuiltins\nexec\n").end());
  refuse("torch.load", Pickle().global("torch", "load").end());
  refuse("torch._utils._rebuild_tensor_v2.__globals__",
         Pickle().global("torch._utils", "_rebuild_tensor_v2.__globals__").end());
  refuse("torch.FloatStorage.from_file", Pickle().global("torch", "FloatStorage.from_file").end());
  refuse("collections.abc", Pickle().global("collections", "abc").end());
  refuse("numpy.core.multiarray._reconstruct", Pickle().global("numpy.core.multiarray", "_reconstruct").end());
  // Escape sequences of a hostile name do not reach the terminal.
  refuse("?[31m.x", Pickle().global("\x1b[31m", "x").end());
}

TEST("torch: opcodes that build objects, import extensions or read buffers are refused") {
  const std::pair<std::string_view, std::string_view> opcodes[] = {
      {"(o", "0x6f"},       {"\x81", "0x81"},         {"\x92", "0x92"},
      {"\x82\x01", "0x82"}, {"\x83\x01\x01", "0x83"}, {"P0\n", "0x50"},
      {"\x97", "0x97"},     {"\x98", "0x98"},         {"\x8b\xff\xff\xff\x7f", "0x8b"},
      {"I1\n", "0x49"},
  };
  for (const auto& [bytes, name] : opcodes) {
    CHECK_REFUSED(std::string(name), Parse(WithPickle(Pickle().raw("N").raw(bytes).end())));
  }
}

TEST("torch: allowed globals cannot be misused") {
  const auto refuse = [](const std::string& reason, const Pickle& pickle) {
    Pickle copy = pickle;
    CHECK_REFUSED(reason, Parse(WithPickle(copy.end())));
  };
  refuse("calls a storage class", Pickle().global("torch", "FloatStorage").raw("(").integer(1).raw("tR"));
  refuse("calls OrderedDict with arguments", Pickle().global("collections", "OrderedDict").raw("(NtR"));
  refuse("needs 6 or 7 arguments", Pickle().global("torch._utils", "_rebuild_tensor_v2").raw(")R"));
  refuse("needs a storage", Pickle().global("torch._utils", "_rebuild_tensor_v2").raw("(NNNNNNtR"));
  refuse("calls something it may not", Pickle().raw("}").raw(")R"));
  refuse("sets attributes", Pickle().raw("}}b"));
  refuse("sets attributes", Pickle().raw("]}b"));
  refuse("sets attributes", Pickle().global("collections", "OrderedDict").raw(")R]b"));
  refuse("persistent id", Pickle().unicode("storage").raw("Q"));
  refuse("persistent id", Pickle().raw("(").unicode("module").raw("NNNNtQ"));
  refuse("neither a state dict nor a tensor", Pickle().global("torch", "FloatStorage"));
  refuse("neither a state dict nor a tensor", Pickle().raw("]"));
  refuse("key that is not text", Pickle().raw("}").integer(1).integer(2).raw("s"));
  refuse("twice", Pickle().raw("}(").unicode("k").raw("N").unicode("k").raw("Nu"));
}

TEST("torch: broken pickles end with a reason, never beyond their bytes") {
  const auto refuse = [](const std::string& reason, std::string_view pickle) {
    CHECK_REFUSED(reason, Unpickle(Bytes(pickle), "p"));
  };
  refuse("truncated", "");
  refuse("truncated", std::string_view("X\xff\xff\xff\xff", 5));
  refuse("truncated", std::string_view("\x8d\xff\xff\xff\xff\xff\xff\xff\xff", 9));
  refuse("truncated", "cos");
  refuse("empty stack", ".");
  refuse("empty stack", "0");
  refuse("empty stack", "(R.");
  refuse("empty stack", "q\x01");
  refuse("mark that is not there", "t.");
  refuse("mark that is not there", "1.");
  refuse("never remembered", "h\x05.");
  refuse("not a dict", "]NNs.");
  refuse("not a list", "}Na.");
  refuse("without a value", "}(Nu.");
  refuse("more than 64 bits",
         "\x8a\x09"
         "123456789.");
  refuse("newer than 5", "\x80\x06.");
  // A mark protects what is below it, as in CPython.
  refuse("empty stack", "N(0.");
  const std::string whole = Pickle().raw("}").unicode("a").tensor("FloatStorage", "0", 6, 0, {6}, {1}).raw("s").end();
  for (std::size_t length = 0; length < whole.size(); ++length) refuse("truncated", whole.substr(0, length));
}

TEST("torch: deep nesting, self-reference and floods of values need no stack and bounded memory") {
  // A list inside a list, 100000 deep.
  CHECK_REFUSED("neither", Unpickle(Bytes(std::string(100'000, ']') + std::string(99'999, 'a') + "."), "p"));
  // A list that contains itself.
  CHECK_REFUSED("neither", Unpickle(Bytes("]q\x01h\x01"
                                          "a."),
                                    "p"));
  CHECK_REFUSED("holds more than", Unpickle(Bytes(std::string(1 << 19, 'N') + "."), "p"));
  CHECK_REFUSED("at most", Unpickle(Bytes(std::string(kMaxPickleBytes + 1, 'N')), "p"));
}

TEST("torch: protocol 4 with frames, memoize and short text is read") {
  const std::string pickle = std::string("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94", 13) + std::string(
                                                                                                        "\x8c\x01"
                                                                                                        "a\x94K\x07s.",
                                                                                                        9);
  CHECK_EQUAL(Unpickle(Bytes(pickle), "p").others.size(), 1u);
}

TEST("zip: Zip64 sizes, Zip64 end records and comments are read") {
  Pickle pickle;
  pickle.raw("}").unicode("a").tensor("FloatStorage", "0", 6, 0, {6}, {1}).raw("s");
  const std::vector<ZipItem> items = {{.name = "m/data.pkl", .data = pickle.end(), .zip64 = true},
                                      {.name = "m/data/0", .data = Floats(kSix), .zip64 = true}};
  for (const ZipForm& form : {ZipForm{}, ZipForm{.end64 = true}, ZipForm{.end64 = true, .comment = "hello"}}) {
    const std::string file = Zip(items, form);
    CHECK(Parse(file)->find("a") != nullptr);
  }
}

TEST("zip: truncated, foreign and legacy files are refused with the reason") {
  const std::string whole = Plain();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK_REFUSED("test.ckpt", Parse(whole.substr(0, length)));
  }
  CHECK_REFUSED("does not start as a zip", Parse("GIF89a" + std::string(100, 0)));
  CHECK_REFUSED("before PyTorch 1.6", Parse("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."));
  CHECK_REFUSED("no data.pkl", Parse(Zip({{.name = "word/document.xml", .data = "x"}})));
  CHECK_REFUSED("more than one data.pkl",
                Parse(Zip({{.name = "a/data.pkl", .data = "x"}, {.name = "b/data.pkl", .data = "x"}})));
  CHECK_REFUSED("big-endian",
                Parse(Zip({{.name = "m/data.pkl", .data = "}."}, {.name = "m/byteorder", .data = "big"}})));
}

TEST("zip: compressed members are refused and nothing is inflated") {
  // Claims 1 TB in a few bytes.
  CHECK_REFUSED("is compressed (method 8)", Parse(Zip({{.name = "m/data.pkl",
                                                        .data = std::string(20, 'x'),
                                                        .method = 8,
                                                        .zip64 = true,
                                                        .claimedBytes = 1LL << 40}})));
  CHECK_REFUSED("two different sizes",
                Parse(Zip({{.name = "m/data.pkl", .data = "}.", .zip64 = true, .claimedBytes = 1LL << 40}})));
  CHECK_REFUSED("is encrypted", Parse(Zip({{.name = "m/data.pkl", .data = "}.", .flags = 1}})));
}

TEST("zip: directories that lie are refused") {
  const ZipItem pickle{.name = "m/data.pkl", .data = "}."};
  const auto with = [&](auto change) {
    ZipItem item = pickle;
    change(item);
    return item;
  };
  CHECK_REFUSED("truncated or damaged", Parse(Zip({with([](ZipItem& item) {
                  item.zip64 = true;
                  item.claimedBytes = item.claimedStoredBytes = INT64_MAX;
                })})));
  CHECK_REFUSED("outside the file", Parse(Zip({with([](ZipItem& item) { item.claimedOffset = 1 << 20; })})));
  CHECK_REFUSED("another name", Parse(Zip({with([](ZipItem& item) { item.localName = "m/other.pk"; })})));
  CHECK_REFUSED("occurs twice", Parse(Zip({pickle, pickle})));
  // One member inside the other, each with a proper local header: how the densest zip bombs are built.
  const ZipItem inner{.name = "m/data/0", .data = "0123"};
  const std::string nest = Zip({inner});
  ZipItem again = inner;
  again.claimedOffset = static_cast<std::int64_t>(Zip({{.name = "m/data/1", .data = nest}}).find(nest));
  CHECK_REFUSED("overlapping", Parse(Zip({{.name = "m/data/1", .data = nest}, again})));
  CHECK_REFUSED("does not have the checksum", Parse(Zip({with([](ZipItem& item) { item.wrongCrc = true; })})));
  CHECK_REFUSED("members; at most", Parse(Zip({pickle}, {.end64 = true, .claimedMembers = INT64_MAX})));
  CHECK_REFUSED("truncated or damaged", Parse(Zip({pickle}, {.claimedMembers = 7})));
  CHECK_REFUSED("longer than its members", Parse(Zip({pickle}, {.claimedMembers = 0})));
  CHECK_REFUSED("outside the file", Parse(Zip({pickle}, {.claimedDirectoryOffset = 1 << 20})));
}

TEST("torch: a damaged storage is found by its checksum") {
  std::string file = Plain();
  file[file.find(Floats(kSix))] ^= 1;
  CHECK_REFUSED("\"m/data/0\" does not have the checksum", Parse(file));
}

TEST("torch: a storage the pickle names but the archive lacks is named") {
  Pickle pickle;
  pickle.raw("}").unicode("a").tensor("FloatStorage", "../../etc/passwd", 6, 0, {6}, {1}).raw("s");
  CHECK_REFUSED("\"m/data/../../etc/passwd\", which is missing", Parse(WithPickle(pickle.end())));
}

TEST("crc32: the check value of the standard, at every alignment") {
  CHECK_EQUAL(Crc32(Bytes("123456789")), 0xcbf43926u);
  const std::string text = "xxxxxxxx123456789";
  for (std::size_t start = 0; start < 8; ++start) {
    CHECK_EQUAL(Crc32(Bytes(text.substr(start)).subspan(8 - start)), 0xcbf43926u);
  }
}
