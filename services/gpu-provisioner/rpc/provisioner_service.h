// provisioner.proto over the parts of this process. Generated types stop here.

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gpu-provisioner/provisioner.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace gpu_provisioner {

struct ProvisionerServiceOptions {
  std::string location;
  int streams_max = 64;
  // Only the leader answers; others say UNAVAILABLE. Empty: always.
  std::function<bool()> is_leader;
};

// Answers from what is cached: no call makes a call to Azure. Borrows `provisioner`.
class ProvisionerService {
 public:
  ProvisionerService(Provisioner& provisioner, ProvisionerServiceOptions options);
  ~ProvisionerService();

  // For net::GrpcServer.
  grpc::Service* service();

  // Ends all streams soon.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gpu_provisioner
