// A Kubernetes API server for one machine: store, REST, watches, CRDs, all that kubectl needs.
//
//   ASSIGN_OR_RETURN(auto api, ApiServer::Open({.data_dir = dir + "/data"}));
//   net::HttpServerOptions http = api->HttpOptions();
//   http.port = 6443;
//   ASSIGN_OR_RETURN(auto server, net::HttpServer::Start(http, api->handler()));
//   kube::Client client(api->transport(), {});

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "common/base/clock.h"
#include "common/kube/client.h"
#include "common/net/http_server.h"
#include "local-cluster/apiserver/pod_streams.h"

namespace local_cluster {

// When a write counts as durable, and so is acknowledged.
enum class FsyncMode {
  kAlways,  // After fdatasync; all writes that wait share one.
  kBatch,   // At once; synced at most 10 ms later.
  kNever,   // At once; the system writes when it likes. For tests.
};

struct ApiServerOptions {
  std::string data_dir;  // Log, snapshots, keys, certificates. Empty: all in memory, own keys.
  FsyncMode fsync = FsyncMode::kAlways;
  absl::Duration history = absl::Seconds(75);  // Watch history: an event is kept while it is
  int history_events = 1000;                   // younger than this, or among the newest so many.
  absl::Duration bookmark_interval = absl::Seconds(60);
  int watches_max = 2000;
  int requests_max = 400;              // In flight, without watches and streams; beyond: 429.
  const base::Clock* clock = nullptr;  // Null: the machine's.
};

// Thread-safe. Serves until destroyed; the HTTP servers that call handler() must be gone by then.
class ApiServer {
 public:
  // Reads the data folder; namespaces, their service accounts and root certificates exist when this
  // returns. kFailedPrecondition: another process holds the folder (its pid is named). kDataLoss:
  // the log is damaged; the message names file, offset, last good revision and the remedy.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Open(const ApiServerOptions& options);
  ~ApiServer();

  // Certificate, client CA, limits, threads and error bodies of an HTTPS server for handler(). The
  // caller adds the address and starts it.
  net::HttpServerOptions HttpOptions() const;
  net::Handler handler();

  // Calls the handlers on the caller's thread, with all rights. Watches are read as from a socket.
  kube::Transport& transport();

  // A kubeconfig with an administrator's client certificate, mode 0600. `name` is its cluster, user
  // and current context; `url` is "https://127.0.0.1:port".
  absl::Status WriteKubeconfig(const std::string& path, std::string_view name,
                               std::string_view url) const;

  // The CA's certificate, as in kube-root-ca.crt.
  const std::string& ca_pem() const;

  // Who answers for logs; null: nobody, and logs are 503. May change at any time.
  void SetPodStreams(PodStreams* streams);

  // False until set true: /readyz answers 500 with `reason`. Starts true.
  void SetReady(bool ready, std::string_view reason = "");

  // Ends all watches properly (a last bookmark) and refuses new requests with 503.
  void Shutdown();

  // Of the last committed write.
  uint64_t revision() const;

 private:
  ApiServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace local_cluster
