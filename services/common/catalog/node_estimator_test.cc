#include "common/catalog/node_estimator.h"

#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/catalog/testing.h"

namespace catalog {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

const Presets& ShippedPresets() {
  static std::vector<Problem> problems;
  static const auto* const presets =
      new Presets(Presets::Load(KAITO_SOURCE_DIR "/deploy/presets", problems));
  return *presets;
}

const GpuTypes& ShippedTypes() {
  static std::vector<Problem> problems;
  static const auto* const types =
      new GpuTypes(GpuTypes::Load(KAITO_SOURCE_DIR "/deploy/gpu-types", problems));
  return *types;
}

PlanRequest RequestFor(std::string_view preset, std::string_view type) {
  const GpuType* found = ShippedTypes().Find("azure", type);
  EXPECT_NE(found, nullptr) << type;
  return {.preset = ShippedPresets().Find(preset),
          .gpus = FactsOf(*found),
          .type_name = found->name,
          .types = &ShippedTypes(),
          .provider = "azure"};
}

// A model of so many weights without anything that grows with the context.
Preset Model(double weights_gib, int heads = 32) {
  return {.id = "org/model",
          .weights_bytes = static_cast<int64_t>(weights_gib * static_cast<double>(kGiB)),
          .context = 4096,
          .layers = 32,
          .heads = heads};
}

GpuFacts Gpus(int gpus, int64_t gib_each) {
  return {.gpus = gpus, .memory_total_bytes = gpus * gib_each * kGiB};
}

TEST(UpperBoundNodesTest, EqualsEveryRowOfTheVectors) {
  int rows = 0;
  for (const auto& row : ReadCsv(KAITO_TEST_DATA "/node_count_vectors.csv")) {
    const Preset* preset = ShippedPresets().Find(row.at("model"));
    ASSERT_NE(preset, nullptr);
    EXPECT_EQ(KvBytesPerToken(*preset), atoll(row.at("bytes_per_token").c_str())) << preset->id;
    const GpuFacts gpus = Gpus(atoi(row.at("gpus").c_str()), 0);
    const GpuFacts facts{.gpus = gpus.gpus,
                         .memory_total_bytes = atoll(row.at("gpu_mem_gib").c_str()) * kGiB};
    const auto nodes = UpperBoundNodes(*preset, facts, atoll(row.at("context").c_str()));
    const std::string& expected = row.at("expected_nodes");
    EXPECT_EQ(nodes.ok() ? std::to_string(*nodes) : "error", expected)
        << row.at("model") << " on " << row.at("sku") << " with " << row.at("context");
    ++rows;
  }
  EXPECT_EQ(rows, 960);
}

TEST(UpperBoundNodesTest, SmallGpuIsAnErrorThatNamesTheOverhead) {
  const auto nodes = UpperBoundNodes(Model(1), Gpus(1, 2), 2048);
  EXPECT_EQ(nodes.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(nodes.status().message(), HasSubstr("is too small, needs at least"));
}

TEST(PlanNodesTest, NeverNeedsMoreNodesThanTheBoundOnAnyRowOfTheVectors) {
  for (const auto& row : ReadCsv(KAITO_TEST_DATA "/node_count_vectors.csv")) {
    if (row.at("expected_nodes") == "error") continue;
    const PlanOutcome outcome =
        PlanNodes({.preset = ShippedPresets().Find(row.at("model")),
                   .gpus = {.gpus = atoi(row.at("gpus").c_str()),
                            .memory_total_bytes = atoll(row.at("gpu_mem_gib").c_str()) * kGiB},
                   .type_name = row.at("sku"),
                   .context_tokens = atoi(row.at("context").c_str())});
    if (outcome.plan) {
      EXPECT_LE(outcome.plan->nodes, atoi(row.at("expected_nodes").c_str())) << row.at("model");
    } else {
      EXPECT_FALSE(outcome.reason.empty());
    }
  }
}

TEST(PlanNodesTest, SmallModelNeedsOneNodeWhateverTheCount) {
  PlanRequest request = RequestFor("falcon-7b", "Standard_NV36ads_A10_v5");
  for (const int count : {0, 1, 3}) {
    request.count = count;
    ASSERT_TRUE(PlanNodes(request).plan.has_value());
    EXPECT_EQ(PlanNodes(request).plan->nodes, 1);
  }
}

TEST(PlanNodesTest, LongContextNeedsFewerNodesThanTheBound) {
  PlanRequest request = RequestFor("llama-3.1-8b-instruct", "Standard_NV36ads_A10_v5");
  request.context_tokens = 131072;
  const PlanOutcome outcome = PlanNodes(request);
  ASSERT_TRUE(outcome.plan.has_value()) << outcome.message;
  EXPECT_EQ(outcome.plan->upper_bound, 9);
  EXPECT_EQ(outcome.plan->nodes, 2);
  EXPECT_EQ(outcome.plan->context_tokens, 131072);
}

TEST(PlanNodesTest, HugeModelOnSmallGpusIsRefusedWithLimitWishAndBetterTypes) {
  PlanRequest request = RequestFor("deepseek-r1-0528", "Standard_NV36ads_A10_v5");
  const PlanOutcome refused = PlanNodes(request);
  EXPECT_FALSE(refused.plan.has_value());
  EXPECT_EQ(refused.reason, "NodePlanRefused");
  EXPECT_THAT(refused.message, HasSubstr("more than the limit of 4"));
  EXPECT_THAT(refused.message, HasSubstr("try Standard_ND"));

  request.count = 39;
  const PlanOutcome wanted = PlanNodes(request);
  ASSERT_TRUE(wanted.plan.has_value()) << wanted.message;
  EXPECT_EQ(wanted.plan->upper_bound, 39);
  EXPECT_LE(wanted.plan->nodes, 39);
  EXPECT_TRUE(wanted.plan->deep_pipeline);

  request.count = 0;
  request.bypass = true;
  const PlanOutcome bypassed = PlanNodes(request);
  EXPECT_TRUE(bypassed.plan.has_value());
  EXPECT_EQ(bypassed.message, refused.message);
}

TEST(PlanNodesTest, ExampleThatAsksForSixNodesGetsAtMostTheBound) {
  PlanRequest request = RequestFor("deepseek-r1-0528", "Standard_NC80adis_H100_v5");
  request.count = 6;
  const PlanOutcome outcome = PlanNodes(request);
  ASSERT_TRUE(outcome.plan.has_value()) << outcome.message;
  EXPECT_EQ(outcome.plan->upper_bound, 5);
  EXPECT_LE(outcome.plan->nodes, 5);
}

TEST(PlanNodesTest, EverySeedPresetRunsOnTheTypeOfItsExampleWithAtMostItsCount) {
  struct Row {
    const char* preset;
    const char* type;
    int count;
  };
  for (const Row& row :
       {Row{"falcon-7b", "Standard_NC12s_v3", 1}, Row{"falcon-7b-instruct", "Standard_NC12s_v3", 1},
        Row{"falcon-40b", "Standard_NC96ads_A100_v4", 1},
        Row{"llama-2-7b-chat", "Standard_NC12s_v3", 1},
        Row{"llama-2-13b-chat", "Standard_NC12s_v3", 1},
        Row{"llama-2-70b-chat", "Standard_NC96ads_A100_v4", 2},
        Row{"mistral-7b-instruct", "Standard_NC12s_v3", 1}, Row{"phi-2", "Standard_NC6s_v3", 1},
        Row{"phi-3-mini-4k-instruct", "Standard_NC6s_v3", 1},
        Row{"phi-3-mini-128k-instruct", "Standard_NC6s_v3", 1}}) {
    const PlanOutcome outcome = PlanNodes(RequestFor(row.preset, row.type));
    ASSERT_TRUE(outcome.plan.has_value()) << row.preset << ": " << outcome.message;
    EXPECT_LE(outcome.plan->nodes, row.count) << row.preset;
  }
}

TEST(PlanNodesTest, ModelThatFitsNowhereNamesTheLargestContextAndOtherTypes) {
  PlanRequest request = RequestFor("phi-3-mini-128k-instruct", "Standard_NC4as_T4_v3");
  request.context_tokens = 131072;  // 48 GiB of cache for one sequence.
  const PlanOutcome outcome = PlanNodes(request);
  EXPECT_EQ(outcome.plan.has_value(), true) << "v0.3 admitted it: a warning only";
  EXPECT_THAT(outcome.message, HasSubstr("the largest context that fits is"));

  Preset preset = Model(4);
  preset.layers = 2;
  preset.kv_lora_rank = 100'000;  // A cache that every rank holds whole.
  request.preset = &preset;
  const PlanOutcome refused = PlanNodes(request);
  EXPECT_FALSE(refused.plan.has_value());
  EXPECT_EQ(refused.reason, "ModelDoesNotFit");
  EXPECT_THAT(refused.message, HasSubstr("try Standard_"));
}

TEST(PlanNodesTest, WithoutAGivenLengthTheLargestContextThatFitsIsPlanned) {
  const PlanOutcome small = PlanNodes(RequestFor("smollm2-135m", "Standard_NC24ads_A100_v4"));
  ASSERT_TRUE(small.plan.has_value());
  EXPECT_TRUE(small.plan->context_auto);
  EXPECT_EQ(small.plan->context_tokens, 8192) << "the model's own limit";

  const PlanOutcome tight =
      PlanNodes(RequestFor("llama-3.1-8b-instruct", "Standard_NV36ads_A10_v5"));
  ASSERT_TRUE(tight.plan.has_value());
  EXPECT_GT(tight.plan->context_tokens, 40000);
  EXPECT_LT(tight.plan->context_tokens, 50000) << "5.6 GiB of 128 KiB each";
}

TEST(PlanNodesTest, SmallModelOnOneNodeIsCopiedToEveryGpuBelowHalfOfOne) {
  const auto degrees = [](double weights_gib, GpuFacts gpus) {
    const Preset preset = Model(weights_gib);
    const PlanOutcome outcome = PlanNodes({.preset = &preset, .gpus = gpus, .type_name = "x"});
    EXPECT_TRUE(outcome.plan.has_value()) << outcome.message;
    return *outcome.plan;
  };
  EXPECT_EQ(degrees(8, Gpus(4, 40)).data_parallel, 4);
  EXPECT_EQ(degrees(8, Gpus(4, 40)).tensor_parallel, 1);
  EXPECT_EQ(degrees(20, Gpus(4, 40)).data_parallel, 1) << "exactly half is not less";
  EXPECT_EQ(degrees(20, Gpus(4, 40)).tensor_parallel, 4);
  EXPECT_EQ(degrees(8, Gpus(1, 40)).data_parallel, 1);
  EXPECT_EQ(degrees(0, Gpus(4, 40)).data_parallel, 1) << "size unknown";
}

TEST(PlanNodesTest, SeveralNodesArePipelineStagesWithAllGpusOfANodeInOneStage) {
  const Preset preset = Model(250);
  const PlanOutcome outcome = PlanNodes({.preset = &preset, .gpus = Gpus(4, 40), .type_name = "x"});
  ASSERT_TRUE(outcome.plan.has_value()) << outcome.message;
  EXPECT_EQ(outcome.plan->nodes, 2);
  EXPECT_EQ(outcome.plan->tensor_parallel, 4);
  EXPECT_EQ(outcome.plan->pipeline_parallel, 2);
  EXPECT_EQ(outcome.plan->data_parallel, 1);
}

TEST(PlanNodesTest, TensorDegreeDividesTheHeadsAndGpusMayIdle) {
  const Preset preset = Model(20, /*heads=*/9);
  const PlanOutcome outcome = PlanNodes({.preset = &preset, .gpus = Gpus(4, 40), .type_name = "x"});
  ASSERT_TRUE(outcome.plan.has_value());
  EXPECT_EQ(outcome.plan->tensor_parallel, 3);
  EXPECT_EQ(outcome.plan->nodes, 1);
}

TEST(PlanNodesTest, DegreesOfTheUserWinButNotBeyondTheGpus) {
  const Preset preset = Model(20);
  PlanRequest request{.preset = &preset, .gpus = Gpus(4, 40), .type_name = "x"};
  request.tensor_parallel = 2;
  request.data_parallel = 2;
  ASSERT_TRUE(PlanNodes(request).plan.has_value());
  EXPECT_EQ(PlanNodes(request).plan->tensor_parallel, 2);
  request.tensor_parallel = 8;
  EXPECT_EQ(PlanNodes(request).reason, "ConfigInvalid");
  EXPECT_THAT(PlanNodes(request).message, HasSubstr("tensor 8"));
}

TEST(PlanNodesTest, NodeWithoutGpusIsPlannedByTheMemoryOfItsHost) {
  const PlanOutcome outcome = PlanNodes(RequestFor("smollm2-135m", "Standard_D4s_v5"));
  ASSERT_TRUE(outcome.plan.has_value()) << outcome.message;
  EXPECT_EQ(outcome.plan->nodes, 1);
  EXPECT_EQ(outcome.plan->gpus_per_node, 0);
}

TEST(PlanNodesTest, MoreStagesThanLayersAreRefusedEvenWhenAskedFor) {
  Preset preset = Model(100);
  preset.layers = 2;
  PlanRequest request{.preset = &preset, .gpus = Gpus(1, 40), .type_name = "x", .bypass = true};
  EXPECT_EQ(PlanNodes(request).reason, "NodePlanRefused");
}

TEST(MigTest, SliceThatIsTooSmallNamesNeedAndOffer) {
  const Preset preset = Model(8);
  EXPECT_TRUE(CheckMigSlice(preset, "2g.24gb", 0).ok());
  const absl::Status status = CheckMigSlice(preset, "1g.10gb", 0);
  EXPECT_THAT(status.message(), HasSubstr("only provides"));
  EXPECT_THAT(status.message(), HasSubstr("10.87"));
  EXPECT_THAT(status.message(), HasSubstr("8.4"));
  EXPECT_THAT(CheckMigSlice(preset, "9g.99gb", 0).message(), HasSubstr("failed to get MIG GPU"));
  EXPECT_EQ(MigProfiles().size(), 35);
}

TEST(CheckGpuServedTest, OtherVendorsAndOldCapabilitiesAreRefusedByName) {
  EXPECT_TRUE(CheckGpuServed(*ShippedTypes().Find("azure", "Standard_NC6s_v3")).ok());
  EXPECT_TRUE(CheckGpuServed(*ShippedTypes().Find("azure", "Standard_D4s_v5")).ok());
  EXPECT_THAT(CheckGpuServed(*ShippedTypes().Find("aws", "g4ad.xlarge")).message(),
              HasSubstr("AMD Radeon"));
  EXPECT_THAT(CheckGpuServed(*ShippedTypes().Find("azure", "Standard_NV6")).message(),
              HasSubstr("5.2"));
  EXPECT_FALSE(CheckGpuServed(*ShippedTypes().Find("aws", "inf2.xlarge")).ok());
}

}  // namespace
}  // namespace catalog
