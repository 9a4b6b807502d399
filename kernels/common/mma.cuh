// The sm_80 instructions the products are built from, and the shared-memory layout they read without bank conflicts.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace flashvsr::kernels {

__device__ __forceinline__ uint32_t SharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/// Copies 16 bytes to shared memory asynchronously; `valid` false writes zeros and reads nothing.
__device__ __forceinline__ void CopyAsync16(uint32_t shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
}
__device__ __forceinline__ void CommitCopies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ void LoadMatrix4(uint32_t shared, uint32_t& r0, uint32_t& r1, uint32_t& r2, uint32_t& r3) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(shared));
}
__device__ __forceinline__ void LoadMatrix4Transposed(uint32_t shared, uint32_t& r0, uint32_t& r1, uint32_t& r2,
                                                      uint32_t& r3) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r0), "=r"(r1), "=r"(r2), "=r"(r3)
               : "r"(shared));
}

/// 2^x to 2 units in the last place, denormal results as zero.
__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// d(16x8) += a(16x16, rows) * b(16x8, columns). Lane l holds d rows l/4 and l/4+8, columns 2*(l%4) and +1.
__device__ __forceinline__ void MultiplyAdd(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// The same on e4m3: d(16x8) += a(16x32) * b(32x8). A fragment's bytes lie as those of 16 bf16 would, so the loads are
/// shared. Needs sm_89; elsewhere nothing launches it (Float8Suits) and it makes NaN.
__device__ __forceinline__ void MultiplyAddFloat8(float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  (void)a, (void)b0, (void)b1;
  d[0] = d[1] = d[2] = d[3] = __uint_as_float(0x7fffffffu);
#endif
}

/// The same on int8 with exact int32 sums: d(16x8) += a(16x32) * b(32x8).
__device__ __forceinline__ void MultiplyAddInt8(int32_t d[4], const uint32_t a[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Byte offset of 16-byte chunk `chunk` of row `row` in a tile of kRowChunks chunks a row. XOR swizzle: the 8 rows that
/// one ldmatrix phase reads at the same chunk lie in 8 different 16-byte bank groups.
template <int kRowChunks>
__host__ __device__ __forceinline__ constexpr uint32_t SwizzledOffset(int row, int chunk) {
  static_assert(kRowChunks == 4 || kRowChunks == 8 || kRowChunks == 16, "64, 128 or 256-byte rows");
  const int key = kRowChunks == 4 ? (row >> 1) & 3 : row & 7;
  return static_cast<uint32_t>((row * kRowChunks + (chunk ^ key)) * 16);
}

}  // namespace flashvsr::kernels
