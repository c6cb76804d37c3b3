#include "gpu-provisioner/arm/cloud.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "gpu-provisioner/arm/token_source.h"

namespace gpu_provisioner {
namespace {

class FixedSender final : public HttpSender {
 public:
  explicit FixedSender(std::vector<net::Request>& seen) : seen_(seen) {}
  absl::StatusOr<net::Response> Send(const net::Request& request, absl::Duration) override {
    seen_.push_back(request);
    if (request.path() == "/metadata/endpoints") {
      return net::Response{
          .body =
              R"({"authentication":{"loginEndpoint":"http://127.0.0.1:1/","audiences":["https://a/"]}})"};
    }
    return net::Response{.body = R"({"access_token":"T","expires_in":"3599"})"};
  }

 private:
  std::vector<net::Request>& seen_;
};

TEST(CloudTest, ACustomCloudTellsItsEndpointsItself) {
  std::vector<net::Request> seen;
  const auto senders = [&](const std::string&) -> absl::StatusOr<std::unique_ptr<HttpSender>> {
    return std::make_unique<FixedSender>(seen);
  };
  const auto cloud = Cloud::Named("custom", "http://127.0.0.1:1/");
  ASSERT_TRUE(cloud.ok());
  const auto endpoints = cloud->Endpoints(senders);
  ASSERT_TRUE(endpoints.ok()) << endpoints.status();
  EXPECT_EQ(endpoints->scope, "https://a/.default");
  EXPECT_EQ(endpoints->arm, "http://127.0.0.1:1");
}

TEST(CloudTest, UnknownNamesAreRefusedWithTheChoice) {
  EXPECT_THAT(Cloud::Named("mars", "").status().message(), testing::HasSubstr("public, china"));
  EXPECT_FALSE(Cloud::Named("custom", "").ok());
  EXPECT_EQ(Cloud::Named("china", "")->arm(), "https://management.chinacloudapi.cn");
}

TEST(HttpSenderTest, PlainHttpIsForThisMachineOnly) {
  const HttpSenderFactory senders = MakeHttpSenderFactory("");
  EXPECT_FALSE(senders("http://management.example").ok());
  EXPECT_TRUE(senders("http://127.0.0.1:8080").ok());
}

TEST(TokenSourceTest, AMissingFlagIsNamed) {
  const auto cloud = Cloud::Named("public", "");
  const auto source = MakeTokenSource({.auth = "service-principal", .tenant_id = "t"}, *cloud,
                                      MakeHttpSenderFactory(""));
  EXPECT_THAT(source.status().message(), testing::HasSubstr("--client_id"));
}

TEST(TokenSourceTest, ManagedIdentityAsksWithTheMetadataHeader) {
  std::vector<net::Request> seen;
  const auto senders = [&](const std::string&) -> absl::StatusOr<std::unique_ptr<HttpSender>> {
    return std::make_unique<FixedSender>(seen);
  };
  auto source = MakeTokenSource({.auth = "auto"}, *Cloud::Named("public", ""), senders);
  ASSERT_TRUE(source.ok());
  const auto token = (*source)->Fetch("");
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->token, "T");
  EXPECT_EQ(token->lifetime, absl::Seconds(3599)) << "numbers come as strings";
  EXPECT_EQ(seen[0].headers.Find("Metadata"), "true");
  EXPECT_THAT(seen[0].target, testing::HasSubstr("https%3A%2F%2Fmanagement.azure.com%2F"));
}

TEST(TokenSourceTest, ARefusalSaysWhatItMeans) {
  const auto token = ParseTokenAnswer(
      {.status = 400,
       .body = R"({"error":"invalid_request","error_description":"AADSTS90002: …"})"},
      "get a token");
  EXPECT_EQ(token.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(token.status().message(), testing::HasSubstr("the tenant does not exist"));
}

}  // namespace
}  // namespace gpu_provisioner
