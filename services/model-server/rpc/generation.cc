#include "model-server/rpc/generation.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"

namespace model_server {
namespace {

// /chat's rule for long prompts: the oldest tokens go, so that prompt and new tokens fit.
void DropOldest(int context_tokens_max, int max_tokens, std::vector<int32_t>& prompt) {
  const int room = context_tokens_max - std::max(max_tokens, 1);
  if (room < 1 || static_cast<int>(prompt.size()) <= room) return;
  prompt.erase(prompt.begin(), prompt.end() - room);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Generation>> Generation::Start(
    std::shared_ptr<const Backend> backend, Wishes wishes, std::function<void()> on_events) {
  std::unique_ptr<Generation> generation(new Generation());
  Engine& engine = *backend->engine;
  Sampling& sampling = wishes.answer.sampling;
  if (wishes.drop_oldest) {
    DropOldest(engine.context_tokens_max(), sampling.max_tokens, wishes.prompt);
  }
  generation->stream_ = std::make_shared<TokenStream>(std::move(on_events));
  generation->prompt_tokens_ = static_cast<int>(wishes.prompt.size());
  generation->answers_left_ = sampling.n;
  for (int choice = 0; choice < sampling.n; ++choice) {
    generation->answers_.emplace_back(*backend->tokenizer, wishes.answer.answer);
    generation->waiting_.emplace_back();
    if (wishes.echo.has_value()) generation->waiting_.back().emplace().text = *wishes.echo;
  }
  generation->backend_ = std::move(backend);
  RETURN_IF_ERROR(engine.Submit({.id = std::move(wishes.request_id),
                                 .prompt = std::move(wishes.prompt),
                                 .sampling = std::move(sampling),
                                 .priority = wishes.priority,
                                 .cache_salt = std::move(wishes.cache_salt),
                                 .deadline = wishes.deadline},
                                generation->stream_));
  return generation;
}

std::optional<GenerationPiece> Generation::Next() {
  while (std::optional<TokenEvent> event = stream_->Pop()) Take(std::move(*event));
  for (size_t choice = 0; choice < waiting_.size(); ++choice) {
    if (!waiting_[choice].has_value()) continue;
    AnswerDelta delta = std::move(*waiting_[choice]);
    waiting_[choice].reset();
    if (delta.finish != FinishReason::kNone) --answers_left_;
    return GenerationPiece{.index = static_cast<int>(choice), .delta = std::move(delta)};
  }
  return std::nullopt;
}

void Generation::Take(TokenEvent event) {
  const auto choice = static_cast<size_t>(event.choice);
  AnswerText& answer = answers_[choice];
  if (answer.finished()) return;
  if (event.finish == FinishReason::kError) {
    if (error_.ok()) error_ = event.error;
    return;
  }
  const bool ends_in_engine = event.finish != FinishReason::kNone;
  if (!waiting_[choice].has_value()) waiting_[choice].emplace();
  answer.Append(std::move(event), *waiting_[choice]);
  // A stop string: the engine does not see text, so it must be told.
  if (answer.finished() && !ends_in_engine) {
    stream_->CancelChoice(static_cast<int>(choice));
    backend_->engine->Wake();
  }
}

void Generation::Cancel() {
  stream_->Cancel();
  backend_->engine->Wake();
}

int Generation::completion_tokens() const {
  int tokens = 0;
  for (const AnswerText& answer : answers_) tokens += answer.completion_tokens();
  return tokens;
}

}  // namespace model_server
