#include "model-server/text/prompt_builder.h"

#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/llm/text_files.h"
#include "common/llm/unicode.h"
#include "model-server/engine/request_error.h"

namespace model_server {
namespace {

namespace json = boost::json;

constexpr size_t kMessagesMax = 4096;
constexpr size_t kToolsMax = 128;

absl::StatusOr<json::object> ParseObject(const std::string& text, const std::string& field,
                                         std::string_view code) {
  boost::system::error_code error;
  json::parse_options options;
  options.max_depth = 64;
  json::value value = json::parse(text, error, {}, options);
  if (error) return InvalidField(field, absl::StrFormat("%s is not JSON", field), code);
  if (!value.is_object()) {
    return InvalidField(field, absl::StrFormat("%s must be a JSON object", field), code);
  }
  return std::move(value.as_object());
}

absl::Status CheckMessage(const Message& message, const std::string& field) {
  bool known = false;
  for (const std::string_view role : {"system", "developer", "user", "assistant", "tool"}) {
    known = known || message.role == role;
  }
  if (!known) {
    return InvalidField(field + ".role",
                        absl::StrFormat("%s.role must be system, developer, user, assistant or "
                                        "tool, not \"%.40s\"",
                                        field, message.role));
  }
  if (!message.content.has_value() && message.tool_calls.empty()) {
    return InvalidField(field + ".content", absl::StrFormat("%s.content is missing", field),
                        "missing_parameter");
  }
  if (message.content.has_value() && !llm::IsValidUtf8(*message.content)) {
    return InvalidField(field + ".content", absl::StrFormat("%s.content is not UTF-8", field));
  }
  return absl::OkStatus();
}

absl::StatusOr<json::object> MessageToJson(const Message& message, const std::string& field) {
  RETURN_IF_ERROR(CheckMessage(message, field));
  json::object out;
  out["role"] = message.role;
  // Templates join content to strings: where it is absent they expect the empty string.
  out["content"] = message.content.value_or("");
  if (!message.name.empty()) out["name"] = message.name;
  if (!message.tool_call_id.empty()) out["tool_call_id"] = message.tool_call_id;
  if (!message.reasoning_content.empty()) out["reasoning_content"] = message.reasoning_content;
  if (message.tool_calls.empty()) return out;
  json::array calls;
  for (size_t i = 0; i < message.tool_calls.size(); ++i) {
    const ToolCall& call = message.tool_calls[i];
    const std::string path = absl::StrFormat("%s.tool_calls[%d].function.arguments", field, i);
    ASSIGN_OR_RETURN(json::object arguments,
                     ParseObject(call.arguments_json.empty() ? "{}" : call.arguments_json, path,
                                 "invalid_value"));
    json::object function;
    function["name"] = call.name;
    function["arguments"] = std::move(arguments);
    json::object entry;
    entry["id"] = call.id;
    entry["type"] = "function";
    entry["function"] = std::move(function);
    calls.push_back(std::move(entry));
  }
  out["tool_calls"] = std::move(calls);
  return out;
}

absl::StatusOr<json::value> ToolsToJson(const std::vector<Tool>& tools) {
  if (tools.empty()) return json::value(nullptr);
  if (tools.size() > kToolsMax) {
    return InvalidField("tools", absl::StrFormat("at most %d tools", kToolsMax), "invalid_tools");
  }
  json::array out;
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string field = absl::StrFormat("tools[%d].function", i);
    if (tools[i].name.empty()) {
      return InvalidField(field + ".name", field + ".name is missing", "invalid_tools");
    }
    ASSIGN_OR_RETURN(json::object parameters,
                     ParseObject(tools[i].parameters_json.empty() ? "{}" : tools[i].parameters_json,
                                 field + ".parameters", "invalid_tools"));
    json::object function;
    function["name"] = tools[i].name;
    if (!tools[i].description.empty()) function["description"] = tools[i].description;
    function["parameters"] = std::move(parameters);
    json::object tool;
    tool["type"] = "function";
    tool["function"] = std::move(function);
    out.push_back(std::move(tool));
  }
  return json::value(std::move(out));
}

std::string_view WithoutSpaces(std::string_view text, bool left, bool right) {
  constexpr std::string_view kSpaces = " \t\n\r\f\v";
  while (left && !text.empty() && kSpaces.find(text.front()) != std::string_view::npos) {
    text.remove_prefix(1);
  }
  while (right && !text.empty() && kSpaces.find(text.back()) != std::string_view::npos) {
    text.remove_suffix(1);
  }
  return text;
}

// Drops what the template put after the last message, so that the answer goes on in it.
absl::Status CutAfter(std::string_view message, std::vector<llm::TextSegment>& segments) {
  std::string text;
  for (const llm::TextSegment& segment : segments) text += segment.text;
  const std::string_view core = WithoutSpaces(message, true, true);
  const size_t found = text.rfind(core);
  if (core.empty() || found == std::string::npos) {
    return InvalidField("continue_final_message",
                        "the chat template does not show the last message as it is, so it cannot "
                        "be continued");
  }
  // Spaces at the end stay where the template kept them.
  const std::string_view whole = WithoutSpaces(message, true, false);
  const bool kept = text.compare(found, whole.size(), whole) == 0;
  size_t left = found + (kept ? whole.size() : core.size());
  size_t count = 0;
  while (count < segments.size() && left > 0) {
    std::string& part = segments[count++].text;
    if (part.size() > left) part.resize(left);
    left -= part.size();
  }
  segments.resize(count);
  return absl::OkStatus();
}

}  // namespace

PromptBuilder::PromptBuilder(const llm::Tokenizer& tokenizer,
                             const llm::ChatTemplate* chat_template, const base::Clock& clock)
    : tokenizer_(tokenizer), chat_template_(chat_template), clock_(clock) {}

std::vector<int32_t> PromptBuilder::FromText(std::string_view text, bool add_special_tokens) const {
  std::vector<int32_t> tokens = tokenizer_.Encode(text, true);
  const int bos = tokenizer_.bos();
  const bool wants_bos = add_special_tokens && tokenizer_.add_bos() && bos >= 0;
  if (wants_bos && (tokens.empty() || tokens.front() != bos)) tokens.insert(tokens.begin(), bos);
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> PromptBuilder::FromConversation(
    const Conversation& conversation) const {
  if (chat_template_ == nullptr) {
    return InvalidField("messages",
                        "this model has no chat template; send a prompt to /v1/completions instead",
                        "invalid_template");
  }
  const std::vector<Message>& messages = conversation.messages;
  if (messages.empty() || messages.size() > kMessagesMax) {
    return InvalidField("messages", absl::StrFormat("messages must hold 1 to %d messages, not %d",
                                                    kMessagesMax, messages.size()));
  }
  if (!conversation.tools.empty() && !template_takes_tools()) {
    return InvalidField("tools", "this model's chat template takes no tools", "invalid_tools");
  }
  if (conversation.continue_final_message &&
      (messages.back().role != "assistant" || conversation.add_generation_prompt)) {
    return InvalidField("continue_final_message",
                        "continue_final_message needs an assistant's message at the end and "
                        "add_generation_prompt false");
  }
  json::object variables;
  if (!conversation.template_kwargs_json.empty()) {
    ASSIGN_OR_RETURN(variables, ParseObject(conversation.template_kwargs_json,
                                            "chat_template_kwargs", "invalid_value"));
  }
  json::array list;
  for (size_t i = 0; i < messages.size(); ++i) {
    ASSIGN_OR_RETURN(json::object message,
                     MessageToJson(messages[i], absl::StrFormat("messages[%d]", i)));
    list.push_back(std::move(message));
  }
  variables["messages"] = std::move(list);
  ASSIGN_OR_RETURN(variables["tools"], ToolsToJson(conversation.tools));
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  variables["add_generation_prompt"] = conversation.add_generation_prompt;

  auto segments = chat_template_->Render({.variables = variables,
                                          .special_tokens = llm::TemplateTokens(tokenizer_),
                                          .now = clock_.Now()});
  if (!segments.ok()) {
    return WithDetails(base::Annotate(segments.status(), "chat template"),
                       {.code = "invalid_template", .field = "messages"});
  }
  if (conversation.continue_final_message) {
    RETURN_IF_ERROR(CutAfter(messages.back().content.value_or(""), *segments));
  }
  return tokenizer_.Encode(*segments);
}

}  // namespace model_server
