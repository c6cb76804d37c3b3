// The command line of workspace-controller, and what its flags mean together.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/base/flags.h"
#include "workspace-controller/workspace_reconciler.h"

namespace workspace_controller {

// As given; defaults are filled in from the environment by main().
struct ProcessFlags {
  std::string kubeconfig;
  std::string cloud_provider = "azure";
  std::string node_provisioner = "azure-gpu-provisioner";
  std::string presets_dir = "deploy/presets";
  std::string gpu_types_dir = "deploy/gpu-types";
  std::string provisioner;
  std::string pod_bind = "all";
  bool webhook = false;
  std::string metrics_bind_address = ":8080";
  std::string health_probe_bind_address = ":8081";
  bool leader_elect = false;
  std::string leader_election_namespace = "kube-system";
  std::string preset_registry;
  std::string model_server_image;
  std::string gateway_image;
  std::string image_pull_policy;
  absl::Duration probe_period;
  std::string default_instance_type = "Standard_NC24ads_A100_v4";
  int max_nodes_per_workspace = 4;
  std::vector<std::string> served_architectures = {"LlamaForCausalLM", "MistralForCausalLM"};
  std::vector<std::string> feature_gates;
  double kube_client_qps = 0;
  int kube_client_burst = 50;
  int workers = 5;
  std::string log_level = "info";
  std::string log_format = "json";
};

void DefineFlags(base::FlagSet& set, ProcessFlags& flags);

// kInvalidArgument names the flag and what it may be.
absl::StatusOr<ReconcilerOptions> OptionsFrom(const ProcessFlags& flags);

struct BindAddress {
  std::string host;
  int port = 0;
};

// ":8080", "127.0.0.1:8081", "[::1]:80". "0" and "" have no host and port -1: not served.
absl::StatusOr<BindAddress> ParseBindAddress(std::string_view text);

}  // namespace workspace_controller
