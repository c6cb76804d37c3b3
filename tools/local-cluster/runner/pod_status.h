// A Pod's status as kubelet writes it, from what the runner knows.

#pragma once

#include <string>

#include <boost/json/fwd.hpp>

#include "common/kube/object.h"
#include "local-cluster/runner/pod_plan.h"

namespace local_cluster {

struct PodFacts {
  std::string pod_ip;
  std::string host_ip = "127.0.0.1";
  absl::Time start_time;
  bool failed = false;  // As a whole, with this reason and message.
  std::string reason;
  std::string message;
};

// The members of status that a runner owns. Conditions of others are kept, transition times of
// equal conditions too.
boost::json::value ComputePodStatus(const kube::Object& pod, const PodSpec& spec,
                                    const ContainerStates& states, const PodFacts& facts,
                                    absl::Time now);

// What is left of the containers of a Pod whose processes died with the last run of this program:
// those that ran have ended, with ContainerStatusUnknown.
ContainerStates RestoreStates(const kube::Object& pod, const PodSpec& spec, absl::Time now);

}  // namespace local_cluster
