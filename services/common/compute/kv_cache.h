// The paged key-value cache of all layers.

#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"

#include "common/compute/buffer.h"
#include "common/compute/dtype.h"

namespace compute {

inline constexpr int kKvBlockTokens = 16;

struct KvShape {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;           // A multiple of 16.
  DType dtype = DType::kF16;  // Or kF32.

  // K and V of one head in one block.
  int64_t head_bytes() const { return 2LL * head_dim * kKvBlockTokens * Facts(dtype).bytes; }
  int64_t block_bytes() const { return head_bytes() * kv_heads; }
  int64_t bytes_per_token() const { return block_bytes() * layers / kKvBlockTokens; }
};

// Blocks of 16 tokens: [layer][block][head], and per head K as [dimension][token], so that a score
// is computed for 16 keys at once, then V as [token][dimension].
class KvCache {
 public:
  KvCache() = default;

  // kResourceExhausted if the memory is not there.
  static absl::StatusOr<KvCache> Allocate(const KvShape& shape, int blocks);

  const KvShape& shape() const { return shape_; }
  int blocks() const { return blocks_; }

  std::byte* head(int layer, int block, int head) const {
    return memory_.data() + (static_cast<int64_t>(layer) * blocks_ + block) * shape_.block_bytes() +
           head * shape_.head_bytes();
  }

  // All layers' K and V.
  void CopyBlock(int from, int to);

 private:
  KvShape shape_;
  int blocks_ = 0;
  Buffer memory_;
};

}  // namespace compute
