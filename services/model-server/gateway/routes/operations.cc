#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"

#include "model-server/gateway/codec/json_text.h"
#include "model-server/gateway/gateway_impl.h"
#include "model-server/gateway/pages.h"

namespace model_server::gateway {
namespace pb = kaito::inference::v1;

namespace {

bool Accepts(const net::Request& request, std::string_view type) {
  for (const std::string_view value : request.headers.FindAll("Accept")) {
    if (value.find(type) != std::string_view::npos) return true;
  }
  return false;
}

std::string Detail(std::string_view text) {
  std::string body = "{\"detail\":";
  AppendJsonString(text, &body);
  return body + "}";
}

}  // namespace

std::string Gateway::Impl::StateName(const UpstreamState& state) const {
  if (draining) return "DRAINING";
  if (!state.reachable) return "UNREACHABLE";
  constexpr std::string_view kPrefix = "STATE_";
  return pb::ServerState::State_Name(state.server.state()).substr(kPrefix.size());
}

void Gateway::Impl::Home(const ContextPtr& context) {
  if (!Accepts(context->request(), "text/html")) {
    return context->SendJson("{\"message\":\"Server is running\"}");
  }
  context->Send({.headers = {{"Content-Type", "text/html; charset=utf-8"},
                             {"Content-Security-Policy", page_policy},
                             {"X-Content-Type-Options", "nosniff"},
                             {"Referrer-Policy", "no-referrer"},
                             {"Cache-Control", "no-cache"},
                             {"Vary", "Accept"}},
                 .body = std::string(kChatPage)});
}

void Gateway::Impl::Health(RouteId route, const ContextPtr& context) {
  const auto state = upstream->state();
  const bool well = state->serving() && !draining;
  std::string body;
  if (!well || route == RouteId::kReady) {
    const std::string_view code = draining ? "draining" : state->code();
    body = "{\"state\":";
    AppendJsonString(StateName(*state), &body);
    body += absl::StrFormat(",\"progress\":%g,\"reason\":",
                            state->reachable ? state->server.progress() : 0.0);
    AppendJsonString(state->reachable ? state->server.reason()
                                      : std::string("the model server cannot be reached"),
                     &body);
    if (!well) {
      body += ",\"code\":";
      AppendJsonString(code, &body);
    }
    body += "}";
  }
  net::Response response{.status = well ? 200 : 503, .body = std::move(body)};
  if (!response.body.empty()) response.headers.Add("Content-Type", "application/json");
  if (!well) {
    response.headers.Add("Retry-After",
                         std::to_string(draining ? 5 : state->retry_after_seconds()));
  }
  context->Send(std::move(response));
}

void Gateway::Impl::Livez(const ContextPtr& context) {
  const auto state = upstream->state();
  const bool stalled = state->reachable && state->server.state() == pb::ServerState::STATE_STALLED;
  std::string body = "{\"state\":";
  AppendJsonString(StateName(*state), &body);
  context->Send({.status = stalled ? 503 : 200,
                 .headers = {{"Content-Type", "application/json"}},
                 .body = body + "}"});
}

void Gateway::Impl::Healthz(const ContextPtr& context) {
  const auto state = upstream->state();
  net::Response response{.headers = {{"Content-Type", "application/json"}}};
  const std::string_view code = draining ? "draining" : state->code();
  if (state->serving() && !draining) {
    response.body = "{\"status\":\"Healthy\"}";
  } else if (code == "draining") {
    response.status = 503;
    response.body = Detail("Draining");
    response.headers.Add("Retry-After", "5");
  } else {
    response.status = 500;
    response.body = Detail(code == "stalled" ? "Engine stalled" : "Model not initialized");
  }
  context->Send(std::move(response));
}

void Gateway::Impl::Metrics(const ContextPtr& context) {
  const net::Request& request = context->request();
  const bool json = Accepts(request, "application/json") && !Accepts(request, "text/");
  const auto answer = [this, context, json] {
    if (json) return context->SendJson(host_facts.Json());
    context->Send({.headers = {{"Content-Type", std::string(metrics::kTextContentType)}},
                   .body = metrics_page.Text()});
  };
  if (!blocking_work.TryPush(answer)) {
    context->SendError(
        {.status = 503, .message = "too many scrapes wait already", .retry_after_seconds = 1});
  }
}

void Gateway::Impl::Load(const ContextPtr& context) {
  const auto state = upstream->state();
  context->SendJson(absl::StrFormat(
      "{\"server_load\":%d}", state->server.requests_running() + state->server.requests_waiting()));
}

}  // namespace model_server::gateway
