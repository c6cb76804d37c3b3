// One answering request between its checked wishes and the pieces of its answers.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "model-server/rpc/backend.h"
#include "model-server/rpc/convert.h"

namespace model_server {

struct GenerationPiece {
  int index = 0;
  AnswerDelta delta;
};

// Owned by one thread at a time; Cancel() from any.
class Generation {
 public:
  struct Wishes {
    std::string request_id;
    std::vector<int32_t> prompt;
    AnswerWishes answer;
    int priority = 0;
    std::string cache_salt;
    absl::Duration deadline;          // On the monotonic clock.
    bool drop_oldest = false;         // Cut a prompt that is too long at its beginning.
    std::optional<std::string> echo;  // Put before each answer.
  };

  // Puts the request into the engine's queue; `on_events` as for TokenStream.
  static absl::StatusOr<std::unique_ptr<Generation>> Start(std::shared_ptr<const Backend> backend,
                                                           Wishes wishes,
                                                           std::function<void()> on_events);

  // The next piece, in which all that has come for one answer is joined; nullopt when nothing has.
  std::optional<GenerationPiece> Next();

  // All answers have ended.
  bool finished() const { return answers_left_ == 0; }
  // Not OK when the request broke off.
  const absl::Status& error() const { return error_; }

  void Cancel();

  int prompt_tokens() const { return prompt_tokens_; }
  int completion_tokens() const;
  int cached_prompt_tokens() const { return stream_->cached_prompt_tokens(); }
  const Backend& backend() const { return *backend_; }

 private:
  Generation() = default;
  void Take(TokenEvent event);

  std::shared_ptr<const Backend> backend_;
  std::shared_ptr<TokenStream> stream_;
  std::vector<AnswerText> answers_;
  std::vector<std::optional<AnswerDelta>> waiting_;  // By choice: not handed out yet.
  int prompt_tokens_ = 0;
  int answers_left_ = 0;
  absl::Status error_;
};

}  // namespace model_server
