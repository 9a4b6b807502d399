// Attention: checks the parameters, chooses a kernel by type, path, shape and card, launches it.
#include "kernels/attention.h"

#include "kernels/sm90/attention_sm90.h"
#include "kernels/smxx/attention_smxx.h"

namespace flashvsr::kernels {
namespace {

enum class AttentionKernel { kUnsupported, kPlain, kFloat8Sm90, kSm90, kSmxx };

bool Valid(const AttentionParams& p) {
  const bool sparse = p.entries != nullptr;
  return p.q != nullptr && p.out != nullptr && p.keys[0] != nullptr && p.values[0] != nullptr && p.queryWindows > 0 &&
         p.heads > 0 && (sparse ? p.counts != nullptr && p.columns > 0 : p.keyLength > 0);
}

AttentionKernel Choose(const AttentionParams& p) {
  const bool sparse = p.entries != nullptr;
  if (p.type == DataType::kFloat32) return AttentionKernel::kPlain;
  if (p.type == DataType::kFloat8)
    return sparse && Float8AttentionSuits() ? AttentionKernel::kFloat8Sm90 : AttentionKernel::kUnsupported;
  return p.path == Path::kAuto && Sm90SuitsAttention(p) ? AttentionKernel::kSm90 : AttentionKernel::kSmxx;
}

}  // namespace

bool Float8AttentionSuits() { return Sm90HasFloat8Attention(); }

Launched LaunchAttention(const AttentionParams& p, cudaStream_t stream) {
  if (!Valid(p)) return {cudaErrorInvalidValue, Taken::kPortable};
  switch (Choose(p)) {
    case AttentionKernel::kUnsupported:
      break;
    case AttentionKernel::kPlain:
      return {LaunchAttentionPlain(p, stream), Taken::kPortable};
    case AttentionKernel::kFloat8Sm90:
      return {LaunchFloat8AttentionSm90(p, stream), Taken::kSm90};
    case AttentionKernel::kSm90:
      return {LaunchAttentionSm90(p, stream), Taken::kSm90};
    case AttentionKernel::kSmxx:
      return {LaunchAttentionSmxx(p, stream), Taken::kPortable};
  }
  return {cudaErrorNotSupported, Taken::kPortable};
}

}  // namespace flashvsr::kernels
