// How to reach an API server: a kubeconfig file, or the files mounted into a pod.

#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "common/kube/client.h"

namespace kube {

struct Connection {
  std::unique_ptr<Transport> transport;
  std::string server;          // URL, for messages.
  std::string namespace_name;  // Of the context or the pod; "default" if none.
};

struct ConnectionOptions {
  std::string kubeconfig;  // Path or list of paths. Empty: in-cluster if KUBERNETES_SERVICE_HOST
                           // is given in `environment`, else ~/.kube/config.
  std::string context;     // Empty: current-context.
  std::string user_agent = "kaito-cpp";
  // What main() read from the environment; empty strings where unset.
  std::string service_host;  // KUBERNETES_SERVICE_HOST
  std::string service_port;  // KUBERNETES_SERVICE_PORT
  std::string home;          // HOME
  std::string service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
};

// Reads files and opens no connection. Tokens and CA files are read again every 60 s and after a
// 401, which is retried once. kInvalidArgument names an entry that is not supported.
absl::StatusOr<Connection> Connect(const ConnectionOptions& options);

}  // namespace kube
