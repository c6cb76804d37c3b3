#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "model-server/gateway/codec/json_text.h"
#include "model-server/gateway/codec/openai_request.h"
#include "model-server/gateway/codec/openai_writer.h"
#include "model-server/gateway/gateway_impl.h"

namespace model_server::gateway {
namespace json = boost::json;
namespace pb = kaito::inference::v1;

namespace {

constexpr size_t kIgnoredNamesMax = 10;
constexpr size_t kTokensMax = 1 << 20;  // In /detokenize; the body's limit holds first.

// The body as JSON, or nullopt after an answer.
std::optional<json::value> ReadBody(const ContextPtr& context) {
  if (context->request().body.empty()) {
    context->SendError(
        {.message = "the body is empty; it must be a JSON object", .code = "invalid_json"});
    return std::nullopt;
  }
  auto body = ParseJson(context->request().body);
  if (body.ok()) return *std::move(body);
  context->SendError({.message = std::string(body.status().message()), .code = "invalid_json"});
  return std::nullopt;
}

void NameIgnored(const ContextPtr& context, const std::vector<std::string>& ignored) {
  if (ignored.empty()) return;
  context->metrics().ignored_fields.Add(static_cast<double>(ignored.size()));
  std::string names;
  for (size_t i = 0; i < std::min(ignored.size(), kIgnoredNamesMax); ++i) {
    if (i > 0) names += ", ";
    names += ignored[i].substr(0, 64);
  }
  context->AddHeader("X-Ignored-Fields", std::move(names));
}

int ChoicesOf(const pb::Sampling& sampling) { return std::max(1, static_cast<int>(sampling.n())); }

// The id of a call: the body's own, else the request's. With several prompts each gets a number.
std::string CallId(const std::string& given, const ContextPtr& context) {
  return given.empty() ? context->request_id() : given;
}

void AppendModel(const pb::ModelInfo& info, const std::string& name, std::string* out) {
  *out += "{\"id\":";
  AppendJsonString(name, out);
  *out += absl::StrFormat(",\"object\":\"model\",\"created\":%d,\"owned_by\":\"kaito\",\"root\":",
                          info.created());
  AppendJsonString(info.served_names(0), out);
  *out += absl::StrFormat(",\"parent\":null,\"max_model_len\":%d,\"device\":",
                          info.context_tokens_max());
  AppendJsonStringOrNull(info.device(), out);
  *out += ",\"permission\":[]}";
}

}  // namespace

void Gateway::Impl::ChatCompletions(const ContextPtr& context) {
  const auto body = ReadBody(context);
  if (!body) return;
  Problem problem;
  ChatCall call = ReadChatCall(*body, rules, problem);
  if (problem.found()) return context->SendError(problem.error());
  AnswerSession::Options session_options{.stream = call.stream.stream,
                                         .choices_per_call = ChoicesOf(call.request.sampling())};
  if (!Admit(context, &session_options.used)) return;
  NameIgnored(context, call.ignored);

  call.request.set_request_id(CallId(call.request.request_id(), context));
  auto renderer = MakeChatRenderer({.stream = call.stream,
                                    .logprobs = call.logprobs,
                                    .return_token_ids = call.return_token_ids});
  const auto session = std::make_shared<AnswerSession>(context, std::move(renderer), ticker,
                                                       std::move(session_options));
  session->Start({[&](GenerationEvents events) {
    return upstream->Chat(std::move(call.request), context->call_options(), std::move(events));
  }});
}

void Gateway::Impl::Completions(const ContextPtr& context) {
  const auto body = ReadBody(context);
  if (!body) return;
  Problem problem;
  CompletionCall call = ReadCompletionCall(*body, rules, problem);
  if (problem.found()) return context->SendError(problem.error());
  const std::string id = CallId(call.requests[0].request_id(), context);
  AnswerSession::Options session_options{.stream = call.stream.stream,
                                         .choices_per_call = ChoicesOf(call.requests[0].sampling()),
                                         .answer_id = id};
  if (!Admit(context, &session_options.used)) return;
  NameIgnored(context, call.ignored);

  std::vector<AnswerSession::StartCall> calls;
  for (size_t i = 0; i < call.requests.size(); ++i) {
    pb::GenerateRequest& request = call.requests[i];
    // Ids are unique in the model server; a long one makes room for the number.
    request.set_request_id(
        call.requests.size() == 1 ? id : absl::StrFormat("%s-%d", id.substr(0, 120), i));
    calls.push_back([&](GenerationEvents events) {
      return upstream->Generate(std::move(request), context->call_options(), std::move(events));
    });
  }
  auto renderer = MakeCompletionRenderer({.stream = call.stream,
                                          .logprobs = call.logprobs,
                                          .return_token_ids = call.return_token_ids});
  const auto session = std::make_shared<AnswerSession>(context, std::move(renderer), ticker,
                                                       std::move(session_options));
  session->Start(calls);
}

void Gateway::Impl::Models(const ContextPtr& context) {
  const auto state = upstream->state();
  if (!state->model || state->model->served_names().empty()) {
    return context->SendError({.status = 503,
                               .message = "the model server has not told its model yet",
                               .code = std::string(state->code()),
                               .retry_after_seconds = state->retry_after_seconds()});
  }
  std::string body = "{\"object\":\"list\",\"data\":[";
  for (int i = 0; i < state->model->served_names_size(); ++i) {
    if (i > 0) body += ',';
    AppendModel(*state->model, state->model->served_names(i), &body);
  }
  context->SendJson(body + "]}");
}

void Gateway::Impl::OneModel(const ContextPtr& context) {
  constexpr std::string_view kPrefix = "/v1/models/";
  const auto name = net::PercentDecode(context->request().path().substr(kPrefix.size()));
  const auto state = upstream->state();
  if (!state->model) return Models(context);
  const auto& names = state->model->served_names();
  if (!name || std::ranges::find(names, *name) == names.end()) {
    return context->SendError({.status = 404,
                               .message = "no model of this name is served",
                               .code = "model_not_found",
                               .param = "model"});
  }
  std::string body;
  AppendModel(*state->model, *name, &body);
  context->SendJson(std::move(body));
}

void Gateway::Impl::Tokenize(const ContextPtr& context) {
  const auto body = ReadBody(context);
  if (!body) return;
  Problem problem;
  Fields fields(BodyObject(*body, problem), "", problem);
  pb::TokenizeRequest request;
  if (const auto model = fields.String("model")) request.set_model(*model);
  const auto prompt = fields.String("prompt");
  const bool has_messages = fields.Find("messages") != nullptr;
  if (has_messages) {
    ReadMessages(fields, "messages", problem, request.mutable_messages());
    ReadTools(fields, problem, request.mutable_tools());
  } else if (prompt) {
    request.set_text(*prompt);
  } else {
    problem.Missing("prompt");
  }
  if (has_messages && prompt) problem.WrongValue("prompt", "absent beside messages");
  request.set_add_special_tokens(fields.Bool("add_special_tokens").value_or(!has_messages));
  request.set_add_generation_prompt(fields.Bool("add_generation_prompt").value_or(true));
  request.set_with_text(fields.Bool("return_token_strs").value_or(false));
  NameIgnored(context, UnknownFields(fields, rules, problem));
  if (problem.found()) return context->SendError(problem.error());
  std::function<void(const TotalUsage&)> used;
  if (!Admit(context, &used)) return;
  const bool with_text = request.with_text();
  upstream->Tokenize(
      std::move(request), context->call_options(),
      [context, with_text](const absl::Status& status, const UpstreamErrorDetails& details,
                           const pb::TokenizeResponse& response) {
        if (!status.ok()) return context->SendError(FromUpstream(status, details));
        std::string out = absl::StrFormat("{\"count\":%d,\"max_model_len\":%d,\"tokens\":[",
                                          response.ids_size(), response.context_tokens_max());
        for (int i = 0; i < response.ids_size(); ++i) {
          if (i > 0) out += ',';
          out += std::to_string(response.ids(i));
        }
        out += "],\"token_strs\":";
        if (with_text) {
          out += '[';
          for (int i = 0; i < response.texts_size(); ++i) {
            if (i > 0) out += ',';
            AppendJsonString(response.texts(i), &out);
          }
          out += ']';
        } else {
          out += "null";
        }
        context->SendJson(out + "}");
      });
}

void Gateway::Impl::Detokenize(const ContextPtr& context) {
  const auto body = ReadBody(context);
  if (!body) return;
  Problem problem;
  Fields fields(BodyObject(*body, problem), "", problem);
  pb::DetokenizeRequest request;
  if (const auto model = fields.String("model")) request.set_model(*model);
  if (fields.Find("tokens") == nullptr) problem.Missing("tokens");
  for (const uint32_t id : fields.Ids("tokens", kTokensMax)) request.add_ids(id);
  NameIgnored(context, UnknownFields(fields, rules, problem));
  if (problem.found()) return context->SendError(problem.error());
  std::function<void(const TotalUsage&)> used;
  if (!Admit(context, &used)) return;
  upstream->Detokenize(std::move(request), context->call_options(),
                       [context](const absl::Status& status, const UpstreamErrorDetails& details,
                                 const pb::DetokenizeResponse& response) {
                         if (!status.ok()) return context->SendError(FromUpstream(status, details));
                         std::string out = "{\"prompt\":";
                         AppendJsonString(response.text(), &out);
                         context->SendJson(out + "}");
                       });
}

}  // namespace model_server::gateway
