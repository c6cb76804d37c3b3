// What a Workspace's objects should look like. Pure: the same input gives the same bytes.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

#include "common/kube/object.h"
#include "workspace-controller/decision.h"
#include "workspace-controller/observed.h"
#include "workspace-controller/workspace.h"

namespace workspace_controller {

struct ObjectOptions {
  std::string cloud_provider = "azure";
  std::string model_server_image = "model-server";
  std::string gateway_image = "gateway";
  std::string image_pull_policy;  // Empty: the cluster's default.
  // Listen on the pod's own address instead of all: for runners without network namespaces.
  bool bind_pod_ip = false;
  absl::Duration probe_period;  // Startup and readiness; zero: 10 s and 5 s.
};

// What a node needs on its system disk for the model, as a Kubernetes quantity.
std::string DiskFor(const Observed& observed);

// One machine (karpenter.sh/v1). `name` comes from ClaimName().
kube::Object NodeClaimFor(const Workspace& workspace, const std::string& name,
                          const Observed& observed, const ObjectOptions& options);

kube::Object ServiceFor(const Workspace& workspace);
kube::Object HeadlessServiceFor(const Workspace& workspace);

// Shared by the namespace, so without an owner.
kube::Object ConfigTemplateFor(const Workspace& workspace);

// `decision` has a plan and as many nodes.
kube::Object StatefulSetFor(const Workspace& workspace, const Observed& observed,
                            const Decision& decision, const ObjectOptions& options);

// How long a server may take to load: 15 minutes and 18 s per GiB, from 30 to 180 minutes.
absl::Duration StartupLimit(int64_t weights_bytes);

}  // namespace workspace_controller
