// kaito.inference.v1.ModelAdmin over gRPC.

#pragma once

#include <memory>

#include "model-server/rpc/backend.h"

namespace grpc {
class Service;
}

namespace model_server {

class AdminService {
 public:
  // `context` must outlive it.
  explicit AdminService(ServiceContext& context);
  // The server must have been shut down.
  ~AdminService();

  grpc::Service* service();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace model_server
