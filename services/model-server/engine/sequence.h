// What the engine keeps of a request. Used by engine_core.cc alone.

#pragma once

#include <memory>
#include <vector>

#include "model-server/engine/engine_core.h"

namespace model_server {

// One of a request's answers as it grows.
struct EngineCore::Sequence {
  Request* request = nullptr;
  int id = 0;
  int choice = 0;
  int64_t arrival = 0;
  std::vector<int32_t> tokens;  // Prompt, then output.
  int computed = 0;             // Of them in the cache.
  std::vector<int> blocks;      // Empty: it waits.
  int published = 0;            // Blocks that the pool remembers, or knows from another sequence.
  PrefixNode node = 0;          // After the last published one.
  int preemptions = 0;
  bool running = false;
  bool finished = false;
  absl::Duration last_token = absl::ZeroDuration();

  int missing() const { return static_cast<int>(tokens.size()) - computed; }
};

struct EngineCore::Request {
  GenerationRequest wanted;
  std::shared_ptr<TokenStream> stream;
  std::vector<std::unique_ptr<Sequence>> sequences;  // The first computes the prompt for all.
  bool branched = false;                             // The others exist.
  bool dirty = false;                                // Its reader has news.
  bool first_token_seen = false;
  bool admitted = false;
  absl::Duration paused_since = absl::InfiniteDuration();
  RequestTimes times;
  int generated = 0;
  FinishReason last_reason = FinishReason::kNone;

  int prompt_tokens() const { return static_cast<int>(wanted.prompt.size()); }
  int alive() const {
    int count = 0;
    for (const auto& sequence : sequences) count += sequence->finished ? 0 : 1;
    return count;
  }
};

}  // namespace model_server
