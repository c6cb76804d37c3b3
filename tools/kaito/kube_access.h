// How the verbs reach a cluster's objects, and a Workspace's server.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/kube/client.h"
#include "common/kube/kubeconfig.h"
#include "common/net/http_client.h"
#include "kaito/options.h"

namespace kaito {

struct Access {
  kube::Connection connection;
  std::unique_ptr<kube::Client> client;
  std::string namespace_name;

  kube::ObjectKey Key(const std::string& name) const { return {namespace_name, name}; }
};

// --kubeconfig, else the local cluster that --name or --state-dir names, else KUBECONFIG, else the
// default local cluster if there is one, else ~/.kube/config or the pod's own account.
absl::StatusOr<Access> OpenAccess(const Options& options, const Environment& environment);

// The Workspace; kNotFound names the nearest that exists. kUnavailable with the remedy.
absl::StatusOr<kube::Object> GetWorkspace(Access& access, const std::string& name);

// Waits until `done` holds, calling `changed` with each state; kFailedPrecondition at `timeout` and
// at once when only the user can mend it (condition Stalled), kNotFound when it is deleted.
absl::StatusOr<kube::Object> AwaitWorkspace(
    Access& access, kube::Object workspace, absl::Duration timeout,
    const std::function<bool(const kube::Object&)>& done,
    const std::function<void(const kube::Object&)>& changed);

// True when the Workspace does what it says.
bool IsWorkspaceReady(const kube::Object& workspace);

// "InferenceReady is False (WorkspaceInferenceStatusPending): waiting for …": the condition that
// holds it back; "" when none does.
std::string WhatHoldsBack(const kube::Object& workspace);

// Sends requests to the Workspace's server: to the loopback address that a local cluster wrote on
// the Service, else through the API server's proxy, so that no port need be forwarded.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual std::string url() const = 0;
  virtual absl::StatusOr<net::Response> Send(const net::Request& request) = 0;
  virtual absl::StatusOr<std::unique_ptr<net::HttpStream>> Open(const net::Request& request) = 0;
};
absl::StatusOr<std::unique_ptr<Endpoint>> FindEndpoint(Access& access,
                                                       const std::string& workspace);

// "127.96.0.5:80" of the annotation local-cluster.kaito.sh/ports; nullopt when there is none.
std::optional<std::string> LocalAddress(const kube::Object& service, int port);

}  // namespace kaito
