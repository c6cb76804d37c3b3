#include "common/compute/matmul.h"

#include <algorithm>
#include <array>

#include "common/base/check.h"
#include "common/compute/cpu/for_rows.h"
#include "common/compute/cpu/kernels.h"

namespace compute {
namespace {

constexpr size_t kPartsMax = 4;
constexpr int64_t kChunksPerMember = 8;
constexpr int64_t kPanelsPerChunkMax = 64;

cpu::Kernels::Matmul KernelFor(const cpu::Kernels& kernels, WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kF32:
      return kernels.matmul_f32;
    case WeightLayout::kF16:
      return kernels.matmul_f16;
    case WeightLayout::kBF16:
      return kernels.matmul_bf16;
    case WeightLayout::kInt4:
      return kernels.matmul_int4;
    case WeightLayout::kInt8:
      return kernels.matmul_int8;
  }
  return nullptr;
}

cpu::MatmulTask TaskFor(const MatmulArgs& args, const MatmulPart& part) {
  const PackedMatrix& weights = *part.weights;
  CHECK(part.out.rows == args.x.rows && part.out.columns == weights.rows);
  CHECK(args.x.columns == weights.columns);
  if (IsInteger(weights.layout)) {
    CHECK(args.quantized.tokens == args.x.rows);
    CHECK(args.quantized.groups == QuantizedRows::GroupsFor(weights.columns));
  }
  return {.weights = weights,
          .x = args.x.row(0),
          .x_stride = args.x.stride,
          .quantized = args.quantized,
          .tokens = args.x.rows,
          .out = part.out.row(0),
          .out_stride = part.out.stride,
          .add = args.add};
}

}  // namespace

void Quantize(const Context& context, const Tensor& x, const QuantizedRows& out) {
  CHECK(out.tokens == x.rows && x.columns % kGroup == 0);
  CHECK(out.groups == QuantizedRows::GroupsFor(x.columns));
  cpu::ForRows(context, out.tiles(), x.columns * std::min<int64_t>(out.width, x.rows),
               [&](int64_t tile) {
                 context.kernels().quantize_tile(x.row(0), x.stride, x.columns, out, tile);
               });
}

void Matmul(const Context& context, const MatmulArgs& args) {
  CHECK(args.parts.size() <= kPartsMax);
  if (args.x.rows == 0) return;
  int64_t panels = 0;
  for (const MatmulPart& part : args.parts) panels += part.weights->panels();
  // Chunks are runs of panels; where they are cut does not touch the results.
  const int64_t members = context.team().members();
  const int64_t per_chunk =
      std::clamp<int64_t>(panels / (members * kChunksPerMember), 1, kPanelsPerChunkMax);

  std::array<cpu::MatmulTask, kPartsMax> tasks;
  std::array<int64_t, kPartsMax + 1> first_chunk{};
  for (size_t i = 0; i < args.parts.size(); ++i) {
    tasks.at(i) = TaskFor(args, args.parts[i]);
    const int64_t chunks = (args.parts[i].weights->panels() + per_chunk - 1) / per_chunk;
    first_chunk.at(i + 1) = first_chunk.at(i) + chunks;
  }
  const int64_t chunks = first_chunk.at(args.parts.size());
  context.team().Run(static_cast<int>(chunks), [&](int, int chunk) {
    size_t part = 0;
    while (chunk >= first_chunk[part + 1]) ++part;
    const cpu::MatmulTask& task = tasks[part];
    const int64_t first = (chunk - first_chunk[part]) * per_chunk;
    const int64_t end = std::min(first + per_chunk, task.weights.panels());
    KernelFor(context.kernels(), task.weights.layout)(task, first, end);
  });
}

}  // namespace compute
