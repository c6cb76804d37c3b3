#include "model-server/gateway/gateway.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"

#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "model-server/gateway/codec/json_text.h"
#include "model-server/gateway/gateway_impl.h"
#include "model-server/gateway/pages.h"

namespace model_server::gateway {
namespace {

constexpr int kIoThreadsMax = 4;
constexpr absl::Duration kCertificateCheck = absl::Seconds(2);

std::optional<uint64_t> DeadlineOf(const net::Request& request) {
  const auto text = request.headers.Find("X-Request-Deadline-Ms");
  if (!text) return std::nullopt;
  return std::strtoull(std::string(*text).c_str(), nullptr, 10);  // Checked with the head.
}

std::string Refusal(int status) { return absl::StrFormat("http_%d", status); }

net::Response ServerError(int status, std::string_view message) {
  return ErrorResponse({.status = status,
                        .message = std::string(message),
                        .retry_after_seconds = status == 503 ? 1 : 0},
                       ErrorShape::kOpenAi);
}

// Gives the server a new certificate whenever the files change.
void FollowCertificate(const std::stop_token& stop, const GatewayOptions& options,
                       net::HttpServer& server, std::string last) {
  absl::Mutex mutex;
  std::stop_callback wake(stop, [&] { absl::MutexLock lock(&mutex); });
  while (!stop.stop_requested()) {
    {
      absl::MutexLock lock(&mutex);
      const auto stopped = [&stop] { return stop.stop_requested(); };
      mutex.AwaitWithTimeout(absl::Condition(&stopped), kCertificateCheck);
    }
    const auto certificate = base::ReadFile(options.tls_certificate_file);
    const auto key = base::ReadFile(options.tls_private_key_file);
    if (!certificate.ok() || !key.ok() || *certificate + *key == last) continue;
    last = *certificate + *key;
    const absl::Status status = server.SetCertificate(*certificate, *key);
    if (status.ok()) {
      base::LogInfo("certificate read again");
    } else {
      base::LogWarning("new certificate not usable; the old one stays", {{"error", status}});
    }
  }
}

}  // namespace

Gateway::Impl::Impl(const GatewayOptions& given, metrics::Registry& registry)
    : options(given),
      rules{.strict_fields = given.strict_fields,
            .allow_request_templates = given.allow_request_templates},
      metrics(registry),
      metrics_page(registry, metrics, given.metrics_upstream),
      page_policy(ContentSecurityPolicy(kChatPage)),
      upstream(std::make_unique<Upstream>(given.model_server)) {
  blocking_thread = base::StartThread("blocking-work", [this](std::stop_token) {
    while (auto work = blocking_work.Pop()) (*work)();
  });
}

Gateway::Impl::~Impl() {
  if (certificate_thread.joinable()) {
    certificate_thread.request_stop();
    certificate_thread.join();
  }
  blocking_work.Close();
  if (blocking_thread.joinable()) blocking_thread.join();
  // Clients first: their leaving cancels the calls. Then the calls, which use everything else.
  server.reset();
  upstream.reset();
}

std::optional<net::Response> Gateway::Impl::RefuseHead(const net::Request& head) const {
  const auto error = CheckHead(head, admission);
  if (!error) return std::nullopt;
  net::Response response = ErrorResponse(*error, ShapeOf(head.path()));
  AddCorsHeaders(head, admission, &response.headers);
  return response;
}

void Gateway::Impl::Handle(const std::shared_ptr<net::Exchange>& exchange) {
  const net::Request& request = exchange->request();
  const Route* route = FindRoute(request.path());
  auto context = std::make_shared<RequestContext>(exchange, RequestIdOf(request),
                                                  route == nullptr ? "other" : route->path,
                                                  ShapeOf(request.path()), metrics);
  net::Headers cors;
  AddCorsHeaders(request, admission, &cors);
  for (const auto& [name, value] : cors) context->AddHeader(name, value);
  // With a body the head was checked before that was read.
  if (request.body.empty()) {
    if (const auto error = CheckHead(request, admission)) {
      metrics.Rejected(Refusal(error->status));
      return context->SendError(*error);
    }
  }
  if (request.method == "OPTIONS") return context->Send(Preflight(request, admission));
  const auto deadline = DeadlineOf(request);
  context->set_deadline(deadline ? absl::Milliseconds(*deadline)
                                 : options.request_deadline_default);
  Dispatch(*route, context);
}

void Gateway::Impl::Dispatch(const Route& route, const ContextPtr& context) {
  switch (route.id) {
    case RouteId::kHome:
      return Home(context);
    case RouteId::kHealth:
    case RouteId::kReady:
      return Health(route.id, context);
    case RouteId::kLivez:
      return Livez(context);
    case RouteId::kHealthz:
      return Healthz(context);
    case RouteId::kMetrics:
      return Metrics(context);
    case RouteId::kVersion: {
      std::string body = "{\"version\":";
      AppendJsonString(options.version, &body);
      return context->SendJson(body + "}");
    }
    case RouteId::kLoad:
      return Load(context);
    case RouteId::kOpenApi:
      return context->SendJson(std::string(kOpenApiDocument));
    case RouteId::kChat:
      return SeedChat(context);
    case RouteId::kChatCompletions:
      return ChatCompletions(context);
    case RouteId::kCompletions:
      return Completions(context);
    case RouteId::kModels:
      return Models(context);
    case RouteId::kModel:
      return OneModel(context);
    case RouteId::kTokenize:
      return Tokenize(context);
    case RouteId::kDetokenize:
      return Detokenize(context);
  }
}

std::optional<ApiError> Gateway::Impl::Unreachable() const {
  if (refusing) {
    return ApiError{.status = 503,
                    .message = "this server is shutting down",
                    .code = "draining",
                    .retry_after_seconds = 5};
  }
  const auto state = upstream->state();
  if (state->reachable) return std::nullopt;
  return ApiError{.status = 503,
                  .message = "the model server cannot be reached; try again",
                  .code = "engine_unavailable",
                  .retry_after_seconds = 1};
}

bool Gateway::Impl::Admit(const ContextPtr& context, std::function<void(const TotalUsage&)>* used) {
  if (const auto error = Unreachable()) {
    metrics.Rejected(error->code);
    context->SendError(*error);
    return false;
  }
  if (keys == nullptr) return true;
  const auto key = keys->Find(PresentedKey(context->request().headers));
  if (key == nullptr) return true;  // It went away since the head was checked.
  bool tokens = false;
  if (const int wait = key->TakeRequest(base::RealClock(), &tokens); wait > 0) {
    metrics.ratelimit_rejected.Add();
    metrics.Rejected("key_limit");
    context->SendError({.status = 429,
                        .message = absl::StrFormat("this key's limit of %s per minute is reached",
                                                   tokens ? "tokens" : "requests"),
                        .code = "rate_limit_exceeded",
                        .type = tokens ? "tokens" : "requests",
                        .retry_after_seconds = wait});
    return false;
  }
  *used = [key](const TotalUsage& usage) {
    key->UseTokens(usage.prompt_tokens + usage.completion_tokens);
  };
  return true;
}

Gateway::Gateway() = default;

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(const GatewayOptions& options,
                                                        metrics::Registry& registry) {
  const std::string& address = options.bind_address;
  const bool loopback = IsLoopbackName(address == "::1" ? "[::1]" : address);
  if (!loopback && options.api_keys_file.empty() && !options.allow_anonymous) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "bind_address %s can be reached from outside: give --api_keys_file, or --allow_anonymous "
        "to serve everybody",
        address));
  }
  if (options.model_server.empty()) {
    return absl::InvalidArgumentError("--model_server is missing: give host:port or unix:PATH");
  }
  std::unique_ptr<Gateway> gateway(new Gateway());
  gateway->impl_ = std::make_unique<Impl>(options, registry);
  Impl& impl = *gateway->impl_;
  if (!options.api_keys_file.empty()) {
    ASSIGN_OR_RETURN(impl.keys, ApiKeys::Open(options.api_keys_file, base::RealClock()));
  } else if (!loopback) {
    base::LogWarning("no API keys: everybody who can reach this address may use it",
                     {{"bind_address", address}});
  }
  impl.admission = {.loopback = loopback,
                    .cors_origins = options.cors_origins,
                    .metrics_auth = options.metrics_auth,
                    .keys = impl.keys.get()};

  net::HttpServerOptions http{.bind_address = address, .port = options.port};
  if (!options.tls_certificate_file.empty()) {
    ASSIGN_OR_RETURN(http.certificate_pem, base::ReadFile(options.tls_certificate_file));
    ASSIGN_OR_RETURN(http.private_key_pem, base::ReadFile(options.tls_private_key_file));
    if (!options.tls_client_ca_file.empty()) {
      ASSIGN_OR_RETURN(http.client_ca_pem, base::ReadFile(options.tls_client_ca_file));
    }
  }
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  http.io_threads = options.io_threads > 0 ? options.io_threads : std::min(kIoThreadsMax, cores);
  http.connections_max = options.connections_max;
  http.body_bytes_max = options.body_bytes_max;
  http.error_response = ServerError;
  http.head_check = [&impl](const net::Request& head, std::string_view,
                            std::optional<uint64_t> length) -> std::optional<net::Response> {
    if (length == 0) return std::nullopt;  // Handle() does it, and keeps the connection.
    std::optional<net::Response> refusal = impl.RefuseHead(head);
    if (!refusal && length && *length > impl.options.body_bytes_max) {
      refusal = ErrorResponse({.status = 413,
                               .message = absl::StrFormat("the body is larger than %d bytes",
                                                          impl.options.body_bytes_max)},
                              ShapeOf(head.path()));
    }
    if (refusal) {
      impl.metrics.Rejected(Refusal(refusal->status));
      refusal->headers.Add("X-Request-Id", RequestIdOf(head));
    }
    return refusal;
  };
  const std::string pem = http.certificate_pem + http.private_key_pem;
  ASSIGN_OR_RETURN(impl.server,
                   net::HttpServer::Start(
                       std::move(http), [&impl](const auto& exchange) { impl.Handle(exchange); }));
  if (!pem.empty()) {
    impl.certificate_thread = base::StartThread("certificate", [&impl, pem](std::stop_token stop) {
      FollowCertificate(stop, impl.options, *impl.server, pem);
    });
  }
  return gateway;
}

Gateway::~Gateway() = default;

int Gateway::port() const { return impl_->server->port(); }

void Gateway::BeginDrain() { impl_->draining = true; }

void Gateway::RefuseNew() { impl_->refusing = true; }

int Gateway::requests_open() const { return impl_->server->exchanges_open(); }

void Gateway::EndRunning() {
  impl_->ticker.StopAll({.status = 503,
                         .message = "this server is shutting down",
                         .code = "draining",
                         .retry_after_seconds = 5});
}

}  // namespace model_server::gateway
