// The tensor copy engine: boxes of a tensor in global memory into swizzled tiles of shared memory, announced by
// mbarriers.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/sm90/wgmma.cuh"

namespace flashvsr::kernels {

/// This thread arrives, and the phase also waits for `bytes` of copies.
__device__ __forceinline__ void BarrierExpect(uint32_t barrier, uint32_t bytes) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n}\n" ::"r"(barrier),
               "r"(bytes)
               : "memory");
}
/// Makes initialised barriers visible to the copy engine; before the block's first barrier.
__device__ __forceinline__ void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}

/// Copies the map's box at the given element coordinates (innermost first; outside the tensor reads zeros, and counts
/// as bytes).
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0, int x1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], "
      "[%2];\n" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(x0), "r"(x1)
      : "memory");
}
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0, int x1,
                                        int x2) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];\n" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(x0), "r"(x1), "r"(x2)
      : "memory");
}

__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0, int x1,
                                        int x2, int x3, int x4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2];\n" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(x0), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
      : "memory");
}

/// Stores a box from shared memory; only what lies inside the tensor is written. The threads that wrote the shared
/// memory have made it visible (FenceAsyncProxy) before the barrier that this thread waited for.
__device__ __forceinline__ void StoreBox(const CUtensorMap* map, uint32_t shared, int x0, int x1, int x2, int x3,
                                         int x4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%1, {%2, %3, %4, %5, %6}], [%0];\n" ::"r"(shared),
      "l"(map), "r"(x0), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
      : "memory");
}
/// This thread's stores since the last call become one group.
__device__ __forceinline__ void CommitStores() { asm volatile("cp.async.bulk.commit_group;\n" ::: "memory"); }
/// Waits until all but this thread's last kPending groups have read their shared memory, which may then be written
/// again.
template <int kPending>
__device__ __forceinline__ void WaitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;\n" ::"n"(kPending) : "memory");
}

/// CopyBox into every block of the cluster whose bit of `blocks` is set: same address, and its own barrier at the same
/// address.
__device__ __forceinline__ void CopyBoxToCluster(uint32_t shared, const CUtensorMap* map, uint32_t barrier, int x0,
                                                 int x1, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%3, %4}], [%2], %5;\n" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(x0), "r"(x1), "h"(blocks)
      : "memory");
}
/// Loads the map into the copy engine's cache before it is needed.
__device__ __forceinline__ void PrefetchMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];\n" ::"l"(map) : "memory");
}

/// This block's number in its cluster.
__device__ __forceinline__ int RankInCluster() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;\n" : "=r"(rank));
  return static_cast<int>(rank);
}
/// What lies at `shared` of this block, in block `rank` of the cluster.
__device__ __forceinline__ uint32_t AddressInCluster(uint32_t shared, int rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(address) : "r"(shared), "r"(rank));
  return address;
}
/// Arrives at a barrier of any block of the cluster (an address of AddressInCluster).
__device__ __forceinline__ void BarrierArriveInCluster(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];\n" ::"r"(barrier) : "memory");
}
/// All threads of all blocks of the cluster.
__device__ __forceinline__ void SyncCluster() {
  asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;\n" ::: "memory");
}

/// Rows of 128 bytes along k, as DescribeRowsAlongK, but with 8-row groups `groupBytes` apart and a start at any row:
/// the hardware's swizzle is a XOR of address bits 7-9 into bits 4-6, so a tile written by the copy engine may be
/// entered at any of its rows.
__device__ __forceinline__ uint64_t DescribeRows(uint32_t shared, uint32_t groupBytes) {
  return static_cast<uint64_t>((shared & 0x3ffff) >> 4) | uint64_t{1} << 16 |
         static_cast<uint64_t>(groupBytes >> 4) << 32 | uint64_t{1} << 62;
}

}  // namespace flashvsr::kernels
