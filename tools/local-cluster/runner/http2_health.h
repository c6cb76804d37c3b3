// grpc.health.v1 without gRPC: the bytes of one Check call and of its answer.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace local_cluster {

// The HTTP/2 preface and the request: one write.
std::string HealthCheckRequest(std::string_view authority, std::string_view service);

// Reads what the server sends. Headers are not decoded (they are compressed, and the answer is in
// the body); a stream that ends without a body has failed.
class HealthCheckReader {
 public:
  enum class Result { kPending, kServing, kNotServing, kFailed };

  // Feeds bytes; `reply` gets frames that must be sent (acknowledgements).
  Result Feed(std::string_view bytes, std::string& reply);

 private:
  Result HandleFrame(unsigned type, unsigned flags, std::string_view payload, std::string& reply);
  Result HandleBody() const;

  std::string received_;
  std::string body_;
};

}  // namespace local_cluster
