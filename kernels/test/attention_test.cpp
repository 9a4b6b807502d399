// Attention and mask selection against reference/attention.h.
#include "kernels/test/sparse_attention.h"

namespace flashvsr::kernels::test {
namespace {

// Which key windows the query windows of every head keep. Row 1 keeps none.
//   kEven    row 0 all, the others a share `density`
//   kUneven  row 0 all, rows 2 to 5 one to four (a run that moves from row to row), the others shares from nearly none
//   to nearly all;
//            the last two the same
//   kFew     row r a run of r % 13
enum class Kept { kEven, kUneven, kFew };

bool Keeps(Kept kept, double density, int head, int row, int rows, int column, int columns, std::uint8_t random) {
  const auto run = [&](int length) { return (column + row * 5 + head * 3) % columns < length; };
  if (row == 1) return false;
  if (kept == Kept::kFew) return run(row % 13);
  if (row == 0) return true;
  if (kept == Kept::kEven) return random < density * 256;
  if (row <= 5) return run(row - 1);
  if (row >= rows - 2) return (column * 7 + head) % 11 < 6;
  return random < 12 + (row * 89 + head * 37) % 232;
}

struct SparseCase {
  SparseShape shape;
  double density = 0.0;
  Kept kept = Kept::kEven;
  bool float8Out = false;
};

void RunSparse(const std::string& name, DataType type, const SparseCase& c) {
  const SparseShape& shape = c.shape;
  const int queries = shape.queries(), columns = shape.columns();
  const std::vector<float> q = Rounded(Normals(shape.queryElements(), 1), type);
  std::vector<std::vector<float>> keys, values;
  for (int g = 0; g < shape.groups; ++g) {
    keys.push_back(Rounded(Normals(shape.slot(), 10 + static_cast<std::uint64_t>(g)), type));
    values.push_back(Rounded(Normals(shape.slot(), 30 + static_cast<std::uint64_t>(g)), type));
  }
  const std::vector<std::uint8_t> mask = MaskOf(shape, [&](int head, int row, int column, std::uint8_t random) {
    return Keeps(c.kept, c.density, head, row, queries, column, columns, random);
  });
  const std::vector<float> expected = SparseExpected(shape, q, keys, values, mask);

  const DataType outType = c.float8Out ? DataType::kFloat8 : type;
  const Array dq(q, type), out(shape.queryElements(), outType);
  std::vector<std::unique_ptr<Array>> slots;
  const KeptWindows kept(shape, mask);
  AttentionParams params;
  for (int g = 0; g < shape.groups; ++g) {
    params.keys[g] = slots.emplace_back(std::make_unique<Array>(keys[static_cast<std::size_t>(g)], type))->data();
    params.values[g] = slots.emplace_back(std::make_unique<Array>(values[static_cast<std::size_t>(g)], type))->data();
  }
  if (!kept.launch(name)) return;
  kept.setOn(params);
  params.q = dq.data();
  params.queryWindows = queries;
  params.heads = shape.heads;
  params.out = out.data();
  params.path = Run().path;
  params.type = type;
  params.outputType = outType;
  params.outputScale = c.float8Out ? 16.0F : 1.0F;
  if (!Succeeded(LaunchAttention(params, nullptr), name)) return;
  std::vector<float> result = out.read();
  if (c.kept != Kept::kEven) {
    bool same = true;
    for (int i = 0; i < 5 && same; ++i)
      same = Succeeded(LaunchAttention(params, nullptr), name) && out.read() == result;
    Report(name + ": the same each time", same, "");
  }
  for (float& v : result) v /= params.outputScale;
  ReportEmptyRow(name, result, shape.width());
  // Probabilities are rounded to bf16 before they meet the values; an e4m3 output is rounded by 2.6e-2 of each.
  Compare(name, result, expected,
          c.float8Out                   ? 5e-2
          : type == DataType::kBfloat16 ? 6e-3
                                        : 2e-5,
          out.marginsIntact() && kept.marginsIntact());
}

void RunDense(const std::string& name, DataType type, int heads, int rows, int length) {
  const int width = heads * 128;
  const std::vector<float> q = Rounded(Normals(static_cast<std::int64_t>(rows) * width, 1), type);
  const std::vector<float> k = Rounded(Normals(static_cast<std::int64_t>(length) * width, 2), type);
  const std::vector<float> v = Rounded(Normals(static_cast<std::int64_t>(length) * width, 3), type);
  std::vector<float> expected(q.size());
  reference::DenseAttend(Pool(), heads, rows, length, q.data(), k.data(), v.data(), expected.data());
  const Array dq(q, type), dk(k, type), dv(v, type), out(static_cast<std::int64_t>(q.size()), type);
  AttentionParams params;
  params.q = dq.data();
  params.keys[0] = dk.data();
  params.values[0] = dv.data();
  params.keyLength = length;
  params.queryWindows = rows / 128;
  params.heads = heads;
  params.out = out.data();
  params.path = Run().path;
  params.type = type;
  if (Succeeded(LaunchAttention(params, nullptr), name))
    Compare(name, out.read(), expected, type == DataType::kBfloat16 ? 6e-3 : 2e-5, out.marginsIntact());
}

void RunSelect(const std::string& name, int heads, int windowRows, int windowColumns, int queryGroups, int keyGroups,
               int localRange, std::int64_t topk) {
  const int windows = windowRows * windowColumns, width = heads * 128;
  const std::vector<float> q = Normals(static_cast<std::int64_t>(queryGroups) * windows * width, 1);
  std::vector<std::vector<float>> keys;
  std::vector<const float*> pointers;
  std::vector<std::unique_ptr<Array>> devices;
  SelectParams params;
  for (int g = 0; g < keyGroups; ++g)
    keys.push_back(Normals(static_cast<std::int64_t>(windows) * width, 10 + static_cast<std::uint64_t>(g)));
  for (int g = 0; g < keyGroups; ++g) {
    pointers.push_back(keys[static_cast<std::size_t>(g)].data());
    params.keyMeans[g] =
        devices.emplace_back(std::make_unique<Array>(keys[static_cast<std::size_t>(g)], DataType::kFloat32))
            ->as<float>();
  }
  const std::int64_t count = static_cast<std::int64_t>(heads) * queryGroups * windows * keyGroups * windows;
  std::vector<std::uint8_t> expected(static_cast<std::size_t>(count));
  std::vector<double> margin(expected.size());
  reference::SelectMask(Pool(), {heads, windowRows, windowColumns, queryGroups, localRange, topk}, q.data(), pointers,
                        expected.data(), margin.data());
  const Array dq(q, DataType::kFloat32), probabilities(count, DataType::kFloat32);
  const Bytes mask(count);
  params.queryMeans = dq.as<float>();
  params.heads = heads;
  params.windowRows = windowRows;
  params.windowColumns = windowColumns;
  params.queryGroups = queryGroups;
  params.keyGroups = keyGroups;
  params.localRange = localRange;
  params.topk = topk;
  params.probabilities = probabilities.as<float>();
  params.mask = mask.as<std::uint8_t>();
  if (!Succeeded(LaunchSelect(params, nullptr), name)) return;
  const std::vector<std::uint8_t> out = mask.read();
  std::int64_t wrong = 0, excused = 0, kept = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    kept += expected[i];
    if (out[i] == expected[i]) continue;
    ++(margin[i] < 1e-4 ? excused : wrong);
  }
  char text[120];
  std::snprintf(text, sizeof text, "%lld wrong, %lld within 1e-4 of the threshold, %lld of %lld kept",
                static_cast<long long>(wrong), static_cast<long long>(excused), static_cast<long long>(kept),
                static_cast<long long>(count));
  Report(name, wrong == 0 && mask.marginsIntact(), text);
}

}  // namespace

void AttentionTests() {
  const bool quick = Run().quick;
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    if (type == DataType::kFloat32 && Run().path == Path::kAuto) continue;  // one path only
    const std::string t = Name(type);
    Test("sparse attention " + t + " 1 head, 6 windows, 3 groups", [&](const std::string& name) {
      RunSparse(name, type, {{1, 6, 3, 3}, 0.4});
    });
    if (!quick) {
      Test("sparse attention " + t + " 2 heads, 6 windows, 4 key groups", [&](const std::string& name) {
        RunSparse(name, type, {{2, 6, 4, 1}, 0.5});
      });
      Test("sparse attention " + t + " 12 heads, 9 windows, 4 key groups", [&](const std::string& name) {
        RunSparse(name, type, {{12, 9, 4, 1}, 0.45});
      });
    }
    Test("sparse attention " + t + " uneven, 3 heads, 9 windows, 5 groups", [&](const std::string& name) {
      RunSparse(name, type, {{3, 9, 5, 1}, 0.0, Kept::kUneven});
    });
    if (!quick) {
      Test("sparse attention " + t + " uneven, 12 heads, 6 windows, 9 groups, 3 of queries",
           [&](const std::string& name) {
             RunSparse(name, type, {{12, 6, 9, 3}, 0.0, Kept::kUneven});
           });
      Test("sparse attention " + t + " uneven, 1 head, 11 windows, 24 groups", [&](const std::string& name) {
        RunSparse(name, type, {{1, 11, 24, 1}, 0.0, Kept::kUneven});
      });
      Test("sparse attention " + t + " few, 1 head, 401 windows", [&](const std::string& name) {
        RunSparse(name, type, {{1, 401, 1, 1}, 0.0, Kept::kFew});
      });
      if (type == DataType::kBfloat16)
        Test("sparse attention bf16 to e4m3, uneven, 2 heads, 9 windows, 5 groups", [&](const std::string& name) {
          RunSparse(name, type, {{2, 9, 5, 1}, 0.0, Kept::kUneven, true});
        });
    }
    for (const int length : {1, 32, 77, 128, 384})
      Test("dense attention " + t + " length " + std::to_string(length),
           [&](const std::string& name) { RunDense(name, type, 2, 256, length); });
    if (!quick)
      Test("dense attention " + t + " length 512",
           [&](const std::string& name) { RunDense(name, type, 12, 768, 512); });
  }
  if (Run().path == Path::kAuto) return;  // one path only
  Test("select 2x3 windows, first chunk", [](const std::string& name) { RunSelect(name, 2, 2, 3, 3, 3, 3, 40); });
  Test("select 2x3 windows, later chunk", [](const std::string& name) { RunSelect(name, 2, 2, 3, 1, 4, 3, 42); });
  Test("select topk 0 keeps nothing but the ties' betters",
       [](const std::string& name) { RunSelect(name, 2, 3, 3, 1, 2, 11, 0); });
  Test("select 6x11 windows, official size",
       [](const std::string& name) { RunSelect(name, 12, 6, 11, 1, 4, 11, 7919); });
  Test("select 9x16 windows, too many values to hold",
       [](const std::string& name) { RunSelect(name, 2, 9, 16, 1, 4, 11, 20735); });
  Test("select 5x7 windows, columns no multiple of 8",
       [](const std::string& name) { RunSelect(name, 3, 5, 7, 2, 3, 5, 700); });
  Test("select topk beyond the end", [](const std::string& name) { RunSelect(name, 1, 2, 2, 1, 3, 1, 1000000); });
  if (!quick) {
    Test("select official size", [](const std::string& name) { RunSelect(name, 12, 6, 11, 1, 4, 11, 7919); });
    Test("select 12x20 windows", [](const std::string& name) { RunSelect(name, 2, 12, 20, 1, 4, 9, 28799); });
  }
}

}  // namespace flashvsr::kernels::test
