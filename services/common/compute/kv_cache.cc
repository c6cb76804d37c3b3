#include "common/compute/kv_cache.h"

#include <cstring>

#include "common/base/check.h"
#include "common/base/status_macros.h"

namespace compute {

absl::StatusOr<KvCache> KvCache::Allocate(const KvShape& shape, int blocks) {
  CHECK(shape.head_dim % 16 == 0 && blocks > 0);
  CHECK(shape.dtype == DType::kF16 || shape.dtype == DType::kF32);
  KvCache cache;
  cache.shape_ = shape;
  cache.blocks_ = blocks;
  ASSIGN_OR_RETURN(cache.memory_, Buffer::Allocate(shape.block_bytes() * shape.layers * blocks));
  return cache;
}

void KvCache::CopyBlock(int from, int to) {
  CHECK(from >= 0 && from < blocks_ && to >= 0 && to < blocks_);
  if (from == to) return;
  for (int layer = 0; layer < shape_.layers; ++layer) {
    std::memcpy(head(layer, to, 0), head(layer, from, 0), shape_.block_bytes());
  }
}

}  // namespace compute
