// The forward pass of a small random Llama, written as a GGUF file, against float64.

#include <algorithm>
#include <map>
#include <random>

#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/compute/reference/operations.h"
#include "common/llm/gguf_builder.h"
#include "model-server/model/load.h"

namespace model_server {
namespace {

namespace reference = compute::reference;
using reference::Row;

constexpr int kHidden = 32, kHeads = 2, kDim = 16, kForward = 48, kVocabulary = 19, kLayers = 2;

class TinyLlama {
 public:
  TinyLlama() {
    builder_.AddString("general.architecture", "llama")
        .AddUint("llama.block_count", kLayers)
        .AddUint("llama.context_length", 128)
        .AddUint("llama.embedding_length", kHidden)
        .AddUint("llama.feed_forward_length", kForward)
        .AddUint("llama.attention.head_count", kHeads)
        .AddUint("llama.attention.head_count_kv", 1);
    Add("token_embd", kVocabulary, kHidden);
    Add("output_norm", 1, kHidden);
    for (int i = 0; i < kLayers; ++i) {
      const std::string blk = "blk." + std::to_string(i) + ".";
      Add(blk + "attn_norm", 1, kHidden);
      Add(blk + "attn_q", kHeads * kDim, kHidden);
      Add(blk + "attn_k", kDim, kHidden);
      Add(blk + "attn_v", kDim, kHidden);
      Add(blk + "attn_output", kHidden, kHeads * kDim);
      Add(blk + "ffn_norm", 1, kHidden);
      Add(blk + "ffn_gate", kForward, kHidden);
      Add(blk + "ffn_up", kForward, kHidden);
      Add(blk + "ffn_down", kHidden, kForward);
    }
  }

  std::string Write(std::string_view name) const {
    const std::string path = testing::TempDir() + "tiny_llama_" + std::string(name) + ".gguf";
    EXPECT_TRUE(base::WriteFileAtomic(path, builder_.Build()).ok());
    return path;
  }

  // The logits after the last token.
  Row Logits(const std::vector<int32_t>& tokens) const {
    std::vector<Row> xs;
    for (const int32_t token : tokens) xs.push_back(w("token_embd")[token]);
    for (int i = 0; i < kLayers; ++i) Layer("blk." + std::to_string(i) + ".", xs);
    return reference::Matmul(reference::RmsNorm(xs.back(), w("output_norm")[0], 1e-5),
                             w("token_embd"));
  }

 private:
  using Matrix = std::vector<Row>;

  void Add(const std::string& name, int rows, int columns) {
    std::normal_distribution<float> normal(0, 0.3F);
    std::string data;
    Matrix matrix(rows, Row(columns));
    for (Row& row : matrix) {
      for (double& value : row) {
        const float number = normal(random_);
        llm::GgufBuilder::Append(data, number);
        value = number;
      }
    }
    matrices_[name] = matrix;
    builder_.AddTensor(name + ".weight",
                       {static_cast<uint64_t>(columns), static_cast<uint64_t>(rows)},
                       compute::DType::kF32, data);
  }

  const Matrix& w(const std::string& name) const { return matrices_.at(name); }

  void Layer(const std::string& blk, std::vector<Row>& xs) const {
    std::vector<Row> keys, values;
    for (size_t t = 0; t < xs.size(); ++t) {
      const auto position = static_cast<int>(t);
      Row& x = xs[t];
      const Row normed = reference::RmsNorm(x, w(blk + "attn_norm")[0], 1e-5);
      const Row k = reference::Matmul(normed, w(blk + "attn_k"));
      keys.push_back(reference::RopeInterleaved(k, position, 10000));
      values.push_back(reference::Matmul(normed, w(blk + "attn_v")));
      const Row q = reference::Matmul(normed, w(blk + "attn_q"));
      Row attended;
      for (int h = 0; h < kHeads; ++h) {
        const Row head(q.begin() + h * kDim, q.begin() + (h + 1) * kDim);
        const Row turned = reference::RopeInterleaved(head, position, 10000);
        const Row out = reference::Attention(turned, keys, values);
        attended.insert(attended.end(), out.begin(), out.end());
      }
      AddTo(x, reference::Matmul(attended, w(blk + "attn_output")));
      const Row again = reference::RmsNorm(x, w(blk + "ffn_norm")[0], 1e-5);
      const Row glu = reference::SwiGlu(reference::Matmul(again, w(blk + "ffn_gate")),
                                        reference::Matmul(again, w(blk + "ffn_up")));
      AddTo(x, reference::Matmul(glu, w(blk + "ffn_down")));
    }
  }

  static void AddTo(Row& x, const Row& more) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += more[i];
  }

  std::mt19937 random_{1};
  llm::GgufBuilder builder_;
  std::map<std::string, Matrix> matrices_;
};

TEST(TinyLlamaTest, LogitsAgreeWithFloat64AloneChunkedAndInABatch) {
  const TinyLlama tiny;
  const std::string path = tiny.Write("forward");
  auto model = LoadModel(path, {.threads = 2, .reference_float32 = true});
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE((*model)->AllocateCache(16).ok());
  std::vector<int32_t> tokens;
  for (int i = 0; i < 37; ++i) tokens.push_back(i * 7 % kVocabulary);
  const std::vector<int32_t> a = {5, 1, 9}, b = {2, 7, 4}, c = {0, 3, 6};

  std::vector<float> alone(kVocabulary);
  const StepSequence whole = {.tokens = tokens, .block_table = a, .wants_logits = true};
  (*model)->Step({&whole, 1}, alone);
  const Row want = tiny.Logits(tokens);
  for (int i = 0; i < kVocabulary; ++i) EXPECT_NEAR(alone[i], want[i], 1e-4);

  // Two others, one of them cut in two and copied on the way.
  const std::span<const int32_t> all = tokens;
  const StepSequence first = {.tokens = all.first(20), .block_table = b};
  (*model)->Step({&first, 1}, {});
  for (int i = 0; i < 2; ++i) (*model)->CopyBlock(b[i], c[i]);
  const StepSequence batch[] = {
      {.tokens = tokens, .block_table = a, .wants_logits = true},
      {.tokens = all.subspan(20), .first_position = 20, .block_table = c, .wants_logits = true}};
  std::vector<float> both(2 * kVocabulary);
  (*model)->Step(batch, both);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), both.begin()));
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), both.begin() + kVocabulary));
}

TEST(TinyLlamaTest, ModelThatDoesNotFitIsRefusedWithItsPlan) {
  const std::string path = TinyLlama().Write("plan");
  const auto model = LoadModel(path, {.memory_bytes_max = 1000});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(model.status().message().find("weights"), absl::string_view::npos);
}

}  // namespace
}  // namespace model_server
