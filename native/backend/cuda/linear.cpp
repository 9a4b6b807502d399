#include "backend/cuda/linear.h"

#include "backend/cuda/cublaslt.h"

namespace flashvsr::cuda {

void LinearRunner::run(const LinearCall& call, cudaStream_t stream) const {
  if (lt_ != nullptr && type_ == kernels::DataType::kBfloat16 && lt_->run(call, workspace_, kWorkspaceBytes, stream)) return;
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
  params.type = type_;
  params.outputType = call.floatOut ? kernels::DataType::kFloat32 : type_;
  params.activation = call.activation;
  params.path = path_;
  Check(kernels::LaunchGemm(params, stream), "linear layer");
}

}  // namespace flashvsr::cuda
