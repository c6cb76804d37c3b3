#include "model-server/engine/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "boost/json.hpp"
#include "common/base/files.h"
#include "model-server/engine/philox.h"

namespace model_server {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
namespace json = boost::json;

constexpr float kMasked = -std::numeric_limits<float>::infinity();

struct GoldenRow {
  int64_t n = 0;
  std::vector<float> logits;
  Sampling sampling;
  std::vector<int32_t> prompt;
  std::vector<int32_t> output;
  std::vector<double> vllm;
  std::vector<double> transformers;  // Empty: not known.
};

std::vector<double> Doubles(const json::value& value) {
  std::vector<double> numbers;
  for (const json::value& v : value.as_array()) numbers.push_back(v.to_number<double>());
  return numbers;
}

std::vector<int32_t> Ints(const json::value& value) {
  std::vector<int32_t> numbers;
  for (const json::value& v : value.as_array()) numbers.push_back(v.to_number<int32_t>());
  return numbers;
}

GoldenRow ReadRow(const json::object& line) {
  GoldenRow row{.n = line.at("n").as_int64(),
                .prompt = Ints(line.at("prompt_ids")),
                .output = Ints(line.at("output_ids")),
                .vllm = Doubles(line.at("p_vllm"))};
  for (const json::value& v : line.at("logits_f32").as_array()) {
    row.logits.push_back(v.is_null() ? kMasked : v.to_number<float>());
  }
  const auto number = [&](const char* key) { return line.at(key).to_number<float>(); };
  row.sampling.temperature = number("temperature");
  row.sampling.top_k = line.at("top_k").to_number<int>();
  row.sampling.top_p = number("top_p");
  row.sampling.min_p = number("min_p");
  row.sampling.repetition_penalty = number("repetition_penalty");
  row.sampling.frequency_penalty = number("frequency_penalty");
  row.sampling.presence_penalty = number("presence_penalty");
  for (const auto& [key, bias] : line.at("logit_bias").as_object()) {
    row.sampling.logit_bias.emplace_back(std::stoi(std::string(key)), bias.to_number<float>());
  }
  const json::value* hf = line.if_contains("p_hf");
  if (hf != nullptr && !hf->is_null()) {
    row.transformers = hf->is_string() ? row.vllm : Doubles(*hf);
  }
  return row;
}

std::vector<GoldenRow> ReadGoldenRows() {
  const std::string text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/sampling.jsonl").value();
  std::vector<GoldenRow> rows;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    rows.push_back(ReadRow(json::parse(text.substr(at, end - at)).as_object()));
    at = end + 1;
  }
  return rows;
}

void ExpectDistribution(const GoldenRow& row, const std::vector<double>& expected) {
  Sampler sampler(64, 64, {});
  const TokenHistory history{.prompt = row.prompt, .output = row.output};
  if (row.sampling.temperature < 1e-5) {
    const auto sampled = sampler.Sample(row.logits, row.sampling, history, 0);
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    EXPECT_EQ(expected[sampled->token], 1) << "row " << row.n;
    return;
  }
  std::vector<double> actual(64, 0);
  double sum = 0;
  for (const Candidate& c : sampler.Candidates(row.logits, row.sampling, history)) {
    sum += c.weight;
    actual[c.token] = c.weight;
  }
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(actual[i] / sum, expected[i], 2e-6) << "row " << row.n << ", token " << i;
    // Below this a float32 may round to nothing.
    EXPECT_EQ(actual[i] > 1e-36, expected[i] > 1e-36) << "row " << row.n << ", token " << i;
  }
}

TEST(SamplerTest, DistributionsEqualVllmsGoldenRows) {
  const std::vector<GoldenRow> rows = ReadGoldenRows();
  EXPECT_EQ(rows.size(), 40);
  for (const GoldenRow& row : rows) ExpectDistribution(row, row.vllm);
}

TEST(SamplerTest, DistributionsEqualTransformersGoldenRows) {
  int compared = 0;
  for (GoldenRow row : ReadGoldenRows()) {
    if (row.transformers.empty()) continue;
    row.sampling.order = FilterOrder::kTransformers;
    ExpectDistribution(row, row.transformers);
    ++compared;
  }
  EXPECT_EQ(compared, 28);
}

TEST(SamplerTest, ChoicesFollowTheDistribution) {
  Sampler sampler(4, 4, {});
  const std::vector<float> logits = {std::log(0.1F), std::log(0.2F), std::log(0.7F), kMasked};
  std::map<int32_t, int> counts;
  constexpr int kDraws = 20'000;
  for (int seed = 0; seed < kDraws; ++seed) {
    ++counts[sampler.Sample(logits, {.seed = static_cast<uint64_t>(seed)}, {}, 0)->token];
  }
  EXPECT_NEAR(counts[0], 0.1 * kDraws, 200);
  EXPECT_NEAR(counts[1], 0.2 * kDraws, 250);
  EXPECT_NEAR(counts[2], 0.7 * kDraws, 300);
  EXPECT_EQ(counts[3], 0);
}

TEST(SamplerTest, TheSameSeedPositionAndAnswerGiveTheSameTokenWhateverTheFiltersLeave) {
  Sampler sampler(64, 64, {});
  std::vector<float> logits(64);
  for (int i = 0; i < 64; ++i) logits[i] = std::sin(static_cast<float>(i));
  const std::vector<int32_t> output = {1, 2, 3};
  const TokenHistory history{.output = output};
  std::set<int32_t> seen;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const int32_t token = sampler.Sample(logits, {.seed = seed}, history, 1)->token;
    EXPECT_EQ(sampler.Sample(logits, {.seed = seed}, history, 1)->token, token);
    // Filters that keep the chosen token do not change the choice.
    EXPECT_EQ(sampler.Sample(logits, {.top_p = 0.9999F, .seed = seed}, history, 1)->token, token);
    seen.insert(token);
  }
  EXPECT_GT(seen.size(), 10);
}

TEST(SamplerTest, PhiloxGivesTheNumbersOfThePaper) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, 0), ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffff),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
}

TEST(SamplerTest, GreedyTakesTheLowestIdOfEquals) {
  Sampler sampler(4, 4, {});
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 3, 3, 2}, {.temperature = 0}, {}, 0)->token, 1);
  EXPECT_EQ(sampler.Sample(std::vector<float>{-1, -5, -1, -2}, {.temperature = 0}, {}, 0)->token,
            0);
}

TEST(SamplerTest, LogitsThatAreNoNumbersEndTheRequest) {
  Sampler sampler(2, 2, {});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float temperature : {0.0F, 1.0F}) {
    const Sampling sampling{.temperature = temperature};
    EXPECT_EQ(sampler.Sample(std::vector<float>{1, nan}, sampling, {}, 0).status().code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(sampler.Sample(std::vector<float>{nan, 1}, sampling, {}, 0).status().code(),
              absl::StatusCode::kDataLoss);
    EXPECT_EQ(sampler.Sample(std::vector<float>{-kMasked, 1}, sampling, {}, 0).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(SamplerTest, MasksKeepTokensOut) {
  Sampler sampler(6, 5, {4});  // Token 5 is padding, token 4 ends the text.
  const std::vector<float> logits = {0, 1, 2, 3, 4, 9};
  const auto greedy = [&](Sampling sampling, TokenHistory history = {}) {
    sampling.temperature = 0;
    return sampler.Sample(logits, sampling, history, 0)->token;
  };
  EXPECT_EQ(greedy({}), 4);
  EXPECT_EQ(greedy({.min_tokens = 1}), 3);
  EXPECT_EQ(greedy({.min_tokens = 1, .stop_tokens = {3}}), 2);
  EXPECT_EQ(greedy({.allowed_tokens = {0, 1}}), 1);
  const std::vector<int32_t> output = {2, 3, 4, 2, 3};
  EXPECT_EQ(greedy({.min_tokens = 5}, {.output = output}), 4);
  EXPECT_EQ(greedy({.bad_words = {{2, 3, 4}}}, {.output = output}), 3);
  EXPECT_EQ(greedy({.bad_words = {{3, 3, 4}}}, {.output = output}), 4);
  EXPECT_EQ(greedy({.no_repeat_ngram = 3}, {.output = output}), 3);
  EXPECT_EQ(greedy({.no_repeat_ngram = 3}, {.prompt = output}), 3);
  EXPECT_EQ(greedy({.no_repeat_ngram = 1}, {.output = output}), 1);
  EXPECT_EQ(
      sampler.Sample(logits, {.temperature = 0, .allowed_tokens = {5}}, {}, 0).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST(SamplerTest, TypicalSamplingKeepsWhatIsNearTheExpectedSurprise) {
  // Entropy of (0.6, 0.3, 0.1) is 0.898; surprises 0.51, 1.20, 2.30: distances 0.39, 0.31, 1.4.
  Sampler sampler(3, 3, {});
  const std::vector<float> logits = {std::log(0.6F), std::log(0.3F), std::log(0.1F)};
  const auto kept = [&](float p) {
    std::set<int32_t> tokens;
    const Sampling sampling{.typical_p = p, .order = FilterOrder::kTransformers};
    for (const Candidate& c : sampler.Candidates(logits, sampling, {})) tokens.insert(c.token);
    return tokens;
  };
  EXPECT_THAT(kept(0.2F), UnorderedElementsAre(1));
  EXPECT_THAT(kept(0.5F), UnorderedElementsAre(0, 1));
  EXPECT_THAT(kept(0.95F), UnorderedElementsAre(0, 1, 2));
}

TEST(SamplerTest, LogprobsAreTheModelsOwnWhateverTheRequestChanges) {
  Sampler sampler(3, 3, {});
  const std::vector<float> logits = {std::log(0.2F) + 7, std::log(0.5F) + 7, std::log(0.3F) + 7};
  const auto sampled =
      sampler.Sample(logits, {.temperature = 0, .logit_bias = {{0, 50.0F}}, .logprobs = 2}, {}, 0);
  ASSERT_TRUE(sampled.ok());
  EXPECT_EQ(sampled->token, 0);
  EXPECT_NEAR(sampled->logprob, std::log(0.2), 1e-5);
  ASSERT_EQ(sampled->top.size(), 2);
  EXPECT_EQ(sampled->top[0].token, 1);
  EXPECT_NEAR(sampled->top[0].logprob, std::log(0.5), 1e-5);
  EXPECT_EQ(sampled->top[1].token, 2);
}

}  // namespace
}  // namespace model_server
