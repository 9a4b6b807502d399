// Linear layers against reference/token_ops.h.
#include "kernels/linear.h"
#include "backend/reference/ops.h"
#include "kernels/dispatch/gemm.h"
#include "kernels/sm90/linear_sm90.h"
#include "kernels/test/device_arrays.h"

namespace flashvsr::kernels::test {
namespace {

struct GemmCase {
  int m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = false, floatOut = false;
};

void RunGemm(const std::string& name, const GemmCase& c, DataType type) {
  const std::vector<float> a = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.k, 1), type);
  const std::vector<float> b =
      Rounded(Normals(static_cast<std::int64_t>(c.n) * c.k, 2, 1.0F / std::sqrt(static_cast<float>(c.k))), type);
  const std::vector<float> bias = Normals(c.n, 3);
  const std::vector<float> residual = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.n, 5), type);
  std::vector<float> expected(residual.size());
  const reference::PackedMatrix packed(b, c.n, c.k);
  const reference::Activation activation = c.activation == Activation::kGeluTanh ? reference::Activation::GeluTanh
                                           : c.activation == Activation::kSilu   ? reference::Activation::Silu
                                                                                 : reference::Activation::None;
  reference::Linear(Pool(), a.data(), c.m, packed, c.bias ? bias.data() : nullptr, activation, expected.data());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (c.activation == Activation::kRelu) expected[i] = std::max(expected[i], 0.0F);
    if (c.residual) expected[i] += residual[i];
  }
  const Array da(a, type), db(b, type), dbias(bias, DataType::kFloat32), dresidual(residual, type);
  const DataType outType = c.floatOut ? DataType::kFloat32 : type;
  const Array out(static_cast<std::int64_t>(expected.size()), outType);
  LinearParams params;
  params.a = da.data();
  params.b = db.data();
  params.bias = c.bias ? dbias.as<float>() : nullptr;
  params.residual = c.residual ? dresidual.data() : nullptr;
  params.d = out.data();
  params.m = c.m, params.n = c.n, params.k = c.k;
  params.lda = params.ldb = c.k, params.ldd = c.n;
  params.type = type;
  params.path = Run().path;
  params.outputType = outType;
  params.activation = c.activation;
  if (Succeeded(LaunchGemm(params, nullptr), name))
    Compare(name, out.read(), expected, c.floatOut ? 2e-5 : Limit(type), out.marginsIntact());
}

struct LinearCase {
  int m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = false;
  int mostBlocks = 0;  // fewer blocks, more tiles each
};

// The Hopper linear layer. Rows of a, b and d lie further apart than they are long, and what lies between is poisoned;
// a residual is d itself, so each round starts from a fresh one. The second round's result must be the first's.
void RunLinearSm90(const std::string& name, const LinearCase& c) {
  constexpr DataType type = DataType::kBfloat16;
  const int lda = c.k + 16, ldb = c.k + 8, ldd = c.n + 24;
  const std::vector<float> a = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.k, 1), type);
  const std::vector<float> b =
      Rounded(Normals(static_cast<std::int64_t>(c.n) * c.k, 2, 1.0F / std::sqrt(static_cast<float>(c.k))), type);
  const std::vector<float> bias = Normals(c.n, 3);
  const std::vector<float> residual = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.n, 5), type);
  std::vector<float> expected(residual.size());
  const reference::PackedMatrix packed(b, c.n, c.k);
  reference::Linear(
      Pool(), a.data(), c.m, packed, c.bias ? bias.data() : nullptr,
      c.activation == Activation::kGeluTanh ? reference::Activation::GeluTanh : reference::Activation::None,
      expected.data());
  if (c.residual)
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += residual[i];
  const Array da(Spaced(a, c.k, lda), type), db(Spaced(b, c.k, ldb), type), dbias(bias, DataType::kFloat32);
  const std::vector<float> start = Spaced(c.residual ? residual : std::vector<float>(residual.size(), NAN), c.n, ldd);
  std::vector<float> first;
  for (int round = 0; round < 2; ++round) {
    const Array out(start, type);
    LinearParams params;
    params.a = da.data(), params.b = db.data(), params.d = out.data();
    params.bias = c.bias ? dbias.as<float>() : nullptr;
    params.residual = c.residual ? out.data() : nullptr;
    params.m = c.m, params.n = c.n, params.k = c.k;
    params.lda = lda, params.ldb = ldb, params.ldd = ldd;
    params.activation = c.activation;
    const std::string full = name + (round == 0 ? "" : ", again");
    if (!Sm90SuitsLinear(params)) return Report(full, false, "the kernel refuses this shape");
    if (!Succeeded(LaunchLinearSm90(params, nullptr, c.mostBlocks), full)) return;
    const std::vector<float> rows = out.read();
    std::vector<float> got(expected.size());
    bool between = out.marginsIntact();
    for (int r = 0; r < c.m; ++r) {
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(r) * ldd, c.n,
                  got.begin() + static_cast<std::ptrdiff_t>(r) * c.n);
      for (int i = c.n; i < ldd; ++i)
        between =
            between &&
            std::isnan(rows[static_cast<std::size_t>(r) * static_cast<std::size_t>(ldd) + static_cast<std::size_t>(i)]);
    }
    if (round == 0) {
      first = got;
      Compare(full, got, expected, Limit(type), between);
    } else {
      Report(full, got == first && between, "the same bits");
    }
  }
}

// Whether this card has the kernel at all.
bool HasLinearSm90() {
  LinearParams params;
  params.a = params.b = params.d = reinterpret_cast<void*>(1024);
  params.m = params.n = params.k = 2048;
  params.lda = params.ldb = params.ldd = 2048;
  return Sm90SuitsLinear(params);
}

}  // namespace

void LinearTests() {
  const bool quick = Run().quick;
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    if (type == DataType::kFloat32 && Run().path == Path::kAuto) continue;  // one path only
    std::vector<GemmCase> cases{
        {1, 8, 8}, {70, 72, 40}, {65, 200, 136}, {33, 13, 24, Activation::kNone, true, false, true}};
    cases.push_back({129, 70, 13});  // k not a multiple of 8: the plain product
    cases.push_back({100, 96, 64, Activation::kGeluTanh});
    cases.push_back({100, 96, 64, Activation::kSilu, false});
    cases.push_back({100, 96, 64, Activation::kNone, true, true});  // residual
    // Large enough for the Hopper product (Sm90SuitsGemm), all edges ragged, short for the sanitizer's sake.
    cases.push_back({2053, 1032, 136, Activation::kGeluTanh, true, true});
    cases.push_back({257, 64, 256, Activation::kNone, true, false, true});  // the head: float out
    if (!quick) {
      cases.push_back({2053, 1032, 520, Activation::kGeluTanh});  // large tiles, all edges ragged
      cases.push_back({4224, 1536, 1536, Activation::kNone, true, true});
      cases.push_back({2304, 1100, 96});  // rows of d not 16-byte aligned
      cases.push_back({5000, 16, 128});   // thin tile
      cases.push_back({5000, 3, 72});
    }
    for (const GemmCase& c : cases)
      Test(Label("gemm", type, {c.m, c.n, c.k}), [&](const std::string& name) { RunGemm(name, c, type); });
  }
  if (Run().path != Path::kAuto || !HasLinearSm90()) return;
  std::vector<LinearCase> linears{
      {1029, 264, 1160, Activation::kNone, true, false, 4}};              // all edges ragged, one to a pair left over
  linears.push_back({1283, 72, 1096, Activation::kNone, true, true, 2});  // one tile of columns, the least k
  linears.push_back(
      {1280, 776, 1544, Activation::kGeluTanh, true, false, 6});             // 25 steps: the ring wraps inside a tile
  linears.push_back({1157, 1032, 1224, Activation::kNone, false, true, 8});  // no bias
  if (!quick) {
    linears.push_back({1024, 256, 1152, Activation::kGeluTanh, false});    // fewer tiles than blocks
    linears.push_back({8448, 1536, 1536, Activation::kNone, true, true});  // o, three tiles a block
    linears.push_back({8325, 2056, 1536, Activation::kGeluTanh});
    linears.push_back({2048, 1536, 8960, Activation::kNone, true, true});  // ffn out's depth
  }
  for (const LinearCase& c : linears)
    Test(Label("linear sm90", DataType::kBfloat16, {c.m, c.n, c.k}),
         [&](const std::string& name) { RunLinearSm90(name, c); });
}

}  // namespace flashvsr::kernels::test
