// Protobuf messages ⇄ plain structs. Every limit on a request's fields is checked here.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "kaito/inference/v1/inference.pb.h"
#include "model-server/engine/sampling.h"
#include "model-server/ops/server_state.h"
#include "model-server/text/answer_text.h"
#include "model-server/text/prompt_builder.h"

namespace model_server {

struct AnswerWishes {
  Sampling sampling;
  AnswerOptions answer;
};

// kInvalidArgument names the field as OpenAI does; kUnimplemented for what we lack.
absl::StatusOr<AnswerWishes> ReadSampling(const kaito::inference::v1::Sampling& sampling,
                                          const kaito::inference::v1::Output& output,
                                          const llm::Tokenizer& tokenizer, int vocabulary);

Conversation ReadConversation(const kaito::inference::v1::ChatRequest& request);
Conversation ReadConversation(const kaito::inference::v1::TokenizeRequest& request);

// kUnimplemented for wishes about tools that only a parser of the answer could fulfil.
absl::Status CheckToolChoice(const kaito::inference::v1::ChatRequest& request);

// `id` if it is one, a new one if it is empty; kInvalidArgument otherwise.
absl::StatusOr<std::string> ReadRequestId(const std::string& id);

void WriteFinish(FinishReason reason, const std::string& matched_stop,
                 kaito::inference::v1::Finish& out);
void WriteLogprobs(const TokenLogprobs& logprobs, const llm::Tokenizer& tokenizer,
                   kaito::inference::v1::TokenLogprobs& out);
kaito::inference::v1::ServerState WriteState(const StateSnapshot& state);

}  // namespace model_server
