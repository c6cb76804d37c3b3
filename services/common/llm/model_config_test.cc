#include "common/llm/model_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/llm/gguf_builder.h"

namespace llm {
namespace {

using testing::HasSubstr;

// A small Llama; what a test adds comes behind it.
GgufBuilder Llama() {
  GgufBuilder builder;
  builder.AddString("general.architecture", "llama")
      .AddString("general.name", "Tiny")
      .AddUint("llama.block_count", 2)
      .AddUint("llama.context_length", 128)
      .AddUint("llama.embedding_length", 64)
      .AddUint("llama.feed_forward_length", 96)
      .AddUint("llama.attention.head_count", 4)
      .AddFloat("llama.attention.layer_norm_rms_epsilon", 1e-6F)
      .AddTensor("token_embd.weight", {64, 3}, compute::DType::kF32, std::string(768, '\0'));
  return builder;
}

absl::StatusOr<ModelConfig> Read(const GgufBuilder& builder) {
  const std::string path = testing::TempDir() + "model_config_test_" +
                           testing::UnitTest::GetInstance()->current_test_info()->name() + ".gguf";
  EXPECT_TRUE(base::WriteFileAtomic(path, builder.Build()).ok());
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status();
  return ReadModelConfig(**file);
}

TEST(ModelConfigTest, KeysAndDefaultsAreRead) {
  const auto config = Read(Llama().AddUint("llama.attention.head_count_kv", 2));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "Tiny");
  EXPECT_EQ(config->layers, 2);
  EXPECT_EQ(config->hidden, 64);
  EXPECT_EQ(config->feed_forward, 96);
  EXPECT_EQ(config->heads, 4);
  EXPECT_EQ(config->kv_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->vocabulary, 3);
  EXPECT_EQ(config->context, 128);
  EXPECT_EQ(config->norm_epsilon, 1e-6F);
  EXPECT_EQ(config->rope_base, 10000);
  EXPECT_TRUE(config->tied_embeddings);
}

TEST(ModelConfigTest, KeyThatMayChangeTheNumbersIsRefusedByName) {
  const auto config = Read(Llama().AddUint("llama.attention.sliding_window", 512));
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(config.status().message(), HasSubstr("llama.attention.sliding_window"));
}

TEST(ModelConfigTest, AnotherArchitectureIsUnimplemented) {
  GgufBuilder builder;
  const auto config = Read(builder.AddString("general.architecture", "mamba"));
  EXPECT_EQ(config.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(config.status().message(), HasSubstr("\"mamba\" is not supported"));
}

TEST(ModelConfigTest, ValuesThatMakeNoSenseAreRefused) {
  const auto refused = [](const GgufBuilder& builder, std::string_view part) {
    const auto config = Read(builder);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << part;
    EXPECT_THAT(config.status().message(), HasSubstr(part));
  };
  refused(Llama().AddUint("llama.attention.head_count_kv", 3), "4 heads cannot share 3");
  refused(Llama().AddUint("llama.attention.head_count_kv", 0), "outside 1 to");
  refused(Llama().AddUint("llama.vocab_size", 4), "the embedding has 3 rows");
  refused(Llama().AddUint("llama.rope.dimension_count", 8), "only whole heads");
  refused(Llama().AddString("llama.rope.scaling.type", "magic"), "\"magic\" is not known");
  refused(Llama().AddFloat("llama.rope.freq_base", -1), "not above 0");
  refused(Llama().AddUint("llama.expert_count", 8), "mixtures of experts");
  refused(Llama().AddUint("llama.attention.value_length", 8), "as long as the keys");
}

TEST(ModelConfigTest, LinearScalingAndFactorsPerPairAreRead) {
  const auto config = Read(
      Llama()
          .AddString("llama.rope.scaling.type", "linear")
          .AddFloat("llama.rope.scaling.factor", 4)
          .AddTensor(
              "rope_freqs.weight", {8}, compute::DType::kF32,
              std::string(reinterpret_cast<const char*>(std::vector<float>(8, 2.0F).data()), 32)));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope_position_scale, 0.25F);
  EXPECT_EQ(config->rope_factors, std::vector<float>(8, 2.0F));
}

}  // namespace
}  // namespace llm
