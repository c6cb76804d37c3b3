#include "common/kube/process.h"

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/metrics/metrics.h"
#include "common/net/http_client.h"

namespace kube {
namespace {

using ::testing::HasSubstr;

net::Response Get(int port, const std::string& target) {
  net::HttpClient client({.base_url = absl::StrFormat("http://127.0.0.1:%d", port)});
  const auto response = client.Send({.target = target});
  EXPECT_TRUE(response.ok()) << response.status();
  return response.value_or(net::Response{.status = 0});
}

TEST(ProcessEndpointsTest, ChecksDecideAndMetricsAreThere) {
  metrics::Registry registry;
  const auto started = ProcessEndpoints::Start(
      {.metrics_address = "127.0.0.1:0", .health_address = "127.0.0.1:00"}, registry);
  ASSERT_TRUE(started.ok()) << started.status();
  ProcessEndpoints& endpoints = **started;
  const int port = endpoints.health_port();
  EXPECT_EQ(Get(port, "/healthz").body, "ok");
  EXPECT_EQ(Get(port, "/readyz").status, 503) << "nothing has said that it is ready";

  absl::Status synced = absl::UnavailableError("waiting for Pods");
  endpoints.AddReadyCheck("caches", [&synced] { return synced; });
  EXPECT_THAT(Get(port, "/readyz").body, HasSubstr("[-]caches failed: waiting for Pods"));
  synced = absl::OkStatus();
  EXPECT_EQ(Get(port, "/readyz").status, 200);
  EXPECT_EQ(Get(port, "/readyz?verbose").body, "[+]caches ok\nok\n");
  EXPECT_EQ(Get(port, "/readyz/caches").status, 200);
  EXPECT_EQ(Get(port, "/readyz/other").status, 404);
  EXPECT_EQ(Get(port, "/readyzz").status, 404);
  EXPECT_EQ(Get(port, "/metrics").status, 404) << "that is the other port's";
  EXPECT_THAT(Get(endpoints.metrics_port(), "/metrics").body, HasSubstr("build_info"));
}

TEST(ProcessEndpointsTest, EqualAddressesShareAPortAndEmptyOnesAreOff) {
  metrics::Registry registry;
  const auto shared = ProcessEndpoints::Start(
      {.metrics_address = "127.0.0.1:0", .health_address = "127.0.0.1:0"}, registry);
  ASSERT_TRUE(shared.ok());
  EXPECT_EQ((*shared)->health_port(), (*shared)->metrics_port());
  EXPECT_EQ(Get((*shared)->health_port(), "/healthz").status, 200);
  const auto off =
      ProcessEndpoints::Start({.metrics_address = "0", .health_address = ""}, registry);
  ASSERT_TRUE(off.ok());
  EXPECT_EQ((*off)->metrics_port(), 0);
}

TEST(ProcessEndpointsTest, AddressesAreParsed) {
  EXPECT_EQ(ParseBindAddress(":8080")->host, "0.0.0.0");
  EXPECT_EQ(ParseBindAddress("[::1]:9")->host, "::1");
  EXPECT_EQ(ParseBindAddress("127.0.0.1:65535")->port, 65535);
  for (const char* bad : {"", "8080", ":", ":x", ":65536", ":-1"}) {
    EXPECT_FALSE(ParseBindAddress(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace kube
