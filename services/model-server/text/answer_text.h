// The tokens of one answer → the pieces that a client gets.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/llm/tokenizer.h"
#include "model-server/engine/token_stream.h"
#include "model-server/text/detokenizer.h"
#include "model-server/text/stop_matcher.h"

namespace model_server {

struct AnswerOptions {
  std::vector<std::string> stops;
  std::vector<int32_t> stop_tokens;
  bool include_stop = false;
  bool keep_special_tokens = false;
  int min_tokens = 0;  // Stop strings count only in the text of later tokens.
  bool logprobs = false;
};

struct TokenLogprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;
};

struct AnswerDelta {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<TokenLogprobs> logprobs;
  FinishReason finish = FinishReason::kNone;
  std::string matched_stop;  // The stop string or the stop token's text, with kStop.
};

// Owned by one thread. `tokenizer` must outlive it.
class AnswerText {
 public:
  AnswerText(const llm::Tokenizer& tokenizer, AnswerOptions options);

  // Adds an event to `delta`. Events after the end are dropped: the engine may be a few tokens
  // ahead when a stop string is found.
  void Append(TokenEvent event, AnswerDelta& delta);

  bool finished() const { return finished_; }
  // Every sampled token up to the end.
  int completion_tokens() const { return completion_tokens_; }

 private:
  void AppendToken(const TokenEvent& event, AnswerDelta& delta);
  void Finish(FinishReason reason, AnswerDelta& delta);

  const llm::Tokenizer& tokenizer_;
  const AnswerOptions options_;
  Detokenizer detokenizer_;
  StopMatcher stops_;
  int completion_tokens_ = 0;
  bool finished_ = false;
};

}  // namespace model_server
