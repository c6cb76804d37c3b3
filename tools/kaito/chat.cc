// kaito chat: a conversation with a Workspace's model.

#include <iostream>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "boost/json.hpp"
#include "common/base/status_macros.h"
#include "common/kube/conditions.h"
#include "common/kube/json.h"
#include "kaito/event_stream.h"
#include "kaito/kube_access.h"
#include "kaito/progress.h"
#include "kaito/verbs.h"

namespace kaito {
namespace {

namespace json = boost::json;

constexpr absl::Duration kReadyTimeout = absl::Minutes(2);
constexpr absl::Duration kTokenTimeout = absl::Minutes(2);  // Without a byte.

bool Answers(const kube::Object& workspace) {
  return !workspace.being_deleted() &&
         (kube::IsConditionTrue(workspace, "InferenceReady") || IsWorkspaceReady(workspace));
}

// The server's own error, in the OpenAI shape.
absl::Status ServerError(int status, const std::string& body, std::string_view url) {
  std::string message = body.substr(0, 300);
  if (const absl::StatusOr<json::value> parsed = kube::ParseJson(body); parsed.ok()) {
    const std::string_view text = kube::StringAt(*parsed, {"error", "message"});
    if (!text.empty()) message = std::string(text);
  }
  std::string text = absl::StrFormat("the server at %s answered %d: %s", url, status, message);
  if (status == 429 || status >= 500) return absl::UnavailableError(text);
  return absl::InternalError(text);
}

class Conversation {
 public:
  Conversation(Endpoint& endpoint, const Options& options, const Streams& streams)
      : endpoint_(endpoint), options_(options), streams_(streams) {
    if (!options.system.empty()) Say("system", options.system);
  }

  // The name that the server gives its model.
  absl::Status FindModel() {
    const auto response = endpoint_.Send({.target = "/v1/models"});
    RETURN_IF_ERROR(response.status());
    if (response->status != 200) {
      return ServerError(response->status, response->body, endpoint_.url());
    }
    const absl::StatusOr<json::value> models = kube::ParseJson(response->body);
    const json::value* data = models.ok() ? kube::FindPath(*models, {"data"}) : nullptr;
    if (data == nullptr || !data->is_array() || data->as_array().empty()) {
      return absl::UnavailableError("the server names no model");
    }
    model_ = kube::StringAt(data->as_array().front(), {"id"});
    return absl::OkStatus();
  }

  // Asks, and prints the answer as it comes.
  absl::Status Ask(const std::string& prompt) {
    Say("user", prompt);
    net::Request request{.method = "POST", .target = "/v1/chat/completions"};
    request.headers.Add("Content-Type", "application/json");
    request.headers.Add("Accept", "text/event-stream");
    request.body = json::serialize(Body());
    begin_ = absl::Now();
    auto stream = endpoint_.Open(request);
    RETURN_IF_ERROR(stream.status());
    if ((*stream)->status() != 200) return Refused(**stream);
    RETURN_IF_ERROR(ReadAnswer(**stream));
    streams_.out << "\n" << std::flush;
    PrintSpeed();
    Say("assistant", answer_);
    return absl::OkStatus();
  }

 private:
  void Say(std::string_view role, const std::string& text) {
    messages_.push_back({{"role", json::string_view(role)}, {"content", text}});
  }

  json::object Body() const {
    json::object body{{"model", model_},
                      {"messages", messages_},
                      {"stream", true},
                      {"stream_options", {{"include_usage", true}}}};
    if (options_.max_tokens > 0) body["max_tokens"] = options_.max_tokens;
    if (options_.temperature >= 0) body["temperature"] = options_.temperature;
    return body;
  }

  absl::Status Refused(net::HttpStream& stream) const {
    std::string body;
    while (body.size() < 64 << 10) {
      const absl::StatusOr<std::string> piece = stream.Read(absl::Seconds(5));
      if (!piece.ok() || piece->empty()) break;
      body += *piece;
    }
    return ServerError(stream.status(), body, endpoint_.url());
  }

  absl::Status ReadAnswer(net::HttpStream& stream) {
    EventStreamParser events;
    answer_.clear();
    tokens_ = 0;
    first_token_ = absl::InfiniteFuture();
    while (true) {
      absl::StatusOr<std::string> bytes = stream.Read(kTokenTimeout);
      if (!bytes.ok()) {
        return absl::UnavailableError(
            absl::StrFormat("the answer was cut off: %s", std::string(bytes.status().message())));
      }
      if (bytes->empty()) return absl::UnavailableError("the answer ended without its last event");
      events.Feed(*bytes);
      while (const std::optional<std::string> data = events.Next()) {
        if (*data == "[DONE]") return absl::OkStatus();
        RETURN_IF_ERROR(HandleEvent(*data));
      }
      if (events.too_large()) return absl::UnavailableError("an event of the answer is too large");
    }
  }

  absl::Status HandleEvent(const std::string& data) {
    const absl::StatusOr<json::value> event = kube::ParseJson(data);
    if (!event.ok()) return absl::UnavailableError("the server sent an event that is no JSON");
    const std::string_view error = kube::StringAt(*event, {"error", "message"});
    if (!error.empty()) {
      return absl::UnavailableError(absl::StrFormat("the server stopped: %s", error));
    }
    tokens_ = kube::IntAt(*event, {"usage", "completion_tokens"}, tokens_);
    const json::value* choices = kube::FindPath(*event, {"choices"});
    if (choices == nullptr || !choices->is_array()) return absl::OkStatus();
    for (const json::value& choice : choices->as_array()) {
      const std::string_view text = kube::StringAt(choice, {"delta", "content"});
      if (text.empty()) continue;
      if (answer_.empty()) first_token_ = absl::Now();
      answer_ += text;
      streams_.out << text << std::flush;
    }
    return absl::OkStatus();
  }

  void PrintSpeed() const {
    if (options_.quiet || tokens_ <= 0 || first_token_ == absl::InfiniteFuture()) return;
    const absl::Duration decoding = absl::Now() - first_token_;
    std::string speed;
    if (tokens_ > 1 && decoding > absl::ZeroDuration()) {
      speed = absl::StrFormat(", %.1f tokens/s",
                              static_cast<double>(tokens_ - 1) / absl::ToDoubleSeconds(decoding));
    }
    streams_.err << absl::StrFormat("[%d tokens%s, first after %s]\n", tokens_, speed,
                                    ShortDuration(first_token_ - begin_))
                 << std::flush;
  }

  Endpoint& endpoint_;
  const Options& options_;
  const Streams& streams_;
  std::string model_;
  json::array messages_;
  std::string answer_;
  int64_t tokens_ = 0;
  absl::Time begin_;
  absl::Time first_token_;
};

}  // namespace

absl::Status Chat(const std::string& workspace_name, const Options& options,
                  const Environment& environment, const Streams& streams) {
  ASSIGN_OR_RETURN(Access access, OpenAccess(options, environment));
  ASSIGN_OR_RETURN(kube::Object workspace, GetWorkspace(access, workspace_name));
  if (workspace.Find({"tuning"}) != nullptr && workspace.Find({"inference"}) == nullptr) {
    return absl::InternalError(
        absl::StrFormat("workspace %s tunes a model and does not serve one", workspace_name));
  }
  if (!Answers(workspace)) {
    Progress progress(options, environment, streams.err);
    const absl::Duration timeout =
        options.timeout > absl::ZeroDuration() ? options.timeout : kReadyTimeout;
    const auto show = [&progress](const kube::Object& now) {
      const std::string why = WhatHoldsBack(now);
      progress.Doing(why.empty() ? "waiting for the workspace" : why);
    };
    ASSIGN_OR_RETURN(workspace, AwaitWorkspace(access, workspace, timeout, Answers, show));
    progress.Done("ready");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Endpoint> endpoint, FindEndpoint(access, workspace_name));
  Conversation conversation(*endpoint, options, streams);
  RETURN_IF_ERROR(conversation.FindModel());
  if (options.once_given) return conversation.Ask(options.once);

  const bool prompts = environment.in_is_terminal && environment.err_is_terminal;
  if (prompts && !options.quiet) {
    streams.err << "Chat with " << workspace_name << ". An empty line or Ctrl-D ends it.\n";
  }
  for (std::string line;;) {
    if (prompts) streams.err << "> " << std::flush;
    if (!std::getline(streams.in, line)) break;
    if (line.empty()) {
      if (prompts) break;
      continue;
    }
    RETURN_IF_ERROR(conversation.Ask(line));
  }
  return absl::OkStatus();
}

}  // namespace kaito
