// Which of several implementations a Launch took, for whoever keeps account (native/backend/cuda/paths.h).
#pragma once

namespace flashvsr::kernels {

enum class Taken : int { kPortable = 0, kSm90 = 1, kVendor = 2 };

/// Of the last launch of this thread that had a choice; set by the launchers in sm90/ and by vendor products, read and set back to
/// kPortable by the account.
inline thread_local Taken taken = Taken::kPortable;

}  // namespace flashvsr::kernels
