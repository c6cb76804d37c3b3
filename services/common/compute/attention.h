// Grouped-query attention over the paged cache, causal.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/compute/context.h"
#include "common/compute/kv_cache.h"
#include "common/compute/tensor.h"

namespace compute {

// The queries of one sequence: rows [first_row, first_row + tokens) at positions first_position, …
struct AttentionSequence {
  int64_t first_row = 0;
  int tokens = 0;
  int first_position = 0;
  std::span<const int32_t> blocks;  // Of positions 0, 16, 32, …
};

// Memory that attention needs besides its tensors, taken once.
class AttentionWorkspace {
 public:
  // For up to `tokens_max` rows in up to `sequences_max` sequences.
  static absl::StatusOr<AttentionWorkspace> Allocate(const Context& context, int tokens_max,
                                                     int sequences_max, int heads, int kv_heads,
                                                     int head_dim);

  // What Allocate() takes.
  static int64_t BytesFor(const Context& context, int tokens_max, int sequences_max, int heads,
                          int kv_heads, int head_dim);

 private:
  friend void Attention(const Context& context, const struct AttentionArgs& args);
  friend class AttentionRun;

  // A piece of work: some rows of one sequence against one head of K and V.
  struct Item {
    int sequence = 0;
    int kv_head = 0;
    int first = 0;  // Query row of the sequence: token * group + head in the group.
    int rows = 0;
    int spans = 0;
    int first_part = 0;  // Of its spans in `parts`, when they are computed one by one.
  };

  std::vector<Item> items_;
  std::vector<int> part_items_;  // Part → item.
  Buffer members_;               // Per thread: scores, queries and two partial results.
  Buffer parts_;
};

struct AttentionArgs {
  Tensor q;    // [tokens, heads * head_dim], turned
  Tensor out;  // [tokens, heads * head_dim]; not q
  std::span<const AttentionSequence> sequences;
  const KvCache* cache = nullptr;
  int layer = 0;
  AttentionWorkspace* workspace = nullptr;
};

// out[t, h] = softmax over keys j ≤ position of (q[t, h] · k[j] / sqrt(head_dim)) times v[j], where
// head h reads K and V of head h / (heads / kv_heads).
//
// Float32 inside. Keys are reduced in spans of 512, in order, so a row depends on nothing but its
// own query and keys.
void Attention(const Context& context, const AttentionArgs& args);

}  // namespace compute
