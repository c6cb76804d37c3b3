// The real model against another implementation's logits (testdata/). Skipped where the model file
// is not on this machine.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "model-server/model/load.h"

namespace model_server {
namespace {

namespace json = boost::json;

std::string ModelPath() {
  const char* const path = std::getenv("KAITO_TEST_MODEL");
  if (path != nullptr) return path;
  const char* const home = std::getenv("HOME");
  return std::string(home == nullptr ? "" : home) + "/.cache/kaito/models/smollm2-135m-instruct";
}

json::object ReadGolden(const std::string& name) {
  const auto text = base::ReadFile(std::string(KAITO_TEST_DATA) + "/" + name);
  EXPECT_TRUE(text.ok()) << text.status();
  return json::parse(*text).as_object();
}

std::vector<int32_t> Ints(const json::value& array) {
  std::vector<int32_t> ints;
  for (const json::value& value : array.as_array()) ints.push_back(value.to_number<int32_t>());
  return ints;
}

std::vector<double> Doubles(const json::value& array) {
  std::vector<double> doubles;
  for (const json::value& value : array.as_array()) doubles.push_back(value.to_number<double>());
  return doubles;
}

double LogSumExp(std::span<const float> logits) {
  const double max = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - max);
  return max + std::log(sum);
}

// One sequence after another, in the blocks 0, 1, 2, …
class Runner {
 public:
  explicit Runner(Model& model) : model_(model), logits_(model.facts().vocabulary) {
    table_.resize(model.facts().context_tokens_max / model.facts().kv_block_tokens);
    std::iota(table_.begin(), table_.end(), 0);
  }

  void Restart() { position_ = 0; }

  // The logits after the last token.
  std::span<const float> Feed(std::span<const int32_t> tokens) {
    const StepSequence sequence = {
        .tokens = tokens, .first_position = position_, .block_table = table_, .wants_logits = true};
    model_.Step({&sequence, 1}, logits_);
    position_ += static_cast<int>(tokens.size());
    return logits_;
  }

 private:
  Model& model_;
  std::vector<int32_t> table_;
  std::vector<float> logits_;
  int position_ = 0;
};

class GoldenTest : public testing::Test {
 protected:
  std::unique_ptr<Model> Load(LoadOptions options) {
    options.max_model_len = 2048;
    auto model = LoadModel(ModelPath(), options);
    if (!model.ok()) return nullptr;
    EXPECT_TRUE((*model)->AllocateCache(128).ok());
    return std::move(*model);
  }
};

#define LOAD_OR_SKIP(model, ...)                          \
  const std::unique_ptr<Model> model = Load(__VA_ARGS__); \
  if (model == nullptr)                                   \
  GTEST_SKIP() << "SKIPPED: no model at " << ModelPath() << "; set KAITO_TEST_MODEL"

// The greatest difference of the 50 best logits of the prompts' last positions.
double WorstLogit(Model& model, const json::object& golden) {
  Runner runner(model);
  double worst = 0;
  for (const json::value& prompt : golden.at("prompts").as_array()) {
    runner.Restart();
    const std::span<const float> logits = runner.Feed(Ints(prompt.at("ids")));
    const double shift = LogSumExp(logits) - prompt.at("logsumexp_f64").to_number<double>();
    for (const json::value& entry : prompt.at("top50").as_array()) {
      const double want = entry.at("logit_f64").to_number<double>();
      const double got = logits[entry.at("id").to_number<int>()];
      worst = std::max(worst, std::abs(got - shift - want));  // Of log-probabilities.
    }
  }
  return worst;
}

double Perplexity(Model& model, const json::object& golden) {
  Runner runner(model);
  const std::vector<int32_t> ids = Ints(golden.at("text").at("ids"));
  double sum = 0;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const std::span<const float> logits = runner.Feed({&ids[i], 1});
    sum += logits[ids[i + 1]] - LogSumExp(logits);
  }
  return std::exp(-sum / static_cast<double>(ids.size() - 1));
}

TEST_F(GoldenTest, Float32LogitsAreWithinAThousandth) {
  LOAD_OR_SKIP(model, {.reference_float32 = true});
  EXPECT_LT(WorstLogit(*model, ReadGolden("smollm2.json")), 1e-3);
}

TEST_F(GoldenTest, Float32ContinuationsAreTheSame) {
  LOAD_OR_SKIP(model, {.reference_float32 = true});
  Runner runner(*model);
  const json::object golden = ReadGolden("smollm2.json");
  for (const json::value& prompt : golden.at("prompts").as_array()) {
    runner.Restart();
    const std::vector<int32_t> wanted = Ints(prompt.at("greedy64_f32"));
    const std::vector<double> margins = Doubles(prompt.at("greedy_margin_f64"));
    std::vector<int32_t> next = Ints(prompt.at("ids"));
    for (size_t i = 0; i < wanted.size() && margins[i] > 0.01; ++i) {
      const std::span<const float> logits = runner.Feed(next);
      const auto best = std::ranges::max_element(logits) - logits.begin();
      ASSERT_EQ(best, wanted[i]) << "token " << i << " of " << prompt.at("text");
      next = {static_cast<int32_t>(best)};
    }
  }
}

TEST_F(GoldenTest, Float32LongPromptIsWithinAThousandthAcrossSpans) {
  LOAD_OR_SKIP(model, {.reference_float32 = true});
  Runner runner(*model);
  const json::object golden = ReadGolden("smollm2.long.json");
  const std::vector<int32_t> ids = Ints(golden.at("ids"));
  size_t fed = 0;
  for (const json::value& entry : golden.at("positions").as_array()) {
    const auto position = entry.at("position").to_number<size_t>();
    std::span<const float> logits;
    while (fed <= position) {
      const size_t count = std::min<size_t>(position + 1 - fed, 200);
      logits = runner.Feed(std::span(ids).subspan(fed, count));
      fed += count;
    }
    for (const json::value& top : entry.at("top20").as_array()) {
      EXPECT_NEAR(logits[top.at("id").to_number<int>()], top.at("logit_f64").to_number<double>(),
                  1e-3)
          << "position " << position;
    }
  }
}

TEST_F(GoldenTest, Int8LogitsAndPerplexityStayNear) {
  LOAD_OR_SKIP(model, {});
  const json::object golden = ReadGolden("smollm2.json");
  const double worst = WorstLogit(*model, golden);
  RecordProperty("worst_log_probability_difference", std::to_string(worst));
  EXPECT_LT(worst, 0.4);
  const double wanted = golden.at("text").at("perplexity_f64").to_number<double>();
  const double perplexity = Perplexity(*model, golden);
  RecordProperty("perplexity", std::to_string(perplexity));
  EXPECT_NEAR(perplexity, wanted, 0.005 * wanted);
}

TEST_F(GoldenTest, ChunksAndThreadsDoNotChangeABit) {
  LOAD_OR_SKIP(whole, {.threads = 2});
  LOAD_OR_SKIP(chunked, {.threads = 3});
  const std::vector<int32_t> ids = Ints(ReadGolden("smollm2.long.json").at("ids"));
  Runner a(*whole);
  Runner b(*chunked);
  const std::span<const int32_t> prompt = std::span(ids).first(600);
  a.Feed(prompt.first(512));
  const std::span<const float> want = a.Feed(prompt.subspan(512));
  std::span<const float> got;
  for (size_t at = 0; at < prompt.size(); at += 37) {
    got = b.Feed(prompt.subspan(at, std::min<size_t>(37, prompt.size() - at)));
  }
  EXPECT_TRUE(std::ranges::equal(want, got));
}

}  // namespace
}  // namespace model_server
