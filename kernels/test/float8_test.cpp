// e4m3: linear layers, their weights' packing, values and sparse attention, against the reference on operands rounded
// the same way.
#include "kernels/attention_input.h"
#include "kernels/linear.h"
#include "kernels/pack.h"
#include "kernels/test/sparse_attention.h"

namespace flashvsr::kernels::test {
namespace {

struct LinearCase {
  int m, n, k;
  Activation activation = Activation::kNone;
  bool residual = false, float8Out = false;
};

void RunLinear(const std::string& name, const LinearCase& c) {
  // Scales as the model has them: inputs times 8, weights up to 448.
  const float inputScale = 8.0F,
              weightScale = std::exp2(std::floor(std::log2(80.0F * std::sqrt(static_cast<float>(c.k))))),
              outputScale = 16.0F;
  std::vector<float> a = Normals(static_cast<std::int64_t>(c.m) * c.k, 1, inputScale);
  std::vector<float> b =
      Normals(static_cast<std::int64_t>(c.n) * c.k, 2, weightScale / std::sqrt(static_cast<float>(c.k)));
  a = Rounded(a, DataType::kFloat8);
  b = Rounded(b, DataType::kFloat8);
  const Array da(a, DataType::kFloat8), db(b, DataType::kFloat8);
  for (float& v : a) v /= inputScale;
  for (float& v : b) v /= weightScale;
  const std::vector<float> bias = Normals(c.n, 3),
                           residual = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.n, 5), DataType::kBfloat16);
  std::vector<float> expected(residual.size());
  const reference::PackedMatrix packed(b, c.n, c.k);
  reference::Linear(
      Pool(), a.data(), c.m, packed, bias.data(),
      c.activation == Activation::kGeluTanh ? reference::Activation::GeluTanh : reference::Activation::None,
      expected.data());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += c.residual ? residual[i] : 0.0F;
  if (c.float8Out)
    reference::RoundFloat8(Pool(), expected.data(), static_cast<std::int64_t>(expected.size()), outputScale);
  const DataType outType = c.float8Out ? DataType::kFloat8 : DataType::kBfloat16;
  const Array dbias(bias, DataType::kFloat32), dresidual(residual, DataType::kBfloat16),
      out(static_cast<std::int64_t>(expected.size()), outType);
  LinearParams params;
  params.a = da.data();
  params.b = db.data();
  params.bias = dbias.as<float>();
  params.residual = c.residual ? dresidual.data() : nullptr;
  params.d = out.data();
  params.m = c.m, params.n = c.n, params.k = c.k;
  params.lda = params.ldb = c.k, params.ldd = c.n;
  params.type = DataType::kFloat8;
  params.outputType = outType;
  params.scale = 1.0F / (inputScale * weightScale);
  params.outputScale = outputScale;
  params.activation = c.activation;
  if (!Succeeded(LaunchLinear(params, nullptr), name)) return;
  std::vector<float> found = out.read();
  if (c.float8Out)
    for (float& v : found) v /= outputScale;
  Compare(name, found, expected, Limit(outType), out.marginsIntact());
}

// Folding, statistics and rounding of a layer's weight.
void RunPack(const std::string& name, int rows, int columns) {
  const std::vector<float> in = Normals(static_cast<std::int64_t>(rows) * columns, 1), rowScale = Normals(rows, 2),
                           columnScale = Normals(columns, 3), columnShift = Normals(columns, 4);
  std::vector<float> largest(static_cast<std::size_t>(rows)), squares(largest), shifts(largest), expected(in.size());
  const float scale = 16.0F;
  for (std::size_t r = 0; r < largest.size(); ++r) {
    double sum = 0, shift = 0;
    for (std::size_t c = 0; c < columnScale.size(); ++c) {
      const std::size_t i = r * columnScale.size() + c;
      const float w = in[i] * rowScale[r] * columnScale[c];
      largest[r] = std::max(largest[r], std::fabs(w));
      sum += static_cast<double>(w) * w;
      shift += static_cast<double>(in[i] * rowScale[r]) * columnShift[c];
      expected[i] = float8::Round(w * scale);
    }
    squares[r] = static_cast<float>(sum);
    shifts[r] = static_cast<float>(shift);
  }
  const Array din(in, DataType::kFloat32), drow(rowScale, DataType::kFloat32), dcolumn(columnScale, DataType::kFloat32),
      dshift(columnShift, DataType::kFloat32);
  const Array dlargest(rows, DataType::kFloat32), dsquares(rows, DataType::kFloat32), dshifts(rows, DataType::kFloat32),
      out(static_cast<std::int64_t>(in.size()), DataType::kFloat8);
  PackFloat8RowsParams params;
  params.in = din.data();
  params.source = SourceType::kFloat32;
  params.rowScale = drow.as<float>();
  params.columnScale = dcolumn.as<float>();
  params.columnShift = dshift.as<float>();
  params.rows = rows;
  params.columns = columns;
  params.scale = scale;
  params.out = out.data();
  params.largest = dlargest.as<float>();
  params.squares = dsquares.as<float>();
  params.shifts = dshifts.as<float>();
  if (!Succeeded(LaunchRowStatistics(params, nullptr), name) || !Succeeded(LaunchPackFloat8Rows(params, nullptr), name))
    return;
  Compare(name + ": largest", dlargest.read(), largest, 1e-6, dlargest.marginsIntact());
  Compare(name + ": squares", dsquares.read(), squares, 1e-5, dsquares.marginsIntact());
  Compare(name + ": shifts", dshifts.read(), shifts, 1e-5, dshifts.marginsIntact());
  Compare(name + ": rounded", out.read(), expected, 1e-3, out.marginsIntact());
}

// Values (window, token, head, column) as (window, head, column, position).
std::vector<std::uint8_t> Transposed(const std::vector<std::uint8_t>& x, int windows, int heads) {
  std::vector<std::uint8_t> out(x.size());
  for (int w = 0; w < windows; ++w)
    for (int t = 0; t < 128; ++t)
      for (int h = 0; h < heads; ++h)
        for (int c = 0; c < 128; ++c)
          out[static_cast<std::size_t>(((w * heads + h) * 128 + c) * 128 + ValuePosition(t))] =
              x[static_cast<std::size_t>(((w * 128 + t) * heads + h) * 128 + c)];
  return out;
}

void RunTranspose(const std::string& name, int windows, int heads) {
  const std::vector<std::uint8_t> x = RandomBytes(static_cast<std::int64_t>(windows) * heads * 128 * 128, 1);
  const Bytes dx(x), out(static_cast<std::int64_t>(x.size()));
  if (Succeeded(LaunchTransposeValues({dx.data(), out.data(), windows, heads}, nullptr), name))
    CompareBytes(name, out.read(), Transposed(x, windows, heads), out.marginsIntact());
}

// Row 1 of every head keeps nothing, row 0 everything.
void RunSparseFloat8(const std::string& name, const SparseShape& shape, double density, bool float8Out) {
  const float queryScale = 8.0F, keyScale = 4.0F, valueScale = 16.0F;
  const auto operand = [](std::int64_t count, std::uint64_t seed, float scale) {
    std::vector<float> x = Rounded(Normals(count, seed, scale), DataType::kFloat8);
    return x;
  };
  const auto divided = [](std::vector<float> x, float by) {
    for (float& v : x) v /= by;
    return x;
  };
  const std::vector<float> q8 = operand(shape.queryElements(), 1, queryScale), q = divided(q8, queryScale);
  std::vector<std::vector<float>> keys, values;
  std::vector<std::unique_ptr<Array>> slots;
  std::vector<std::unique_ptr<Bytes>> turned;
  AttentionParams params;
  for (int g = 0; g < shape.groups; ++g) {
    const std::vector<float> k8 = operand(shape.slot(), 10 + static_cast<std::uint64_t>(g), keyScale),
                             v8 = operand(shape.slot(), 30 + static_cast<std::uint64_t>(g), valueScale);
    params.keys[g] = slots.emplace_back(std::make_unique<Array>(k8, DataType::kFloat8))->data();
    std::vector<std::uint8_t> bytes;
    for (const float v : v8) bytes.push_back(Float8Bits(v));
    params.values[g] =
        turned.emplace_back(std::make_unique<Bytes>(Transposed(bytes, shape.windows, shape.heads)))->data();
    keys.push_back(divided(k8, keyScale));
    values.push_back(divided(v8, valueScale));
  }
  const std::vector<std::uint8_t> mask = MaskOf(
      shape, [&](int, int row, int, std::uint8_t random) { return row == 0 || (row != 1 && random < density * 256); });
  const std::vector<float> expected = SparseExpected(shape, q, keys, values, mask);
  const DataType outType = float8Out ? DataType::kFloat8 : DataType::kBfloat16;
  const Array dq(q8, DataType::kFloat8), out(shape.queryElements(), outType);
  const KeptWindows kept(shape, mask);
  if (!kept.launch(name)) return;
  kept.setOn(params);
  params.q = dq.data();
  params.queryWindows = shape.queries();
  params.heads = shape.heads;
  params.out = out.data();
  params.type = DataType::kFloat8;
  params.outputType = outType;
  params.scoreScale = 1.0F / (queryScale * keyScale);
  params.outputScale = float8Out ? 1.0F : 1.0F / valueScale;
  if (!Succeeded(LaunchAttention(params, nullptr), name)) return;
  std::vector<float> result = out.read();
  if (float8Out) result = divided(result, valueScale);
  ReportEmptyRow(name, result, shape.width());
  // Probabilities are rounded to e4m3, 2.6e-2 of each, and so is the output.
  Compare(name, result, expected, float8Out ? 5e-2 : 3.5e-2, out.marginsIntact());
}

}  // namespace

void Float8Tests() {
  if (!Float8Suits()) {
    std::printf("     e4m3: not on this card\n");
    return;
  }
  std::vector<LinearCase> cases{{1, 8, 16},
                                {70, 72, 48},
                                {65, 200, 144, Activation::kGeluTanh, false, true},
                                {33, 13, 32},
                                {100, 96, 64, Activation::kNone, true}};
  if (!Run().quick) {
    cases.push_back({2053, 1032, 528, Activation::kGeluTanh, false, true});  // large tiles, all edges ragged
    cases.push_back({4224, 1536, 1536, Activation::kNone, true});
  }
  for (const LinearCase& c : cases)
    Test(Label(c.float8Out ? "linear to e4m3" : "linear", DataType::kFloat8, {c.m, c.n, c.k}),
         [&](const std::string& name) { RunLinear(name, c); });
  Test("pack to e4m3 7x40", [](const std::string& name) { RunPack(name, 7, 40); });
  Test("pack to e4m3 33x1000", [](const std::string& name) { RunPack(name, 33, 1000); });
  Test("values to e4m3's order, 3 windows, 2 heads", [](const std::string& name) { RunTranspose(name, 3, 2); });
  if (!Float8AttentionSuits()) return;
  Test("sparse attention e4m3 1 head, 6 windows, 3 groups", [](const std::string& name) {
    RunSparseFloat8(name, {1, 6, 3, 3}, 0.4, false);
  });
  Test("sparse attention e4m3 to e4m3 2 heads, 6 windows, 4 key groups", [](const std::string& name) {
    RunSparseFloat8(name, {2, 6, 4, 1}, 0.5, true);
  });
  if (!Run().quick)
    Test("sparse attention e4m3 12 heads, 9 windows, 4 key groups", [](const std::string& name) {
      RunSparseFloat8(name, {12, 9, 4, 1}, 0.45, true);
    });
}

}  // namespace flashvsr::kernels::test
