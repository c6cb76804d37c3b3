#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/llm/tokenizer_testing.h"
#include "model-server/text/answer_text.h"
#include "model-server/text/stop_matcher.h"

namespace model_server {
namespace {

const llm::Tokenizer& SmolLm2() {
  static const std::unique_ptr<llm::Tokenizer> kTokenizer = llm::LoadTestTokenizer();
  return *kTokenizer;
}

// What comes out for `text` cut into pieces of `size` bytes.
std::string RunStops(std::vector<std::string> stops, std::string_view text, size_t size,
                     bool include_stop = false) {
  StopMatcher matcher(std::move(stops), include_stop);
  std::string out;
  for (size_t at = 0; at < text.size(); at += size) out += matcher.Append(text.substr(at, size));
  return out + matcher.Finish();
}

TEST(StopMatcherTest, TheTextEndsBeforeTheStopStringHoweverItIsCut) {
  for (size_t size = 1; size < 12; ++size) {
    EXPECT_EQ(RunStops({"STOP"}, "one STO two STOP three", size), "one STO two ") << size;
    EXPECT_EQ(RunStops({"STOP"}, "one STO", size), "one STO") << size;
    EXPECT_EQ(RunStops({"aab"}, "aaaab!", size), "aa") << size;
    EXPECT_EQ(RunStops({"\n\n", "END"}, "a\nb\n\nEND", size), "a\nb") << size;
    EXPECT_EQ(RunStops({"STOP"}, "x STOP", size, true), "x STOP") << size;
  }
}

TEST(StopMatcherTest, OfTwoStopStringsTheFirstToBeCompleteWinsThenTheLonger) {
  for (size_t size = 1; size < 8; ++size) {
    EXPECT_EQ(RunStops({"bcde", "cd"}, "abcdef", size), "ab") << size;
    EXPECT_EQ(RunStops({"cd", "bcd"}, "abcdef", size), "a") << size;
  }
}

TEST(StopMatcherTest, OnlyWhatCouldBecomeAStopStringIsHeldBack) {
  StopMatcher matcher({"</s>"}, false);
  EXPECT_EQ(matcher.Append("hello <"), "hello ");
  EXPECT_EQ(matcher.Append("/b> world</"), "</b> world");
  EXPECT_EQ(matcher.Append("s"), "");
  EXPECT_EQ(matcher.matched(), "");
  EXPECT_EQ(matcher.Append(">gone"), "");
  EXPECT_EQ(matcher.matched(), "</s>");
  EXPECT_EQ(matcher.Append("more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcherTest, RandomTextsGiveTheSameForEveryCut) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 40; ++i) text += static_cast<char>('a' + random() % 3);
    std::vector<std::string> stops(1 + random() % 3);
    for (std::string& stop : stops) {
      for (size_t i = 0; i < 2 + random() % 4; ++i) stop += static_cast<char>('a' + random() % 3);
    }
    const std::string whole = RunStops(stops, text, text.size());
    for (size_t size = 1; size < 7; ++size) EXPECT_EQ(RunStops(stops, text, size), whole);
  }
}

// Feeds all tokens of `text`, the last with `finish`.
AnswerDelta Answer(AnswerText& answer, const std::vector<int32_t>& tokens, FinishReason finish) {
  AnswerDelta all;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool last = i + 1 == tokens.size();
    answer.Append({.token = tokens[i], .finish = last ? finish : FinishReason::kNone}, all);
  }
  return all;
}

TEST(AnswerTextTest, CharactersCutByTokensComeOutWhole) {
  AnswerText answer(SmolLm2(), {});
  const std::string text = "Grüße 😀 你好";
  const AnswerDelta all = Answer(answer, SmolLm2().Encode(text, false), FinishReason::kLength);
  EXPECT_EQ(all.text, text);
  EXPECT_EQ(all.finish, FinishReason::kLength);
}

TEST(AnswerTextTest, TheEndTokenIsCountedButNotWritten) {
  AnswerText answer(SmolLm2(), {});
  const AnswerDelta all = Answer(answer, {19556, 2}, FinishReason::kStop);
  EXPECT_EQ(all.text, "Hello");
  EXPECT_EQ(answer.completion_tokens(), 2);
  EXPECT_EQ(all.matched_stop, "");
}

TEST(AnswerTextTest, AStopStringEndsTheAnswerAndNothingAfterItCounts) {
  AnswerText answer(SmolLm2(), {.stops = {"three"}});
  const std::vector<int32_t> tokens = SmolLm2().Encode("one two three four five", false);
  const AnswerDelta all = Answer(answer, tokens, FinishReason::kLength);
  EXPECT_EQ(all.text, "one two ");
  EXPECT_EQ(all.finish, FinishReason::kStop);
  EXPECT_EQ(all.matched_stop, "three");
  EXPECT_EQ(answer.completion_tokens(), 3);
  EXPECT_EQ(all.tokens.size(), 3);
}

TEST(AnswerTextTest, MinTokensDelaysStopStrings) {
  AnswerText answer(SmolLm2(), {.stops = {" two"}, .min_tokens = 3});
  const std::vector<int32_t> tokens = SmolLm2().Encode("one two three two four", false);
  const AnswerDelta all = Answer(answer, tokens, FinishReason::kLength);
  EXPECT_EQ(all.text, "one two three");
}

TEST(AnswerTextTest, AStopTokenIsNamedAndWrittenOnlyWhenAskedFor) {
  const int32_t world = SmolLm2().Encode(" world", false)[0];
  AnswerText drops(SmolLm2(), {.stop_tokens = {world}});
  EXPECT_EQ(Answer(drops, {19556, world}, FinishReason::kStop).text, "Hello");
  AnswerText keeps(SmolLm2(), {.stop_tokens = {world}, .include_stop = true});
  const AnswerDelta all = Answer(keeps, {19556, world}, FinishReason::kStop);
  EXPECT_EQ(all.text, "Hello world");
  EXPECT_EQ(all.matched_stop, " world");
}

TEST(AnswerTextTest, SpecialTokensAreWrittenOnlyWhenAskedFor) {
  AnswerText drops(SmolLm2(), {});
  EXPECT_EQ(Answer(drops, {1, 19556}, FinishReason::kLength).text, "Hello");
  AnswerText keeps(SmolLm2(), {.keep_special_tokens = true});
  EXPECT_EQ(Answer(keeps, {1, 19556}, FinishReason::kLength).text, "<|im_start|>Hello");
}

}  // namespace
}  // namespace model_server
