#include "backend/cuda/linear_runner.h"

#include "backend/cuda/cublaslt.h"

namespace flashvsr::cuda {

kernels::Launched LinearRunner::run(const LinearCall& call, cudaStream_t stream) const {
  kernels::LinearParams params;
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
  params.outputType = call.floatOut            ? kernels::DataType::kFloat32
                      : call.weight->float8Out ? kernels::DataType::kFloat8
                                               : type_;
  params.scale = call.weight->scale;
  params.outputScale = call.weight->outputScale;
  params.rowScales = call.rowScales;
  params.columnScales = call.weight->columnScales;
  params.activation = call.activation;
  params.path = path_;
  // In a whole network the Hopper layer kernel beats cuBLASLt for GELU only (docs/kernels/linear.md); for the rest it
  // stands in where there is no vendor product.
  const bool ownFirst = params.activation == kernels::Activation::kGeluTanh && kernels::LinearOverlapsEpilogue(params);
  if (lt_ != nullptr && !ownFirst && VendorSuits(call) && lt_->run(call, workspace_, kWorkspaceBytes, stream))
    return {cudaSuccess, kernels::Taken::kVendor};
  return kernels::LaunchLinear(params, stream);
}

}  // namespace flashvsr::cuda
