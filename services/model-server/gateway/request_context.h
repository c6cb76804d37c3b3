// One HTTP request on its way through the gateway: who asks, how to answer, what is counted.

#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"

#include "common/net/http_server.h"
#include "model-server/gateway/api_error.h"
#include "model-server/gateway/gateway_metrics.h"
#include "model-server/gateway/upstream.h"

namespace model_server::gateway {

// Thread-safe like its exchange. Answers are logged and counted when they are complete, cut or
// abandoned; destruction without an answer counts as 500.
class RequestContext {
 public:
  RequestContext(std::shared_ptr<net::Exchange> exchange, std::string request_id,
                 std::string_view route, ErrorShape shape, GatewayMetrics& metrics);
  ~RequestContext();

  const net::Request& request() const { return exchange_->request(); }
  net::Exchange& exchange() { return *exchange_; }
  const std::string& request_id() const { return request_id_; }
  ErrorShape shape() const { return shape_; }
  GatewayMetrics& metrics() { return metrics_; }

  // Adds a header to the answer, whatever kind it will be. Before the answer.
  void AddHeader(std::string name, std::string value);

  // Id, trace and deadline for a call to the model server.
  CallOptions call_options() const;
  void set_deadline(absl::Duration deadline) { deadline_ = deadline; }

  void Send(net::Response response);
  void SendError(const ApiError& error);
  void SendJson(std::string body);

  // A stream; `status` is what the log and the metrics show, whatever comes later.
  void BeginStream();
  bool Write(std::string events, int count);
  void EndStream();
  // The client sees a cut stream. `status` is for the log.
  void AbortStream(int status);

  // The client went away.
  void CountDisconnect();

 private:
  void Finish(int status);

  const std::shared_ptr<net::Exchange> exchange_;
  const std::string request_id_;
  const std::string_view route_;
  const ErrorShape shape_;
  GatewayMetrics& metrics_;
  const absl::Time start_;
  net::Headers extra_headers_;
  absl::Duration deadline_ = absl::Seconds(600);
  std::atomic<bool> finished_ = false;
  std::atomic<bool> first_byte_ = false;
};

}  // namespace model_server::gateway
