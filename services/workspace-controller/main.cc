// workspace-controller: Workspaces → node claims, model servers, services, status.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/base/status_macros.h"
#include "common/kube/controller.h"
#include "common/kube/events.h"
#include "common/kube/kubeconfig.h"
#include "common/kube/leader_elector.h"
#include "common/metrics/metrics.h"
#include "common/net/http_server.h"
#include "workspace-controller/controller_metrics.h"
#include "workspace-controller/informer_reader.h"
#include "workspace-controller/live.h"
#include "workspace-controller/process_flags.h"
#include "workspace-controller/reservations.h"
#include "workspace-controller/watches.h"
#include "workspace-controller/workspace_reconciler.h"

namespace workspace_controller {
namespace {

constexpr std::string_view kName = "workspace-controller";

std::string Env(const char* name, std::string_view otherwise = "") {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : std::string(otherwise);
}

ProcessFlags ParseFlags(int argc, char** argv) {
  ProcessFlags flags;
  flags.kubeconfig = Env("KUBECONFIG");
  flags.cloud_provider = Env("CLOUD_PROVIDER", flags.cloud_provider);
  flags.preset_registry = Env("PRESET_REGISTRY_NAME");
  flags.leader_election_namespace = Env("RELEASE_NAMESPACE", flags.leader_election_namespace);
  base::FlagSet set(std::string(kName),
                    "Serves Workspaces: plans their nodes, claims them, runs model servers on "
                    "them, and reports on the objects.");
  DefineFlags(set, flags);
  set.ParseOrExit(argc, argv, KAITO_VERSION);
  base::InitLog(
      {.level = base::ParseLogLevel(flags.log_level),
       .format = flags.log_format == "text" ? base::LogFormat::kText : base::LogFormat::kJson,
       .logger = std::string(kName)});
  for (const std::string& name : set.ignored()) {
    base::LogWarning("flag has no effect yet", {{"flag", name}});
  }
  if (flags.webhook) base::LogWarning("flag has no effect yet", {{"flag", "webhook"}});
  return flags;
}

struct Catalogue {
  catalog::Presets presets;
  catalog::GpuTypes types;
};

// Bad entries are told and left out; a catalogue without any entry is a wrong folder.
absl::StatusOr<Catalogue> LoadCatalogue(const ProcessFlags& flags) {
  std::vector<catalog::Problem> problems;
  Catalogue catalogue{catalog::Presets::Load(flags.presets_dir, problems),
                      catalog::GpuTypes::Load(flags.gpu_types_dir, problems)};
  for (const catalog::Problem& problem : problems) {
    base::LogError("catalogue entry left out",
                   {{"file", problem.file}, {"field", problem.field}, {"reason", problem.reason}});
  }
  if (catalogue.presets.All().empty()) {
    return absl::NotFoundError(
        absl::StrFormat("no model preset in %s; set --presets_dir", flags.presets_dir));
  }
  if (catalogue.types.All().empty()) {
    return absl::NotFoundError(
        absl::StrFormat("no GPU type in %s; set --gpu_types_dir", flags.gpu_types_dir));
  }
  return catalogue;
}

// Serves `handler` at `address`; nullptr where that is "0".
absl::StatusOr<std::unique_ptr<net::HttpServer>> Serve(const std::string& address,
                                                       net::Handler handler) {
  ASSIGN_OR_RETURN(const BindAddress bind, ParseBindAddress(address));
  if (bind.port < 0) return std::unique_ptr<net::HttpServer>();
  return net::HttpServer::Start({.bind_address = bind.host, .port = bind.port}, std::move(handler));
}

net::Handler MetricsHandler(const metrics::Registry& registry) {
  return [&registry](const std::shared_ptr<net::Exchange>& exchange) {
    if (exchange->request().path() != "/metrics") {
      exchange->Send({.status = 404, .body = "only /metrics is here\n"});
      return;
    }
    exchange->Send({.status = 200,
                    .headers = {{"Content-Type", std::string(metrics::kTextContentType)}},
                    .body = registry.Text()});
  };
}

net::Handler HealthHandler(const InformerReader& reader) {
  return [&reader](const std::shared_ptr<net::Exchange>& exchange) {
    const std::string_view path = exchange->request().path();
    if (path == "/healthz" || path == "/livez") {
      exchange->Send({.status = 200, .body = "ok\n"});
    } else if (path == "/readyz") {
      const bool ready = reader.synced();
      exchange->Send(
          {.status = ready ? 200 : 503, .body = ready ? "ok\n" : "caches are not filled yet\n"});
    } else {
      exchange->Send({.status = 404, .body = "/healthz, /livez, /readyz\n"});
    }
  };
}

// Another may lead already: whatever this process was about to write, it must not.
[[noreturn]] void LeaseLost() {
  base::LogError("lease lost, ending at once");
  _exit(1);
}

absl::Status Run(const ProcessFlags& flags) {
  ASSIGN_OR_RETURN(ReconcilerOptions options, OptionsFrom(flags));
  ASSIGN_OR_RETURN(const Catalogue catalogue, LoadCatalogue(flags));
  ASSIGN_OR_RETURN(kube::Connection connection,
                   kube::Connect({.kubeconfig = flags.kubeconfig,
                                  .user_agent = std::string(kName),
                                  .service_host = Env("KUBERNETES_SERVICE_HOST"),
                                  .service_port = Env("KUBERNETES_SERVICE_PORT"),
                                  .home = Env("HOME")}));

  metrics::Registry registry(KAITO_VERSION);
  kube::Client client(*connection.transport, {.field_manager = std::string(kName),
                                              .user_agent = std::string(kName),
                                              .queries_per_second = flags.kube_client_qps,
                                              .burst = flags.kube_client_burst,
                                              .registry = &registry});
  kube::EventRecorder events(client,
                             {.reporting_controller = std::string(kName), .registry = &registry});
  InformerReader reader(client, options.status.nodes_are_provisioned, &registry);
  Reservations reservations;
  ControllerMetrics controller_metrics(registry);
  kube::Controller* wake = nullptr;
  Live live({.provisioner = flags.provisioner}, [&wake](const kube::ObjectKey& key) {
    if (wake != nullptr) wake->queue().Add(key);
  });
  WorkspaceReconciler reconciler({.client = client,
                                  .reader = reader,
                                  .presets = catalogue.presets,
                                  .types = catalogue.types,
                                  .events = events,
                                  .live = live,
                                  .reservations = reservations,
                                  .metrics = controller_metrics},
                                 options);
  kube::Controller controller(
      reconciler, {.name = "workspace", .workers = flags.workers, .registry = &registry});
  wake = &controller;
  WatchAll(controller, reader, reservations, options.defaults);

  ASSIGN_OR_RETURN(const auto metrics_server,
                   Serve(flags.metrics_bind_address, MetricsHandler(registry)));
  ASSIGN_OR_RETURN(const auto health_server,
                   Serve(flags.health_probe_bind_address, HealthHandler(reader)));
  kube::LeaderElector elector(client, {.name = std::string(kName),
                                       .namespace_name = flags.leader_election_namespace,
                                       .registry = &registry});
  base::LogInfo("started", {{"server", connection.server},
                            {"presets", catalogue.presets.All().size()},
                            {"gpu_types", catalogue.types.All().size()}});
  reader.Start();
  if (flags.leader_elect) {
    elector.Start([&controller] { controller.Start(); }, LeaseLost);
  } else {
    controller.Start();
  }

  const int signal = base::WaitForStopSignal();
  base::LogInfo("stopping", {{"signal", signal}});
  reader.Stop();
  controller.Stop();  // Running reconciles end; only then may another replica begin.
  live.Stop();
  elector.Release();
  return absl::OkStatus();
}

}  // namespace
}  // namespace workspace_controller

int main(int argc, char** argv) {
  base::BlockStopSignals();
  const workspace_controller::ProcessFlags flags = workspace_controller::ParseFlags(argc, argv);
  const absl::Status status = workspace_controller::Run(flags);
  if (status.ok()) return 0;
  std::fprintf(stderr, "workspace-controller: %s\n", std::string(status.message()).c_str());
  return 1;
}
