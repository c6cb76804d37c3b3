#include "model-server/text/answer_text.h"

#include <algorithm>
#include <utility>

namespace model_server {

AnswerText::AnswerText(const llm::Tokenizer& tokenizer, AnswerOptions options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      detokenizer_(tokenizer, options_.keep_special_tokens),
      stops_(options_.stops, options_.include_stop) {}

void AnswerText::Append(TokenEvent event, AnswerDelta& delta) {
  if (finished_) return;
  if (event.token >= 0) AppendToken(event, delta);
  if (!finished_ && event.finish != FinishReason::kNone) Finish(event.finish, delta);
}

void AnswerText::AppendToken(const TokenEvent& event, AnswerDelta& delta) {
  ++completion_tokens_;
  delta.tokens.push_back(event.token);
  if (options_.logprobs) {
    delta.logprobs.push_back(
        {.chosen = {.token = event.token, .logprob = event.logprob}, .top = event.top});
  }
  if (event.finish == FinishReason::kStop) {
    const bool asked_for = std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(),
                                     event.token) != options_.stop_tokens.end();
    if (asked_for) delta.matched_stop = tokenizer_.TokenBytes(event.token);
    if (!options_.include_stop) return;
  }
  const std::string text = detokenizer_.Append(event.token);
  if (completion_tokens_ <= options_.min_tokens) {
    delta.text += text;
    return;
  }
  delta.text += stops_.Append(text);
  if (stops_.matched().empty()) return;
  finished_ = true;
  delta.finish = FinishReason::kStop;
  delta.matched_stop = stops_.matched();
}

void AnswerText::Finish(FinishReason reason, AnswerDelta& delta) {
  finished_ = true;
  delta.text += stops_.Append(detokenizer_.Finish());
  delta.text += stops_.Finish();
  delta.finish = reason;
}

}  // namespace model_server
