// Linear layers against reference/token_ops.h.
#include "backend/reference/ops.h"
#include "gemm.h"
#include "harness.h"

namespace flashvsr::kernels::test {
namespace {

struct GemmCase {
  int m, n, k;
  Activation activation = Activation::kNone;
  bool bias = true, residual = false, floatOut = false;
};

void RunGemm(const std::string& name, const GemmCase& c, DataType type) {
  const std::vector<float> a = Rounded(Normals(static_cast<std::int64_t>(c.m) * c.k, 1), type);
  const std::vector<float> b = Rounded(Normals(static_cast<std::int64_t>(c.n) * c.k, 2, 1.0F / std::sqrt(static_cast<float>(c.k))), type);
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
  GemmParams params;
  params.a = da.data();
  params.b = db.data();
  params.bias = c.bias ? dbias.as<float>() : nullptr;
  params.residual = c.residual ? dresidual.data() : nullptr;
  params.d = out.data();
  params.m = c.m, params.n = c.n, params.k = c.k;
  params.lda = params.ldb = c.k, params.ldd = c.n;
  params.type = type;
  params.path = Results().path;
  params.outputType = outType;
  params.activation = c.activation;
  if (Succeeded(LaunchGemm(params, nullptr), name)) Compare(name, out.read(), expected, c.floatOut ? 2e-5 : Limit(type), out.marginsIntact());
}

}  // namespace

void ProductTests() {
  const bool quick = Results().quick;
  for (const DataType type : {DataType::kBfloat16, DataType::kFloat32}) {
    if (type == DataType::kFloat32 && Results().path == Path::kAuto) continue;  // one path only
    std::vector<GemmCase> cases{{1, 8, 8}, {70, 72, 40}, {65, 200, 136}, {33, 13, 24, Activation::kNone, true, false, true}};
    cases.push_back({129, 70, 13});                                             // k not a multiple of 8: the plain product
    cases.push_back({100, 96, 64, Activation::kGeluTanh});
    cases.push_back({100, 96, 64, Activation::kSilu, false});
    cases.push_back({100, 96, 64, Activation::kNone, true, true});              // residual
    // Large enough for the Hopper product (Sm90Suits), all edges ragged, short for the sanitizer's sake.
    cases.push_back({2053, 1032, 136, Activation::kGeluTanh, true, true});
    cases.push_back({257, 64, 256, Activation::kNone, true, false, true});  // the head: float out
    if (!quick) {
      cases.push_back({2053, 1032, 520, Activation::kGeluTanh});                // large tiles, all edges ragged
      cases.push_back({4224, 1536, 1536, Activation::kNone, true, true});
      cases.push_back({2304, 1100, 96});                                        // rows of d not 16-byte aligned
      cases.push_back({5000, 16, 128});                                         // thin tile
      cases.push_back({5000, 3, 72});
    }
    for (const GemmCase& c : cases) Test(Label("gemm", type, {c.m, c.n, c.k}), [&](const std::string& name) { RunGemm(name, c, type); });
  }
}

}  // namespace flashvsr::kernels::test
