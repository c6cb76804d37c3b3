// Text or a conversation → the tokens of a prompt.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "common/base/clock.h"
#include "common/llm/chat_template.h"
#include "common/llm/tokenizer.h"

namespace model_server {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;  // An object.
};

struct Message {
  std::string role;
  std::optional<std::string> content;
  std::string name;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
  std::string reasoning_content;
};

struct Tool {
  std::string name;
  std::string description;
  std::string parameters_json;  // A JSON schema.
};

struct Conversation {
  std::vector<Message> messages;
  std::vector<Tool> tools;
  std::string template_kwargs_json;  // An object, or empty.
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // The last message is the beginning of the answer.
};

// Thread-safe. What it refers to must outlive it.
class PromptBuilder {
 public:
  // `chat_template` may be null: then conversations are refused.
  PromptBuilder(const llm::Tokenizer& tokenizer, const llm::ChatTemplate* chat_template,
                const base::Clock& clock);

  // Special tokens in the text are recognised.
  std::vector<int32_t> FromText(std::string_view text, bool add_special_tokens) const;

  // Special tokens in messages stay text. Errors name the field: kInvalidArgument, also with what
  // the template itself says when it refuses the conversation.
  absl::StatusOr<std::vector<int32_t>> FromConversation(const Conversation& conversation) const;

  bool has_chat_template() const { return chat_template_ != nullptr; }
  bool template_takes_tools() const {
    return chat_template_ != nullptr && chat_template_->Mentions("tools");
  }

 private:
  const llm::Tokenizer& tokenizer_;
  const llm::ChatTemplate* chat_template_;
  const base::Clock& clock_;
};

}  // namespace model_server
