// Every reference operation: the twins a CUDA kernel is tested against, on plain fp32 host memory.
#pragma once

#include "backend/reference/attention_ops.h"
#include "backend/reference/decoder_ops.h"
#include "backend/reference/matrix.h"
#include "backend/reference/picture_ops.h"
#include "backend/reference/projector_ops.h"
#include "backend/reference/token_ops.h"
#include "backend/reference/wan_ops.h"
