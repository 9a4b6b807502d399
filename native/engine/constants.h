// Everything of the model that depends on the weights alone (flashvsr-model.md section 4): made once, in fp32, by the
// reference operations, and handed to every backend.
#pragma once

#include "backend/backend.h"
#include "common/threads.h"

namespace flashvsr {

// time_embedding(sinusoid(1000)), time_projection of it, text_embedding(prompt).
ModelConstants ComputeModelConstants(const ModelWeights& weights, Threads& threads);

}  // namespace flashvsr
