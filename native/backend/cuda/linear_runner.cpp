#include "backend/cuda/linear_runner.h"

#include "backend/cuda/cublaslt.h"
#include "kernels/sm90/linear_sm90.h"

namespace flashvsr::cuda {
namespace {

// Own: LaunchGemm, whose path says whether Hopper kernels may be taken.
enum class Product { Hopper, Vendor, Own };

// Which product takes which call, best first; `vendor`: cuBLASLt is here and has not refused this shape. In a whole network our Hopper
// product is the better one for GELU only (kernels/NOTES.md); for the rest it stands in where there is no vendor product.
Product ProductOf(const LinearCall& call, const kernels::GemmParams& params, bool vendor) {
  const bool vendorSuits = vendor && VendorSuits(call);
  const bool hopperFirst = params.activation == kernels::Activation::kGeluTanh;
  if ((hopperFirst || !vendorSuits) && params.path == kernels::Path::kAuto && kernels::Sm90SuitsLinear(params)) return Product::Hopper;
  return vendorSuits ? Product::Vendor : Product::Own;
}

}  // namespace

void LinearRunner::run(const LinearCall& call, cudaStream_t stream) const {
  kernels::GemmParams params;
  params.a = call.a;
  params.lda = call.lda;
  params.b = call.weight->weight;
  params.ldb = call.weight->k;
  params.bias = call.weight->bias;
  params.residual = call.residual;
  params.d = call.out;
  params.ldd = call.ldd;
  params.m = static_cast<int>(call.rows);
  params.n = call.weight->n;
  params.k = call.weight->k;
  params.type = call.weight->type;
  params.outputType = call.floatOut ? kernels::DataType::kFloat32 : call.weight->float8Out ? kernels::DataType::kFloat8 : type_;
  params.scale = call.weight->scale;
  params.outputScale = call.weight->outputScale;
  params.activation = call.activation;
  params.path = path_;
  Product product = ProductOf(call, params, lt_ != nullptr);
  if (product == Product::Vendor) {
    if (lt_->run(call, workspace_, kWorkspaceBytes, stream)) {
      kernels::taken = kernels::Taken::kVendor;
      return;
    }
    product = ProductOf(call, params, false);  // it has no algorithm for this shape
  }
  Check(product == Product::Hopper ? kernels::LaunchLinearSm90(params, stream) : kernels::LaunchGemm(params, stream), "linear layer");
}

}  // namespace flashvsr::cuda
