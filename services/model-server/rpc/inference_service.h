// kaito.inference.v1.Inference over gRPC.

#pragma once

#include <memory>

#include "model-server/rpc/backend.h"

namespace grpc {
class Service;
}

namespace model_server {

// Answers from the moment its server starts: until the model is loaded with kUnavailable. Calls
// never block a thread of gRPC; text is made by `text_threads` of its own.
class InferenceService {
 public:
  // `context` must outlive it.
  InferenceService(ServiceContext& context, int text_threads);
  // The server must have been shut down.
  ~InferenceService();

  grpc::Service* service();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace model_server
