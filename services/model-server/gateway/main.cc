// The binary `gateway`: HTTP in front of a model server.

#include <cstdio>

#include "absl/strings/str_format.h"

#include "common/base/flags.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/metrics/metrics.h"
#include "model-server/gateway/gateway.h"

namespace {

using model_server::gateway::ChatPipeline;
using model_server::gateway::Gateway;
using model_server::gateway::GatewayOptions;

constexpr int kBadFlags = 2;
constexpr int kInternal = 70;

struct Flags {
  GatewayOptions options;
  std::string chat_pipeline = "auto";
  std::string log_level = "info";
  std::string log_format = "json";
  int64_t body_bytes_max = 16 << 20;
  absl::Duration drain_grace = absl::Seconds(15);
  absl::Duration drain_timeout = absl::Seconds(300);
};

void Define(base::FlagSet& set, Flags& flags) {
  GatewayOptions& options = flags.options;
  set.Add("model_server", &options.model_server, "model server: host:port or unix:PATH");
  set.Add("metrics_upstream", &options.metrics_upstream,
          "its metrics, http://host:port; default: port 8002 of its host; \"none\": left out");
  set.Add("bind_address", &options.bind_address, "address to listen on");
  set.Add("port", &options.port, "port to listen on; 0: any free one");
  set.Add("allow_anonymous", &options.allow_anonymous, "serve beyond loopback without API keys");
  set.Add("api_keys_file", &options.api_keys_file,
          "lines of: SHA-256 of a key in hex, scopes (infer,admin,metrics), limits");
  set.Add("metrics_auth", &options.metrics_auth, "/metrics needs a key too");
  set.Add("cors_origin", &options.cors_origins, "origins whose pages may call; * for all");
  set.Add("tls_cert", &options.tls_certificate_file, "certificate chain, PEM");
  set.Add("tls_key", &options.tls_private_key_file, "its private key, PEM");
  set.Add("client_ca", &options.tls_client_ca_file, "authority of client certificates, PEM");
  set.Add("chat_pipeline", &flags.chat_pipeline,
          "what /chat takes: auto, text-generation or conversational");
  set.Add("strict_fields", &options.strict_fields, "unknown fields of a request are an error");
  set.Add("allow_request_templates", &options.allow_request_templates,
          "requests may bring a chat template");
  set.Add("body_bytes_max", &flags.body_bytes_max, "largest body of a request");
  set.Add("connections_max", &options.connections_max, "open connections");
  set.Add("io_threads", &options.io_threads, "HTTP threads; 0: one per core, at most 4");
  set.Add("request_deadline_default", &options.request_deadline_default,
          "for requests that name none");
  set.Add("drain_grace", &flags.drain_grace,
          "after SIGTERM, how long new requests are still served");
  set.Add("drain_timeout", &flags.drain_timeout, "after SIGTERM, how long running ones may take");
  set.Add("log_level", &flags.log_level, "debug, info, warning or error");
  set.Add("log_format", &flags.log_format, "json or text");
  set.AddExample("gateway --model_server=127.0.0.1:8001");
  set.AddExample(
      "gateway --model_server=unix:/run/model.sock --bind_address=0.0.0.0 "
      "--api_keys_file=keys.txt");
}

int BadFlag(std::string_view message) {
  std::fputs(absl::StrFormat("gateway: %s\n", message).c_str(), stderr);
  return kBadFlags;
}

bool ParsePipeline(const std::string& text, ChatPipeline* pipeline) {
  if (text == "auto") {
    *pipeline = ChatPipeline::kAuto;
  } else if (text == "text-generation") {
    *pipeline = ChatPipeline::kTextGeneration;
  } else if (text == "conversational") {
    *pipeline = ChatPipeline::kConversational;
  } else {
    return false;
  }
  return true;
}

// The model server's ops port, where nothing else is said.
std::string DefaultMetricsUpstream(const std::string& model_server) {
  if (model_server.starts_with("unix:")) return "http://127.0.0.1:8002";
  return absl::StrFormat("http://%s:8002", model_server.substr(0, model_server.rfind(':')));
}

// True once nothing runs any more; false at the end of `timeout` or with a second signal.
bool AwaitIdle(Gateway& gateway, absl::Duration timeout) {
  constexpr absl::Duration kLook = absl::Milliseconds(50);
  for (absl::Duration waited; waited < timeout; waited += kLook) {
    if (gateway.requests_open() == 0) return true;
    if (base::WaitForStopSignal(kLook) != 0) return false;
  }
  return gateway.requests_open() == 0;
}

void Drain(Gateway& gateway, const Flags& flags) {
  base::LogInfo("draining", {{"grace", flags.drain_grace}, {"timeout", flags.drain_timeout}});
  gateway.BeginDrain();
  const bool hurry = base::WaitForStopSignal(flags.drain_grace) != 0;
  gateway.RefuseNew();
  if (!hurry && AwaitIdle(gateway, flags.drain_timeout)) return;
  gateway.EndRunning();
  AwaitIdle(gateway, absl::Seconds(2));  // Error events still leave.
}

}  // namespace

int main(int argc, char** argv) {
  base::BlockStopSignals();
  Flags flags;
  base::FlagSet set("gateway", "HTTP and server-sent events in front of a model server.");
  Define(set, flags);
  const auto rest = set.ParseOrExit(argc, argv, KAITO_VERSION);
  if (!rest.empty()) return BadFlag(absl::StrFormat("%s is no flag; see --help", rest[0]));
  GatewayOptions& options = flags.options;
  if (options.model_server.empty()) {
    return BadFlag("--model_server is missing: give host:port or unix:PATH");
  }
  if (!ParsePipeline(flags.chat_pipeline, &options.chat_pipeline)) {
    return BadFlag("--chat_pipeline must be auto, text-generation or conversational");
  }
  if (flags.body_bytes_max < 1) return BadFlag("--body_bytes_max must be at least 1");
  if (options.tls_certificate_file.empty() != options.tls_private_key_file.empty()) {
    return BadFlag("--tls_cert and --tls_key go together");
  }
  options.body_bytes_max = static_cast<size_t>(flags.body_bytes_max);
  options.version = KAITO_VERSION;
  if (options.metrics_upstream.empty()) {
    options.metrics_upstream = DefaultMetricsUpstream(options.model_server);
  } else if (options.metrics_upstream == "none") {
    options.metrics_upstream.clear();
  }
  base::InitLog(
      {.level = base::ParseLogLevel(flags.log_level),
       .format = flags.log_format == "text" ? base::LogFormat::kText : base::LogFormat::kJson,
       .logger = "gateway"});

  metrics::Registry registry(KAITO_VERSION);
  auto gateway = Gateway::Start(options, registry);
  if (!gateway.ok()) {
    const auto message = gateway.status().message();
    base::LogError("cannot start", {{"error", gateway.status()}});
    return absl::IsInternal(gateway.status())
               ? kInternal
               : BadFlag(std::string_view(message.data(), message.size()));
  }
  base::LogInfo("listening", {{"bind_address", options.bind_address},
                              {"port", (*gateway)->port()},
                              {"model_server", options.model_server},
                              {"metrics_upstream", options.metrics_upstream}});
  base::WaitForStopSignal();
  Drain(**gateway, flags);
  gateway->reset();
  base::LogInfo("stopped");
  return 0;
}
