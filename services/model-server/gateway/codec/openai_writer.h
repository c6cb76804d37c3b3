// Answers of /v1/chat/completions and /v1/completions.

#pragma once

#include <memory>

#include "model-server/gateway/codec/openai_request.h"
#include "model-server/gateway/renderer.h"

namespace model_server::gateway {

struct OpenAiFormat {
  StreamOptions stream;
  bool logprobs = false;
  bool return_token_ids = false;
};

std::unique_ptr<Renderer> MakeChatRenderer(const OpenAiFormat& format);
std::unique_ptr<Renderer> MakeCompletionRenderer(const OpenAiFormat& format);

// {"prompt_tokens":…}, also used by /chat.
void AppendUsage(const TotalUsage& usage, std::string* out);

}  // namespace model_server::gateway
