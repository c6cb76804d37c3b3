// Bodies of the OpenAI routes → gRPC requests. Every rule of a field that needs no model stands
// here; what depends on the model (context, vocabulary, served names) the model server checks.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "kaito/inference/v1/inference.pb.h"
#include "model-server/gateway/codec/fields.h"

namespace model_server::gateway {

struct RequestRules {
  bool strict_fields = false;            // Unknown fields are an error, not ignored.
  bool allow_request_templates = false;  // `chat_template` may be given.
};

struct StreamOptions {
  bool stream = false;
  bool include_usage = false;     // One last event with the usage.
  bool continuous_usage = false;  // Usage in every event.
};

struct ChatCall {
  kaito::inference::v1::ChatRequest request;
  StreamOptions stream;
  bool logprobs = false;
  bool return_token_ids = false;
  std::vector<std::string> ignored;  // Names of unknown fields.
};

struct CompletionCall {
  // One per prompt, in order; all alike but for the prompt.
  std::vector<kaito::inference::v1::GenerateRequest> requests;
  StreamOptions stream;
  bool logprobs = false;
  bool echo = false;
  bool return_token_ids = false;
  std::vector<std::string> ignored;
};

// `body` must be JSON of the right shape; else `problem` says what is wrong and the result means
// nothing.
ChatCall ReadChatCall(const boost::json::value& body, const RequestRules& rules, Problem& problem);
CompletionCall ReadCompletionCall(const boost::json::value& body, const RequestRules& rules,
                                  Problem& problem);

// Parts that both share, and /tokenize uses.

// A list of messages at `name`.
void ReadMessages(Fields& fields, std::string_view name, Problem& problem,
                  google::protobuf::RepeatedPtrField<kaito::inference::v1::Message>* messages);
void ReadTools(Fields& fields, Problem& problem,
               google::protobuf::RepeatedPtrField<kaito::inference::v1::Tool>* tools);
void ReadSampling(Fields& fields, Problem& problem, kaito::inference::v1::Sampling* sampling);
StreamOptions ReadStreamOptions(Fields& fields, Problem& problem);
// Refuses what would constrain the output: there is no support for it yet, and free text instead
// would be a silent difference.
void RefuseConstraints(Fields& fields, Problem& problem);
// Names that stay, or an error under strict rules.
std::vector<std::string> UnknownFields(const Fields& fields, const RequestRules& rules,
                                       Problem& problem);

// The body as an object; sets `problem` and returns an empty one otherwise.
const boost::json::object& BodyObject(const boost::json::value& body, Problem& problem);

}  // namespace model_server::gateway
