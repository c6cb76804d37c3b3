// Reading Nodes, and what a claim writes on its Node. Pure.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"
#include "gpu-provisioner/conditions.h"
#include "gpu-provisioner/node_claim.h"

namespace gpu_provisioner {

// The agent pool that AKS says a Node is of, in lower case; "" if none.
std::string PoolOfNode(const kube::Object& node);

bool IsNodeReady(const kube::Object& node);

// Nodes of ours: a claim's finalizer and labels are on them.
bool IsManagedNode(const kube::Object& node);

// The merge patch that registers `node` for `claim`: finalizer, owner, labels, annotations, taints
// (each startup taint only the first time). nullopt when all of it is there. The patch holds the
// resource version, because lists are replaced whole.
std::optional<boost::json::value> RegistrationPatch(const kube::Object& node,
                                                    const NodeRequest& claim);

// Whether a registered Node may take work: ready, startup taints gone, resources there. `gpu_size`
// waits for the device plugin's resource as well.
Verdict InitializedVerdict(const kube::Object& node, const NodeRequest& claim, bool gpu_size);

}  // namespace gpu_provisioner
