// gpu-provisioner: NodeClaims become Azure agent pools of one node, and go again.

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <memory>

#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/flags.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/kube/kubeconfig.h"
#include "common/kube/leader_elector.h"
#include "common/kube/process.h"
#include "common/net/grpc_server.h"
#include "gpu-provisioner/arm/cloud.h"
#include "gpu-provisioner/nodes.h"
#include "gpu-provisioner/provisioner.h"
#include "gpu-provisioner/rpc/provisioner_service.h"

namespace gpu_provisioner {
namespace {

struct Settings {
  std::string kubeconfig;
  std::string subscription_id;
  std::string resource_group;
  std::string cluster_name;
  std::string location;

  std::string auth = "auto";
  std::string cloud = "public";
  std::string arm_endpoint;
  std::string arm_api_version = "2025-10-01";
  std::string arm_ca_file;
  std::string tenant_id;
  std::string client_id;
  std::string client_secret_file;
  std::string federated_token_file;

  absl::Duration launch_timeout = absl::Minutes(20);
  absl::Duration registration_timeout = absl::Minutes(15);
  int parallel_puts = 10;
  int agent_pools_max = 100;
  absl::Duration pool_list_interval = absl::Seconds(5);
  absl::Duration pool_list_interval_idle = absl::Seconds(60);
  std::string placement = "regional";
  bool wait_for_gpu_resource = true;
  bool collect_untagged_pools = false;
  std::string subnet_id;
  std::vector<std::string> tags;
  std::string gpu_types_dir = "/etc/kaito/gpu-types";

  int metrics_port = 8080;
  int health_probe_port = 8081;
  std::string bind_address = "0.0.0.0";
  std::string grpc_address;
  std::string log_level = "info";
  double kube_client_qps = 200;
  int kube_client_burst = 300;
  double clock_rate = 1;

  bool leader_elect = true;
  bool disable_leader_election = false;
  std::string leader_election_name = "gpu-provisioner-leader-election";
  std::string leader_election_namespace;
};

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before threads.
  return value == nullptr ? "" : value;
}

void AddFlags(base::FlagSet& flags, Settings& s) {
  flags.Add("kubeconfig", &s.kubeconfig, "kubeconfig file; empty: in-cluster");
  flags.Add("subscription_id", &s.subscription_id, "Azure subscription (required)");
  flags.Add("resource_group", &s.resource_group, "resource group of the cluster (required)");
  flags.Add("cluster_name", &s.cluster_name, "name of the AKS cluster (required)");
  flags.Add("location", &s.location, "Azure region of the cluster (required)");
  flags.Add("auth", &s.auth,
            "auto, workload-identity, managed-identity, service-principal, cli or none");
  flags.Add("cloud", &s.cloud, "public, china, usgov or custom");
  flags.Add("arm_endpoint", &s.arm_endpoint, "URL of the Resource Manager, if not the cloud's");
  flags.Add("arm_api_version", &s.arm_api_version, "api-version of the agent pool calls");
  flags.Add("arm_ca_file", &s.arm_ca_file, "authorities for the Resource Manager; empty: system's");
  flags.Add("tenant_id", &s.tenant_id, "Azure tenant; default AZURE_TENANT_ID");
  flags.Add("client_id", &s.client_id, "application or identity; default AZURE_CLIENT_ID");
  flags.Add("client_secret_file", &s.client_secret_file, "file with the application's secret");
  flags.Add("federated_token_file", &s.federated_token_file,
            "service account token; default AZURE_FEDERATED_TOKEN_FILE");
  flags.Add("launch_timeout", &s.launch_timeout, "from the creation to a known machine");
  flags.Add("registration_timeout", &s.registration_timeout, "from the machine to its node");
  flags.Add("parallel_puts", &s.parallel_puts, "agent pools created at once");
  flags.Add("agent_pools_max", &s.agent_pools_max, "pools the cluster may have, system's included");
  flags.Add("pool_list_interval", &s.pool_list_interval, "between lists while anything moves");
  flags.Add("pool_list_interval_idle", &s.pool_list_interval_idle, "between lists otherwise");
  flags.Add("placement", &s.placement, "regional or zonal-first");
  flags.Add("wait_for_gpu_resource", &s.wait_for_gpu_resource,
            "a GPU node is ready only when its device plugin has reported");
  flags.Add("collect_untagged_pools", &s.collect_untagged_pools,
            "delete pools of the original provisioner whose claim is gone");
  flags.Add("subnet_id", &s.subnet_id, "subnet of the pools; empty: the cluster's");
  flags.Add("tags", &s.tags, "tags of the pools, name=value,…");
  flags.Add("gpu_types_dir", &s.gpu_types_dir, "folder with the catalogue of sizes");
  flags.Add("metrics_port", &s.metrics_port, "port of /metrics; 0: none");
  flags.Add("health_probe_port", &s.health_probe_port, "port of /healthz and /readyz; 0: none");
  flags.Add("bind_address", &s.bind_address, "address of both");
  flags.Add("grpc_address", &s.grpc_address, "host:port or unix:PATH; empty: no gRPC");
  flags.Add("log_level", &s.log_level, "debug, info, warning or error");
  flags.Add("kube_client_qps", &s.kube_client_qps, "calls per second to the API server");
  flags.Add("kube_client_burst", &s.kube_client_burst, "calls at once to the API server");
  flags.Add("clock_rate", &s.clock_rate, "time runs so many times faster (tests)");
  flags.Add("leader_elect", &s.leader_elect, "only the holder of the lease works");
  flags.Add("disable_leader_election", &s.disable_leader_election, "as --no-leader_elect");
  flags.Add("leader_election_name", &s.leader_election_name, "name of the lease");
  flags.Add("leader_election_namespace", &s.leader_election_namespace,
            "namespace of the lease; empty: own");
  for (const char* name :
       {"karpenter_service", "disable_webhook", "webhook_port", "webhook_metrics_port",
        "kube_client_timeout", "enable_profiling", "memory_limit", "batch_max_duration",
        "batch_idle_duration", "feature_gates", "log_output_paths", "log_error_output_paths",
        "cluster_endpoint", "vm_memory_overhead_percent", "node_repair", "price_refresh"}) {
    flags.AddIgnored(name);
  }
  flags.AddExample(
      "gpu-provisioner --subscription_id=… --resource_group=rg --cluster_name=aks "
      "--location=eastus");
}

absl::Status Check(const Settings& s) {
  for (const auto& [flag, value] : {std::pair{"subscription_id", &s.subscription_id},
                                    {"resource_group", &s.resource_group},
                                    {"cluster_name", &s.cluster_name},
                                    {"location", &s.location}}) {
    if (value->empty())
      return absl::InvalidArgumentError(absl::StrFormat("--%s is required", flag));
  }
  if (s.placement != "regional" && s.placement != "zonal-first") {
    return absl::InvalidArgumentError("--placement must be regional or zonal-first");
  }
  if (!(s.clock_rate > 0)) return absl::InvalidArgumentError("--clock_rate must be above 0");
  if (s.parallel_puts < 1 || s.parallel_puts > 100) {
    return absl::InvalidArgumentError("--parallel_puts must be 1 to 100");
  }
  for (const std::string& tag : s.tags) {
    if (!absl::StrContains(tag, "=")) {
      return absl::InvalidArgumentError("--tags: " + tag + " is not name=value");
    }
  }
  return absl::OkStatus();
}

// A cloud on this machine answers in milliseconds, and can be asked as often.
absl::Duration FastInterval(const std::string& arm_url) {
  const auto url = net::ParseUrl(arm_url);
  const bool here = url.ok() && (url->host == "localhost" || absl::StartsWith(url->host, "127."));
  return here ? absl::Milliseconds(50) : absl::ZeroDuration();
}

ProvisionerOptions OptionsOf(const Settings& s, const std::string& arm_url) {
  ProvisionerOptions options;
  options.cluster = {.subscription_id = s.subscription_id,
                     .resource_group = s.resource_group,
                     .cluster_name = s.cluster_name,
                     .location = s.location,
                     .arm_url = arm_url,
                     .api_version = s.arm_api_version};
  options.reconciler.step = {.launch_timeout = s.launch_timeout,
                             .registration_timeout = s.registration_timeout,
                             .location = s.location};
  options.reconciler.pool_defaults.subnet_id = s.subnet_id;
  for (const std::string& tag : s.tags) {
    const size_t equals = tag.find('=');
    options.reconciler.pool_defaults.tags[tag.substr(0, equals)] = tag.substr(equals + 1);
  }
  options.reconciler.pools_max = s.agent_pools_max;
  options.reconciler.zonal_first = s.placement == "zonal-first";
  options.reconciler.wait_for_gpu_resource = s.wait_for_gpu_resource;
  options.snapshot = {.interval = s.pool_list_interval,
                      .interval_idle = s.pool_list_interval_idle,
                      .interval_fast = FastInterval(arm_url)};
  options.parallel_puts = s.parallel_puts;
  options.collect_untagged_pools = s.collect_untagged_pools;
  return options;
}

std::vector<kube::ObjectKey> ClaimsOfNode(const kube::InformerEvent& event) {
  std::vector<kube::ObjectKey> keys;
  const std::string pool = PoolOfNode(event.object);
  if (!pool.empty()) keys.push_back({"", pool});
  return keys;
}

absl::StatusOr<catalog::GpuTypes> LoadTypes(const std::string& folder) {
  std::vector<catalog::Problem> problems;
  catalog::GpuTypes types = catalog::GpuTypes::Load(folder, problems);
  for (const catalog::Problem& problem : problems) {
    base::LogWarning("catalogue entry is left out", {{"problem", problem.ToString()}});
  }
  if (types.All("azure").empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "--gpu_types_dir=%s holds no Azure sizes; give the folder deploy/gpu-types", folder));
  }
  return types;
}

absl::Status Run(const Settings& s) {
  RETURN_IF_ERROR(Check(s));
  const std::unique_ptr<base::ScaledClock> scaled =
      s.clock_rate == 1 ? nullptr : std::make_unique<base::ScaledClock>(s.clock_rate);
  const base::Clock& clock = scaled ? *scaled : base::RealClock();
  metrics::Registry registry(KAITO_VERSION);

  ASSIGN_OR_RETURN(const catalog::GpuTypes types, LoadTypes(s.gpu_types_dir));
  ASSIGN_OR_RETURN(const Cloud cloud, Cloud::Named(s.cloud, s.arm_endpoint));
  std::string ca_pem;
  if (!s.arm_ca_file.empty()) {
    ASSIGN_OR_RETURN(ca_pem, base::ReadFile(s.arm_ca_file, 1 << 20));
  }
  const HttpSenderFactory senders = MakeHttpSenderFactory(ca_pem);
  ASSIGN_OR_RETURN(const auto sender, senders(cloud.arm()));
  ASSIGN_OR_RETURN(auto token_source,
                   MakeTokenSource({.auth = s.auth,
                                    .tenant_id = s.tenant_id,
                                    .client_id = s.client_id,
                                    .client_secret_file = s.client_secret_file,
                                    .federated_token_file = s.federated_token_file,
                                    .authority_host = Environment("AZURE_AUTHORITY_HOST")},
                                   cloud, senders));
  TokenCache tokens(std::move(token_source), clock);

  ASSIGN_OR_RETURN(kube::Connection connection,
                   kube::Connect({.kubeconfig = s.kubeconfig,
                                  .user_agent = "gpu-provisioner",
                                  .service_host = Environment("KUBERNETES_SERVICE_HOST"),
                                  .service_port = Environment("KUBERNETES_SERVICE_PORT"),
                                  .home = Environment("HOME")}));
  kube::Client client(*connection.transport, {.field_manager = "gpu-provisioner",
                                              .user_agent = "gpu-provisioner",
                                              .queries_per_second = s.kube_client_qps,
                                              .burst = s.kube_client_burst,
                                              .registry = &registry});
  kube::Informer claims(client, kube::resources::kNodeClaims, {.registry = &registry});
  kube::Informer nodes(client, kube::resources::kNodes, {.registry = &registry});
  const InformerView view(claims, nodes);
  auto recorder = std::make_unique<kube::EventRecorder>(
      client,
      kube::EventRecorderOptions{.reporting_controller = "gpu-provisioner", .registry = &registry});

  kube::LeaderElector elector(
      client, {.name = s.leader_election_name,
               .namespace_name = s.leader_election_namespace.empty() ? connection.namespace_name
                                                                     : s.leader_election_namespace,
               .registry = &registry});
  const bool elect = s.leader_elect && !s.disable_leader_election;
  const auto leads = [&elector, elect](absl::Duration margin) {
    return !elect || elector.IsLeader(margin);
  };

  std::atomic<kube::WorkQueue*> queue = nullptr;
  ProvisionerOptions options = OptionsOf(s, cloud.arm());
  // A write takes up to 70 s on the wire; one that begins late meets If-Match.
  options.may_write = [&leads] { return leads(absl::Seconds(5)); };
  Provisioner provisioner(options, *sender, tokens, client, view, types, recorder.get(), &registry,
                          clock, [&queue](const std::string& claim) {
                            if (kube::WorkQueue* const target = queue) target->Add({"", claim});
                          });
  kube::Controller controller(provisioner.reconciler(),
                              {.name = "nodeclaim",
                               .workers = 4,
                               .retry_initial = absl::Milliseconds(50),
                               .retry_max = absl::Seconds(60),
                               .registry = &registry,
                               .may_reconcile = [&leads] { return leads(absl::ZeroDuration()); }},
                              clock);
  controller.WatchSelf(claims);
  controller.WatchMapped(nodes, ClaimsOfNode);

  ASSIGN_OR_RETURN(
      const auto endpoints,
      kube::ProcessEndpoints::Start(
          {.metrics_address = absl::StrFormat("%s:%d", s.bind_address, s.metrics_port),
           .health_address = absl::StrFormat("%s:%d", s.bind_address, s.health_probe_port)},
          registry));
  endpoints->AddReadyCheck("caches", [&] {
    return claims.synced() && nodes.synced()
               ? absl::OkStatus()
               : absl::UnavailableError(
                     "claims and nodes are not read yet (is the NodeClaim CRD "
                     "installed?)");
  });
  endpoints->AddReadyCheck("token", [&tokens] {
    return tokens.ready() ? absl::OkStatus() : absl::UnavailableError("no Azure token yet");
  });

  ProvisionerService service(provisioner, {.location = s.location, .is_leader = [&leads] {
                                             return leads(absl::ZeroDuration());
                                           }});
  std::unique_ptr<net::GrpcServer> grpc_server;
  if (!s.grpc_address.empty()) {
    ASSIGN_OR_RETURN(grpc_server,
                     net::GrpcServer::Start({.addresses = {s.grpc_address}}, {service.service()}));
  }

  claims.Start();
  nodes.Start();
  controller.Start();
  queue = &controller.queue();
  const auto lead = [&] {
    base::LogInfo("leading");
    provisioner.Start();
    if (grpc_server) grpc_server->SetServing(true);
  };
  if (elect) {
    elector.Start(lead, [] {
      base::LogError("the lease is lost; ending at once");
      std::_Exit(1);
    });
  } else {
    lead();
  }
  // A follower has a token too, so that it is ready to take over.
  const auto token_thread = base::StartThread("token", [&](const std::stop_token& stop) {
    while (!stop.stop_requested() && !tokens.Get().ok()) absl::SleepFor(absl::Milliseconds(250));
  });

  const int signal = base::WaitForStopSignal();
  base::LogInfo("stopping", {{"signal", signal}});
  if (grpc_server) {
    grpc_server->SetServing(false);
    service.Stop();
    grpc_server->Shutdown(absl::Seconds(1));
  }
  controller.Stop();
  recorder.reset();
  if (elect) elector.Release();
  base::LogInfo("stopped");
  // Calls to Azure may run for another minute; the next leader reads their outcome from the list.
  std::_Exit(0);
}

}  // namespace
}  // namespace gpu_provisioner

int main(int argc, char** argv) {
  base::BlockStopSignals();
  gpu_provisioner::Settings settings;
  settings.tenant_id = gpu_provisioner::Environment("AZURE_TENANT_ID");
  settings.client_id = gpu_provisioner::Environment("AZURE_CLIENT_ID");
  settings.federated_token_file = gpu_provisioner::Environment("AZURE_FEDERATED_TOKEN_FILE");
  base::FlagSet flags(
      "gpu-provisioner",
      "Turns NodeClaims into Azure agent pools of one GPU node, and takes them away.");
  gpu_provisioner::AddFlags(flags, settings);
  flags.ParseOrExit(argc, argv, KAITO_VERSION);
  base::InitLog({.level = base::ParseLogLevel(settings.log_level), .logger = "gpu-provisioner"});
  for (const std::string& name : flags.ignored()) {
    base::LogInfo("flag has no effect here", {{"flag", name}});
  }
  const absl::Status status = gpu_provisioner::Run(settings);
  std::cerr << "gpu-provisioner: " << status.message() << "\n";
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}
