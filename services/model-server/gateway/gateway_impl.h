// The parts of a running gateway and its routes; shared by gateway.cc and routes/*.cc.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/bounded_queue.h"
#include "common/net/http_server.h"
#include "model-server/gateway/answer_session.h"
#include "model-server/gateway/api_keys.h"
#include "model-server/gateway/codec/openai_request.h"
#include "model-server/gateway/gateway.h"
#include "model-server/gateway/gateway_metrics.h"
#include "model-server/gateway/host_facts.h"
#include "model-server/gateway/metrics_page.h"
#include "model-server/gateway/request_context.h"
#include "model-server/gateway/routes.h"
#include "model-server/gateway/ticker.h"
#include "model-server/gateway/upstream.h"

namespace model_server::gateway {

using ContextPtr = std::shared_ptr<RequestContext>;

// Handlers run on the HTTP server's I/O threads and never block.
struct Gateway::Impl {
  Impl(const GatewayOptions& options, metrics::Registry& registry);
  ~Impl();

  void Handle(const std::shared_ptr<net::Exchange>& exchange);
  void Dispatch(const Route& route, const ContextPtr& context);
  std::optional<net::Response> RefuseHead(const net::Request& head) const;

  // routes/operations.cc
  void Home(const ContextPtr& context);
  void Health(RouteId route, const ContextPtr& context);
  void Healthz(const ContextPtr& context);
  void Livez(const ContextPtr& context);
  void Metrics(const ContextPtr& context);
  void Load(const ContextPtr& context);
  // routes/openai.cc
  void ChatCompletions(const ContextPtr& context);
  void Completions(const ContextPtr& context);
  void Models(const ContextPtr& context);
  void OneModel(const ContextPtr& context);
  void Tokenize(const ContextPtr& context);
  void Detokenize(const ContextPtr& context);
  // routes/seed_chat.cc
  void SeedChat(const ContextPtr& context);

  // Answers 503 or 429 and returns false where a request cannot even be tried. `used` then counts
  // tokens against the key's limit.
  bool Admit(const ContextPtr& context, std::function<void(const TotalUsage&)>* used);
  // Why the model server does not answer now; nullopt while it can be asked.
  std::optional<ApiError> Unreachable() const;
  // The state as a client of this gateway sees it: "SERVING", "LOADING", …
  std::string StateName(const UpstreamState& state) const;

  const GatewayOptions options;
  const RequestRules rules;
  GatewayMetrics metrics;
  Ticker ticker;
  HostFacts host_facts;
  MetricsPage metrics_page;
  std::unique_ptr<ApiKeys> keys;
  AdmissionOptions admission;
  const std::string page_policy;
  std::unique_ptr<Upstream> upstream;
  std::atomic<bool> draining = false;
  std::atomic<bool> refusing = false;

  // For what must block: scrapes of the model server.
  base::BoundedQueue<std::function<void()>> blocking_work{64};
  std::jthread blocking_thread;
  std::unique_ptr<net::HttpServer> server;
  std::jthread certificate_thread;
};

}  // namespace model_server::gateway
