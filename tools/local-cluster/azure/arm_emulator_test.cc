#include "local-cluster/azure/arm_emulator.h"

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "boost/json.hpp"
#include "common/base/files.h"
#include "common/kube/json.h"
#include "common/net/http_client.h"
#include "local-cluster/apiserver/api_server.h"

namespace local_cluster::azure {
namespace {

using testing::HasSubstr;

constexpr char kPools[] =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/local/providers/"
    "Microsoft.ContainerService/managedClusters/local/agentPools";
constexpr char kBody[] =
    R"({"properties":{"count":1,"vmSize":"standard_nc24ads_a100_v4","nodeLabels":{"x":"y"},"nodeTaints":["sku=gpu:NoSchedule"]}})";

class ArmEmulatorTest : public testing::Test {
 protected:
  ArmEmulatorTest() {
    options_.client_secret = "s";
    options_.gpu_types_dir = std::string(KAITO_SOURCE_DIR) + "/deploy/gpu-types";
    options_.create_time = absl::Seconds(120);
    options_.join_time = absl::Seconds(110);
    options_.delete_time = absl::Seconds(60);
    api_ = *ApiServer::Open({});
    kube_ = std::make_unique<kube::Client>(api_->transport(), kube::ClientOptions{});
    Reopen();
  }

  void Reopen() {
    arm_.reset();
    arm_ = *ArmEmulator::Open(options_, *kube_, clock_);
    token_.clear();
    token_ = TokenOf(*arm_->Handle(TokenRequest("s")));
  }

  net::Request TokenRequest(const std::string& secret) const {
    return {
        .method = "POST",
        .target = "/" + options_.tenant_id + "/oauth2/v2.0/token",
        .body = "grant_type=client_credentials&client_id=" + options_.client_id +
                "&scope=https%3A%2F%2Fmanagement.core.local%2F.default&client_secret=" + secret};
  }
  static std::string TokenOf(const net::Response& response) {
    return std::string(kube::StringAt(boost::json::parse(response.body), {"access_token"}));
  }

  net::Response Call(const std::string& method, const std::string& target,
                     const std::string& body = "", const net::Headers& headers = {}) {
    net::Request request{.method = method, .target = target, .headers = headers, .body = body};
    request.headers.Set("Authorization", "Bearer " + token_);
    const auto response = arm_->Handle(request);
    return response.ok() ? *response : net::Response{.status = 0};
  }
  net::Response Put(const std::string& pool, const net::Headers& headers = {}) {
    return Call("PUT", Pool(pool), kBody, headers);
  }
  static std::string Pool(const std::string& name, const std::string& action = "") {
    return absl::StrFormat("%s/%s%s?api-version=2025-10-01", kPools, name, action);
  }
  void Control(const std::string& path, const std::string& json) {
    EXPECT_EQ(
        arm_->Handle({.method = "POST", .target = "/_emulator/" + path, .body = json})->status,
        200);
  }
  std::string State(const std::string& pool) {
    const auto response = Call("GET", Pool(pool));
    return std::string(
        kube::StringAt(boost::json::parse(response.body), {"properties", "provisioningState"}));
  }
  void Advance(absl::Duration by) {
    clock_.Advance(by);
    arm_->RunDue();
  }

  base::ManualClock clock_;
  ArmEmulatorOptions options_;
  std::unique_ptr<ApiServer> api_;
  std::unique_ptr<kube::Client> kube_;
  std::unique_ptr<ArmEmulator> arm_;
  std::string token_;
};

TEST_F(ArmEmulatorTest, OnlyItsOwnTokensAreAccepted) {
  EXPECT_EQ(arm_->Handle(TokenRequest("wrong"))->status, 401);
  EXPECT_EQ(Call("GET", Pool("nodepool1")).status, 200);
  token_.back() = token_.back() == '0' ? '1' : '0';
  EXPECT_EQ(Call("GET", Pool("nodepool1")).status, 401);
  token_ = TokenOf(*arm_->Handle(TokenRequest("s")));
  clock_.Advance(absl::Hours(2));
  EXPECT_THAT(Call("GET", Pool("nodepool1")).body, HasSubstr("ExpiredAuthenticationToken"));
}

TEST_F(ArmEmulatorTest, APoolTakesItsTimeAndBecomesANode) {
  EXPECT_EQ(Put("ws1").status, 201);
  EXPECT_EQ(State("ws1"), "Creating");
  Advance(absl::Seconds(110));
  const auto nodes = kube_->List(kube::resources::kNodes);
  ASSERT_TRUE(nodes.ok());
  ASSERT_EQ(nodes->items.size(), 1U);
  const kube::Object& node = nodes->items.front();
  EXPECT_THAT(std::string(node.name()), testing::MatchesRegex("aks-ws1-[0-9]+-vmss000000"));
  EXPECT_EQ(node.label("kubernetes.azure.com/agentpool"), "ws1");
  EXPECT_EQ(node.label("x"), "y");
  EXPECT_EQ(node.StringAt({"status", "allocatable", "nvidia.com/gpu"}), "1");
  Advance(absl::Seconds(10));
  EXPECT_EQ(State("ws1"), "Succeeded");

  EXPECT_EQ(Call("DELETE", Pool("ws1")).status, 202);
  Advance(absl::Seconds(60));
  EXPECT_EQ(Call("GET", Pool("ws1")).status, 404);
  EXPECT_EQ(Call("DELETE", Pool("ws1")).status, 204);
  EXPECT_TRUE(kube_->List(kube::resources::kNodes)->items.empty());
}

TEST_F(ArmEmulatorTest, ConditionsOnRequestsAreKept) {
  EXPECT_EQ(Put("ws1", {{"If-None-Match", "*"}}).status, 201);
  EXPECT_EQ(Put("ws1", {{"If-None-Match", "*"}}).status, 412);
  EXPECT_EQ(Call("DELETE", Pool("ws1"), "", {{"If-Match", "other"}}).status, 412);
}

TEST_F(ArmEmulatorTest, TheLastPageHasALinkToAnEmptyOne) {
  const auto list =
      boost::json::parse(Call("GET", std::string(kPools) + "?api-version=2025-10-01").body);
  EXPECT_EQ(list.at("value").as_array().size(), 1U);
  std::string link(kube::StringAt(list, {"nextLink"}));
  link = link.substr(link.find("/subscriptions"));
  EXPECT_TRUE(boost::json::parse(Call("GET", link).body).at("value").as_array().empty());
}

TEST_F(ArmEmulatorTest, AnOperationUrlIsRefusedWhenOneByteDiffers) {
  const net::Response created = Put("ws1");
  std::string url(created.headers.Find("Azure-AsyncOperation").value());
  url = url.substr(url.find("/subscriptions"));
  EXPECT_THAT(Call("GET", url).body, HasSubstr("InProgress"));
  Advance(absl::Seconds(120));
  EXPECT_THAT(Call("GET", url).body, HasSubstr("Succeeded"));
  url.back() = url.back() == '0' ? '1' : '0';
  EXPECT_EQ(Call("GET", url).status, 403);
}

TEST_F(ArmEmulatorTest, QuotaIsRefusedInAzuresWords) {
  Control("quota", R"({"family":"StandardNCADSA100v4Family","limit":24,"used":24})");
  const net::Response refused = Put("ws1");
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body, HasSubstr("exceeding approved StandardNCADSA100v4Family Cores quota"));
  EXPECT_THAT(refused.body, HasSubstr("Current Limit: 24, Current Usage: 24, Additional Required: "
                                      "24"));
}

TEST_F(ArmEmulatorTest, WhatAzureRefusesIsRefused) {
  EXPECT_EQ(Put("Has-Hyphen").status, 400);
  EXPECT_EQ(Put("much2longname1").status, 400);
  EXPECT_THAT(Call("PUT", Pool("ws1"), R"({"properties":{"vmSize":"Standard_Nope"}})").body,
              HasSubstr("is not allowed in your subscription in location"));
  EXPECT_EQ(Call("PUT", Pool("ws1"), "{").status, 400);
  EXPECT_EQ(Call("DELETE", Pool("nodepool1")).status, 400);
}

TEST_F(ArmEmulatorTest, TheSharedBucketHoldsSixtyCalls) {
  int answered = 0;
  while (Call("GET", Pool("nodepool1")).status == 200) ++answered;
  EXPECT_EQ(answered, 60);
  EXPECT_TRUE(Call("GET", Pool("nodepool1")).headers.Find("Retry-After").has_value());
}

TEST_F(ArmEmulatorTest, AFaultHitsTheCallThatItNames) {
  Control("faults",
          R"({"id":"a","match":{"method":"PUT","pool":"ws*","nth":2},"act":{"cut":"after"}})");
  EXPECT_EQ(Put("ws1").status, 201);
  EXPECT_EQ(Put("ws2").status, 0);
  EXPECT_EQ(State("ws2"), "Creating") << "the work was done";
  EXPECT_EQ(Put("ws3").status, 201);
}

TEST_F(ArmEmulatorTest, PoolsSurviveARestart) {
  options_.state_file = testing::TempDir() + "/arm_emulator_test.json";
  (void)base::RemoveAll(options_.state_file);
  Reopen();
  Put("ws1");
  Advance(absl::Seconds(1));
  Reopen();
  EXPECT_EQ(State("ws1"), "Creating");
  Advance(absl::Seconds(120));
  EXPECT_EQ(State("ws1"), "Succeeded");
}

TEST_F(ArmEmulatorTest, ServesOnLoopback) {
  ArmEmulatorOptions options = options_;
  options.create_time = options.join_time = absl::ZeroDuration();
  const auto arm = ArmEmulator::Start(options, *kube_);
  ASSERT_TRUE(arm.ok()) << arm.status();
  net::HttpClient client({.base_url = (*arm)->url()});
  const auto metadata = client.Send({.target = "/metadata/endpoints?api-version=2022-09-01"});
  ASSERT_TRUE(metadata.ok());
  EXPECT_THAT(metadata->body, HasSubstr((*arm)->url() + "/"));
  net::Request put{.method = "PUT", .target = Pool("ws9"), .body = kBody};
  put.headers.Set("Authorization", "Bearer " + TokenOf(*client.Send(TokenRequest("s"))));
  EXPECT_EQ(client.Send(put)->status, 201);
  for (int i = 0; i < 1000 && kube_->List(kube::resources::kNodes)->items.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(kube_->List(kube::resources::kNodes)->items.size(), 1U);
}

}  // namespace
}  // namespace local_cluster::azure
