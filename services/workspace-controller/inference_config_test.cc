#include "workspace-controller/inference_config.h"

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace workspace_controller {
namespace {

using ::testing::HasSubstr;

TEST(InferenceConfigTest, OnlyTheLengthInsideTheServerSectionCounts) {
  EXPECT_EQ(ParseInferenceConfig("max-model-len: 8192\nvllm:\n  # max-model-len: 4096\n"
                                 "  cpu-offload-gb: 0\n")
                ->max_model_len,
            0);
  EXPECT_EQ(ParseInferenceConfig("vllm:\n  max-model-len: 8192\n")->max_model_len, 8192);
}

TEST(InferenceConfigTest, ScalarsKeepTheirTextAndBooleansTheirCase) {
  const auto config =
      ParseInferenceConfig("vllm:\n  enable-prefix-caching: true\n  swap-space: 4\n  x: abc\n");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->server.at("enable-prefix-caching"), "true");
  EXPECT_EQ(config->server.at("swap-space"), "4");
  EXPECT_EQ(config->server.at("x"), "abc");
}

TEST(InferenceConfigTest, FaultsNameTheKey) {
  for (const char* bad : {"vllm:\n  max-model-len: -1\n", "vllm:\n  max-model-len: 1.5\n",
                          "vllm:\n  max-model-len: many\n"}) {
    const absl::Status status = ParseInferenceConfig(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(status.message(), HasSubstr("vllm.max-model-len")) << bad;
  }
  EXPECT_THAT(ParseInferenceConfig("vllm: 3\n").status().message(), HasSubstr("vllm"));
  EXPECT_THAT(ParseInferenceConfig("vllm:\n  a: [1]\n").status().message(), HasSubstr("vllm.a"));
  EXPECT_FALSE(ParseInferenceConfig("vllm: [\n").ok());
}

TEST(InferenceConfigTest, TheSharedDefaultIsValid) {
  EXPECT_TRUE(ParseInferenceConfig(DefaultInferenceConfig()).ok());
  EXPECT_TRUE(ParseInferenceConfig("").ok());
}

}  // namespace
}  // namespace workspace_controller
