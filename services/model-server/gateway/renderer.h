// How an answer looks on the wire: one implementation per route.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/net/http.h"
#include "kaito/inference/v1/inference.pb.h"
#include "model-server/gateway/api_error.h"
#include "model-server/gateway/upstream.h"

namespace model_server::gateway {

// What all parts of one answer share.
struct AnswerHead {
  std::string request_id;
  int64_t created = 0;
  std::string model;
  std::string fingerprint;
};

// All of one choice.
struct Choice {
  std::string text;
  std::string reasoning;
  std::vector<kaito::inference::v1::ToolCallDelta> tool_calls;  // Complete, by index.
  std::vector<uint32_t> token_ids;
  std::vector<kaito::inference::v1::TokenLogprobs> logprobs;
  kaito::inference::v1::Finish finish;

  void Add(Piece piece);
};

// Prompt tokens once per prompt, completion tokens of all choices.
struct TotalUsage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t reasoning_tokens = 0;
};

// Used by one session, under its lock. Event texts are whole server-sent events.
class Renderer {
 public:
  virtual ~Renderer() = default;

  // Before the first piece of a stream with `choices` choices; may be "".
  virtual std::string StreamStart(const AnswerHead& head, int choices) = 0;
  // "" when the piece says nothing (yet). `usage` is the running total, where asked for.
  virtual std::string StreamPiece(const AnswerHead& head, const Piece& piece,
                                  const TotalUsage& usage) = 0;
  virtual std::string StreamEnd(const AnswerHead& head, const TotalUsage& usage) = 0;
  virtual std::string StreamError(const ApiError& error) = 0;

  virtual net::Response Whole(const AnswerHead& head, const std::vector<Choice>& choices,
                              const TotalUsage& usage) = 0;
};

// stop, length, tool_calls.
std::string_view FinishName(kaito::inference::v1::FinishReason reason);

}  // namespace model_server::gateway
