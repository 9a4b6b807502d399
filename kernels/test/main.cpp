// flashvsr_kernel_tests [--index] [--quick] [--filter TEXT]: every kernel against its reference twin.
//   --index  only the index arithmetic, which needs no GPU      --quick  small shapes (under compute-sanitizer)
#include "kernels/test/device_arrays.h"

int main(int argc, char** argv) {
  using namespace flashvsr::kernels::test;
  bool indexOnly = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--index") == 0) indexOnly = true;
    else if (std::strcmp(argv[i], "--quick") == 0) Run().quick = true;
    else if (std::strcmp(argv[i], "--filter") == 0 && i + 1 < argc) flashvsr::test::Results().filter = argv[++i];
    else return std::fprintf(stderr, "usage: flashvsr_kernel_tests [--index] [--quick] [--filter TEXT]\n"), 2;
  }
  IndexTests();
  if (!indexOnly) {
    if (cudaFree(nullptr) != cudaSuccess) return std::fprintf(stderr, "no usable CUDA device\n"), 2;
    PictureTests();
    TokenTests();
    Float8Tests();
    Int8Tests();
    for (const flashvsr::kernels::Path path : {flashvsr::kernels::Path::kPortable, flashvsr::kernels::Path::kAuto}) {
      Run().path = path;  // kAuto: what this card's own kernels compute, where they suit
      LinearTests();
      ConvolutionTests();
      AttentionTests();
      WanTests();
    }
  }
  return flashvsr::test::Finish();
}
