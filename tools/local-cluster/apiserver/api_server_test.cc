#include "local-cluster/apiserver/api_server.h"

#include <string>

#include <gtest/gtest.h>

#include "boost/json.hpp"

namespace local_cluster {
namespace {

class ApiServerTest : public testing::Test {
 protected:
  net::Response Call(std::string method, std::string target, std::string body = "",
                     std::string type = "application/json") {
    net::Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    if (!request.body.empty()) request.headers.Add("Content-Type", std::move(type));
    return api_->transport().Send(request, absl::Seconds(10)).value();
  }

  const std::unique_ptr<ApiServer> api_ = ApiServer::Open({}).value();
  const std::string maps_ = "/api/v1/namespaces/default/configmaps";
  const std::string map_ = R"({"metadata":{"name":"a"},"data":{"k":"v"}})";
};

TEST_F(ApiServerTest, ASecondCreateIsAlreadyExistsAndDryRunStoresNothing) {
  const uint64_t before = api_->revision();
  EXPECT_EQ(Call("POST", maps_ + "?dryRun=All", map_).status, 201);
  EXPECT_EQ(api_->revision(), before);
  EXPECT_EQ(Call("POST", maps_, map_).status, 201);
  const net::Response again = Call("POST", maps_, map_);
  EXPECT_EQ(again.status, 409);
  EXPECT_NE(again.body.find("AlreadyExists"), std::string::npos);
}

TEST_F(ApiServerTest, AWriteThatChangesNothingRaisesNoRevision) {
  ASSERT_EQ(Call("POST", maps_, map_).status, 201);
  const uint64_t before = api_->revision();
  EXPECT_EQ(Call("PUT", maps_ + "/a", map_).status, 200);
  EXPECT_EQ(api_->revision(), before);
}

TEST_F(ApiServerTest, UnknownPathsMethodsAndBodiesAreRefusedWithAStatus) {
  EXPECT_EQ(Call("GET", "/apis/nobody/v1/things").status, 404);
  EXPECT_EQ(Call("PATCH", maps_, "{}", "application/merge-patch+json").status, 405);
  EXPECT_EQ(Call("POST", maps_, "{").status, 400);
  EXPECT_EQ(Call("POST", maps_, R"({"metadata":{"name":"A_b"}})").status, 422);
  EXPECT_EQ(
      Call("POST", maps_ + "?fieldValidation=Strict", R"({"metadata":{"name":"a"},"bogus":1})")
          .status,
      400);
  EXPECT_EQ(Call("GET", maps_ + "?continue=forged").status, 400);
}

}  // namespace
}  // namespace local_cluster
