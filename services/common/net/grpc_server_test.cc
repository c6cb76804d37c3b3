#include "common/net/grpc_server.h"

#include <unistd.h>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/client_unary_call.h"
#include "grpcpp/server.h"
#include "gtest/gtest.h"

#include "common/net/http_server.h"
#include "kaito/inference/v1/inference.grpc.pb.h"

namespace net {
namespace {

namespace pb = kaito::inference::v1;
using ::testing::HasSubstr;

class AdminService final : public pb::ModelAdmin::Service {
 public:
  grpc::Status GetModelInfo(grpc::ServerContext*, const pb::GetModelInfoRequest*,
                            pb::ModelInfo* info) override {
    if (!error.ok()) return ToGrpcStatus(error);
    info->add_served_names("m");
    return grpc::Status::OK;
  }
  absl::Status error;
};

absl::Status Ask(const std::string& target) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  context.set_wait_for_ready(true);
  pb::ModelInfo info;
  auto stub = pb::ModelAdmin::NewStub(MakeGrpcChannel(target));
  return FromGrpcStatus(stub->GetModelInfo(&context, {}, &info));
}

// 1 is SERVING, 2 NOT_SERVING in grpc.health.v1; -1: the service is not known.
int Health(const std::string& target, const std::string& service) {
  // Written by hand: the health protocol has one string in and one enum out.
  std::string request;
  if (!service.empty()) {
    request = std::string("\x0a") + static_cast<char>(service.size()) + service;
  }
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(MakeGrpcChannel(target));
  const grpc::Slice slice(request);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check",
                                    grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return -1;
  grpc::Slice bytes;
  answer.TrySingleSlice(&bytes).ok();
  return bytes.size() == 2 ? bytes.begin()[1] : 0;
}

TEST(GrpcServerTest, HealthFollowsEachService) {
  AdminService service;
  const auto server = GrpcServer::Start({.addresses = {"127.0.0.1:0"}}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string target = absl::StrFormat("127.0.0.1:%d", (*server)->ports()[0]);
  const std::string name = "kaito.inference.v1.ModelAdmin";
  EXPECT_EQ(Health(target, ""), 2);
  EXPECT_EQ(Health(target, name), 2);
  EXPECT_EQ(Health(target, "unknown"), -1);
  (*server)->SetServing(true);
  (*server)->SetServing("liveness", true);
  EXPECT_EQ(Health(target, ""), 1);
  EXPECT_EQ(Health(target, name), 1);
  EXPECT_EQ(Health(target, "liveness"), 1);
}

TEST(GrpcServerTest, StatusPassesWithCodeAndMessage) {
  AdminService service;
  const std::string path = absl::StrFormat("%s/grpc-%d.sock", testing::TempDir(), getpid());
  const auto server = GrpcServer::Start(
      {.addresses = {"127.0.0.1:0", "unix:" + path}, .reflection = true}, {&service});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(Ask("unix:" + path), absl::OkStatus());
  service.error = absl::ResourceExhaustedError("the queue is full");
  EXPECT_EQ(Ask(absl::StrFormat("127.0.0.1:%d", (*server)->ports()[0])), service.error);
}

TEST(GrpcServerTest, ATakenPortNamesItsHolder) {
  const auto holder = HttpServer::Start({}, nullptr);
  ASSERT_TRUE(holder.ok());
  AdminService service;
  const auto server = GrpcServer::Start(
      {.addresses = {absl::StrFormat("127.0.0.1:%d", (*holder)->port())}}, {&service});
  EXPECT_EQ(server.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("is taken by common_net_test"));
}

}  // namespace
}  // namespace net
