// The tokens of one request on their way from the engine to whoever writes them out.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "model-server/engine/sampling.h"

namespace model_server {

enum class FinishReason {
  kNone,     // It goes on.
  kStop,     // End-of-text or a stop token.
  kLength,   // max_tokens or the end of the context.
  kAborted,  // From outside.
  kError,    // See TokenEvent::error.
};

struct TokenEvent {
  int choice = 0;                             // Which of the n answers.
  int32_t token = -1;                         // -1: no token, only the end.
  float logprob = 0;                          // If asked for.
  std::vector<TokenLogprob> top;              // If asked for.
  FinishReason finish = FinishReason::kNone;  // Once per choice, with its last event.
  absl::Status error;
};

// A bounded queue between two threads: the engine pushes, one reader pops. A reader that does not
// keep up never blocks the engine: its sequences pause.
class TokenStream {
 public:
  // `on_events` is called on the engine thread after each step that pushed something, and must be
  // quick. It may be called before Engine::Submit() has returned, and once after the last event has
  // been read: it owns what it needs.
  explicit TokenStream(std::function<void()> on_events) : on_events_(std::move(on_events)) {}

  // The reader's side.
  std::optional<TokenEvent> Pop();
  // Ends the whole request after the step that is running. Any thread.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }
  // Ends one choice: its text is complete, for instance by a stop string.
  void CancelChoice(int choice) { choices_cancelled_.fetch_or(1U << choice); }
  // How many tokens of the prompt were found in the cache.
  int cached_prompt_tokens() const { return cached_prompt_tokens_; }

  // The engine's side.
  // Whether `count` tokens have room. Events without a token always have.
  bool HasRoom(int count) const;
  void Push(TokenEvent event);
  void Notify() { on_events_(); }
  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  bool IsChoiceCancelled(int choice) const {
    return ((choices_cancelled_.load() >> choice) & 1U) != 0;
  }
  void set_cached_prompt_tokens(int tokens) { cached_prompt_tokens_ = tokens; }

  // Ends the request with FinishReason::kAborted instead of silently. Any thread.
  void Abort() { aborted_.store(true, std::memory_order_release); }
  bool aborted() const { return aborted_.load(std::memory_order_acquire); }

  static constexpr int kChoicesMax = 16;
  static constexpr size_t kTokensMax = 64;  // In the queue; then the request's sequences pause.

 private:
  // One more end for each choice fits even when the tokens fill their share.
  static constexpr size_t kSlots = 128;
  static_assert(kTokensMax + 2 * kChoicesMax < kSlots);

  const std::function<void()> on_events_;
  std::array<TokenEvent, kSlots> events_;
  std::atomic<size_t> pushed_ = 0;  // Count up for ever; the slot is the remainder.
  std::atomic<size_t> popped_ = 0;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> aborted_ = false;
  std::atomic<uint32_t> choices_cancelled_ = 0;
  std::atomic<int> cached_prompt_tokens_ = 0;
};

}  // namespace model_server
