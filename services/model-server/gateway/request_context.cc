#include "model-server/gateway/request_context.h"

#include <utility>

#include "common/base/clock.h"
#include "common/base/log.h"

namespace model_server::gateway {
namespace {

absl::Time SteadyNow() { return absl::UnixEpoch() + base::RealClock().Monotonic(); }

constexpr int kClientLeft = 499;

}  // namespace

RequestContext::RequestContext(std::shared_ptr<net::Exchange> exchange, std::string request_id,
                               std::string_view route, ErrorShape shape, GatewayMetrics& metrics)
    : exchange_(std::move(exchange)),
      request_id_(std::move(request_id)),
      route_(route),
      shape_(shape),
      metrics_(metrics),
      start_(SteadyNow()) {
  metrics_.in_flight.Add(1);
  extra_headers_.Add("X-Request-Id", request_id_);
}

RequestContext::~RequestContext() { Finish(exchange_->closed() ? kClientLeft : 500); }

void RequestContext::AddHeader(std::string name, std::string value) {
  extra_headers_.Add(std::move(name), std::move(value));
}

CallOptions RequestContext::call_options() const {
  CallOptions options{.request_id = request_id_, .deadline = deadline_};
  if (const auto trace = request().headers.Find("traceparent"); trace && trace->size() <= 128) {
    options.traceparent = std::string(*trace);
  }
  return options;
}

void RequestContext::Send(net::Response response) {
  for (const auto& [name, value] : extra_headers_) response.headers.Add(name, value);
  const int status = response.status;
  if (!first_byte_.exchange(true)) {
    metrics_.first_byte_seconds.Observe(absl::ToDoubleSeconds(SteadyNow() - start_));
  }
  const bool left = exchange_->closed();
  exchange_->Send(std::move(response));
  Finish(left ? kClientLeft : status);
}

void RequestContext::SendError(const ApiError& error) { Send(ErrorResponse(error, shape_)); }

void RequestContext::SendJson(std::string body) {
  Send({.headers = {{"Content-Type", "application/json"}}, .body = std::move(body)});
}

void RequestContext::BeginStream() {
  net::Headers headers = {{"Content-Type", "text/event-stream; charset=utf-8"},
                          {"Cache-Control", "no-cache"},
                          {"X-Accel-Buffering", "no"}};
  for (const auto& [name, value] : extra_headers_) headers.Add(name, value);
  exchange_->Begin(200, std::move(headers));
}

bool RequestContext::Write(std::string events, int count) {
  if (count > 0) {
    metrics_.sse_events.Add(count);
    if (!first_byte_.exchange(true)) {
      metrics_.first_byte_seconds.Observe(absl::ToDoubleSeconds(SteadyNow() - start_));
    }
  }
  return exchange_->Write(std::move(events));
}

void RequestContext::EndStream() {
  exchange_->End();
  Finish(200);
}

void RequestContext::AbortStream(int status) {
  exchange_->Abort();
  Finish(status);
}

void RequestContext::CountDisconnect() {
  metrics_.client_disconnects.Add();
  Finish(kClientLeft);
}

void RequestContext::Finish(int status) {
  if (finished_.exchange(true)) return;
  const absl::Duration took = SteadyNow() - start_;
  metrics_.in_flight.Add(-1);
  metrics_.RequestFinished(route_, status, absl::ToDoubleSeconds(took));
  // Probes and scrapes come every second; what they learn is logged where it changes.
  const auto log = request().method == "POST" ? base::LogInfo : base::LogDebug;
  log("request", {{"request_id", request_id_},
                  {"route", route_},
                  {"code", status},
                  {"seconds", absl::ToDoubleSeconds(took)}});
}

}  // namespace model_server::gateway
