// Bodies of POST /chat, as the first servers of this kind read them.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/net/http.h"
#include "kaito/inference/v1/inference.pb.h"

namespace model_server::gateway {

// Which field decides what a request is.
enum class ChatPipeline {
  kAuto,            // The one that is there.
  kTextGeneration,  // `prompt`
  kConversational,  // `messages`
};

// How long an answer may be, in the words of the time: `max_length` counts prompt and answer.
struct SeedLengths {
  std::optional<int64_t> max_new_tokens;
  std::optional<int64_t> max_length;  // As given; nullopt: 200.
  std::optional<int64_t> min_new_tokens;
  int64_t min_length = 0;
};

struct SeedCall {
  // Exactly one, by `conversation`.
  kaito::inference::v1::GenerateRequest generate;
  kaito::inference::v1::ChatRequest chat;
  bool conversation = false;

  SeedLengths lengths;
  std::string full_text;  // What the result begins with: prefix and prompt, or nothing.
  bool clean_up_spaces = false;
  bool stream = false;

  kaito::inference::v1::Sampling& sampling() {
    return conversation ? *chat.mutable_sampling() : *generate.mutable_sampling();
  }
};

// What is wrong with a request: 422 {"detail":[{"loc","msg","type"}]} for a body that does not fit
// the schema, 400 {"detail":"…"} for what does not make sense.
struct SeedProblem {
  std::optional<net::Response> response;

  bool found() const { return response.has_value(); }
  void Malformed(const std::vector<std::string>& location, std::string_view message,
                 std::string_view type);
  void Refused(std::string_view detail);
};

// `text` is the body as it came.
SeedCall ReadSeedCall(std::string_view text, ChatPipeline pipeline, bool wants_events,
                      SeedProblem& problem);

// The rules of lengths, once the prompt's tokens are known; fills in the sampling.
void ApplyLengths(const SeedLengths& lengths, int64_t prompt_tokens, SeedProblem& problem,
                  kaito::inference::v1::Sampling* sampling);
// False when max_new_tokens alone decides, and no count is needed.
bool NeedsPromptTokens(const SeedLengths& lengths);

}  // namespace model_server::gateway
