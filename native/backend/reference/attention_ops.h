// Attention of the transformer, fp32 with sums in double: window means, mask selection, sparse and dense attention.
// Head width is always 128; tokens are in window order, 128 a window.
#pragma once

#include <cstdint>
#include <span>

#include "backend/reference/matrix.h"

namespace flashvsr::reference {

// means (windows, width): plain means over each window's 128 tokens of x (windows*128, width).
void WindowMeans(Threads& threads, const float* x, std::int64_t windows, std::int64_t width, float* means);

struct SelectParameters {
  std::int64_t heads = 0;
  std::int64_t windowRows = 0, windowColumns = 0;
  std::int64_t queryGroups = 0;  // s
  int localRange = 0;
  std::int64_t topk = 0;  // capped at nb*m*nb - 1 here too
};
// flashvsr-model.md section 4, steps 3 to 5. queryMeans (s*nb, heads*128); keyMeans[g] (nb, heads*128) per key group in
// time order; mask (heads, s*nb, m*nb), 1 = kept. Scores, softmax and threshold in double.
// margin, if not nullptr, gets |p - threshold| of every mask entry (same shape), infinite where not allowed.
void SelectMask(Threads& threads, const SelectParameters& parameters, const float* queryMeans,
                std::span<const float* const> keyMeans, std::uint8_t* mask, double* margin = nullptr);

// out (queryWindows*128, heads*128): softmax attention of every query window over the tokens of its kept key windows;
// zero where none is kept. keys[g], values[g] (nb*128, heads*128) per key group; mask (heads, queryWindows, m*nb).
void SparseAttend(Threads& threads, std::int64_t heads, std::int64_t windows, std::int64_t queryWindows, const float* q,
                  std::span<const float* const> keys, std::span<const float* const> values, const std::uint8_t* mask,
                  float* out);

// Dense multi-head attention of q (rows, heads*128) over keys and values (length, heads*128).
void DenseAttend(Threads& threads, std::int64_t heads, std::int64_t rows, std::int64_t length, const float* q,
                 const float* keys, const float* values, float* out);

}  // namespace flashvsr::reference
