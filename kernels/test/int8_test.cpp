// int8: turning and rounding rows, to the byte, and linear layers on operands that are whole numbers already.
#include "backend/reference/ops.h"
#include "kernels/linear.h"
#include "kernels/rotate_round.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {
namespace {

std::vector<float> AsFloats(const std::vector<std::uint8_t>& bytes) {
  std::vector<float> out(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(bytes[i]));
  return out;
}

// `inPlace`: the rows are rounded where they lie.
void RunRotateRound(const std::string& name, std::int64_t rows, int width, DataType type, bool norm, int rotation,
                    bool inPlace) {
  std::vector<float> x = Normals(rows * width, 1, 3.0F);
  const std::size_t columns = static_cast<std::size_t>(width);
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % columns % 97 == 5) x[i] *= 50.0F;         // outliers
    if (i / columns == 1) x[i] = norm ? 7.0F : 0.0F;  // a row that is constant or nothing
  }
  x = Rounded(x, type);
  std::vector<float> expected = x, scales(static_cast<std::size_t>(rows));
  if (norm) reference::LayerNorm(Pool(), x.data(), rows, width, nullptr, nullptr, nullptr, nullptr, expected.data());
  reference::RotateRows(Pool(), expected.data(), rows, width, rotation);
  reference::RoundInt8(Pool(), expected.data(), rows, width, scales.data());
  std::vector<std::uint8_t> bytes(expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::lrintf(expected[i] / scales[i / columns])));
  const Array dx(x, type), dscales(rows, DataType::kFloat32);
  const std::int64_t ld = inPlace ? width * SizeOf(type) : width + 16;
  const Bytes apart(inPlace ? 1 : rows * ld);
  RotateRoundParams params;
  params.x = dx.data();
  params.out = inPlace ? dx.data() : apart.data();
  params.ldOut = ld;
  params.rotation = rotation;
  params.scales = dscales.as<float>();
  params.rows = rows;
  params.width = width;
  params.type = type;
  params.norm = norm;
  if (!Succeeded(LaunchRotateRound(params, nullptr), name)) return;
  const bool intact = dx.marginsIntact() && apart.marginsIntact() && dscales.marginsIntact();
  std::vector<std::uint8_t> all(static_cast<std::size_t>(rows * ld)), out(bytes.size());
  Succeeded(cudaMemcpy(all.data(), params.out, all.size(), cudaMemcpyDeviceToHost), name + ": reading");
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = all[i / columns * static_cast<std::size_t>(ld) + i % columns];
  if (!norm) {
    CompareBytes(name, out, bytes, intact);
    Compare(name + ": scales", dscales.read(), scales, 0, intact);
    return;
  }
  // The norm sums in another order, so a number may fall on the other side of a tie.
  std::vector<float> found = AsFloats(out);
  const std::vector<float> foundScales = dscales.read();
  for (std::size_t i = 0; i < found.size(); ++i) found[i] *= foundScales[i / columns];
  Compare(name, found, expected, 1e-3, intact);
}

// What LaunchRotateRound must not take.
void RefuseRotateRound() {
  const Array x(std::vector<float>(512, 1.0F), DataType::kBfloat16), scales(1, DataType::kFloat32);
  const Bytes out(512);
  RotateRoundParams good;
  good.x = x.data(), good.out = out.data(), good.scales = scales.as<float>();
  good.rows = 1, good.width = 512, good.ldOut = 512;
  const auto refused = [&](const char* what, const auto& breakIt) {
    RotateRoundParams params = good;
    breakIt(params);
    Report(std::string("int8 turn and round refuses ") + what,
           LaunchRotateRound(params, nullptr) == cudaErrorInvalidValue, "");
  };
  refused("a block that does not divide the row", [](RotateRoundParams& p) { p.width = 384, p.ldOut = 384; });
  refused("a block that is no power of two",
          [](RotateRoundParams& p) { p.width = 384, p.ldOut = 384, p.rotation = 96; });
  refused("rows closer than they are long", [](RotateRoundParams& p) { p.ldOut = 504; });
  refused("rows in place that would move", [](RotateRoundParams& p) { p.out = const_cast<void*>(p.x); });
}

struct LinearCase {
  int m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = false;
};

// Rows of a, b and d lie further apart than they are long.
void RunLinear(const std::string& name, const LinearCase& c) {
  const auto bytesOf = [](int rows, int columns, std::uint64_t seed) {
    std::vector<std::uint8_t> bytes = RandomBytes(static_cast<std::int64_t>(rows) * columns, seed);
    for (std::uint8_t& b : bytes) b = b == 0x80 ? 0x81 : b;  // -127 is the least
    return bytes;
  };
  const std::vector<std::uint8_t> a = bytesOf(c.m, c.k, 1), b = bytesOf(c.n, c.k, 2);
  std::vector<float> rowScales = Normals(c.m, 6), columnScales = Normals(c.n, 7);
  for (float& s : rowScales) s = 0.01F * (1 + std::fabs(s));
  for (float& s : columnScales) s = 0.0002F * (1 + std::fabs(s));
  std::vector<float> af = AsFloats(a), bf = AsFloats(b);
  for (std::size_t i = 0; i < af.size(); ++i) af[i] *= rowScales[i / static_cast<std::size_t>(c.k)];
  for (std::size_t i = 0; i < bf.size(); ++i) bf[i] *= columnScales[i / static_cast<std::size_t>(c.k)];
  const std::vector<float> bias = Normals(c.n, 3),
                           residual = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.n, 5), DataType::kBfloat16);
  std::vector<float> expected(residual.size());
  reference::Linear(
      Pool(), af.data(), c.m, reference::PackedMatrix(bf, c.n, c.k), c.bias ? bias.data() : nullptr,
      c.activation == Activation::kGeluTanh ? reference::Activation::GeluTanh : reference::Activation::None,
      expected.data());
  if (c.residual)
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += residual[i];
  const int lda = c.k + 32, ldb = c.k + 16;
  const auto spaced = [&](const std::vector<std::uint8_t>& rows, int ld) {
    std::vector<std::uint8_t> out(rows.size() / static_cast<std::size_t>(c.k) * static_cast<std::size_t>(ld), 0x7f);
    for (std::size_t i = 0; i < rows.size(); ++i)
      out[i / static_cast<std::size_t>(c.k) * static_cast<std::size_t>(ld) + i % static_cast<std::size_t>(c.k)] =
          rows[i];
    return out;
  };
  const Bytes da(spaced(a, lda)), db(spaced(b, ldb));
  const Array dbias(bias, DataType::kFloat32), dresidual(residual, DataType::kBfloat16),
      drows(rowScales, DataType::kFloat32), dcolumns(columnScales, DataType::kFloat32),
      out(static_cast<std::int64_t>(expected.size()), DataType::kBfloat16);
  LinearParams params;
  params.a = da.data();
  params.b = db.data();
  params.bias = c.bias ? dbias.as<float>() : nullptr;
  params.residual = c.residual ? dresidual.data() : nullptr;
  params.d = out.data();
  params.m = c.m, params.n = c.n, params.k = c.k;
  params.lda = lda, params.ldb = ldb, params.ldd = c.n;
  params.type = DataType::kInt8;
  params.rowScales = drows.as<float>();
  params.columnScales = dcolumns.as<float>();
  params.activation = c.activation;
  params.path = Run().path;
  if (!Succeeded(LaunchLinear(params, nullptr), name)) return;
  Compare(name, out.read(), expected, Limit(DataType::kBfloat16), out.marginsIntact());
  LinearParams broken = params;
  broken.columnScales = nullptr;
  Report(name + ": without scales refused", LaunchLinear(broken, nullptr).error == cudaErrorInvalidValue, "");
}

std::string LinearLabel(const LinearCase& c) {
  return "int8 linear " + std::to_string(c.m) + " " + std::to_string(c.n) + " " + std::to_string(c.k);
}

}  // namespace

void Int8Tests() {
  std::vector<LinearCase> linears{{1, 8, 16}, {70, 72, 48}, {65, 200, 144, Activation::kGeluTanh}};
  linears.push_back({100, 96, 64, Activation::kNone, false, true});
  linears.push_back({2053, 1032, 144, Activation::kGeluTanh, true, true});  // large tiles, all edges ragged
  if (!Run().quick) {
    linears.push_back({2304, 1100, 96});  // rows of d not 16-byte aligned
    linears.push_back({4224, 1536, 1536, Activation::kNone, true, true});
    linears.push_back({2048, 1536, 8960, Activation::kNone, true, true});  // ffn out's depth: the largest sums
  }
  for (const LinearCase& c : linears) Test(LinearLabel(c), [&](const std::string& name) { RunLinear(name, c); });
  const std::int64_t rows = Run().quick ? 9 : 515;
  const auto turn = [&](int width, DataType type, bool norm, int rotation, bool inPlace) {
    const std::string what = std::string(norm ? "int8 norm, turn and round" : "int8 turn and round") +
                             (inPlace ? " in place" : "") + " by " + std::to_string(rotation);
    Test(Label(what.c_str(), type, {static_cast<int>(rows), width}),
         [&](const std::string& name) { RunRotateRound(name, rows, width, type, norm, rotation, inPlace); });
  };
  for (const int width : {256, 1536, 4096, 8960})
    for (const DataType type : {DataType::kBfloat16, DataType::kFloat32})
      for (const bool norm : {false, true}) turn(width, type, norm, 256, false);
  // Rows that are no whole number of a warp's pieces, shorter blocks, none; a row in its own place.
  for (const bool norm : {false, true}) {
    turn(384, DataType::kBfloat16, norm, 128, false);
    turn(80, DataType::kBfloat16, norm, 16, false);
    turn(1552, DataType::kFloat32, norm, 4, false);
    turn(272, DataType::kBfloat16, norm, 1, false);
  }
  for (const int width : {80, 1536, 8960}) turn(width, DataType::kBfloat16, false, width == 80 ? 16 : 256, true);
  RefuseRotateRound();
}

}  // namespace flashvsr::kernels::test
