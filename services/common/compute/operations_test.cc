// Every operation at every instruction set level of this CPU, with odd sizes, against float64.

#include "common/compute/reference/operations.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "gtest/gtest.h"

#include "common/compute/attention.h"
#include "common/compute/dequantize.h"
#include "common/compute/half.h"
#include "common/compute/matmul.h"
#include "common/compute/rms_norm.h"
#include "common/compute/swiglu.h"

namespace compute {
namespace {

using reference::Row;

std::unique_ptr<Context> MakeContext(Isa isa, int threads = 2) {
  auto context = Context::Create({.isa = std::string(IsaName(isa)), .threads = threads});
  EXPECT_TRUE(context.ok()) << context.status();
  return std::move(*context);
}

std::vector<float> Random(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

Row ToRow(const float* from, int64_t count) { return {from, from + count}; }

constexpr int64_t kOddSizes[] = {1, 7, 257};

TEST(OperationsTest, RmsNormAndSwiGluAgreeWithFloat64) {
  for (const Isa isa : AvailableIsas()) {
    const auto context = MakeContext(isa);
    for (const int64_t n : kOddSizes) {
      for (const int64_t tokens : kOddSizes) {
        std::vector<float> a = Random(tokens * n, 1);
        std::vector<float> b = Random(tokens * n, 2);
        std::vector<float> out(tokens * n);
        const Tensor x = MakeTensor(a.data(), tokens, n);
        const Tensor y = MakeTensor(b.data(), tokens, n);
        const Tensor result = MakeTensor(out.data(), tokens, n);
        const int64_t last = (tokens - 1) * n;
        const Row want_norm = reference::RmsNorm(ToRow(&a[last], n), ToRow(b.data(), n), 1e-5);
        RmsNorm(*context, {.x = x, .weight = y.Rows(1), .out = result, .epsilon = 1e-5F});
        for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(out[last + i], want_norm[i], 2e-5);
        const Row want_glu = reference::SwiGlu(ToRow(&a[last], n), ToRow(&b[last], n));
        SwiGlu(*context, {.gate = x, .up = y, .out = result});
        for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(out[last + i], want_glu[i], 1e-5);
      }
    }
  }
}

// A matrix in the file's format: random numbers, scales of a sensible size.
std::vector<std::byte> RandomBlocks(DType type, int64_t rows, int64_t columns) {
  const DTypeFacts& facts = Facts(type);
  std::vector<std::byte> bytes(rows * columns / facts.values * facts.bytes);
  std::mt19937 generator(3);
  const std::vector<float> values = Random(rows * columns, 4);
  for (size_t block = 0; block * facts.bytes < bytes.size(); ++block) {
    std::byte* const at = bytes.data() + block * facts.bytes;
    for (int i = 0; i < facts.bytes; ++i) at[i] = static_cast<std::byte>(generator());
    const uint16_t scale = FloatToHalf(values[block] * 0.02F);
    if (type == DType::kF32) {
      std::memcpy(at, &values[block], 4);
    } else if (type == DType::kBF16) {
      const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[block]) >> 16);
      std::memcpy(at, &bits, 2);
    } else {
      std::memcpy(at, &scale, 2);
      if (type == DType::kQ4_1) std::memcpy(at + 2, &scale, 2);
    }
  }
  return bytes;
}

struct Product {
  std::vector<float> x;
  std::vector<float> out;
  std::vector<Row> weights;
};

Product Multiply(const Context& context, DType type, int64_t tokens, int64_t rows,
                 int64_t columns) {
  const std::vector<std::byte> blocks = RandomBlocks(type, rows, columns);
  PackedMatrix matrix{.layout = *LayoutFor(type), .rows = rows, .columns = columns};
  const auto memory = Buffer::Allocate(matrix.bytes());
  matrix.data = memory->data();
  PackPanels(matrix, {.type = type, .data = blocks.data()}, 0, matrix.panels(), memory->data());

  Product product;
  product.x = Random(tokens * columns, 5);
  product.x[0] *= 50;  // An outlier.
  product.out.resize(tokens * rows);
  const Tensor x = MakeTensor(product.x.data(), tokens, columns);
  const auto int8 = Buffer::Allocate(QuantizedRows::BytesFor(tokens, columns));
  QuantizedRows quantized;
  if (IsInteger(matrix.layout)) {
    quantized = MakeQuantizedRows(int8->data(), tokens, columns);
    Quantize(context, x, quantized);
  }
  const MatmulPart part = {&matrix, MakeTensor(product.out.data(), tokens, rows)};
  Matmul(context, {.x = x, .quantized = quantized, .parts = {&part, 1}});

  std::vector<float> values(rows * columns);
  Dequantize(type, blocks.data(), rows * columns, values.data());
  for (int64_t r = 0; r < rows; ++r) {
    product.weights.push_back(ToRow(&values[r * columns], columns));
  }
  return product;
}

void ExpectNear(const Product& product, int64_t tokens, int64_t rows, int64_t columns,
                double tolerance) {
  for (int64_t t = 0; t < tokens; ++t) {
    const Row want = reference::Matmul(ToRow(&product.x[t * columns], columns), product.weights);
    double scale = 0;
    for (const Row& row : product.weights) {
      double squares = 0;
      for (int64_t k = 0; k < columns; ++k) {
        squares += row[k] * row[k] * product.x[t * columns + k] * product.x[t * columns + k];
      }
      scale = std::max(scale, std::sqrt(squares));
    }
    for (int64_t r = 0; r < rows; ++r) {
      EXPECT_NEAR(product.out[t * rows + r], want[r], tolerance * scale);
    }
  }
}

TEST(OperationsTest, FloatMatricesAgreeWithFloat64) {
  for (const Isa isa : AvailableIsas()) {
    const auto context = MakeContext(isa);
    for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const auto& [tokens, rows, columns] :
           {std::array<int64_t, 3>{1, 7, 257}, {7, 257, 7}, {5, 33, 64}, {3, 1, 1}}) {
        ExpectNear(Multiply(*context, type, tokens, rows, columns), tokens, rows, columns, 1e-5);
      }
    }
  }
}

TEST(OperationsTest, IntegerMatricesAgreeWithFloat64AndAreTheSameAtEveryLevel) {
  for (const DType type : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0}) {
    for (const auto& [tokens, rows, columns] :
         {std::array<int64_t, 3>{1, 257, 96}, {3, 7, 32}, {7, 33, 224}, {26, 17, 64}}) {
      const Product plain = Multiply(*MakeContext(Isa::kPlain), type, tokens, rows, columns);
      ExpectNear(plain, tokens, rows, columns, 0.03);
      for (const Isa isa : AvailableIsas()) {
        const Product product = Multiply(*MakeContext(isa), type, tokens, rows, columns);
        EXPECT_EQ(product.out, plain.out) << IsaName(isa) << " " << Facts(type).name;
      }
      // One token alone, on another number of threads.
      const Product alone =
          Multiply(*MakeContext(AvailableIsas().back(), 3), type, 1, rows, columns);
      EXPECT_TRUE(std::equal(alone.out.begin(), alone.out.end(), plain.out.begin()));
    }
  }
}

TEST(OperationsTest, AttentionAgreesWithFloat64AcrossBlocksAndSpans) {
  constexpr int kHeads = 3;
  constexpr int kDim = 16;
  for (const Isa isa : AvailableIsas()) {
    const auto context = MakeContext(isa);
    for (const auto& [before, tokens] : {std::pair{0, 1}, {0, 7}, {510, 5}, {1030, 1}}) {
      const int end = before + tokens;
      auto cache = KvCache::Allocate(
          {.layers = 1, .kv_heads = 1, .head_dim = kDim, .dtype = DType::kF32}, end / 16 + 1);
      ASSERT_TRUE(cache.ok());
      std::vector<int32_t> table(end / 16 + 1);
      for (size_t i = 0; i < table.size(); ++i)
        table[i] = static_cast<int32_t>(table.size() - 1 - i);
      const std::vector<float> keys = Random(static_cast<int64_t>(end) * kDim, 6);
      const std::vector<float> values = Random(static_cast<int64_t>(end) * kDim, 7);
      std::vector<Row> key_rows;
      std::vector<Row> value_rows;
      for (int j = 0; j < end; ++j) {
        auto* const block = reinterpret_cast<float*>(cache->head(0, table[j / 16], 0));
        for (int d = 0; d < kDim; ++d) {
          block[d * 16 + j % 16] = keys[j * kDim + d];
          block[kDim * 16 + j % 16 * kDim + d] = values[j * kDim + d];
        }
        key_rows.push_back(ToRow(&keys[j * kDim], kDim));
        value_rows.push_back(ToRow(&values[j * kDim], kDim));
      }
      std::vector<float> q = Random(static_cast<int64_t>(tokens) * kHeads * kDim, 8);
      std::vector<float> out(q.size());
      auto workspace = AttentionWorkspace::Allocate(*context, tokens, 1, kHeads, 1, kDim);
      const AttentionSequence sequence = {
          .tokens = tokens, .first_position = before, .blocks = table};
      Attention(*context, {.q = MakeTensor(q.data(), tokens, kHeads * kDim),
                           .out = MakeTensor(out.data(), tokens, kHeads * kDim),
                           .sequences = {&sequence, 1},
                           .cache = &*cache,
                           .workspace = &*workspace});
      for (int t = 0; t < tokens; ++t) {
        const auto seen = static_cast<std::ptrdiff_t>(before) + t + 1;
        const std::vector<Row> k(key_rows.begin(), key_rows.begin() + seen);
        const std::vector<Row> v(value_rows.begin(), value_rows.begin() + seen);
        for (int h = 0; h < kHeads; ++h) {
          const int64_t at = (static_cast<int64_t>(t) * kHeads + h) * kDim;
          const Row want = reference::Attention(ToRow(&q[at], kDim), k, v);
          for (int d = 0; d < kDim; ++d) EXPECT_NEAR(out[at + d], want[d], 1e-5);
        }
      }
    }
  }
}

TEST(OperationsTest, UnknownIsaAndDeviceAreRefusedByName) {
  EXPECT_EQ(Context::Create({.isa = "mmx"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Context::Create({.device = "cuda"}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Context::Create({.threads = -1}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace compute
