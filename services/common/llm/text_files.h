// Tokenizer and chat template as a GGUF file carries them.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/llm/chat_template.h"
#include "common/llm/gguf.h"
#include "common/llm/tokenizer.h"

namespace llm {

// kInvalidArgument or kNotFound with the key for a file whose vocabulary is not sound,
// kUnimplemented for a kind of tokenizer we lack. The file may be closed afterwards.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufFile& file);

// nullptr for a file without a template.
absl::StatusOr<std::unique_ptr<ChatTemplate>> LoadChatTemplate(const GgufFile& file);

// bos_token and eos_token as templates see them.
std::map<std::string, std::string> TemplateTokens(const Tokenizer& tokenizer);

}  // namespace llm
