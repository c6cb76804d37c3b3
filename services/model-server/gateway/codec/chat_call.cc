#include <algorithm>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "model-server/gateway/codec/openai_request.h"

namespace model_server::gateway {
namespace json = boost::json;
namespace pb = kaito::inference::v1;

namespace {

constexpr size_t kMessagesMax = 4096;
constexpr size_t kToolsMax = 128;

std::string Serialized(const json::value& value) { return json::serialize(value); }

// "text" parts joined by line feeds, as the templates of text models expect.
void ReadParts(const json::array& parts, const std::string& path, Problem& problem,
               pb::Message* message) {
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part_path = absl::StrFormat("%s[%d]", path, i);
    if (!parts[i].is_object()) return problem.WrongType(part_path, "an object");
    Fields part(parts[i].get_object(), part_path, problem);
    const auto type = part.String("type");
    if (!type) return problem.Missing(part.PathOf("type"));
    if (*type != "text") {
      return problem.Set("unsupported_content", path,
                         absl::StrFormat("%s: this model reads text only, not %s", part_path,
                                         type->substr(0, 32)));
    }
    const auto part_text = part.String("text");
    if (!part_text) return problem.Missing(part.PathOf("text"));
    if (i > 0) text += '\n';
    text += *part_text;
  }
  message->set_content(std::move(text));
}

void ReadToolCalls(Fields& fields, Problem& problem, pb::Message* message) {
  const json::array* calls = fields.Array("tool_calls", 0, kToolsMax);
  if (calls == nullptr) return;
  for (size_t i = 0; i < calls->size(); ++i) {
    const std::string path = absl::StrFormat("%s[%d]", fields.PathOf("tool_calls"), i);
    if (!(*calls)[i].is_object()) return problem.WrongType(path, "an object");
    Fields call((*calls)[i].get_object(), path, problem);
    const json::object* function = call.Object("function");
    if (function == nullptr) return problem.Missing(call.PathOf("function"));
    Fields inner(*function, call.PathOf("function"), problem);
    pb::ToolCall* out = message->add_tool_calls();
    out->set_id(call.String("id").value_or(""));
    const auto name = inner.String("name");
    if (!name) return problem.Missing(inner.PathOf("name"));
    out->set_name(*name);
    out->set_arguments_json(inner.String("arguments").value_or("{}"));
  }
}

void ReadMessage(const json::value& value, const std::string& path, Problem& problem,
                 pb::Message* message) {
  if (!value.is_object()) return problem.WrongType(path, "an object");
  Fields fields(value.get_object(), path, problem);
  static constexpr std::string_view kRoles[] = {"system", "developer", "user", "assistant", "tool"};
  const auto role = fields.String("role");
  if (!role) return problem.Missing(fields.PathOf("role"));
  if (std::ranges::find(kRoles, *role) == std::end(kRoles)) {
    return problem.WrongValue(fields.PathOf("role"), "system, developer, user, assistant or tool");
  }
  message->set_role(*role);
  if (const auto name = fields.String("name")) message->set_name(*name);
  if (const auto id = fields.String("tool_call_id")) message->set_tool_call_id(*id);
  if (const auto text = fields.String("reasoning_content")) message->set_reasoning_content(*text);
  ReadToolCalls(fields, problem, message);

  const json::value* content = fields.Find("content");
  if (content == nullptr) {
    if (message->tool_calls().empty()) problem.Missing(fields.PathOf("content"));
  } else if (content->is_string()) {
    message->set_content(content->get_string().c_str(), content->get_string().size());
  } else if (content->is_array()) {
    ReadParts(content->get_array(), fields.PathOf("content"), problem, message);
  } else {
    problem.WrongType(fields.PathOf("content"), "a string or a list of parts");
  }
}

void ReadToolChoice(Fields& fields, Problem& problem, pb::ChatRequest* request) {
  pb::ToolChoice* choice = request->mutable_tool_choice();
  choice->set_mode(request->tools().empty() ? pb::ToolChoice::MODE_NONE
                                            : pb::ToolChoice::MODE_AUTO);
  const json::value* given = fields.Find("tool_choice");
  if (given == nullptr) return;
  if (given->is_string()) {
    const auto& word = given->get_string();
    if (word == "none") {
      choice->set_mode(pb::ToolChoice::MODE_NONE);
    } else if (word == "auto") {
      return;
    } else if (word == "required") {
      choice->set_mode(pb::ToolChoice::MODE_REQUIRED);
    } else {
      return problem.WrongValue("tool_choice", "none, auto, required or a function");
    }
    if (word == "required" && request->tools().empty()) {
      problem.Set("invalid_tools", "tool_choice", "tool_choice: there are no tools to choose from");
    }
    return;
  }
  const json::object* object = fields.Object("tool_choice");
  if (object == nullptr) return;
  Fields outer(*object, "tool_choice", problem);
  const json::object* function = outer.Object("function");
  if (function == nullptr) return problem.Missing("tool_choice.function");
  Fields inner(*function, "tool_choice.function", problem);
  const auto name = inner.String("name");
  if (!name) return problem.Missing("tool_choice.function.name");
  if (std::ranges::find(request->tools(), *name, &pb::Tool::name) == request->tools().end()) {
    return problem.Set("invalid_tools", "tool_choice",
                       "tool_choice: no tool of this request has that name");
  }
  choice->set_mode(pb::ToolChoice::MODE_NAMED);
  choice->set_name(*name);
}

void ReadTemplateOptions(Fields& fields, const RequestRules& rules, Problem& problem,
                         pb::ChatRequest* request) {
  json::object kwargs;
  if (const json::object* given = fields.Object("chat_template_kwargs")) kwargs = *given;
  if (const auto effort = fields.String("reasoning_effort")) {
    kwargs.emplace("reasoning_effort", *effort);
  }
  if (!kwargs.empty()) request->set_template_kwargs_json(Serialized(kwargs));
  if (const auto value = fields.Bool("add_generation_prompt")) {
    request->set_add_generation_prompt(*value);
  }
  request->set_continue_final_message(fields.Bool("continue_final_message").value_or(false));
  if (request->continue_final_message() && request->add_generation_prompt()) {
    problem.WrongValue("continue_final_message", "false where add_generation_prompt is true");
  }
  if (request->continue_final_message()) request->set_add_generation_prompt(false);
  if (const auto text = fields.String("chat_template")) {
    if (!rules.allow_request_templates) {
      problem.Unsupported("chat_template", "this server takes no templates from requests");
    }
    request->set_template_override(*text);
  }
}

void ReadAdapters(Fields& fields, Problem& problem,
                  google::protobuf::RepeatedPtrField<pb::AdapterUse>* adapters) {
  const json::array* given = fields.Array("adapters", 0, 64);
  if (given == nullptr) return;
  for (size_t i = 0; i < given->size(); ++i) {
    const std::string path = absl::StrFormat("adapters[%d]", i);
    if (!(*given)[i].is_object()) return problem.WrongType(path, "an object");
    Fields item((*given)[i].get_object(), path, problem);
    const auto name = item.String("name");
    if (!name) return problem.Missing(item.PathOf("name"));
    pb::AdapterUse* use = adapters->Add();
    use->set_name(*name);
    if (const auto strength = item.Number("strength", {0, 1})) {
      use->set_strength(static_cast<float>(*strength));
    }
  }
}

// What chat and completions have in common beside sampling.
template <typename Request>
void ReadCommon(Fields& fields, Problem& problem, Request* request) {
  if (const auto model = fields.String("model")) request->set_model(*model);
  if (const auto id = fields.String("request_id")) request->set_request_id(*id);
  if (const auto priority = fields.Integer("priority", INT32_MIN, INT32_MAX)) {
    request->set_priority(static_cast<int32_t>(*priority));
  }
  if (const auto salt = fields.String("cache_salt")) request->set_cache_salt(*salt);
  ReadAdapters(fields, problem, request->mutable_adapters());
  RefuseConstraints(fields, problem);
  const bool skip_special = fields.Bool("skip_special_tokens").value_or(true);
  request->mutable_output()->set_keep_special_tokens(!skip_special);
  fields.Accept({"user", "metadata", "service_tier", "store", "spaces_between_special_tokens"});
}

void SetPrompt(const json::value& value, Problem& problem, pb::GenerateRequest* request) {
  if (value.is_string()) {
    request->set_text(value.get_string().c_str(), value.get_string().size());
    return;
  }
  const json::array& ids = value.get_array();
  pb::TokenIds* tokens = request->mutable_tokens();
  for (const json::value& item : ids) {
    const auto id = TokenId(item);
    if (!id) return problem.WrongType("prompt", "a string, token ids, or a list of either");
    tokens->add_ids(*id);
  }
  if (ids.empty()) problem.WrongValue("prompt", "made of at least one token");
}

// One request per prompt: string, [string], [int] or [[int]].
std::vector<const json::value*> SplitPrompts(Fields& fields, Problem& problem) {
  std::vector<const json::value*> prompts;
  const json::value* prompt = fields.Find("prompt");
  if (prompt == nullptr) {
    problem.Missing("prompt");
  } else if (prompt->is_string()) {
    prompts.push_back(prompt);
  } else if (!prompt->is_array()) {
    problem.WrongType("prompt", "a string, token ids, or a list of either");
  } else if (prompt->get_array().empty()) {
    problem.WrongValue("prompt", "made of at least one token");
  } else if (prompt->get_array()[0].is_number()) {
    prompts.push_back(prompt);
  } else if (prompt->get_array().size() > 128) {
    problem.WrongValue("prompt", "a list of at most 128 prompts");
  } else {
    for (const json::value& item : prompt->get_array()) {
      if (!item.is_string() && !item.is_array()) {
        problem.WrongType("prompt", "a string, token ids, or a list of either");
      }
      prompts.push_back(&item);
    }
  }
  return prompts;
}

}  // namespace

void ReadMessages(Fields& fields, std::string_view name, Problem& problem,
                  google::protobuf::RepeatedPtrField<pb::Message>* messages) {
  if (fields.Find(name) == nullptr) return problem.Missing(fields.PathOf(name));
  const json::array* given = fields.Array(name, 1, kMessagesMax);
  if (given == nullptr) return;
  for (size_t i = 0; i < given->size() && !problem.found(); ++i) {
    ReadMessage((*given)[i], absl::StrFormat("%s[%d]", fields.PathOf(name), i), problem,
                messages->Add());
  }
}

void ReadTools(Fields& fields, Problem& problem,
               google::protobuf::RepeatedPtrField<pb::Tool>* tools) {
  const json::array* given = fields.Array("tools", 0, kToolsMax);
  if (given == nullptr) return;
  for (size_t i = 0; i < given->size(); ++i) {
    const std::string path = absl::StrFormat("tools[%d]", i);
    const auto malformed = [&](std::string_view what) {
      problem.Set("invalid_tools", path, absl::StrFormat("%s: %s", path, what));
    };
    const json::object* tool = (*given)[i].if_object();
    const json::value* function = tool == nullptr ? nullptr : tool->if_contains("function");
    if (function == nullptr || !function->is_object()) {
      return malformed("a tool is {\"type\":\"function\",\"function\":{…}}");
    }
    const json::value* name = function->get_object().if_contains("name");
    if (name == nullptr || !name->is_string() || name->get_string().empty()) {
      return malformed("the function has no name");
    }
    pb::Tool* out = tools->Add();
    out->set_name(name->get_string().c_str());
    if (const json::value* text = function->get_object().if_contains("description");
        text != nullptr && text->is_string()) {
      out->set_description(text->get_string().c_str());
    }
    const json::value* parameters = function->get_object().if_contains("parameters");
    if (parameters != nullptr && !parameters->is_null()) {
      if (!parameters->is_object()) return malformed("the parameters are no JSON schema");
      out->set_parameters_json(Serialized(*parameters));
    }
  }
}

ChatCall ReadChatCall(const json::value& body, const RequestRules& rules, Problem& problem) {
  ChatCall call;
  Fields fields(BodyObject(body, problem), "", problem);
  if (problem.found()) return call;
  ReadCommon(fields, problem, &call.request);
  ReadMessages(fields, "messages", problem, call.request.mutable_messages());
  ReadTools(fields, problem, call.request.mutable_tools());
  ReadToolChoice(fields, problem, &call.request);
  call.request.set_parallel_tool_calls(fields.Bool("parallel_tool_calls").value_or(true));
  ReadTemplateOptions(fields, rules, problem, &call.request);
  ReadSampling(fields, problem, call.request.mutable_sampling());
  call.stream = ReadStreamOptions(fields, problem);

  call.logprobs = fields.Bool("logprobs").value_or(false);
  const auto top = fields.Integer("top_logprobs", 0, 20);
  if (top && *top > 0 && !call.logprobs) {
    problem.WrongValue("top_logprobs", "absent unless logprobs is true");
  }
  if (call.logprobs) {
    call.request.mutable_sampling()->set_logprobs(static_cast<uint32_t>(top.value_or(0)));
  }
  call.return_token_ids = fields.Bool("return_token_ids").value_or(false);
  call.request.mutable_output()->set_token_ids(call.return_token_ids);
  call.request.mutable_output()->set_continuous_usage(call.stream.continuous_usage);
  call.ignored = UnknownFields(fields, rules, problem);
  return call;
}

CompletionCall ReadCompletionCall(const json::value& body, const RequestRules& rules,
                                  Problem& problem) {
  CompletionCall call;
  Fields fields(BodyObject(body, problem), "", problem);
  if (problem.found()) return call;
  pb::GenerateRequest request;
  const std::vector<const json::value*> prompts = SplitPrompts(fields, problem);
  ReadCommon(fields, problem, &request);
  ReadSampling(fields, problem, request.mutable_sampling());
  if (!request.sampling().has_max_tokens()) request.mutable_sampling()->set_max_tokens(16);
  call.stream = ReadStreamOptions(fields, problem);
  call.echo = fields.Bool("echo").value_or(false);
  request.mutable_output()->set_echo(call.echo);
  request.set_add_special_tokens(fields.Bool("add_special_tokens").value_or(true));
  if (const auto suffix = fields.String("suffix"); suffix && !suffix->empty()) {
    problem.Unsupported("suffix", "this model has no tokens for filling in");
  }
  if (const auto logprobs = fields.Integer("logprobs", 0, 20)) {
    call.logprobs = true;
    request.mutable_sampling()->set_logprobs(static_cast<uint32_t>(*logprobs));
    if (call.echo) {
      request.mutable_sampling()->set_prompt_logprobs(static_cast<uint32_t>(*logprobs));
    }
  }
  call.return_token_ids = fields.Bool("return_token_ids").value_or(false);
  request.mutable_output()->set_token_ids(call.return_token_ids);
  request.mutable_output()->set_continuous_usage(call.stream.continuous_usage);
  call.ignored = UnknownFields(fields, rules, problem);
  for (const json::value* prompt : prompts) {
    if (problem.found()) break;
    SetPrompt(*prompt, problem, &call.requests.emplace_back(request));
  }
  return call;
}

}  // namespace model_server::gateway
