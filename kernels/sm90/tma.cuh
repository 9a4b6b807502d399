// The tensor copy engine: boxes of a tensor in global memory into swizzled tiles of shared memory, announced by mbarriers.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "wgmma.cuh"

namespace flashvsr::kernels {

/// This thread arrives, and the phase also waits for `bytes` of copies.
__device__ __forceinline__ void BarrierExpect(uint32_t barrier, uint32_t bytes) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}\n" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Makes initialised barriers visible to the copy engine; before the block's first barrier.
__device__ __forceinline__ void FenceBarrierInit() { asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory"); }

/// Copies the map's box at the given element coordinates (innermost first; outside the tensor reads zeros, and counts as bytes).
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0, int x1) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];\n" ::"r"(shared),
               "l"(map), "r"(barrier), "r"(x0), "r"(x1)
               : "memory");
}
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0, int x1, int x2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];\n" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(x0), "r"(x1), "r"(x2)
      : "memory");
}

/// Rows of 128 bytes along k, as DescribeRowsAlongK, but with 8-row groups `groupBytes` apart and a start at any row: the hardware's
/// swizzle is a XOR of address bits 7-9 into bits 4-6, so a tile written by the copy engine may be entered at any of its rows.
__device__ __forceinline__ uint64_t DescribeRows(uint32_t shared, uint32_t groupBytes) {
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | uint64_t{1} << 16 | static_cast<uint64_t>(groupBytes >> 4) << 32 | uint64_t{1} << 62;
}

}  // namespace flashvsr::kernels
