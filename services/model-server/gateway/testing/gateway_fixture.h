// A gateway in front of a FakeModelServer, and a client: what the gateway's tests share.

#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/net/http_client.h"
#include "model-server/gateway/gateway.h"
#include "model-server/gateway/testing/fake_model_server.h"

namespace model_server::gateway {

inline constexpr char kHello[] = R"({"messages":[{"role":"user","content":"say hello"}])";

class GatewayTest : public testing::Test {
 protected:
  void SetUp() override { StartGateway({}); }

  void StartGateway(GatewayOptions options) {
    options.port = 0;
    if (options.model_server.empty()) options.model_server = server_.target();
    auto gateway = Gateway::Start(options, registry_);
    ASSERT_TRUE(gateway.ok()) << gateway.status();
    gateway_ = *std::move(gateway);
    client_ = std::make_unique<net::HttpClient>(net::HttpClientOptions{
        .base_url = absl::StrFormat("http://127.0.0.1:%d", gateway_->port())});
    if (options.model_server == server_.target()) AwaitHealth(200);
  }

  // The state travels on its own stream: until it has arrived, ask again.
  void AwaitHealth(int status) {
    for (int i = 0; i < 2000 && Get("/health").status != status; ++i) std::this_thread::yield();
    ASSERT_EQ(Get("/health").status, status);
  }

  net::Response Send(const net::Request& request) {
    auto response = client_->Send(request);
    EXPECT_TRUE(response.ok()) << response.status();
    return response.ok() ? *response : net::Response{.status = 0};
  }
  net::Response Get(const std::string& target, net::Headers headers = {}) {
    return Send({.target = target, .headers = std::move(headers)});
  }
  net::Response Post(const std::string& target, const std::string& body,
                     net::Headers headers = {{"Content-Type", "application/json"}}) {
    return Send({.method = "POST", .target = target, .headers = std::move(headers), .body = body});
  }
  // kHello with more fields.
  net::Response Chat(const std::string& fields = "") {
    return Post("/v1/chat/completions", kHello + fields + "}");
  }

  FakeModelServer server_;
  metrics::Registry registry_{"test"};
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<net::HttpClient> client_;
};

inline boost::json::object Parsed(const net::Response& response) {
  return boost::json::parse(response.body).as_object();
}

// {param, code} of an OpenAI error.
inline std::pair<std::string, std::string> ErrorOf(const net::Response& response) {
  const boost::json::object error = Parsed(response).at("error").as_object();
  EXPECT_EQ(error.size(), 4U) << response.body;
  const auto text = [&](const char* name) {
    return error.at(name).is_null() ? std::string() : std::string(error.at(name).as_string());
  };
  return {text("param"), text("code")};
}

inline std::vector<std::string> EventsOf(const std::string& body) {
  std::vector<std::string> events;
  size_t at = 0;
  while (at < body.size()) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << body;
    EXPECT_EQ(body.substr(at, 6), "data: ");
    events.push_back(body.substr(at + 6, end - at - 6));
    at = end + 2;
  }
  return events;
}

}  // namespace model_server::gateway
