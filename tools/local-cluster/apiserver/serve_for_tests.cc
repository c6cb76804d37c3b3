// The API server alone, for trying kubectl against it.
//
// usage: apiserver_for_tests FOLDER [always|batch|never]

#include <cstdio>
#include <string>

#include "common/base/log.h"
#include "common/base/signals.h"
#include "local-cluster/apiserver/api_server.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [always|batch|never]\n", argv[0]);
    return 2;
  }
  base::BlockStopSignals();
  const std::string folder = argv[1];
  const std::string mode = argc > 2 ? argv[2] : "always";
  local_cluster::ApiServerOptions options;
  options.data_dir = folder;
  options.fsync = mode == "never"   ? local_cluster::FsyncMode::kNever
                  : mode == "batch" ? local_cluster::FsyncMode::kBatch
                                    : local_cluster::FsyncMode::kAlways;
  auto api = local_cluster::ApiServer::Open(options);
  if (!api.ok()) {
    base::LogError("API server did not start", {{"error", api.status()}});
    return 1;
  }
  auto server = net::HttpServer::Start((*api)->HttpOptions(), (*api)->handler());
  if (!server.ok()) {
    base::LogError("HTTP server did not start", {{"error", server.status()}});
    return 1;
  }
  const std::string url = "https://127.0.0.1:" + std::to_string((*server)->port());
  if (!(*api)->WriteKubeconfig(folder + "/kubeconfig", "test", url).ok()) return 1;
  std::printf("ready kubeconfig=%s/kubeconfig api=%s\n", folder.c_str(), url.c_str());
  std::fflush(stdout);
  base::WaitForStopSignal();
  (*api)->Shutdown();
  return 0;
}
