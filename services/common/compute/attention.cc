#include "common/compute/attention.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "common/base/status_macros.h"
#include "common/compute/cpu/kernels.h"

namespace compute {

using cpu::AttentionPartial;
using cpu::kAttentionRows;
using cpu::kAttentionSpan;

namespace {

constexpr int kPartsMax = 512;  // Spans that may be computed side by side.

// What one thread uses: scores, queries, the running result and that of one span.
struct MemberMemory {
  static int64_t Floats(int64_t head_dim) {
    const int64_t floats =
        kAttentionRows * (kAttentionSpan + head_dim) + 2 * AttentionPartial::FloatsFor(head_dim);
    return (floats + 31) / 32 * 32;  // Whole pairs of cache lines.
  }

  MemberMemory(const Buffer& buffer, int member, int64_t head_dim) {
    scores = buffer.as<float>() + member * Floats(head_dim);
    queries = scores + static_cast<int64_t>(kAttentionRows) * kAttentionSpan;
    total = AttentionPartial::At(queries + kAttentionRows * head_dim);
    part = AttentionPartial::At(queries + kAttentionRows * head_dim +
                                AttentionPartial::FloatsFor(head_dim));
  }

  float* scores;
  float* queries;
  AttentionPartial total;
  AttentionPartial part;
};

int64_t ItemsMax(int tokens_max, int sequences_max, int heads, int kv_heads) {
  const int64_t rows = static_cast<int64_t>(tokens_max) * heads;
  return rows / kAttentionRows + static_cast<int64_t>(sequences_max) * kv_heads;
}

}  // namespace

int64_t AttentionWorkspace::BytesFor(const Context& context, int tokens_max, int sequences_max,
                                     int heads, int kv_heads, int head_dim) {
  const int64_t floats = context.team().members() * MemberMemory::Floats(head_dim) +
                         kPartsMax * AttentionPartial::FloatsFor(head_dim);
  return floats * static_cast<int64_t>(sizeof(float)) + kPartsMax * sizeof(int) +
         ItemsMax(tokens_max, sequences_max, heads, kv_heads) * sizeof(Item);
}

absl::StatusOr<AttentionWorkspace> AttentionWorkspace::Allocate(const Context& context,
                                                                int tokens_max, int sequences_max,
                                                                int heads, int kv_heads,
                                                                int head_dim) {
  AttentionWorkspace workspace;
  workspace.items_.reserve(ItemsMax(tokens_max, sequences_max, heads, kv_heads));
  workspace.part_items_.reserve(kPartsMax);
  ASSIGN_OR_RETURN(
      workspace.members_,
      Buffer::Allocate(context.team().members() * MemberMemory::Floats(head_dim) * sizeof(float)));
  ASSIGN_OR_RETURN(
      workspace.parts_,
      Buffer::Allocate(kPartsMax * AttentionPartial::FloatsFor(head_dim) * sizeof(float)));
  return workspace;
}

// One call of Attention().
class AttentionRun {
 public:
  using Item = AttentionWorkspace::Item;

  AttentionRun(const Context& context, const AttentionArgs& args)
      : context_(context),
        args_(args),
        space_(*args.workspace),
        head_dim_(args.cache->shape().head_dim),
        kv_heads_(args.cache->shape().kv_heads),
        group_(static_cast<int>(args.q.columns / head_dim_ / kv_heads_)),
        kernel_(args.cache->shape().dtype == DType::kF16 ? context.kernels().attention_f16
                                                         : context.kernels().attention_f32) {}

  void Run() {
    const int parts = ListItems();
    const auto items = static_cast<int>(space_.items_.size());
    // Few items with many keys each, as in decoding: their spans are shared out too.
    const bool few = items < 4 * context_.team().members();
    if (few && parts > items && parts <= kPartsMax) return RunBySpans(parts);
    context_.team().Run(items, [&](int member, int i) { RunItem(member, space_.items_[i]); });
  }

 private:
  // Returns the number of spans of all items.
  int ListItems() {
    space_.items_.clear();
    int parts = 0;
    for (size_t s = 0; s < args_.sequences.size(); ++s) {
      const AttentionSequence& sequence = args_.sequences[s];
      const int rows = sequence.tokens * group_;
      for (int first = 0; first < rows; first += kAttentionRows) {
        for (int head = 0; head < kv_heads_; ++head) {
          Item item{.sequence = static_cast<int>(s), .kv_head = head, .first = first};
          item.rows = std::min(kAttentionRows, rows - first);
          item.spans = LastPosition(item) / kAttentionSpan + 1;
          item.first_part = parts;
          parts += item.spans;
          CHECK(space_.items_.size() < space_.items_.capacity());
          space_.items_.push_back(item);
        }
      }
    }
    return parts;
  }

  int Position(const Item& item, int row) const {
    return args_.sequences[item.sequence].first_position + (item.first + row) / group_;
  }
  int LastPosition(const Item& item) const { return Position(item, item.rows - 1); }

  int64_t TensorRow(const Item& item, int row) const {
    return args_.sequences[item.sequence].first_row + (item.first + row) / group_;
  }
  int64_t Column(const Item& item, int row) const {
    return static_cast<int64_t>(item.kv_head * group_ + (item.first + row) % group_) * head_dim_;
  }

  // Queries dimension by dimension, scaled so that the softmax is one of powers of two.
  void GatherQueries(const Item& item, float* out, int* positions) const {
    const auto scale =
        static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(head_dim_)));
    for (int row = 0; row < item.rows; ++row) {
      const float* const q = args_.q.row(TensorRow(item, row)) + Column(item, row);
      for (int d = 0; d < head_dim_; ++d) out[d * kAttentionRows + row] = q[d] * scale;
      positions[row] = Position(item, row);
    }
  }

  void RunSpan(const Item& item, int span, const MemberMemory& memory, const int* positions,
               AttentionPartial out) const {
    const cpu::AttentionTile tile = {
        .queries = memory.queries,
        .rows = item.rows,
        .head_dim = head_dim_,
        .positions = positions,
        .kv = args_.cache->head(args_.layer, 0, item.kv_head),
        .block_stride = args_.cache->shape().block_bytes(),
        .block_table = args_.sequences[item.sequence].blocks.data(),
        .scores = memory.scores,
    };
    const int first = span * kAttentionSpan;
    kernel_(tile, first, std::min(first + kAttentionSpan, LastPosition(item) + 1), out);
  }

  // Adds span `span` > 0 to the rows that see it.
  void Combine(const Item& item, int span, AttentionPartial total, AttentionPartial part) const {
    for (int row = 0; row < item.rows; ++row) {
      if (Position(item, row) < span * kAttentionSpan) continue;
      context_.kernels().attention_combine(total, part, row, head_dim_);
    }
  }

  void Finish(const Item& item, AttentionPartial total) const {
    for (int row = 0; row < item.rows; ++row) {
      float* const out = args_.out.row(TensorRow(item, row)) + Column(item, row);
      context_.kernels().attention_finish(total, row, head_dim_, out);
    }
  }

  void RunItem(int member, const Item& item) const {
    const MemberMemory memory(space_.members_, member, head_dim_);
    int positions[kAttentionRows];
    GatherQueries(item, memory.queries, positions);
    RunSpan(item, 0, memory, positions, memory.total);
    for (int span = 1; span < item.spans; ++span) {
      RunSpan(item, span, memory, positions, memory.part);
      Combine(item, span, memory.total, memory.part);
    }
    Finish(item, memory.total);
  }

  void RunBySpans(int parts) {
    space_.part_items_.clear();
    for (size_t i = 0; i < space_.items_.size(); ++i) {
      space_.part_items_.insert(space_.part_items_.end(), space_.items_[i].spans,
                                static_cast<int>(i));
    }
    context_.team().Run(parts, [&](int member, int p) {
      const Item& item = space_.items_[space_.part_items_[p]];
      const MemberMemory memory(space_.members_, member, head_dim_);
      int positions[kAttentionRows];
      GatherQueries(item, memory.queries, positions);
      RunSpan(item, p - item.first_part, memory, positions, Part(p));
    });
    for (const Item& item : space_.items_) {
      for (int span = 1; span < item.spans; ++span) {
        Combine(item, span, Part(item.first_part), Part(item.first_part + span));
      }
      Finish(item, Part(item.first_part));
    }
  }

  AttentionPartial Part(int index) const {
    return AttentionPartial::At(space_.parts_.as<float>() +
                                index * AttentionPartial::FloatsFor(head_dim_));
  }

  const Context& context_;
  const AttentionArgs& args_;
  AttentionWorkspace& space_;
  const int head_dim_;
  const int kv_heads_;
  const int group_;
  const cpu::Kernels::Attention kernel_;
};

void Attention(const Context& context, const AttentionArgs& args) {
  CHECK(args.q.columns == args.out.columns && args.q.rows == args.out.rows);
  CHECK(args.q.columns % (args.cache->shape().head_dim * args.cache->shape().kv_heads) == 0);
  AttentionRun(context, args).Run();
}

}  // namespace compute
