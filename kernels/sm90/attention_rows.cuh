// Which query window a block of the sparse attention takes.
#pragma once

namespace flashvsr::kernels {

/// The row of rank `wanted` when `rows` are ordered by falling count (equal counts: by number), so that the last blocks
/// are short ones. All threads of a block, before its roles part. `scratch` holds rows + 4 ints, 16-byte aligned; ends
/// with a barrier.
__device__ __forceinline__ int RowOfRank(const int* counts, int rows, int wanted, int* scratch, int* chosen) {
  const int padded = (rows + 3) & ~3;
  for (int row = threadIdx.x; row < padded; row += blockDim.x) scratch[row] = row < rows ? counts[row] : -1;
  __syncthreads();
  for (int row = threadIdx.x; row < rows; row += blockDim.x) {
    const int mine = scratch[row];
    int rank = 0;
    for (int other = 0; other < padded; other += 4) {
      const int4 four = *reinterpret_cast<const int4*>(scratch + other);
      rank += four.x > mine || (four.x == mine && other < row) ? 1 : 0;
      rank += four.y > mine || (four.y == mine && other + 1 < row) ? 1 : 0;
      rank += four.z > mine || (four.z == mine && other + 2 < row) ? 1 : 0;
      rank += four.w > mine || (four.w == mine && other + 3 < row) ? 1 : 0;
    }
    if (rank == wanted) *chosen = row;
  }
  __syncthreads();
  return *chosen;
}

}  // namespace flashvsr::kernels
