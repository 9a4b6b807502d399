// The Hopper instructions the sm90 kernels are built from. Tiles in shared memory have 128-byte rows, 16-byte chunk c
// of row r at chunk c ^ (r & 7) (SwizzledOffset<8>), and start at multiples of 1024 bytes: the hardware's 128-byte
// swizzle.
#pragma once

#include <cstdint>

#include "kernels/common/mma.cuh"

namespace flashvsr::kernels {

/// A tile whose 128-byte rows run along k (Q, K, activations, weights): 8-row groups are 1024 bytes apart.
__device__ __forceinline__ uint64_t DescribeRowsAlongK(uint32_t shared) {
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}
/// A tile whose 128-byte rows run along n, one row a k (V): 64-column halves `halfBytes` apart, 8-row groups 1024 bytes
/// apart.
__device__ __forceinline__ uint64_t DescribeRowsAlongN(uint32_t shared, uint32_t halfBytes) {
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | static_cast<uint64_t>(halfBytes >> 4) << 16 |
         uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}

__device__ __forceinline__ void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ __forceinline__ void WgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
}
/// Makes this thread's writes to shared memory (cp.async too, once waited for) visible to wgmma; before the barrier.
__device__ __forceinline__ void FenceAsyncProxy() { asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory"); }

__device__ __forceinline__ void BarrierInit(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ __forceinline__ void BarrierArrive(uint32_t barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}\n" ::"r"(barrier) : "memory");
}
/// This thread arrives when all cp.async it has issued so far have landed; counts against the barrier's arrivals.
__device__ __forceinline__ void BarrierArriveAfterCopies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];\n" ::"r"(barrier) : "memory");
}
/// Waits until the phase of parity `parity` is complete.
__device__ __forceinline__ void BarrierWait(uint32_t barrier, int parity) {
  asm volatile(
      "{\n.reg .pred p;\nwait:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done;\nbra "
      "wait;\ndone:\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
/// A place in a ring of stages and the parity of its round. (The convolution has its own: written like this, its
/// machine code would not be what was measured.)
template <int kStages>
struct RingPlace {
  int stage = 0, parity = 0;
  __device__ __forceinline__ void advance() {
    stage = stage + 1 == kStages ? 0 : stage + 1;
    parity ^= stage == 0 ? 1 : 0;
  }
};

/// Roles of a warp-specialised block. What all roles take together may not exceed what the block was launched with (168
/// a thread at 384 threads), or the ones that ask for more never get it.
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
}
/// Named barrier `name` (1..15) of two warpgroups: one side waits, the other only arrives.
__device__ __forceinline__ void NamedWait(int name) { asm volatile("bar.sync %0, 256;\n" ::"r"(name) : "memory"); }
__device__ __forceinline__ void NamedArrive(int name) { asm volatile("bar.arrive %0, 256;\n" ::"r"(name) : "memory"); }

// A warpgroup's sums, 64 x 128, as 64 operands of one instruction: their names, and rows i to i + 15 of d behind them.
#define FLASHVSR_WGMMA_NAMES                                                         \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "           \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define FLASHVSR_WGMMA_ROW(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define FLASHVSR_WGMMA_ROWS(d, i) \
  FLASHVSR_WGMMA_ROW(d, i), FLASHVSR_WGMMA_ROW(d, i + 1), FLASHVSR_WGMMA_ROW(d, i + 2), FLASHVSR_WGMMA_ROW(d, i + 3)
#define FLASHVSR_WGMMA_SUMS(d, i)                                                          \
  FLASHVSR_WGMMA_ROWS(d, i), FLASHVSR_WGMMA_ROWS(d, i + 4), FLASHVSR_WGMMA_ROWS(d, i + 8), \
      FLASHVSR_WGMMA_ROWS(d, i + 12)

/// d (64 x 128 a warpgroup) (+)= a (64 x 16, shared) * b (128 x 16, shared); `accumulate` 0 overwrites d.
__device__ __forceinline__ void Wgmma128(float (&d)[16][4], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FLASHVSR_WGMMA_NAMES "}, %64, %65, p, 1, 1, 0, 0;\n}\n"
      : FLASHVSR_WGMMA_SUMS(d, 0)
      : "l"(a), "l"(b), "r"(accumulate));
}

/// d (64 x 256 a warpgroup) (+)= a (64 x 16, shared) * b (256 x 16, shared): 80 B/cycle of shared memory, where two of
/// 128 columns read 96. `accumulate` 0 overwrites d.
__device__ __forceinline__ void Wgmma256(float (&d)[32][4], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" FLASHVSR_WGMMA_NAMES
      ", "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129, p, 1, 1, 0, 0;\n}\n"
      : FLASHVSR_WGMMA_SUMS(d, 0), FLASHVSR_WGMMA_SUMS(d, 16)
      : "l"(a), "l"(b), "r"(accumulate));
}

/// d (64 x 128 a warpgroup) (+)= a (64 x 16, registers) * b (16 x 128, shared, rows along n; or 128 x 16, rows along
/// k).
template <bool kRowsAlongN = true>
__device__ __forceinline__ void WgmmaRegisters128(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b,
                                                  int accumulate = 1) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" FLASHVSR_WGMMA_NAMES
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n}\n"
      : FLASHVSR_WGMMA_SUMS(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(kRowsAlongN ? 1 : 0));
}

/// Wgmma128 on e4m3: a (64 x 32, shared) * b (128 x 32, shared).
__device__ __forceinline__ void Wgmma128Fp8(float (&d)[16][4], uint64_t a, uint64_t b, int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" FLASHVSR_WGMMA_NAMES "}, %64, %65, p, 1, 1;\n}\n"
      : FLASHVSR_WGMMA_SUMS(d, 0)
      : "l"(a), "l"(b), "r"(accumulate));
}

/// d (64 x 128 a warpgroup) += a (64 x 32, registers) * b (128 x 32, shared) on e4m3: b's rows run along k, as 8-bit
/// operands must.
__device__ __forceinline__ void WgmmaRegisters128Fp8(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 {" FLASHVSR_WGMMA_NAMES
      "}, {%64, %65, %66, %67}, %68, p, 1, 1;\n}\n"
      : FLASHVSR_WGMMA_SUMS(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));
}

#undef FLASHVSR_WGMMA_SUMS
#undef FLASHVSR_WGMMA_ROWS
#undef FLASHVSR_WGMMA_ROW
#undef FLASHVSR_WGMMA_NAMES

}  // namespace flashvsr::kernels
