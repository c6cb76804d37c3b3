#include "common/catalog/gpu_types.h"

#include <cstdio>
#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/base/files.h"
#include "common/catalog/testing.h"

namespace catalog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

GpuTypes Shipped() {
  std::vector<Problem> problems;
  GpuTypes types = GpuTypes::Load(KAITO_SOURCE_DIR "/deploy/gpu-types", problems);
  EXPECT_THAT(problems, IsEmpty());
  return types;
}

TEST(GpuTypesTest, ShippedFilesHaveEveryTypeOfBothListsAndNoProblem) {
  const GpuTypes types = Shipped();
  const auto current = ReadCsv(KAITO_TEST_DATA "/sku_catalogue.csv");
  const auto seed = ReadCsv(KAITO_TEST_DATA "/seed_sku_catalogue.csv");
  ASSERT_THAT(current, SizeIs(57));
  ASSERT_THAT(seed, SizeIs(79));
  for (const auto& row : current) {
    const GpuType* type = types.Find(row.at("provider"), row.at("sku"));
    ASSERT_NE(type, nullptr) << row.at("sku");
    EXPECT_EQ(absl::StrFormat("%d", type->gpus), row.at("gpus")) << type->name;
    EXPECT_EQ(absl::StrFormat("%g", type->memory_total_gib), row.at("gpu_mem_total_gib"));
    EXPECT_EQ(type->compute_capability, row.at("cuda_compute_capability")) << type->name;
    EXPECT_EQ(type->local_nvme, row.at("local_nvme") == "yes") << type->name;
  }
  for (const auto& row : seed) {
    const GpuType* type = types.Find(row.at("provider"), row.at("sku"));
    ASSERT_NE(type, nullptr) << row.at("sku");
    EXPECT_EQ(absl::StrFormat("%d", type->gpus), row.at("gpus")) << type->name;
  }
}

TEST(GpuTypesTest, CurrentValueWinsOverTheSeedList) {
  const GpuTypes types = Shipped();
  const GpuType* type = types.Find("azure", "Standard_ND96amsr_A100_v4");
  ASSERT_NE(type, nullptr);
  EXPECT_EQ(type->gpus, 8);
  EXPECT_EQ(type->memory_total_gib, 640);
}

TEST(GpuTypesTest, NamesAreFoundInAnyCaseButOnlyWithinTheProvider) {
  const GpuTypes types = Shipped();
  EXPECT_NE(types.Find("azure", "standard_nc12S_V3"), nullptr);
  EXPECT_EQ(types.Find("aws", "Standard_NC12s_v3"), nullptr);
  EXPECT_EQ(types.Find("azure", "Standard_FOO"), nullptr);
}

TEST(GpuTypesTest, BadEntryIsReportedWithFileAndFieldAndTheOthersStay) {
  const TestFolder folder;
  folder.Write("x.yaml",
               "provider: azure\ntypes:\n"
               "  - name: Good\n    gpus: 1\n    memoryTotalGiB: 16\n    vendor: nvidia\n"
               "  - name: Bad\n    gpus: many\n    memoryTotalGiB: 16\n    vendor: nvidia\n"
               "  - name: Typo\n    gpus: 0\n    vcpu: 4\n");
  std::vector<Problem> problems;
  const GpuTypes types = GpuTypes::Load(folder.path(), problems);
  EXPECT_THAT(types.All(), SizeIs(1));
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_THAT(problems[0].ToString(), HasSubstr("x.yaml: types[1].gpus: \"many\" is no whole"));
  EXPECT_THAT(problems[1].ToString(), HasSubstr("types[2].vcpu: is no known key"));
}

TEST(GpuTypesTest, FileThatIsNoYamlIsOneProblemWithItsLine) {
  const TestFolder folder;
  folder.Write("x.yaml", "provider: azure\ntypes: [\n");
  folder.Write("y.yaml", "provider: aws\ntypes:\n  - name: cpu\n    gpus: 0\n");
  std::vector<Problem> problems;
  EXPECT_THAT(GpuTypes::Load(folder.path(), problems).All(), SizeIs(1));
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0].reason, HasSubstr("line "));
}

TEST(GpuTypesTest, FolderThatIsMissingIsOneProblem) {
  std::vector<Problem> problems;
  EXPECT_THAT(GpuTypes::Load("/nowhere/at/all", problems).All(), IsEmpty());
  EXPECT_THAT(problems, SizeIs(1));
}

TEST(GpuTypesTest, ComputeCapabilitiesCompareAsNumbers) {
  GpuType type{.compute_capability = "12.0"};
  EXPECT_TRUE(type.HasComputeCapability("9.0"));
  type.compute_capability = "6.1";
  EXPECT_FALSE(type.HasComputeCapability("7.0"));
  type.compute_capability = "";
  EXPECT_FALSE(type.HasComputeCapability("7.0"));
}

TEST(GpuTypesTest, MemoryOfOneGpuIsTheTotalDividedInWholeBytes) {
  const GpuType type{.gpus = 3, .memory_total_gib = 1};
  EXPECT_EQ(type.gpu_bytes(), 1073741824 / 3);
}

}  // namespace
}  // namespace catalog
