#include "local-cluster/supervisor/programs.h"

#include <unistd.h>

#include "absl/strings/str_format.h"

#include "boost/json.hpp"
#include "common/base/files.h"

namespace local_cluster {
namespace {

constexpr char kProvisioner[] = "gpu-provisioner";
constexpr char kController[] = "workspace-controller";

SupervisedProgram Program(const ClusterFacts& facts, const std::string& name,
                          std::vector<std::string> arguments) {
  return {.name = name,
          .program = absl::StrFormat("%s/%s", facts.bin_dir, name),
          .arguments = std::move(arguments),
          .environment = facts.environment,
          .folder = facts.state_dir,
          .log_path = absl::StrFormat("%s/logs/%s.log", facts.state_dir, name)};
}

}  // namespace

std::string ClusterFacts::ProvisionerAddress() const {
  return absl::StrFormat("unix:%s/run/provisioner.sock", state_dir);
}

SupervisedProgram GpuProvisioner(const ClusterFacts& facts) {
  std::vector<std::string> arguments = {
      "--kubeconfig=" + facts.kubeconfig,
      "--arm_endpoint=" + facts.arm_url,
      "--cloud=custom",
      "--auth=service-principal",
      "--tenant_id=" + facts.arm_tenant_id,
      "--client_id=" + facts.arm_client_id,
      absl::StrFormat("--client_secret_file=%s/run/arm-secret", facts.state_dir),
      "--subscription_id=" + facts.arm_subscription_id,
      "--resource_group=local",
      "--cluster_name=local",
      "--location=local",
      absl::StrFormat("--gpu_types_dir=%s/gpu-types", facts.deploy_dir),
      "--grpc_address=" + facts.ProvisionerAddress(),
      absl::StrFormat("--metrics_port=%d", facts.provisioner_metrics_port),
      absl::StrFormat("--health_probe_port=%d", facts.provisioner_health_port),
      "--leader_election_namespace=kube-system",
      "--bind_address=127.0.0.1"};
  if (facts.clock_rate != 1) {
    arguments.push_back(absl::StrFormat("--clock_rate=%g", facts.clock_rate));
  }
  return Program(facts, kProvisioner, std::move(arguments));
}

SupervisedProgram WorkspaceController(const ClusterFacts& facts) {
  return Program(
      facts, kController,
      {"--kubeconfig=" + facts.kubeconfig, "--cloud_provider=azure",
       absl::StrFormat("--presets_dir=%s/presets", facts.deploy_dir),
       absl::StrFormat("--gpu_types_dir=%s/gpu-types", facts.deploy_dir),
       "--provisioner=" + facts.ProvisionerAddress(), "--pod_bind=pod-ip", "--webhook=false",
       absl::StrFormat("--metrics-bind-address=127.0.0.1:%d", facts.controller_metrics_port),
       absl::StrFormat("--health-probe-bind-address=127.0.0.1:%d", facts.controller_health_port),
       "--model-server-image=model-server", "--gateway-image=gateway", "--leader-elect",
       "--probe_period=1s"});
}

absl::Status WriteStatusFile(const ClusterFacts& facts, const std::map<std::string, pid_t>& pids) {
  namespace json = boost::json;
  const std::map<std::string, json::object> ports = {
      {kProvisioner,
       {{"metrics", facts.provisioner_metrics_port}, {"health", facts.provisioner_health_port}}},
      {kController,
       {{"metrics", facts.controller_metrics_port}, {"health", facts.controller_health_port}}}};
  json::array processes;
  for (const auto& [name, pid] : pids) {
    processes.push_back(json::object{{"name", name}, {"pid", pid}, {"ports", ports.at(name)}});
  }
  return base::WriteFileAtomic(
      facts.state_dir + "/status.json",
      json::serialize(json::object{{"name", facts.name},
                                   {"pid", getpid()},
                                   {"kubeconfig", facts.kubeconfig},
                                   {"api", facts.api_url},
                                   {"arm", facts.arm_url},
                                   {"provisioner_grpc", facts.ProvisionerAddress()},
                                   {"processes", std::move(processes)}}) +
          "\n");
}

}  // namespace local_cluster
