// How the two controllers are started, and what is told about it all.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "local-cluster/supervisor/supervisor.h"

namespace local_cluster {

// What the command lines and the status file are made from.
struct ClusterFacts {
  std::string name = "local";
  std::string state_dir;
  std::string bin_dir;
  std::string deploy_dir;
  std::string kubeconfig;
  std::string api_url;
  std::string arm_url;
  std::string arm_tenant_id;
  std::string arm_client_id;
  std::string arm_subscription_id;
  double clock_rate = 1;
  std::vector<std::string> environment;  // Of the programs.

  int provisioner_metrics_port = 0;
  int provisioner_health_port = 0;
  int controller_metrics_port = 0;
  int controller_health_port = 0;

  std::string ProvisionerAddress() const;  // "unix:…"
};

SupervisedProgram GpuProvisioner(const ClusterFacts& facts);
SupervisedProgram WorkspaceController(const ClusterFacts& facts);

// Replaces state_dir/status.json.
absl::Status WriteStatusFile(const ClusterFacts& facts, const std::map<std::string, pid_t>& pids);

}  // namespace local_cluster
