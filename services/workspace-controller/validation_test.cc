#include "workspace-controller/validation.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "workspace-controller/testing.h"

namespace workspace_controller {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

ValidationResult Check(std::string_view patch, const ValidationOptions& options = {}) {
  return Validate(Read(Patched(WorkspaceObject(), patch)), ShippedPresets(), ShippedTypes(),
                  options);
}

std::string Errors(std::string_view patch, const ValidationOptions& options = {}) {
  return Check(patch, options).ErrorText();
}

TEST(ValidationTest, TheBaseIsFineWithoutAWarning) {
  const ValidationResult result = Check("{}");
  EXPECT_THAT(result.errors, IsEmpty());
  EXPECT_THAT(result.warnings, IsEmpty());
}

TEST(ValidationTest, EveryFaultOfTheObjectHasItsMessage) {
  const struct {
    const char* patch;
    const char* message;
  } rows[] = {
      {R"({"metadata":{"name":"My_ws"}})", "invalid name"},
      {R"({"inference":null})", "not neither"},
      {R"({"tuning":{"method":"qlora"}})", "but not both"},
      {R"({"metadata":{"annotations":{"kaito.sh/node-image-family":"windows"}}})",
       "azurelinux, ubuntu"},
      {R"({"metadata":{"annotations":{"kaito.sh/performance-mode":"fast"}}})", "unsupported"},
      {R"({"metadata":{"annotations":{"kaito.sh/use-local-weights":"maybe"}}})", "invalid value"},
      {R"({"resource":{"instanceType":null}})", "instanceType is required"},
      {R"({"resource":{"instanceType":"Standard_FOO"}})", "Supported SKUs: ["},
      {R"({"resource":{"count":2},"metadata":{"annotations":{"kaito.sh/runtime":"transformers"}}})",
       "Multi-node distributed inference is not supported"},
      {R"({"resource":{"labelSelector":{"matchLabels":{"apps":null,"kaito.sh/x":"y"}}}})",
       "at least one non-reserved label"},
      {R"({"resource":{"labelSelector":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}})",
       "operator Exists"},
      {R"({"resource":{"partition":{"mode":"mig","profile":"1g.10gb"}}})",
       "only supported with BYO nodes"},
      {R"({"resource":{"partition":{"mode":"half"}}})", "unsupported partition mode"},
      {R"({"inference":{"preset":{"name":"nope"}}})", "Unsupported inference preset name nope"},
      {R"({"inference":{"template":{}}})", "cannot be set at the same time"},
      {R"({"inference":{"preset":null}})", "must be specified"},
      {R"({"inference":{"preset":{"name":"llama-3.1-8b-instruct"}}})",
       "needs a modelAccessSecret with HF_TOKEN key"},
      {R"({"inference":{"preset":{"accessMode":"private"}}})", "presetOptions.image"},
      {R"({"inference":{"adapters":[{"strength":"0.5"}]}})", "Source is missing"},
      {R"({"inference":{"adapters":[{"source":{"image":"i"}}]}})", "Name of Adapter field"},
      {R"({"inference":{"adapters":[{"source":{"name":"a"}}]}})", "Either Image or Volume"},
      {R"({"inference":{"adapters":[{"source":{"name":"a","urls":["u"]}}]}})", "URLs are not"},
      {R"({"inference":{"adapters":[{"source":{"name":"a","image":"i"},"strength":"abc"}]}})",
       "Invalid strength value"},
      {R"({"inference":{"adapters":[{"source":{"name":"a","image":"i"},"strength":"1.5"}]}})",
       "must be between 0 and 1"},
      {R"({"inference":{"adapters":[{"source":{"name":"a","image":"i"}},
           {"source":{"name":"a","image":"i"}}]}})",
       "Duplicate adapter source name found"},
  };
  for (const auto& row : rows) EXPECT_THAT(Errors(row.patch), HasSubstr(row.message)) << row.patch;
}

TEST(ValidationTest, WhatIsAllowedPasses) {
  for (const char* patch :
       {R"({"metadata":{"annotations":{"kaito.sh/performance-mode":"throughput"}}})",
        R"({"inference":{"adapters":[{"source":{"name":"a","image":"i"},"strength":"0.5"}]}})",
        R"({"inference":{"preset":{"name":"PHI-4"}}})",
        R"({"inference":{"preset":{"name":"org/model"}}})",
        R"({"resource":{"instanceType":"standard_nc24ADS_a100_v4"}})",
        R"({"inference":{"preset":{"name":"llama-3.1-8b-instruct",
            "presetOptions":{"modelAccessSecret":"s"}}}})"}) {
    EXPECT_EQ(Errors(patch), "") << patch;
  }
}

TEST(ValidationTest, PlausibleAzureNamesAndDeprecatedModelsOnlyWarn) {
  EXPECT_THAT(Check(R"({"resource":{"instanceType":"Standard_N99"}})").WarningText(),
              HasSubstr("Standard_N99 is not in the table"));
  EXPECT_THAT(Check(R"({"resource":{"instanceType":"standard_d8"}})").WarningText(),
              HasSubstr("standard_d8"));
  EXPECT_THAT(Check(R"({"inference":{"preset":{"name":"phi-2"}}})").WarningText(),
              HasSubstr("deprecated"));
  EXPECT_THAT(Errors(R"({"resource":{"instanceType":"Standard_N99"}})", {.cloud_provider = "aws"}),
              HasSubstr("Unsupported instance type"));
}

TEST(ValidationTest, AllFaultsComeAtOnceSortedByField) {
  const ValidationResult result = Check(
      R"({"metadata":{"name":"A"},"resource":{"instanceType":null},
          "inference":{"preset":{"name":"nope"}}})");
  ASSERT_EQ(result.errors.size(), 3);
  EXPECT_THAT(result.errors[0], HasSubstr("inference.preset.name: "));
  EXPECT_THAT(result.errors[1], HasSubstr("metadata.name: "));
  EXPECT_THAT(result.errors[2], HasSubstr("resource.instanceType: "));
  EXPECT_THAT(result.ErrorText(), HasSubstr("; "));
}

TEST(ValidationTest, ArchitectureThatTheServerDoesNotRunIsRefusedByName) {
  const std::string errors = Errors("{}", {.served_architectures = {"LlamaForCausalLM"}});
  EXPECT_THAT(errors, HasSubstr("Unsupported model architecture Phi3ForCausalLM"));
  EXPECT_THAT(errors, HasSubstr("LlamaForCausalLM"));
}

TEST(ValidationTest, NearMissOfAPresetsNameIsAnsweredWithThatName) {
  EXPECT_THAT(Errors(R"({"inference":{"preset":{"name":"smollm2-135m-instrct"}}})"),
              HasSubstr("did you mean smollm2-135m-instruct?"));
}

TEST(ValidationTest, NodesOfTheUserHaveNoInstanceType) {
  EXPECT_THAT(Errors("{}", {.nodes_are_provisioned = false}),
              HasSubstr("instanceType must be empty"));
}

}  // namespace
}  // namespace workspace_controller
