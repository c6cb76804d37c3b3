#include "common/compute/rope.h"

#include <cmath>

#include "common/base/check.h"
#include "common/compute/cpu/for_rows.h"
#include "common/compute/cpu/kernels.h"

namespace compute {

RopeTable::RopeTable(const RopeOptions& options, int positions)
    : positions_(positions),
      half_(options.head_dim / 2),
      values_(static_cast<size_t>(positions) * options.head_dim) {
  for (int i = 0; i < half_; ++i) {
    double frequency = std::pow(static_cast<double>(options.base), -2.0 * i / options.head_dim);
    if (!options.pair_factors.empty()) frequency /= options.pair_factors[i];
    frequency *= options.position_scale;
    for (int position = 0; position < positions; ++position) {
      const double angle = position * frequency;
      values_[Index(position) + i] = static_cast<float>(std::cos(angle));
      values_[Index(position) + half_ + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void RopeAndStore(const Context& context, const RopeAndStoreArgs& args) {
  const KvShape& shape = args.cache->shape();
  const int head_dim = shape.head_dim;
  const int half = args.table->half();
  CHECK(half * 2 == head_dim);
  CHECK(args.k.columns == static_cast<int64_t>(shape.kv_heads) * head_dim);
  CHECK(static_cast<int64_t>(args.positions.size()) == args.q.rows);
  CHECK(args.blocks.size() == args.positions.size());
  const cpu::Kernels& kernels = context.kernels();
  const auto store = shape.dtype == DType::kF16 ? kernels.store_kv_f16 : kernels.store_kv_f32;
  const int64_t heads = args.q.columns / head_dim;
  cpu::ForRows(context, args.q.rows, args.q.columns + 2 * args.k.columns, [&](int64_t t) {
    const int position = args.positions[t];
    const float* const cosines = args.table->cosines(position);
    const float* const sines = args.table->sines(position);
    for (int64_t h = 0; h < heads; ++h) {
      float* const q = args.q.row(t) + h * head_dim;
      kernels.rope(q, cosines, sines, half, q);
    }
    for (int h = 0; h < shape.kv_heads; ++h) {
      float* const k = args.k.row(t) + h * head_dim;
      kernels.rope(k, cosines, sines, half, k);
      store(k, args.v.row(t) + h * head_dim, head_dim, position % kKvBlockTokens,
            args.cache->head(args.layer, args.blocks[t], h));
    }
  });
}

}  // namespace compute
