// local-cluster: a Kubernetes cluster in one process, for laptops and tests.

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"

#include "common/base/files.h"
#include "common/base/flags.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/base/status_macros.h"
#include "common/kube/client.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/api_server.h"
#include "local-cluster/azure/arm_emulator.h"
#include "local-cluster/controllers/built_in_loops.h"
#include "local-cluster/controllers/informer_set.h"
#include "local-cluster/runner/node_heartbeat.h"
#include "local-cluster/runner/runner.h"
#include "local-cluster/runner/service_proxy.h"
#include "local-cluster/supervisor/crds.h"
#include "local-cluster/supervisor/programs.h"
#include "local-cluster/supervisor/state_folder.h"
#include "local-cluster/supervisor/supervisor.h"

namespace local_cluster {
namespace {

constexpr absl::Duration kProgramGrace = absl::Seconds(10);
constexpr absl::Duration kPodGrace = absl::Seconds(5);
constexpr absl::Duration kSyncTimeout = absl::Seconds(20);

struct Flags {
  std::string name = "local";
  std::string state_dir;
  std::string bin_dir = base::ExecutableFolder();
  std::string deploy_dir;
  int api_port = 0;
  std::string model_dir;
  std::vector<std::string> host_path_map;
  std::vector<std::string> image_map;
  std::string fsync = "always";
  double clock_rate = 1;
  bool controllers = true;
  std::string log_level = "info";
};

std::string Environment(const char* name, const std::string& otherwise) {
  const char* value = getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

Flags ParseFlags(int argc, char** argv) {
  Flags flags;
  flags.model_dir = Environment("HOME", "/root") + "/.cache/kaito/models";
  base::FlagSet set("local-cluster",
                    "A Kubernetes cluster in one process: API server, built-in loops, pods as "
                    "processes, an emulated Azure, and the two controllers.");
  set.Add("name", &flags.name, "Name of the cluster, and of the kubeconfig's context.");
  set.Add("state_dir", &flags.state_dir, "Folder for everything this program writes. Required.");
  set.Add("bin_dir", &flags.bin_dir, "Folder with the programs that images stand for.");
  set.Add("deploy_dir", &flags.deploy_dir, "Folder with crds/, presets/ and gpu-types/. Required.");
  set.Add("api_port", &flags.api_port, "Port of the API on 127.0.0.1; 0: a free one, then kept.");
  set.Add("model_dir", &flags.model_dir, "Folder with model weights, seen as /opt/kaito/models.");
  set.Add("host_path_map", &flags.host_path_map, "PREFIX=DIR: where a hostPath lies. Repeatable.");
  set.Add("image_map", &flags.image_map, "IMAGE=PROGRAM [ARGUMENTS]: what an image runs.");
  set.Add("fsync", &flags.fsync, "When a write is durable: always, batch (10 ms later) or never.");
  set.Add("clock_rate", &flags.clock_rate, "How much faster than real the emulated cloud runs.");
  set.Add("controllers", &flags.controllers, "Start gpu-provisioner and workspace-controller.");
  set.Add("log_level", &flags.log_level, "debug, info, warning or error.");
  set.AddExample("local-cluster --state_dir ~/.local/state/kaito/local --deploy_dir deploy");
  set.ParseOrExit(argc, argv, KAITO_VERSION);
  return flags;
}

absl::StatusOr<std::string> Absolute(const std::string& path, std::string_view flag) {
  if (path.empty()) return absl::InvalidArgumentError(absl::StrFormat("--%s is missing", flag));
  RETURN_IF_ERROR(base::CreateDirectories(path));
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) return base::ErrnoStatus(errno, path);
  return std::string(resolved);
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ParsePairs(
    const std::vector<std::string>& texts, std::string_view flag) {
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--%s=%s: expected NAME=VALUE", flag, text));
    }
    pairs.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return pairs;
}

absl::StatusOr<FsyncMode> ParseFsync(const std::string& text) {
  if (text == "always") return FsyncMode::kAlways;
  if (text == "batch") return FsyncMode::kBatch;
  if (text == "never") return FsyncMode::kNever;
  return absl::InvalidArgumentError(
      absl::StrFormat("--fsync=%s: expected always, batch or never", text));
}

std::string KeeperPath() { return base::ExecutableFolder() + "/pod-keeper"; }

absl::StatusOr<RunnerOptions> RunnerOptionsOf(const Flags& flags, const StateFolder& folder) {
  RunnerOptions options;
  options.state_dir = folder.path();
  options.keeper = KeeperPath();
  options.images.bin_dir = flags.bin_dir;
  options.images.image_map = {{"curlimages/curl", "curl"}, {"busybox", "sh"}};
  ASSIGN_OR_RETURN(const auto images, ParsePairs(flags.image_map, "image_map"));
  for (const auto& [image, program] : images) options.images.image_map[image] = program;
  ASSIGN_OR_RETURN(const auto paths, ParsePairs(flags.host_path_map, "host_path_map"));
  for (const auto& [prefix, path] : paths) options.host_paths.push_back({prefix, path});
  options.host_paths.push_back({"/opt/kaito/models", flags.model_dir});
  options.path = Environment("PATH", "/usr/local/bin:/usr/bin:/bin");
  options.lang = Environment("LANG", "C.UTF-8");
  return options;
}

absl::StatusOr<ClusterFacts> ChoosePorts(const Flags& flags, StateFolder& folder) {
  ClusterFacts facts;
  facts.name = flags.name;
  facts.state_dir = folder.path();
  facts.bin_dir = flags.bin_dir;
  facts.deploy_dir = flags.deploy_dir;
  facts.kubeconfig = folder.Path("kubeconfig");
  facts.clock_rate = flags.clock_rate;
  const azure::ArmEmulatorOptions arm;  // Its one application and its one cluster.
  facts.arm_tenant_id = arm.tenant_id;
  facts.arm_client_id = arm.client_id;
  facts.arm_subscription_id = arm.subscription_id;
  facts.environment = {"PATH=" + Environment("PATH", "/usr/bin:/bin"),
                       "LANG=" + Environment("LANG", "C.UTF-8"), "HOME=" + folder.path(),
                       Runner::Mark(folder.path())};
  for (const auto& [name, port] :
       {std::pair{"provisioner-metrics", &facts.provisioner_metrics_port},
        {"provisioner-health", &facts.provisioner_health_port},
        {"controller-metrics", &facts.controller_metrics_port},
        {"controller-health", &facts.controller_health_port}}) {
    ASSIGN_OR_RETURN(*port, folder.Port(name));
  }
  return facts;
}

absl::StatusOr<std::unique_ptr<net::HttpServer>> Serve(ApiServer& api, int port) {
  net::HttpServerOptions http = api.HttpOptions();
  http.bind_address = "127.0.0.1";
  http.port = port;
  return net::HttpServer::Start(http, api.handler());
}

// All parts, in the order of their start; they end in reverse.
class LocalCluster {
 public:
  explicit LocalCluster(Flags flags) : flags_(std::move(flags)), arm_clock_(flags_.clock_rate) {}

  absl::Status Start() {
    RETURN_IF_ERROR(OpenFolder());
    RETURN_IF_ERROR(StartApi());
    RETURN_IF_ERROR(StartLoopsAndPods());
    return StartCloud();
  }

  void Stop() {
    if (supervisor_) supervisor_->Stop(kProgramGrace);
    supervisor_.reset();
    arm_.reset();
    if (api_) api_->SetPodStreams(nullptr);
    if (runner_) runner_->Stop(kPodGrace);
    if (loops_) loops_->Stop();
    if (informers_) informers_->Stop();  // No handler runs any more.
    heartbeat_.reset();
    proxy_.reset();
    runner_.reset();
    loops_.reset();
    informers_.reset();
    if (server_) server_->StopAccepting();
    if (api_) api_->Shutdown();
    server_.reset();
  }

 private:
  absl::Status OpenFolder() {
    ASSIGN_OR_RETURN(folder_, StateFolder::Open(flags_.state_dir));
    ASSIGN_OR_RETURN(facts_, ChoosePorts(flags_, *folder_));
    ASSIGN_OR_RETURN(api_port_, folder_->Port("api", flags_.api_port));
    ASSIGN_OR_RETURN(arm_port_, folder_->Port("arm"));
    facts_.arm_url = absl::StrFormat("http://127.0.0.1:%d", arm_port_);
    return folder_->SavePorts();
  }

  absl::Status StartApi() {
    ASSIGN_OR_RETURN(const FsyncMode fsync, ParseFsync(flags_.fsync));
    ASSIGN_OR_RETURN(api_, ApiServer::Open({.data_dir = folder_->Path("data"), .fsync = fsync}));
    client_ = std::make_unique<kube::Client>(api_->transport(),
                                             kube::ClientOptions{.field_manager = "local-cluster"});
    RETURN_IF_ERROR(ApplyCrds(*client_, flags_.deploy_dir + "/crds"));
    ASSIGN_OR_RETURN(server_, Serve(*api_, api_port_));
    facts_.api_url = absl::StrFormat("https://127.0.0.1:%d", server_->port());
    RETURN_IF_ERROR(api_->WriteKubeconfig(facts_.kubeconfig, flags_.name, facts_.api_url));
    RETURN_IF_ERROR(WriteStatusFile(facts_, {}));
    printf("ready kubeconfig=%s api=%s\n", facts_.kubeconfig.c_str(), facts_.api_url.c_str());
    fflush(stdout);
    return absl::OkStatus();
  }

  absl::Status StartLoopsAndPods() {
    using namespace kube::resources;  // NOLINT(google-build-using-namespace): constants alone.
    ASSIGN_OR_RETURN(const RunnerOptions options, RunnerOptionsOf(flags_, *folder_));
    informers_ = std::make_unique<InformerSet>(*client_);
    loops_ = std::make_unique<BuiltInLoops>(*client_, *informers_, api_->ca_pem());
    heartbeat_ = std::make_unique<NodeHeartbeat>(*client_, informers_->Of(kNodes));
    runner_ = std::make_unique<Runner>(*client_,
                                       RunnerInformers{.pods = informers_->Of(kPods),
                                                       .nodes = informers_->Of(kNodes),
                                                       .services = informers_->Of(kServices)},
                                       options);
    proxy_ = std::make_unique<ServiceProxy>(*client_, informers_->Of(kServices),
                                            informers_->Of(kEndpointSlices),
                                            folder_->Path("run/service-ports.json"));
    RETURN_IF_ERROR(EnsureLocalNode(*client_, "local"));
    informers_->Start();
    if (!informers_->AwaitSync(kSyncTimeout)) {
      return absl::InternalError("the built-in loops do not see the API");
    }
    RETURN_IF_ERROR(runner_->Start());
    api_->SetPodStreams(runner_.get());
    RETURN_IF_ERROR(proxy_->Start());
    loops_->Start();
    heartbeat_->Start();
    return absl::OkStatus();
  }

  absl::Status StartCloud() {
    azure::ArmEmulatorOptions options;
    options.port = arm_port_;
    ASSIGN_OR_RETURN(options.client_secret, folder_->Secret("arm-secret"));
    options.gpu_types_dir = flags_.deploy_dir + "/gpu-types";
    options.state_file = folder_->Path("data/azure.json");
    ASSIGN_OR_RETURN(arm_, azure::ArmEmulator::Start(options, *client_, arm_clock_));
    supervisor_ = std::make_unique<Supervisor>(SupervisorOptions{
        .keeper = KeeperPath(), .changed = [this](const std::map<std::string, pid_t>& pids) {
          const absl::Status status = WriteStatusFile(facts_, pids);
          if (!status.ok()) base::LogWarning("status file not written", {{"error", status}});
        }});
    if (!flags_.controllers) return absl::OkStatus();
    supervisor_->Start(GpuProvisioner(facts_));
    supervisor_->Start(WorkspaceController(facts_));
    return absl::OkStatus();
  }

  const Flags flags_;
  const base::ScaledClock arm_clock_;
  ClusterFacts facts_;
  int api_port_ = 0;
  int arm_port_ = 0;
  std::unique_ptr<StateFolder> folder_;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<net::HttpServer> server_;
  std::unique_ptr<BuiltInLoops> loops_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<ServiceProxy> proxy_;
  std::unique_ptr<NodeHeartbeat> heartbeat_;
  std::unique_ptr<InformerSet> informers_;
  std::unique_ptr<azure::ArmEmulator> arm_;
  std::unique_ptr<Supervisor> supervisor_;
};

absl::Status Run(Flags flags) {
  ASSIGN_OR_RETURN(flags.state_dir, Absolute(flags.state_dir, "state_dir"));
  ASSIGN_OR_RETURN(flags.deploy_dir, Absolute(flags.deploy_dir, "deploy_dir"));
  ASSIGN_OR_RETURN(flags.bin_dir, Absolute(flags.bin_dir, "bin_dir"));
  if (flags.clock_rate <= 0) return absl::InvalidArgumentError("--clock_rate must be above 0");
  LocalCluster cluster(std::move(flags));
  const absl::Status started = cluster.Start();
  if (started.ok()) {
    const int signal = base::WaitForStopSignal();
    base::LogInfo("stopping", {{"signal", signal}});
  }
  cluster.Stop();
  return started;
}

}  // namespace
}  // namespace local_cluster

int main(int argc, char** argv) {
  base::BlockStopSignals();
  const local_cluster::Flags flags = local_cluster::ParseFlags(argc, argv);
  base::InitLog({.level = base::ParseLogLevel(flags.log_level), .logger = "local-cluster"});
  const absl::Status status = local_cluster::Run(flags);
  if (status.ok()) return 0;
  fprintf(stderr, "local-cluster: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? 2 : 1;
}
