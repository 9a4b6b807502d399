#include "backend/cuda/linear.h"

#include "backend/cuda/cublaslt.h"

namespace flashvsr::cuda {

void LinearRunner::run(const LinearCall& call, cudaStream_t stream) const {
  if (lt_ != nullptr && VendorSuits(call) && lt_->run(call, workspace_, kWorkspaceBytes, stream)) {
    kernels::taken = kernels::Taken::kVendor;
    return;
  }
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
  Check(kernels::LaunchGemm(params, stream), "linear layer");
}

}  // namespace flashvsr::cuda
